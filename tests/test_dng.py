"""Dynamic negative guidance against its equations written out, and its calibration."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from conftest import artist_of, two_rows
from families import build
from test_guidance import ZERO_SNR, latents, same_change
from whitebear.draw.generate import row_noise
from whitebear.errors import UserError
from whitebear.interventions import dng, fit_dng
from whitebear.interventions.dng import LEAST, Belief, Stochastic, _likeliest
from whitebear.models.load import REGISTRY, read_json

STEPS, GUIDANCE = 5, 4.0
SETTINGS = {"temperature": 0.5, "offset": 0.01, "prior": 0.3, "highest": 0.7}


def small(scheduler=ZERO_SNR):
    pipe = build("sd")
    pipe.scheduler = DDIMScheduler(**scheduler)
    return artist_of(pipe, STEPS, GUIDANCE)


@pytest.fixture(scope="module")
def rows():
    return two_rows()


def mean(pipe, out, t, x, before):
    """Of the step to the noise level `before`, and its variance: the posterior of DDPM."""
    a = float(pipe.scheduler.alphas_cumprod[t])
    if pipe.scheduler.config.prediction_type == "epsilon":
        clean = (x - (1 - a) ** 0.5 * out) / a**0.5
    else:
        clean = a**0.5 * x - (1 - a) ** 0.5 * out
    noise = 1 - a / before  # beta of this step
    where = before**0.5 * noise / (1 - a) * clean
    where = where + (1 - noise) ** 0.5 * (1 - before) / (1 - a) * x
    return where, (1 - before) / (1 - a) * noise


@torch.no_grad()
def written_out(artist, row, concept, strength):
    """Latents and p of each step, of one picture."""
    pipe, (dice,) = artist.pipe, row_noise(row)
    pipe.scheduler.set_timesteps(artist.steps)
    x = torch.randn((1, 16, 8, 8), generator=dice)
    said = ["", row.prompt.iloc[0], concept]
    states = [pipe.encode_prompt([text], "cpu", 1, False)[0] for text in said]
    times = [int(t) for t in pipe.scheduler.timesteps]
    levels = [float(pipe.scheduler.alphas_cumprod[t]) for t in times[1:]] + [1.0]
    p, beliefs = SETTINGS["prior"], []
    for t, before in zip(times, levels, strict=True):
        beliefs.append(p)
        nothing, prompt, far = (pipe.unet(x, t, encoder_hidden_states=s).sample for s in states)
        out = nothing + artist.guidance * (prompt - nothing)
        out = out - strength * p / (1 - p) * (far - nothing)
        where, variance = mean(pipe, out, t, x, before)
        means = [mean(pipe, o, t, x, before)[0] for o in (far, nothing)]
        x = where + variance**0.5 * torch.randn(x.shape, generator=dice)
        gap = float(((x - means[0]) ** 2).sum() - ((x - means[1]) ** 2).sum())
        if variance:
            told = (-SETTINGS["temperature"] * gap + SETTINGS["offset"]) / (2 * variance)
            p = min(max(p * np.exp(told), 1e-6), SETTINGS["highest"])
    return x, beliefs


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_dng_is_its_equations(rows, kind):
    clean = kind == "v_prediction"
    artist = small(ZERO_SNR | {"prediction_type": kind, "rescale_betas_zero_snr": clean})
    with dng(artist, rows, 1e-9):
        plain = latents(artist, rows)
    with dng(artist, rows, 5.0, **SETTINGS) as seen:
        found = latents(artist, rows)
    wanted = [written_out(artist, rows.iloc[[i]], c, 5.0) for i, c in enumerate(["bear", "owl"])]
    assert same_change(found, torch.cat([x for x, _ in wanted]), plain)
    beliefs = torch.stack(seen.beliefs, 1).numpy()
    assert np.allclose(beliefs, [p for _, p in wanted], rtol=1e-3)
    assert (beliefs.std(1) > 0.01).all()
    with dng(artist, rows, 5.0, **SETTINGS):  # in two batches
        parts = [latents(artist, rows[i : i + 1]) for i in (0, 1)]
    assert same_change(torch.cat(parts), found, plain)


def test_without_strength_it_is_the_stochastic_sampler(rows):
    artist = small()
    before = artist.pipe.scheduler
    with dng(artist, rows, 1e-9):
        assert artist.pipe.scheduler is not before
        images = artist.draw(rows, progress=False)
    assert artist.pipe.scheduler is before
    wanted = artist.pipe(list(rows.prompt), num_inference_steps=STEPS, guidance_scale=GUIDANCE,
                         generator=row_noise(rows), output_type="np", eta=1.0).images  # fmt: skip
    assert np.abs(np.rint(wanted * 255) - images).max() <= 1
    with pytest.raises(KeyboardInterrupt), dng(artist, rows):
        raise KeyboardInterrupt
    assert artist.pipe.scheduler is before


def test_no_step_of_the_shipped_schedule_leaves_the_numbers():
    """In its first one nothing is known: all that is left is noise, and 1 - a - sigma^2 is 0."""
    config = read_json(Path(REGISTRY["pocket"].source, "scheduler", "scheduler_config.json"), "")
    scheduler, x = Stochastic.like(DDIMScheduler.from_config(config)), torch.ones(1, 16, 8, 8)
    for steps in range(1, 101):
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps:
            assert torch.isfinite(scheduler.mean(x, int(t), x)).all(), (steps, t)


def test_p_stays_in_its_bounds():
    belief = Belief(1.0, 0.0, 0.1, 0.8)
    p, far = torch.full((3,), 0.1).double(), torch.tensor([1e6, -1e6, 0.0]).double()
    assert belief.after(p, far, 0.5).tolist() == pytest.approx([LEAST, 0.8, 0.1])


@pytest.mark.parametrize("family", ["sd3", "flux", "chroma"])
def test_a_flow_has_no_stochastic_ddim(rows, family):
    with pytest.raises(UserError, match="dng cannot be used here: .* samples a flow"):
        dng(artist_of(build(family), STEPS, GUIDANCE), rows)


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 0), ("offset", float("nan")), ("prior", 0.9), ("highest", 1), ("prior", 0)],
)
def test_a_belief_that_cannot_be_is_refused(rows, name, value):
    line = "give temperature > 0 and 1e-06 <= prior <= highest < 1"
    with pytest.raises(UserError, match=line):
        dng(small(), rows, **{name: value}).__enter__()


# --- calibration ----------------------------------------------------------------------------------


def test_the_likeliest_belief_tells_pictures_apart():
    """far of two models that are `gap` standard deviations apart, from images of either."""
    dice, gap, variance = np.random.default_rng(0), 1.0, [0.5, 0.5, 0.5, 0.5]
    shown = torch.arange(64) % 2 == 0
    noise = dice.normal(0, 0.5**0.5, (64, 4)) * gap
    far = torch.tensor(np.where(shown[:, None], -(gap**2), gap**2) - 2 * noise)
    belief = _likeliest(far, variance, shown, 0.1, 0.8)
    p = torch.full((64,), 0.1, dtype=torch.float64)
    for step in range(4):
        p = belief.after(p, far[:, step], variance[step])
    assert p[shown].mean() > 2 * p[~shown].mean()
    assert belief.temperature > 0 and (belief.prior, belief.highest) == (0.1, 0.8)


def test_what_looks_alike_is_not_fitted(some_images):
    artist, images = small(), np.tile(some_images, (4, 1, 1, 1))[:16]
    shown = np.arange(16) % 2 == 0
    with pytest.raises(UserError, match="pictures with and without the concept look alike"):
        fit_dng(artist, images, ["bear"] * 16, shown, text="")
    with pytest.raises(UserError, match="7 pictures show their concept and 9 do not; give 8"):
        fit_dng(artist, images, ["bear"] * 16, np.arange(16) < 7)
    with pytest.raises(UserError, match="16 images, 15 concepts and 16 answers; give one each"):
        fit_dng(artist, images, ["bear"] * 15, shown)
    with pytest.raises(UserError, match="StableDiffusionXLPipeline cannot be fitted"):
        fit_dng(artist_of(build("sdxl"), STEPS), images, ["bear"] * 16, shown)
