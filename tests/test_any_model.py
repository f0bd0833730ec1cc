"""The chapters on models of every family: small random ones, saved, loaded by path, and the same
notebooks run on them from the first cell to the last."""

import ast
import functools

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import ChromaPipeline, FluxPipeline, PNDMScheduler
from IPython.core.interactiveshell import InteractiveShell

import conftest
import families
from conftest import artist_of
from whitebear.draw.artist import Artist, artist_with_part
from whitebear.draw.generate import fitting_batch, generate
from whitebear.draw.grid import Run, run_grid
from whitebear.errors import UserError
from whitebear.files import MODELS, ROOT
from whitebear.hooks import capture_attention, patch_text, text_states
from whitebear.interventions import negative_prompt
from whitebear.measures import attention, swaps as patching, text_states as encoder_states
from whitebear.models.load import load_pipeline
from whitebear.pocket.experiments import arena_results
from whitebear.prompts import prompt_grid
from whitebear.scoring import judge as scoring
from whitebear.scoring.calibration import NEUTRAL, calibrate

FAMILIES = ("sd", "sdxl", "sd3", "flux", "chroma")
CHAPTERS = ("03", "04", "05", "06", "07", "08", "11")
GUIDANCE = {"flux": 0.0}  # as FLUX.1-schnell; the others are guided


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_clip_dir):
    """A pipeline folder of each family, and CLIP to judge them; all draw 64 pixels, not 1024."""
    home, spell = tmp_path_factory.mktemp("families"), conftest.tiny_tokenizer

    def small(start):
        @functools.wraps(start)
        def init(self, *parts, **named):
            start(self, *parts, **named)
            self.default_sample_size = 8

        return init

    with pytest.MonkeyPatch.context() as patch:
        for kind in (FluxPipeline, ChromaPipeline):  # their size is no part of their transformer
            patch.setattr(kind, "__init__", small(kind.__init__))
        patch.setattr(scoring, "SAME_CLIP_FOR_ALL", str(tiny_clip_dir))
        # a token is a letter here, so prompts of ordinary length need more than 77
        patch.setattr(families, "tiny_tokenizer", lambda: spell(256))
        patch.setattr(families, "tiny_pipeline", lambda: conftest.tiny_pipeline(256))
        patch.setitem(families.FAMILIES, "sd", families.tiny_pipeline)
        for name in FAMILIES:
            pipe = families.FAMILIES[name]()
            if name == "sd":  # as Stable Diffusion 1.5 comes: a call more than steps
                pipe.scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1)
                pipe.image_encoder = None
            pipe.save_pretrained(home / name)
        yield home


