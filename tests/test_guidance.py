"""Methods that act on guidance, each against its formula written out."""

import warnings

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.pipelines.deprecated.stable_diffusion_safe import (
    SafetyConfig,
    StableDiffusionPipelineSafe,
)

from conftest import artist_of, tiny_pipeline, two_rows
from families import as_pipeline, build
from whitebear.draw.generate import call_options, row_noise
from whitebear.errors import UserError
from whitebear.interventions import find_method, negative_prompt, sld, unguided
from whitebear.interventions._guidance import Texts, empty_outside, guided_by
from whitebear.interventions.sld import PRESETS

STEPS, GUIDANCE = 5, 4.0
STACKED = ("sd", "sdxl", "sd3")
ZERO_SNR = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
            "timestep_spacing": "trailing", "clip_sample": False}  # fmt: skip


def small(family, scheduler=None):
    """An artist with a small random pipeline that makes images of 64 pixels."""
    pipe = build(family)
    pipe.default_sample_size = 8
    if scheduler:
        pipe.scheduler = DDIMScheduler(**scheduler)
    return artist_of(pipe, STEPS, GUIDANCE)


@pytest.fixture(scope="module")
def rows():
    """Two short prompts about two concepts."""
    return two_rows()


def drawn(artist, rows):
    return artist.draw(rows, progress=False).astype(int)


def close(images, wanted):
    return np.abs(images - np.asarray(wanted, int)).max() <= 1


def latents(artist, rows):
    """What is decoded to images: a small random decoder hides small differences."""
    return artist.pipe(
        list(rows.prompt), num_inference_steps=artist.steps, guidance_scale=artist.guidance,
        generator=row_noise(rows), output_type="latent", **call_options(artist.pipe),
    ).images  # fmt: skip


def same_change(found, wanted, plain):
    """Whether two edits of plain latents are the same, to a hundredth of the edit."""
    change = (wanted - plain).abs().max()
    return change > 1e-6 and (found - wanted).abs().max() < 0.01 * change


# --- the halves, and what is put in them ---------------------------------------------------------


@pytest.mark.parametrize("family", STACKED)
def test_a_pass_under_the_prompt_itself_says_what_the_prompt_says(family, rows):
    artist = small(family)
    texts, seen = Texts.of(artist.pipe, list(rows.prompt)), []

    def same(step):
        seen.append((step.number, step.rows))
        return step.under(texts.rows(step.rows))

    artist.batch = 1
    with guided_by(artist, 2, same):
        images = drawn(artist, rows)
    assert close(images, drawn(artist, rows))
    assert seen == [(i, slice(k, k + 1)) for k in (0, 1) for i in range(STEPS)]


@pytest.mark.parametrize("family", STACKED)
def test_outside_of_every_window_guidance_is_plain(family, rows):
    artist = small(family)
    plain = drawn(artist, rows)
    artist.negatives = ["a bear", "no owl"]
    assert not close(drawn(artist, rows), plain)
    with empty_outside(artist, 2, 0, 0):
        assert close(drawn(artist, rows), plain)


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda artist, rows: artist.pipe("a bear", guidance_scale=4.0, guidance_rescale=0.7,
                                          num_inference_steps=2), "guidance is off or rescaled"),
        (lambda artist, rows: artist.pipe("a bear", guidance_scale=1.0, num_inference_steps=2),
         "guidance is off or rescaled"),
        (lambda artist, rows: [drawn(artist, rows), drawn(artist, rows)],
         "more is drawn than the 2 rows"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["sld", "negative_prompt"])
def test_what_is_not_to_be_drawn_in_such_a_block_is_refused(rows, draw, said, name):
    artist = small("sd")
    options = {"until": 2} if name == "negative_prompt" else {}
    with pytest.raises(UserError, match=said) as error, find_method(name)(artist, rows, **options):
        draw(artist, rows)
    assert "\n" not in str(error.value)
    hooks = artist.pipe.unet._forward_hooks, artist.pipe.unet._forward_pre_hooks
    assert artist.negatives is None and not any(hooks)


# --- negative prompts in a window, and no guidance -----------------------------------------------


