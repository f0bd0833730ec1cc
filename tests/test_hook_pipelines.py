"""Other pipelines that people watch, and what they do with it: pictures stay the same, numbers are
attention written out, and the rest is refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionXLImg2ImgPipeline,
    UNet2DConditionModel,
)
from PIL import Image

from families import PROMPT, as_pipeline, build, draw, explicit_attention, tiny_vae
from whitebear.errors import UserError
from whitebear.files import ROOT
from whitebear.hooks import capture_attention

BEAR = [17, 18, 19, 20]  # the keys of the word in PROMPT, a token a letter
GRAY, WHITE = (Image.new("RGB", (64, 64), colour) for colour in ("gray", "white"))


def another_unet(parts, **sizes):
    torch.manual_seed(9)
    return UNet2DConditionModel(**{**parts.unet.config, **sizes}).eval()


def inpainting():
    """The picture and its mask stand beside the latents that are drawn."""
    parts = build("sd")
    unet = another_unet(parts, in_channels=4 + 4 + 1, out_channels=4)
    pipe = as_pipeline(StableDiffusionInpaintPipeline, parts, unet=unet, vae=tiny_vae())
    return pipe, {"image": GRAY, "mask_image": WHITE, "height": 64, "width": 64}


def controlled(guess):
    parts = build("sd")
    control = ControlNetModel.from_unet(parts.unet, conditioning_channels=3)
    pipe = as_pipeline(StableDiffusionControlNetPipeline, parts, controlnet=control.eval())
    return pipe, {"image": GRAY, "guess_mode": guess}


def larger_from_image():
    return as_pipeline(StableDiffusionXLImg2ImgPipeline, build("sdxl")), {"image": GRAY}


def edited_by_words():
    """InstructPix2Pix: the latents of a picture stand beside those that are drawn."""
    parts = build("sd")
    unet = another_unet(parts, in_channels=16 + 16)
    return as_pipeline(StableDiffusionInstructPix2PixPipeline, parts, unet=unet), {"image": GRAY}


PIPELINES = {
    "inpainting": (inpainting, 5.0),
    "inpainting, unguided": (inpainting, 1.0),
    "ControlNet": (lambda: controlled(False), 5.0),
    "ControlNet, guess mode": (lambda: controlled(True), 5.0),
    "SDXL, image to image": (larger_from_image, 5.0),
    "InstructPix2Pix, unguided": (edited_by_words, 1.0),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_is_watched_as_it_is(name, monkeypatch):
    make, guidance = PIPELINES[name]
    pipe, options = make()

    def image():
        noise = torch.Generator().manual_seed(0)
        return pipe(PROMPT, num_inference_steps=4, guidance_scale=guidance, generator=noise,
                    output_type="np", **options).images  # fmt: skip

    with explicit_attention(pipe, monkeypatch) as seen:
        plain = image()
    with capture_attention(pipe, ["bear"]) as cap:
        watched = image()
    assert np.array_equal(watched, plain)
    ds = cap.dataset()
    truth = [[p[-1][..., BEAR].sum(-1).mean() for p in seen[path]] for path in ds.layer.values]
    np.testing.assert_allclose(ds.mass.sel(token="bear")[0], torch.tensor(truth).T, atol=1e-5)


def test_guidance_by_a_picture_and_by_words_is_refused():
    pipe, options = edited_by_words()
    with (
        pytest.raises(UserError, match="does not stack .* halves"),
        capture_attention(pipe, ["bear"]),
    ):
        pipe(PROMPT, num_inference_steps=2, guidance_scale=5.0, **options)


def test_image_tokens_that_are_merged_are_refused_in_a_map():
    """As by ToMe: attention of half the places, each of which stands for two."""
    pipe = build("sd")
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    whole = layer.forward

    def merged(states, *args, **options):
        return whole(states[:, ::2], *args, **options).repeat_interleave(2, 1)

    layer.forward = merged
    with (
        pytest.raises(UserError, match="8 image queries do not fit a grid of 8x8"),
        capture_attention(pipe, ["bear"], ("map",)),
    ):
        draw(pipe, "sd", PROMPT)


def test_a_dataset_is_kept_as_a_file(tmp_path):
    pipe = build("sd")
    prompt = "ein Bär 🐻 und 熊"
    with capture_attention(pipe, ["Bär"], ("mass", "map"), grid=4, prompts=[prompt]) as cap:
        draw(pipe, "sd", prompt)
    cap.dataset().to_netcdf(tmp_path / "Bär 🐻.nc")
    with xr.open_dataset(tmp_path / "Bär 🐻.nc") as kept:
        assert kept.prompt.values.tolist() == [prompt] and "Bär" in kept.token.values
        np.testing.assert_array_equal(kept.mass, cap.dataset().mass)


TELL = """
import json
from whitebear.draw.generate import row_noise
from whitebear.draw.grid import ChunkSpec, _row_keys, _rows, decided_by
spec = ChunkSpec("pocket", "bear", ("affirm", "negate"), (0, 1), 2, 4.0, "out")
rows = _rows(spec)
noise = [float(g.initial_seed()) for g in row_noise(rows)]
print(json.dumps([decided_by(spec), _row_keys(spec, rows), noise]))
"""


def test_what_decides_a_picture_does_not_depend_on_the_machines_habits(tmp_path, capsys):
    """Hash seed, time zone, locale, threads, and the folder in which it is run."""
    odd = tmp_path / "Bär 🐻 (1)"
    odd.mkdir()
    habits = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C", "OMP_NUM_THREADS": "2"}
    told = subprocess.run(
        [sys.executable, "-c", TELL], capture_output=True, text=True, check=True, cwd=odd,
        env=os.environ | {"PYTHONPATH": str(ROOT / "lib")} | habits,
    ).stdout  # fmt: skip
    exec(TELL, {})
    here, there = (json.loads(x.splitlines()[-1]) for x in (capsys.readouterr().out, told))
    assert here == there and len(here[1]) == len(here[2]) > 4