def run_notebook(path, parameters: dict) -> None:
    """Every code cell, in this process: a kernel for each would take longer than the chapters."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    for i, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type != "code":
            continue
        source = cell.source
        if "parameters" in cell.metadata.get("tags", []):
            known = [line.target.id for line in ast.parse(source).body]
            source += "".join(f"\n{k} = {v!r}" for k, v in parameters.items() if k in known)
        done = shell.run_cell(source)
        assert done.success, (
            f"{path.stem}, cell {i}: {done.error_in_exec or done.error_before_exec}"
        )
    InteractiveShell.clear_instance()


# Chroma is in no preset.
@pytest.mark.parametrize("family", FAMILIES[:4])
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_runs_on_any_model(folders, family, chapter, tmp_path, capsys):
    parameters = {
        "model": str(folders / family), "concepts": ["bear", "garbage truck"],
        "attributes": ["red"], "seeds": 1, "steps": 2, "guidance": GUIDANCE.get(family, 4.0),
        "output": str(tmp_path / "out"), "encoder": str(folders / family / "text_encoder"),
    }  # fmt: skip
    if chapter == "04":  # its wordings describe concepts
        parameters["concepts"] = ["bear", "car"]
    (notebook,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    run_notebook(notebook, parameters)
    assert list((tmp_path / "out").glob(f"{chapter}_*.json"))


def test_the_arenas_small_version_runs_on_any_unet(folders, tmp_path, monkeypatch, capsys):
    """Beside whatever is published for the pocket model; here nothing, since that takes a while."""
    monkeypatch.setattr(arena_results.load_published, "__defaults__", ((),))
    parameters = {
        "model": str(folders / "sdxl"), "concepts": ["bear", "car"], "seeds": 8, "steps": 2,
        "methods": ["instruction", "negative-prompt", "name-values", "uce-carrier"],
        "output": str(tmp_path / "out"),
    }  # fmt: skip
    run_notebook(next((ROOT / "notebooks").glob("12_*.ipynb")), parameters)
    assert (tmp_path / "out" / "12_beyond_words.json").is_file()
    assert "0 methods beside the instruction" in capsys.readouterr().out


@pytest.fixture(scope="module")
def pipes(folders):
    return {name: load_pipeline(str(folders / name), "cpu") for name in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_grid_is_judged_zero_shot_and_calibrated(folders, family, tmp_path):
    run = Run(str(folders / family), ["bear"], ["affirm", "omit"], 6, 1,
              GUIDANCE.get(family, 4.0), str(tmp_path))  # fmt: skip
    table = run_grid(run, progress=False)
    assert table.logit.notna().all() and (table.threshold != NEUTRAL).all()
    assert table.present.equals(table.logit >= table.threshold)
    assert table.groupby("seed").threshold.first().nunique() == 2  # each half by the other
    (chunk,) = (tmp_path / "chunks").iterdir()
    raw = pd.read_parquet(chunk)
    assert np.allclose(raw.p_asked, 1 / (1 + np.exp(-raw.logit)), atol=1e-6)  # as scored


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_fit_and_change_nothing(pipes, family):
    pipe, table = pipes[family], prompt_grid(["bear"], ["affirm"], [0])
    assert fitting_batch(pipe) == 64
    guidance = GUIDANCE.get(family, 4.0)
    images = generate(pipe, table, 2, guidance, progress=False)
    assert images.shape == (len(table), 64, 64, 3)
    alone = generate(pipe, table, 2, guidance, batch_size=1, progress=False)
    assert np.abs(alone.astype(int) - images).max() <= 1


@pytest.mark.parametrize(("pixels", "batch"), [(64, 64), (512, 8), (768, 3), (1024, 2), (4096, 1)])
def test_large_pictures_come_few_at_a_time(pipes, monkeypatch, pixels, batch):
    monkeypatch.setattr(pipes["flux"], "default_sample_size", pixels // 8)
    assert fitting_batch(pipes["flux"]) == batch


@pytest.mark.parametrize("family", FAMILIES)
def test_negative_prompts_act_where_there_is_guidance_and_are_left_out_elsewhere(pipes, family):
    pipe, table = pipes[family], prompt_grid(["bear", "owl"], ["affirm"], [0]).iloc[[0, -1]]
    table = table.reset_index(drop=True)
    artist = artist_of(pipe, 3)
    _, data = attention.watch(artist, table)
    negative = attention.watch_under(negative_prompt, artist, table, 1.0)
    mass = negative.mass.sel(token="concept"), data.mass.sel(token="concept")
    assert np.allclose(mass[0].sel(step=0), mass[1].sel(step=0), atol=1e-5)  # the same noise
    assert not np.allclose(mass[0].sel(step=2), mass[1].sel(step=2), atol=1e-7)
    with pytest.raises(UserError, match="negative prompt does nothing at guidance 1"):
        negative_prompt(artist_of(pipe, 3, 1.0), table)
    unguided = artist_of(pipe, 2, 0.0)
    controls = attention.positive_controls(unguided, table)
    assert list(dict.fromkeys(controls.what)) == ["weight 1/2", "weight 0"]


@pytest.mark.parametrize("family", ["sd3", "flux", "chroma"])
def test_sources_are_padded_like_the_prompts_that_they_replace(pipes, family):
    """T5 reads its padding, so states of another length are other states."""
    pipe, prompt = pipes[family], "a bear"
    for length in (32, 256):
        with patch_text(pipe, "a car", prompt, "all") as patch:
            families.draw(pipe, family, "a car", max_sequence_length=length)
        states = next(iter(patch.sources.values()))
        options = {"sd3": {"prompt_2": None, "prompt_3": None}, "flux": {"prompt_2": None}}
        wanted = pipe.encode_prompt(prompt, max_sequence_length=length, **options.get(family, {}))[
            0
        ]
        assert torch.allclose(states, wanted[0], atol=1e-5)


def test_chapter_8_learns_from_its_plain_pictures(pipes, folders):
    artist = artist_of(pipes["sdxl"], 2, model=str(folders / "sdxl"))
    table = patching.grid(["bear", "car"], 8, artist)
    found = calibrate(patching.draw(artist, table))
    assert (found.threshold != NEUTRAL).all() and set(found.part) > {""}
    with pytest.raises(UserError, match="steps is 1, which has no halves"):
        patching.draw(artist.sampling(1, 4.0), table)


def test_halves_are_halves_of_the_calls_that_the_scheduler_makes(pipes, folders, monkeypatch):
    """PNDM makes one call more than steps: with 2 steps 3 calls, of which the second half has 2."""
    asked, real = [], patching.patch_text

    def listened(*given, steps, **named):
        asked.append(steps)
        return real(*given, steps=steps, **named)

    monkeypatch.setattr(patching, "patch_text", listened)
    artist = artist_of(pipes["sd"], 2, model=str(folders / "sd"))
    patching.draw(artist, patching.grid(["bear"], 1, artist))
    halves = [steps for steps in asked if steps != "all"]
    assert halves and set(map(tuple, halves)) == {(0,), (1, 2)}


def test_layers_of_unequal_heads_are_watched_head_by_head(pipes):
    """As SDXL and Stable Diffusion 2.1 have; their mean is the mean over the heads that are."""
    pipe, prompt = pipes["sdxl"], "a bear"
    data = {}
    for heads in ("all", "mean"):
        with capture_attention(pipe, ["bear"], heads=heads, prompts=[prompt]) as capture:
            pipe(prompt, num_inference_steps=1, guidance_scale=1.0, output_type="latent",
                 generator=torch.Generator().manual_seed(0))  # fmt: skip
        data[heads] = capture.dataset()
    every = data["all"]
    assert sorted(set(every.heads.values)) == [2, 4] and every.sizes["head"] == 4
    lacking = every.mass.isnull().all(("sample", "step", "token"))
    assert (lacking.sum("head") == 4 - every.heads).all()
    assert np.allclose(every.mass.mean("head"), data["mean"].mass, atol=1e-6)


def test_text_states_that_are_not_needed_are_not_read(pipes, monkeypatch):
    """T5's would take gigabytes."""
    pipe = pipes["sd3"]

    def read(*_, **__):
        raise AssertionError("the encoder was called")

    for name in ("text_encoder_2", "text_encoder_3"):
        monkeypatch.setattr(getattr(pipe, name), "forward", read)
    table = prompt_grid(["bear"], ["affirm"], [0])
    assert len(encoder_states.vectors(pipe, table)) == len(table)
    with pytest.raises(UserError, match="has no text_encoder_4"):
        text_states(pipe, ["a bear"], "text_encoder_4")