@pytest.mark.parametrize("family", STACKED)
@pytest.mark.parametrize(("start", "until"), [(1, 3), (0, 2), (3, None)])
def test_a_window_is_a_change_of_the_negative_rows_between_steps(family, rows, start, until):
    """As a callback of the pipeline makes it, which can change the stacked states."""
    artist = small(family)
    plain = drawn(artist, rows)
    with negative_prompt(artist, rows, start=start, until=until):
        images = drawn(artist, rows)
    texts = Texts.of(artist.pipe, ["bear", "owl"])
    pooled = {"sd": (), "sdxl": ("add_text_embeds",), "sd3": ("pooled_prompt_embeds",)}[family]
    names, kept = ["prompt_embeds", *pooled], {}

    def callback(pipe, step, time, given):
        if not kept:
            kept.update({name: tensor.clone() for name, tensor in given.items()})
        inside = start <= step + 1 < (until or STEPS)
        put = dict(zip(names, (texts.states, texts.pooled), strict=False))
        return {
            name: torch.cat([put[name] if inside else kept[name][:2], kept[name][2:]])
            for name in given
        }

    first = {"negative_prompt": ["bear", "owl"]} if start == 0 else {}
    if start == 0:  # what comes after the window is the empty prompt
        empty = Texts.empty(artist.pipe)
        cond = Texts.of(artist.pipe, list(rows.prompt))
        kept["prompt_embeds"] = torch.cat([empty.states.expand_as(cond.states), cond.states])
        for name in pooled:
            kept[name] = torch.cat([empty.pooled.expand_as(cond.pooled), cond.pooled])
    wanted = artist.pipe(
        list(rows.prompt), **first, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
        generator=row_noise(rows), output_type="np", callback_on_step_end=callback,
        callback_on_step_end_tensor_inputs=names, **call_options(artist.pipe),
    ).images  # fmt: skip
    assert close(images, np.rint(wanted * 255)) and not close(images, plain)


def test_the_whole_window_is_the_negative_prompt_of_the_pipeline(rows):
    artist = small("sd")
    with negative_prompt(artist, rows):
        whole = drawn(artist, rows)
    with negative_prompt(artist, rows, start=0, until=STEPS, text="{c}"):
        assert not artist.pipe.unet._forward_pre_hooks
        assert (drawn(artist, rows) == whole).all()


@pytest.mark.parametrize(
    ("start", "until"), [(2, 2), (-1, None), (0, STEPS + 1), (STEPS, None), (0.5, None), (0, True)]
)
def test_a_window_that_cannot_be_is_refused_in_one_line(rows, start, until):
    artist = small("sd")
    said = "give whole numbers with 0 <= start < until <= 5, the steps"
    with (
        pytest.raises(UserError, match=said),
        negative_prompt(artist, rows, start=start, until=until),
    ):
        pass
    assert artist.negatives is None


def test_without_guidance_the_prompt_alone_is_drawn(rows):
    artist = small("sd")
    with unguided(artist, rows):
        images = drawn(artist, rows)
    assert (images == drawn(artist.sampling(STEPS, 1.0), rows)).all()
    with unguided(artist, rows, 0.5):
        half = drawn(artist, rows)
    assert (half == drawn(artist.sampling(STEPS, 2.5), rows)).all()
    with pytest.raises(KeyboardInterrupt), unguided(artist, rows):
        raise KeyboardInterrupt
    assert artist.guidance == GUIDANCE


def test_the_request_as_its_own_negative_prompt_is_no_guidance(rows):
    artist = small("sd")
    with negative_prompt(artist, rows[:1], text="a {c}"):
        images = drawn(artist, rows[:1])
    with unguided(artist, rows):
        assert close(images, drawn(artist, rows[:1]))


# --- safe latent diffusion -----------------------------------------------------------------------


@torch.no_grad()
def written_out(artist, rows, preset, concepts, clean):
    """Latents by the equations in predicted noise, picture by picture, in a sampling loop of its
    own; noise from outputs by the formulas of prediction types."""
    pipe, found = artist.pipe, []
    for i_row, concept in enumerate(concepts):
        pipe.scheduler.set_timesteps(artist.steps)
        row = rows.iloc[[i_row]]
        x = torch.randn((1, 16, 8, 8), generator=row_noise(row)[0], dtype=pipe.unet.dtype)
        said = ["", row.prompt.iloc[0], concept]
        states = [pipe.encode_prompt([text], "cpu", 1, False)[0] for text in said]
        nu = torch.zeros_like(x)
        for i, t in enumerate(pipe.scheduler.timesteps):
            a = float(pipe.scheduler.alphas_cumprod[t])
            out = [pipe.unet(x, t, encoder_hidden_states=state).sample for state in states]
            noise = out
            if clean:  # v = sqrt(a) eps - sqrt(1 - a) x0
                noise = [a**0.5 * v + (1 - a) ** 0.5 * x for v in out]
            nothing, prompt, unsafe = noise
            mu = torch.zeros_like(x)
            for place in np.ndindex(*x.shape):
                if prompt[place] - unsafe[place] < preset.threshold:
                    far = abs(prompt[place] - unsafe[place]) * preset.scale
                    mu[place] = min(1.0, float(far))
            gamma = mu * (unsafe - nothing) + preset.momentum * nu
            nu = preset.beta * nu + (1 - preset.beta) * gamma
            turned = gamma if i >= round(preset.warmup / 50 * artist.steps) else 0 * gamma
            eps = nothing + artist.guidance * (prompt - nothing - turned)
            if clean and a > 1e-8:
                eps = (eps - (1 - a) ** 0.5 * x) / a**0.5
            elif clean:  # x is the noise, whatever v is
                eps = out[0] + artist.guidance * (out[1] - out[0])
            x = pipe.scheduler.step(eps, t, x).prev_sample
        found.append(x)
    return torch.cat(found)


