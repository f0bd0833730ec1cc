"""Models with a short name: pinned, licensed, and fitted into a GPU that cannot hold them."""

import re
import shutil

import pytest
import torch
from diffusers import DiffusionPipeline

from whitebear.draw.artist import Artist
from whitebear.draw.grid import ChunkSpec, _settings
from whitebear.errors import UserError
from whitebear.models import load as models, presets
from whitebear.models.load import locate
from whitebear.models.presets import (
    FREE,
    GROUP_OFFLOAD,
    MODEL_OFFLOAD,
    REGISTRY,
    memory_plan,
    place,
)

WEB = {name: entry for name, entry in REGISTRY.items() if name != "pocket"}
# Millions of parameters, as published: CLIP L, OpenCLIP H and G, T5 XXL; denoisers.
CLIP_L, CLIP_H, CLIP_G, T5, VAE = 123, 340, 695, 4762, 84
PARTS = {
    "sd15": {"unet": 860, "text_encoder": CLIP_L, "vae": VAE},
    "sd21": {"unet": 866, "text_encoder": CLIP_H, "vae": VAE},
    "sdxl": {"unet": 2567, "text_encoder": CLIP_L, "text_encoder_2": CLIP_G, "vae": VAE},
    "sd35": {"transformer": 2470, "text_encoder": CLIP_L, "text_encoder_2": CLIP_G,
             "text_encoder_3": T5, "vae": VAE},
    "flux": {"transformer": 11900, "text_encoder": CLIP_L, "text_encoder_2": T5, "vae": VAE},
    "flux-dev": {"transformer": 11900, "text_encoder": CLIP_L, "text_encoder_2": T5, "vae": VAE},
}  # fmt: skip
FREE_OF_16 = 14.3  # GiB that a GPU of "16 GB" has for us


@pytest.mark.parametrize("name", WEB)
def test_a_preset_is_pinned_and_licensed(name):
    entry = WEB[name]
    assert models._HUB_ID.fullmatch(entry.source)
    assert re.fullmatch("[0-9a-f]{40}", entry.revision)
    assert entry.licence and entry.steps >= 1 and entry.batch >= 1
    assert entry.dtype in (torch.float16, torch.bfloat16)
    assert entry.half_files == (entry.dtype is torch.float16)


@pytest.mark.parametrize("name", WEB)
def test_the_memory_plan_that_is_promised_for_16_gib(name):
    parts = {part: 1e6 * n * 2 / presets.GIB for part, n in PARTS[name].items()}  # 2 bytes each
    assert memory_plan(parts, FREE_OF_16) == WEB[name].on_16_gib
    assert memory_plan(parts, 79) == FREE


@pytest.mark.parametrize("name", WEB)
def test_what_a_model_weighs_is_the_sum_of_its_parts(name):
    weights = sum(1e6 * n * 2 / presets.GIB for n in PARTS[name].values())
    assert WEB[name].size.gib == pytest.approx(weights, rel=0.05)


def test_a_small_model_stays_whole_on_a_small_gpu():
    assert memory_plan({"unet": 0.02, "text_encoder": 0.01}, 5.0) == FREE
    assert memory_plan({"unet": 0.02, "text_encoder": 0.01}, 0.02) != FREE


def test_plans_follow_the_largest_part():
    parts = {"unet": 4.0, "text_encoder": 9.0}
    assert memory_plan(parts, 22.1) == FREE
    assert memory_plan(parts, 21.9) == MODEL_OFFLOAD
    assert memory_plan(parts, 13.1) == MODEL_OFFLOAD
    assert memory_plan(parts, 12.9) == GROUP_OFFLOAD
    assert memory_plan({"unet": 1.0, "text_encoder": 12.0}, 12.9) == GROUP_OFFLOAD


@pytest.mark.parametrize(
    ("free", "called"), [(50.0, "to"), (3.5, "model"), (3.1, "group"), (None, "to")]
)
def test_a_pipeline_is_placed_by_its_plan(tiny_pipeline_dir, monkeypatch, free, called):
    """Sizes are those of a large model; the device is the CPU, and what is asked is listened to."""
    pipe, calls = models.load_pipeline(str(tiny_pipeline_dir), "cpu"), []
    monkeypatch.setattr(presets, "part_sizes", lambda pipe: {"unet": 0.4, "text_encoder": 0.4})
    names = {"to": "to", "model": "enable_model_cpu_offload", "group": "enable_group_offload"}
    for name, method in names.items():
        listen = lambda self, *a, name=name, **k: calls.append(name) or self  # noqa: E731
        monkeypatch.setattr(type(pipe), method, listen)
    assert place(pipe, torch.device("cpu"), free) is pipe
    assert calls == [called]
    assert pipe.vae.use_slicing == (called != "to")


def test_part_sizes_are_those_of_the_weights(tiny_pipeline_dir):
    pipe = models.load_pipeline(str(tiny_pipeline_dir), "cpu")
    sizes = presets.part_sizes(pipe)
    assert set(sizes) == {"unet", "vae", "text_encoder", "image_encoder"}
    floats = sum(p.numel() for p in pipe.unet.parameters())
    assert sizes["unet"] * presets.GIB == 4 * floats


def test_the_revision_reaches_the_download(monkeypatch, tiny_pipeline_dir):
    asked = {}

    def download(hub_id, **options):
        asked[hub_id] = options
        return str(tiny_pipeline_dir)

    monkeypatch.setattr(DiffusionPipeline, "download", download)
    for name, entry in WEB.items():
        assert locate(name) == tiny_pipeline_dir
        assert asked[entry.source]["revision"] == entry.revision
        assert asked[entry.source]["use_safetensors"]
    locate("someone/some-model")
    assert asked["someone/some-model"]["revision"] is None  # what is there, named by its files


class Refusal(OSError):
    """As the hub's own: an HTTP error with its answer."""

    def __init__(self, status):
        super().__init__(f"{status} Client Error.")
        self.response = type("Response", (), {"status_code": status})


class GatedRepoError(OSError):
    pass


@pytest.mark.parametrize(
    ("model", "cause", "line"),
    [
        ("sd35", Refusal(401), "accept the licence .Stability AI Community License. at https"),
        ("flux", Refusal(403), "huggingface.co/black-forest-labs/FLUX.1-schnell and log in with"),
        ("some/gated", GatedRepoError("no"), "accept the licence at https://huggingface.co/some"),
        ("sd35", Refusal(500), "cannot be fetched .cannot load model.; check the id"),
        ("some/typo", Refusal(401), "cannot be fetched"),  # 401 is all that the hub says of it
    ],
)
def test_a_gate_is_explained(monkeypatch, model, cause, line):
    def download(*_, **__):
        raise OSError("cannot load model\nand more") from cause

    monkeypatch.setattr(DiffusionPipeline, "download", download)
    with pytest.raises(UserError, match=line) as error:
        locate(model)
    assert "\n" not in str(error.value)


def test_the_files_of_a_revision_are_part_of_a_chunks_key(tiny_pipeline_dir, tmp_path):
    artist = Artist("sd15", 2, 4.0)
    artist.folder = tmp_path / "revision"
    shutil.copytree(tiny_pipeline_dir, artist.folder)
    spec = ChunkSpec("sd15", "bear", ("affirm",), (0,), 2, 4.0, "out")
    before = _settings(artist, spec)
    assert _settings(artist, spec) == before
    (artist.folder / "unet" / "config.json").write_text("another revision's")
    assert _settings(artist, spec) != before