def test_the_pocket_models_encoder_is_refused_before_anything_is_fetched():
    """The default of the chapter on another encoder fits no model of the web."""
    with pytest.raises(UserError, match="is a text_encoder of the pocket model and fits no other"):
        artist_with_part(Artist("sd15"), "text_encoder", MODELS / "taught" / "text_encoder")


@pytest.mark.parametrize("concept", ["beach", "city street", "Night", "a room", "sky"])
def test_a_concept_that_prompts_without_it_would_show_is_refused(concept):
    with pytest.raises(UserError, match="is a place that pictures without it are set in"):
        prompt_grid([concept], ["omit"], 1, free=True)
    assert len(prompt_grid(["sea lion", "roomba"], ["omit"], 1, free=True))


def test_pictures_that_are_no_numbers_are_refused(pipes, monkeypatch):
    pipe, table = pipes["sd"], prompt_grid(["bear"], ["affirm"], [0])
    broken = lambda z, **_: (torch.full((len(z), 3, 64, 64), torch.nan),)  # noqa: E731
    monkeypatch.setattr(pipe.vae, "decode", broken)
    with pytest.raises(UserError, match="no numbers .* load it in bfloat16 or float32"):
        generate(pipe, table, 1, 4.0, progress=False)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("plan", ["model", "group"])
def test_offloaded_models_are_seen_as_well(folders, pipes, family, plan):
    """The same attention, states and pictures; here the "GPU" is the CPU."""
    pipe, cpu = load_pipeline(str(folders / family), "cpu"), torch.device("cpu")
    if plan == "model":
        pipe.enable_model_cpu_offload(device=cpu)
    else:
        pipe.enable_group_offload(cpu, cpu, offload_type="leaf_level")
    table = prompt_grid(["bear"], ["affirm"], [0]).head(2)
    guidance = GUIDANCE.get(family, 4.0)
    wanted, found = (
        attention.watch(artist_of(p, 2, guidance), table) for p in (pipes[family], pipe)
    )
    assert np.abs(wanted[0].astype(int) - found[0]).max() <= 1
    assert np.allclose(wanted[1].mass, found[1].mass, atol=1e-5)
    states = [text_states(p, ["a bear"]) for p in (pipes[family], pipe)]
    for name, data in states[0].items():
        assert np.allclose(data["last"], states[1][name]["last"], atol=1e-5)
    with patch_text(pipe, list(table.prompt), "a car", "eos"):
        patched = generate(pipe, table, 2, guidance, progress=False)
    assert patched.shape == found[0].shape