@pytest.mark.parametrize("level", PRESETS)
@pytest.mark.parametrize("clean", [False, True], ids=["noise", "v and zero SNR"])
def test_sld_is_its_equations_in_predicted_noise(rows, level, clean):
    noisy = ZERO_SNR | {"prediction_type": "epsilon", "rescale_betas_zero_snr": False}
    artist = small("sd", ZERO_SNR if clean else noisy)
    artist.pipe.to(torch.float64)  # weak turns little: less than float32 rounds
    wanted = written_out(artist, rows, PRESETS[level], ["bear", "owl"], clean)
    plain = latents(artist, rows)
    with sld(artist, rows, level):
        assert same_change(latents(artist, rows), wanted, plain)
    with sld(artist, rows, level):  # in two batches
        parts = [latents(artist, rows[i : i + 1]) for i in (0, 1)]
    assert same_change(torch.cat(parts), wanted, plain)


@pytest.mark.parametrize("level", PRESETS)
def test_sld_is_that_of_its_authors(rows, level, monkeypatch):
    """The pipeline that they gave to diffusers, which still runs."""
    scheduler = DDIMScheduler(prediction_type="epsilon", steps_offset=1, clip_sample=False)
    artist, one = artist_of(build("sd"), 10, GUIDANCE), rows[1:]
    artist.pipe.scheduler = scheduler
    artist.pipe.to(torch.float64)
    settings = dict(getattr(SafetyConfig, level.upper()))
    settings["sld_warmup_steps"] = round(settings["sld_warmup_steps"] / 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = as_pipeline(StableDiffusionPipelineSafe, tiny_pipeline(), scheduler=scheduler,
                             safety_checker=None)  # fmt: skip
        theirs.to(torch.float64)
        theirs.safety_concept = "owl"
        monkeypatch.setattr(theirs, "decode_latents", lambda latents: latents.numpy())
        wanted = theirs(list(one.prompt), num_inference_steps=10, guidance_scale=GUIDANCE,
                        generator=row_noise(one), output_type="np", **settings).images  # fmt: skip
    with sld(artist, one, level):
        found = latents(artist, one)
    assert same_change(found, torch.from_numpy(wanted), latents(artist, one))


@pytest.mark.parametrize("family", ["sdxl", "sd3"])
def test_sld_draws_in_other_families(family, rows):
    artist = small(family)
    plain = drawn(artist, rows)
    with sld(artist, rows, "max"):
        assert not close(drawn(artist, rows), plain)
    with sld(artist, rows, "max", scale=0.0, momentum=0.0):  # mu = 0
        assert close(drawn(artist, rows), plain)


def test_sld_is_told_by_level_or_number_and_nothing_else(rows):
    artist = small("sd")
    assert sld.check("max") == 4.0 and sld.check(None) == sld.check("strong")
    for strength in ("stronk", 2.5, 5, float("nan")):
        line = "sld takes a whole number from 0 to 4 \\(none, weak, medium, strong, max\\)"
        with pytest.raises(UserError, match=line):
            sld(artist, rows, strength)
    with pytest.raises(UserError, match="no 'tresh'; did you mean threshold"):
        sld(artist, rows, tresh=1).__enter__()


@pytest.mark.parametrize(
    ("name", "options"), [("sld", {}), ("negative_prompt", {"start": 1}), ("unguided", {})]
)
def test_where_there_are_no_halves_to_guide_a_line_says_so(rows, name, options):
    method = find_method(name)
    for artist in (small("flux"), small("sd").sampling(STEPS, 1.0)):
        with pytest.raises(UserError, match=f"{name} cannot be used here: ") as error:
            method(artist, rows, **options)
        assert "\n" not in str(error.value)
