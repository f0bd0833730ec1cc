"""An image belongs to its (concept, seed, prompt), wherever in table or batch its row stands."""

import numpy as np
import pandas as pd
import pytest
import torch

from families import tiny_sdxl
from whitebear.draw.generate import generate, noise_seed
from whitebear.errors import UserError
from whitebear.models.load import load_pipeline


@pytest.fixture(scope="module")
def pipe(tiny_pipeline_dir):
    return load_pipeline(str(tiny_pipeline_dir), "cpu")


@pytest.fixture(scope="module")
def table():
    rows = [(c, s, f"{w} {c}") for c in ("bear", "owl") for w in ("a", "no") for s in (0, 1)]
    return pd.DataFrame(rows, columns=["concept", "seed", "prompt"])


@pytest.fixture(scope="module")
def images(pipe, table):
    return generate(pipe, table, 3, 4.0, batch_size=4, progress=False)


def test_shape_and_variety(images, table):
    assert images.shape == (len(table), 64, 64, 3)
    assert images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == len(table)


def test_same_batch_shape_gives_the_same_bits(pipe, table, images):
    order = np.random.default_rng(0).permutation(len(table))
    shuffled = generate(pipe, table.iloc[order], 3, 4.0, batch_size=4, progress=False)
    assert np.array_equal(shuffled, images[order])


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_another_batch_shape_gives_the_same_image(pipe, table, images, batch_size):
    again = generate(pipe, table, 3, 4.0, batch_size=batch_size, progress=False)
    assert np.abs(again.astype(int) - images).max() <= 1


def test_noise_is_what_the_definition_says(pipe, table):
    """Independent way: hand the pipeline one latent drawn here, and its own prompt encoding."""
    row = table.iloc[5]
    noise = torch.Generator().manual_seed(noise_seed(row.concept, row.seed))
    latents = torch.randn((1, 16, 8, 8), generator=noise)
    out = pipe(row.prompt, latents=latents, num_inference_steps=3, guidance_scale=4.0)
    ours = generate(pipe, table.iloc[[5]], 3, 4.0, progress=False)[0]
    assert np.abs(np.asarray(out.images[0]).astype(int) - ours).max() <= 1


def test_noise_seeds_are_stable_and_differ():
    assert noise_seed("bear", 0) == 1225163616673384961
    seeds = {noise_seed(concept, seed) for concept in ("bear", "owl") for seed in range(100)}
    assert len(seeds) == 200


def test_without_guidance(pipe, table):
    images = generate(pipe, table.head(2), 2, 1.0, progress=False)
    assert images.shape == (2, 64, 64, 3)


@pytest.mark.parametrize("steps", [0, -3, 2.5, True, "20"])
def test_bad_steps(pipe, table, steps):
    with pytest.raises(UserError, match="steps is .* at least 1"):
        generate(pipe, table, steps, 4.0)


@pytest.mark.parametrize("guidance", [-1, float("nan"), float("inf"), "4", None, True])
def test_bad_guidance(pipe, table, guidance):
    with pytest.raises(UserError, match="guidance is .* at least 0"):
        generate(pipe, table, 2, guidance)


def test_nothing_to_do(pipe, table):
    with pytest.raises(UserError, match="nothing to generate"):
        generate(pipe, table.head(0), 2, 4.0)


def test_pipelines_with_encoders_of_their_own(table):
    """The road of SDXL, SD3.5 and FLUX: prompts go in as text, noise still belongs to the row."""
    pipe = tiny_sdxl()
    pipe.set_progress_bar_config(disable=True)
    images = generate(pipe, table, 2, 4.0, batch_size=4, progress=False)
    assert images.shape[0] == len(table)
    assert images.dtype == np.uint8
    alone = generate(pipe, table.iloc[[6]], 2, 4.0, progress=False)[0]
    assert np.abs(alone.astype(int) - images[6]).max() <= 1
