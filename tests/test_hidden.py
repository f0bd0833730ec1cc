"""Probes of "hidden or gone": each finds what is hidden, and nothing where nothing was begun."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler

from conftest import artist_of, tiny_pipeline
from families import build
from whitebear.draw.artist import Artist
from whitebear.draw.generate import row_noise
from whitebear.errors import UserError
from whitebear.interventions import (
    adversarial_states,
    cross_attention_weights,
    suppress_states,
    uce,
    weigh,
)
from whitebear.measures import completion, one_token, undoing
from whitebear.prompts import prompt_grid

STEPS = 4


@pytest.fixture(scope="module")
def artist(tiny_pipeline_dir):
    return Artist(str(tiny_pipeline_dir), STEPS, 4.0, "cpu")


@pytest.fixture(scope="module")
def rows():
    grid = prompt_grid(["bear"], ["affirm"], 3)
    return grid[grid.wording == "affirm-with"].reset_index(drop=True)


@pytest.fixture
def seen(monkeypatch):
    """The images that were judged last."""
    found = SimpleNamespace(images=None)

    def judged(artist, rows, images):
        found.images = images
        return rows.assign(present=images.mean((1, 2, 3)) > 127)

    monkeypatch.setattr(Artist, "judged", judged)
    return found


# --- the closed-form state -----------------------------------------------------------------------


def test_the_closed_form_state_undoes_an_edit_that_can_be_undone(artist, rows, seen):
    artist = artist.sampling(STEPS, 1.0)  # the empty prompt is read by edited weights, too
    plain = artist.draw(rows, progress=False)
    with uce(artist, rows, 0.5, form="2025"):
        edited = artist.draw(rows, progress=False)
        undoing.undone(artist, rows, lam=1e-9)
    assert np.abs(edited.astype(int) - plain).max() > 2
    assert np.abs(seen.images.astype(int) - plain).max() <= 1


def test_the_states_are_those_of_the_formula(artist, rows, seen):
    old = {k: w.detach().clone() for k, w in cross_attention_weights(artist.pipe.unet).items()}
    row = rows.head(1)
    with uce(artist, row):
        new = cross_attention_weights(artist.pipe.unet)
        c = artist.pipe.encode_prompt(row.prompt[0], "cpu", 1, False)[0].detach()
        back = adversarial_states(c, new.values(), old.values(), 0.2).float()
        found = undoing.undone(artist, row, lam=0.2)
        wanted = artist.pipe(
            prompt_embeds=back, negative_prompt_embeds=artist.pipe.encode_prompt(
                "", "cpu", 1, False)[0], num_inference_steps=STEPS, guidance_scale=4.0,
            latents=noise_of(row), output_type="np",
        ).images  # fmt: skip
    assert len(found) == 1 and "present" in found
    assert np.abs(np.rint(wanted * 255) - seen.images).max() <= 1


def noise_of(row):
    return torch.randn((1, 16, 8, 8), generator=row_noise(row)[0])


def test_a_model_that_never_knew_is_held_against_one_that_knows(artist, rows, seen):
    """Their K and V differ; states are those of the model that knows."""
    artist, other = artist.sampling(STEPS, 1.0), artist_of(tiny_pipeline(256), STEPS, 1.0)
    other.pipe.set_progress_bar_config(disable=True)
    for part in ("unet", "vae", "text_encoder"):
        getattr(other.pipe, part).load_state_dict(getattr(artist.pipe, part).state_dict())
    for weight in cross_attention_weights(other.pipe.unet).values():
        weight.data.mul_(0.5)
    undoing.undone(other, rows, known=artist, lam=1e-9)
    assert np.abs(seen.images.astype(int) - artist.draw(rows, progress=False)).max() <= 1
    with pytest.raises(UserError, match="other names or shapes; give twins"):
        undoing.undone(other, rows, known=artist_of(build("sdxl"), STEPS))


def test_outside_of_a_block_there_is_nothing_to_undo(artist, rows):
    with pytest.raises(UserError, match="no weights are edited here"):
        undoing.undone(artist, rows)


# --- completion ----------------------------------------------------------------------------------


def test_what_the_same_model_completes_is_the_picture(artist, rows, seen):
    plain = artist.draw(rows, progress=False)
    before = vars(artist.pipe.scheduler).keys()
    few = artist.using(artist.pipe)
    few.batch = 2  # two batches
    begun = completion.begin(few, rows, 2)
    completion.complete(few, begun)
    assert np.array_equal(seen.images, plain)
    assert vars(artist.pipe.scheduler).keys() == before


def test_what_is_left_of_the_steps_is_drawn_by_the_other(artist, rows, seen):
    """Written out: DDIM by hand, the first steps by one model and the rest by the other."""
    begun, row = completion.begin(artist, rows.head(1), 3), rows.head(1)
    with uce(artist, row):
        completion.complete(artist, begun)
    scheduler = DDIMScheduler.from_config(artist.pipe.scheduler.config)
    scheduler.set_timesteps(STEPS)
    read = [artist.pipe.encode_prompt(x, "cpu", 1, False)[0].detach() for x in ("", row.prompt[0])]
    latents = noise_of(row)

    @torch.no_grad()
    def on(latents, t):
        empty, named = artist.pipe.unet(latents.repeat(2, 1, 1, 1), t, torch.cat(read)).sample
        return scheduler.step((empty + 4 * (named - empty))[None], t, latents).prev_sample

    for t in scheduler.timesteps[:3]:
        latents = on(latents, t)
    with uce(artist, row):
        latents = on(latents, scheduler.timesteps[3])
    with torch.no_grad():
        image = artist.pipe.vae.decode(latents / artist.pipe.vae.config.scaling_factor).sample
    wanted = (image.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1).numpy() * 255
    assert np.abs(np.rint(wanted) - seen.images).max() <= 1


def test_the_floor_is_drawn_with_the_empty_prompt(artist, rows, seen):
    begun = completion.begin(artist, rows, 1)
    completion.floor(artist, begun)
    found = seen.images
    completion.complete(artist, begun)
    assert (found != seen.images).any()
    unguided = artist.sampling(STEPS, 1.0)
    completion.floor(unguided, begun)  # guidance cancels where both prompts are empty
    assert np.abs(found.astype(int) - seen.images).max() <= 1


def test_a_scheduler_that_remembers_goes_on_with_what_it_remembered(rows, seen):
    pipe = tiny_pipeline(256)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1)
    artist = artist_of(pipe, STEPS)
    plain = artist.draw(rows, progress=False)
    begun = completion.begin(artist, rows, 3)
    with weigh(artist, rows, 0.0):  # its first steps, which are thrown away, are others
        artist.draw(rows, progress=False)
    completion.complete(artist, begun)
    assert np.array_equal(seen.images, plain)


@pytest.mark.parametrize("steps", [0, STEPS, True, 1.5])
def test_some_steps_are_drawn_before_and_some_after(artist, rows, steps):
    with pytest.raises(UserError, match="give a whole number from 1 to 3"):
        completion.begin(artist, rows, steps)


# --- one token -----------------------------------------------------------------------------------


def test_every_token_that_can_be_written_is_tried(artist):
    tokens = one_token.whole_tokens(artist.pipe)
    read = artist.pipe.tokenizer(tokens, add_special_tokens=False).input_ids
    assert all(len(ids) == 1 for ids in read) and len(set(tokens)) == len(tokens) > 60
    assert all(token.isprintable() for token in tokens)
    rows = one_token.attempts(artist.pipe, "bear", 2)
    assert len(rows) == 2 * len(tokens) and set(rows.token) == set(tokens)


def test_attempts_are_drawn_like_a_grid_with_and_without_an_intervention(artist, seen):
    rows = one_token.attempts(artist.pipe, "bear", 1, ["bear", "x"])
    found = artist.draw_and_judge(rows, progress=False)
    plain = seen.images
    with suppress_states(artist, rows):
        artist.draw_and_judge(rows, progress=False)
    assert len(found) == 2 and (seen.images[0] != plain[0]).any()
    with pytest.raises(UserError, match="give a sentence with {c}"):
        one_token.attempts(artist.pipe, "bear", 1, text="a picture")


def test_shares_count_tokens_and_not_the_name(artist):
    rows = one_token.attempts(artist.pipe, "bear", 2, ["bear", "x", "y"])
    found = rows.assign(present=[True, False, False, True, False, False])
    floor = rows.assign(present=[True, True, False, True, False, True])
    (line,) = one_token.brought_back(found, floor).to_dict("records")
    assert line == {"name": 0.5, "ordinary": 0.5, "floor": 1.0, "tokens": ["x"]}
    assert np.isnan(one_token.brought_back(found).floor["bear"])
