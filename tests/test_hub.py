"""The hub's cache as people have it: files of several kinds, and one set that is fetched, checked,
hashed and loaded."""

import hashlib
import json
import shutil

import huggingface_hub
import pytest
import torch
from diffusers import DiffusionPipeline

import families
from conftest import tiny_pipeline
from whitebear.draw.artist import Artist
from whitebear.draw.grid import Run, run_grid
from whitebear.errors import UserError
from whitebear.models import hub, load
from whitebear.models.folders import variant_of
from whitebear.models.load import dtype_on, find_model, fingerprint, load_pipeline, locate
from whitebear.models.presets import FREE, REGISTRY, memory_plan, room_for
from whitebear.scoring import clip

SD15, T4 = REGISTRY["sd15"], torch.device("cuda")
UNET, HALF_UNET = (f"unet/diffusion_pytorch_model{v}.safetensors" for v in ("", ".fp16"))


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A pipeline as sd15 is on the hub, of which only the files of half precision were fetched: the
    index names a safety checker."""
    folder = tmp_path_factory.mktemp("half") / "pipeline"
    tiny_pipeline(256).to(dtype=torch.float16).save_pretrained(folder, variant="fp16")
    named = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    add_to_index(folder, named | {"requires_safety_checker": True})
    shutil.rmtree(folder / "image_encoder")
    add_to_index(folder, {"image_encoder": [None, None]})
    return folder


def add_to_index(folder, entries):
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Lays a folder into a cache of the hub of our own, as `hf download` does; no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def lay(folder, source, revision):
        home = tmp_path / "hub" / f"models--{source.replace('/', '--')}"
        snapshot = home / "snapshots" / revision
        (home / "blobs").mkdir(parents=True, exist_ok=True)
        for path in filter(lambda p: p.is_file(), folder.rglob("*")):
            data = path.read_bytes()
            small = path.suffix != ".safetensors"  # git names it by its own digest
            name = (hashlib.sha1 if small else hashlib.sha256)(data).hexdigest()
            (home / "blobs" / name).write_bytes(data)
            link = snapshot / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(home / "blobs" / name)
        return snapshot

    return lay


@pytest.fixture
def no_hub(monkeypatch):
    def asked(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(DiffusionPipeline, "download", asked)


def test_a_cache_of_half_precision_without_safety_checker_is_all_that_is_needed(
    half, cached, no_hub
):
    snapshot = cached(half, SD15.source, SD15.revision)
    assert locate("sd15") == snapshot
    pipe = load_pipeline("sd15", "cpu")
    assert pipe.safety_checker is None and pipe.unet.dtype == torch.float32
    assert variant_of(snapshot) == "fp16"
    same = load_pipeline(str(half), "cpu")  # a folder likewise
    assert all(torch.equal(a, b) for a, b in zip(pipe.unet.parameters(), same.unet.parameters(),
                                                 strict=True))  # fmt: skip


def test_half_files_are_checked_as_whole_ones_are(half, tmp_path):
    folder = shutil.copytree(half, tmp_path / "copy")
    (folder / HALF_UNET).write_bytes((half / HALF_UNET).read_bytes()[:-5])
    with pytest.raises(UserError, match="missing or cut short"):
        locate(str(folder))
    (folder / HALF_UNET).unlink()
    with pytest.raises(UserError, match=r"unet has no \.safetensors weights"):
        locate(str(folder))


def test_what_is_not_loaded_changes_no_fingerprint(half, tmp_path):
    folder = shutil.copytree(half, tmp_path / "copy")
    before = fingerprint(folder)
    others = [UNET, "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.non_ema"
              ".safetensors", "vae/diffusion_pytorch_model.safetensors", "v1-5-pruned.safetensors",
              "safety_checker/model.safetensors", "vae_1_0/config.json", ".cache/x/unet.metadata",
              "text_encoder/model.onnx"]  # fmt: skip
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"of another program")
    assert fingerprint(folder) == before
    locate(str(folder))  # nor is it looked at
    for name in (HALF_UNET, "scheduler/scheduler_config.json", "tokenizer/tokenizer.json"):
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        assert (after := fingerprint(folder)) != before
        before = after


def test_plain_files_are_loaded_where_some_part_has_no_others(half, tiny_pipeline_dir, tmp_path):
    folder = shutil.copytree(tiny_pipeline_dir, tmp_path / "copy")
    shutil.copy(half / HALF_UNET, folder / HALF_UNET)
    assert variant_of(folder) is None
    assert fingerprint(folder) == fingerprint(tiny_pipeline_dir)
    (folder / UNET).unlink()
    assert variant_of(folder) == "fp16"  # of the denoiser; the rest is plain
    assert load_pipeline(str(folder), "cpu").unet.dtype == torch.float32


def test_a_blob_of_the_hub_is_known_by_its_name(half, cached, monkeypatch):
    snapshot, read, real = cached(half, SD15.source, SD15.revision), [], load._hashed
    listen = lambda path, *about: read.append(path) or real(path, *about)  # noqa: E731
    monkeypatch.setattr(load, "_hashed", listen)
    found = fingerprint(snapshot)
    assert read and all(len(path.name) == 40 for path in read)  # no weights
    assert found == fingerprint(half)


def test_the_digest_of_a_large_file_outlives_the_process(half, tmp_path, monkeypatch):
    monkeypatch.setattr(load, "LARGE", 1000)
    monkeypatch.setattr(load, "CACHE", tmp_path / "kept")
    folder = shutil.copytree(half, tmp_path / "copy")
    large = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size >= 1000]
    load._hashed.cache_clear()
    before, read, real = fingerprint(folder), [], hashlib.file_digest
    listen = lambda file, kind: read.append(file.name) or real(file, kind)  # noqa: E731
    monkeypatch.setattr(hashlib, "file_digest", listen)
    load._hashed.cache_clear()  # as in a new process
    assert fingerprint(folder) == before
    assert read and not {str(path) for path in large} & {str(name) for name in read}
    (folder / HALF_UNET).write_bytes((folder / HALF_UNET).read_bytes() + b" ")
    assert fingerprint(folder) != before


# --- what is fetched ------------------------------------------------------------------------------


def test_half_files_are_fetched_and_no_safety_checker(half, cached, monkeypatch):
    asked = []

    def download(source, **options):
        asked.append((source, options))
        if options["variant"] and source == "somebody/full":
            raise ValueError("of the `variant=fp16`, but no such modeling files are available.")
        return str(half)

    monkeypatch.setattr(DiffusionPipeline, "download", download)
    assert locate("sd15") == half
    (source, options), *_ = asked
    assert source == SD15.source and options["variant"] == "fp16"
    assert options["safety_checker"] is None and options["use_safetensors"]
    asked.clear()
    locate("somebody/full"), locate("somebody/full")  # the hub is asked once
    assert [options["variant"] for _, options in asked] == ["fp16", None]
    asked.clear()
    locate("sd35")  # its files are bfloat16, which is half already
    assert [options["variant"] for _, options in asked] == [None]


def test_plain_files_of_the_cache_will_do_without_a_network(tiny_pipeline_dir, cached):
    snapshot = cached(tiny_pipeline_dir, SD15.source, SD15.revision)
    assert locate("sd15") == snapshot


def test_without_network_and_cache_a_line_says_so(cached, capfd):
    with pytest.raises(UserError) as error:
        locate("sd15")
    line = f"model {SD15.source} cannot be fetched: it is not in the cache, and there is no network"
    assert line in str(error.value) and str(error.value).endswith("run the same again")
    assert capfd.readouterr() == ("", "")  # no noise of the libraries beside it


def test_a_line_ends_with_a_whole_word():
    said = hub.first_line(OSError("it was not possible to read " * 20 + "\nmore"))
    assert len(said) <= 200 and said.endswith(("it ...", "was ...", "not ...", "possible ...",
                                               "to ...", "read ..."))  # fmt: skip


def test_a_name_in_capitals_is_nearly_right():
    with pytest.raises(UserError, match="did you mean sd15"):
        find_model("SD15")


# --- the judge is looked for first ----------------------------------------------------------------


def test_the_judge_is_looked_for_before_the_model_is_fetched(cached, no_hub, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError) as error:
        Run("sd15", ["bear"], ["affirm"], 1, 1, 7.5, str(out))
    said = str(error.value)
    assert "the judge of pictures of web models (0.6 GB), cannot be fetched" in said
    assert f"hf download {clip.SAME_CLIP_FOR_ALL} --revision {clip.SAME_CLIP_REVISION}" in said


def test_the_folder_for_results_is_proved_before_anything_is_fetched(cached, no_hub, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Run("sd15", ["bear"], ["affirm"], 1, 1, 7.5, str(tmp_path / "file"))


def test_a_judge_in_the_cache_is_loaded_without_a_network(tiny_clip_dir, cached):
    cached(tiny_clip_dir, clip.SAME_CLIP_FOR_ALL, clip.SAME_CLIP_REVISION)
    assert clip.load_clip(clip.SAME_CLIP_FOR_ALL).text(["a bear"]).shape[0] == 1


def test_a_short_name_goes_its_whole_road_from_the_cache(
    half, tiny_clip_dir, cached, no_hub, tmp_path, capsys
):
    """Located, announced, loaded, drawn, judged and calibrated, without a network."""
    cached(half, SD15.source, SD15.revision)
    cached(tiny_clip_dir, clip.SAME_CLIP_FOR_ALL, clip.SAME_CLIP_REVISION)
    run = Run("sd15", ["bear", "owl"], ["affirm", "omit"], 2, 1, None, str(tmp_path / "out"))
    table = run_grid(run, progress=False)
    ahead, loaded = capsys.readouterr().out.splitlines()
    assert ahead.startswith(f"sd15: {len(table)} pictures of 1 steps on a CPU, about ")
    assert loaded == "sd15 is loaded in float32, all of it in the memory of the device."
    assert table.guidance.eq(7.5).all() and table.logit.notna().all()
    assert table.revision.eq(fingerprint(half)).all()


# --- precision and memory -------------------------------------------------------------------------


@pytest.fixture
def gpu(monkeypatch):
    """A card of that compute capability, as far as it is asked."""

    def has(major, minor):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (major, minor))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")

    return has


def folder_of(family, dtype, home):
    families.FAMILIES[family]().to(dtype=dtype).save_pretrained(home / family)
    return home / family


@pytest.mark.parametrize(
    ("family", "stored", "on_t4", "on_l4"),
    [
        ("sd", torch.float32, torch.float16, torch.float16),
        ("sd", torch.bfloat16, torch.float16, torch.bfloat16),
        ("pixart", torch.float16, torch.float16, torch.float16),
        ("sd3", torch.float32, None, torch.bfloat16),
        ("flux", torch.bfloat16, None, torch.bfloat16),
        ("flux", torch.float16, torch.float16, torch.float16),
    ],
)
def test_folders_compute_in_half_precision_on_a_gpu(
    family, stored, on_t4, on_l4, gpu, tmp_path, monkeypatch
):
    folder = folder_of(family, stored, tmp_path)
    entry = find_model(str(folder))
    assert dtype_on(T4, entry, folder) == stored  # as small as the pocket model
    monkeypatch.setattr(load, "SMALL", 0.0)
    gpu(8, 9)
    assert dtype_on(T4, entry, folder) == on_l4
    assert dtype_on(torch.device("cpu"), entry, folder) == torch.float32
    gpu(7, 5)
    if on_t4 is None:
        with pytest.raises(UserError, match="bfloat16, which Tesla T4 cannot; choose a newer GPU"):
            dtype_on(T4, entry, folder)
    else:
        assert dtype_on(T4, entry, folder) == on_t4


def test_a_model_that_a_t4_cannot_compute_is_refused_at_once(gpu, no_hub):
    gpu(7, 5)
    for model in ("sd35", "flux", "flux-dev"):
        with pytest.raises(UserError, match="computes in bfloat16, which Tesla T4 cannot"):
            Artist(model, device="cuda")
    Artist("sdxl", device="cuda")
    gpu(8, 0)
    Artist("sd35", device="cuda")


def test_small_pictures_leave_room_for_the_whole_model():
    parts = {"unet": 1.6, "text_encoder": 0.23, "vae": 0.16}  # sd15, GiB
    assert memory_plan(parts, 7.3, room_for(512)) == FREE  # a card of 8 GB
    assert memory_plan(parts, 7.3, room_for(1024)) != FREE
    assert room_for(64) < room_for(512) < room_for(768) < room_for(1024)
