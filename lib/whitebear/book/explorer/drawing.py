"""One picture with everything around it that a person wants to look at: others to compare it with
from the same noise, what a detector finds, and attention to every word at every step.

    artist = Artist("pocket")
    drawing = draw(artist, "bear", "a picture of a red background without a bear")
    drawing.mass["bear"]    # attention to the word, step by step

Nothing here knows of widgets; `explorer_view` puts a panel in front of it.
"""

import contextlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from diffusers import AutoencoderKL, DiffusionPipeline

from whitebear.draw.artist import Artist
from whitebear.errors import UserError, nearest
from whitebear.hooks import capture_attention, steer_attention
from whitebear.models.families import denoiser_of, read_call
from whitebear.prompts import check_seeds, load_wordings, prompt_grid
from whitebear.scoring.judge import is_pocket

YOURS = "your prompt"  # the picture that is watched; the others are there to compare
GRID = 8  # cells a side of an attention map
LATENT = {"cpu": 16, "cuda": 64}  # largest side of latents whose every step is decoded


@dataclass(frozen=True, eq=False)
class Drawing:
    """What `draw` gives.

    pictures: label -> uint8 (H, W, 3), for YOURS, affirm, omit, and unweighted where words were
    weighted; prompts: label -> prompt; scores: index label, columns p_asked and present; mass:
    index step, columns words, mean over layers and heads; maps: float32 (step, word, y, x);
    states: uint8 (step, H, W, 3), YOURS decoded before each step, or None where that takes long.
    """

    concept: str
    prompts: dict[str, str]
    pictures: dict[str, np.ndarray]
    scores: pd.DataFrame
    mass: pd.DataFrame
    maps: np.ndarray
    states: np.ndarray | None
    weights: dict[str, float]

    @property
    def word(self) -> str:
        """The word to look at first: the concept's where the prompt names it, else the last."""
        named = [word for word in self.mass if word in words_of(self.concept)]
        return (named or list(self.mass))[-1]


def words_of(prompt: str) -> list[str]:
    """The different words of a prompt in lower case, in the order in which they come.

    >>> words_of("Don't draw a bear. Draw a house.")
    ["don't", 'draw', 'a', 'bear', 'house']
    """
    return list(dict.fromkeys(re.findall(r"\w+(?:['’]\w+)*", prompt.lower())))


def filled(concept: str, condition: str, seed: int, model: str = "pocket") -> dict[str, str]:
    """Wording id -> prompt, for the wordings of one condition. Raises `UserError` for bad names."""
    grid = prompt_grid([concept], [condition], [seed], free=not is_pocket(model))
    grid = grid[grid.condition == condition]
    return dict(zip(grid.wording, grid.prompt, strict=True))


def prompt_of(concept: str, condition: str, wording: str, seed: int, model: str = "pocket") -> str:
    """The prompt of one wording. Raises `UserError` where the condition has no such wording."""
    prompts = filled(concept, condition, seed, model)
    check_wording(wording, prompts)
    return prompts[wording]


def check_wording(wording: str, known: Iterable[str]) -> None:
    """`UserError` unless a wording is among the known ids."""
    if wording not in known:
        raise UserError(f"unknown wording {wording!r} here; {nearest(wording, known)}")


def comparisons(
    concept: str, seed: int, wording: str = "", model: str = "pocket"
) -> dict[str, str]:
    """The prompts to compare with: "affirm" asks for the concept, "omit" leaves it unmentioned.

    The affirmation is the wording's own control where that asks for the concept; otherwise, and
    for a prompt of one's own, the first of its condition, with another object where the wording has
    one.
    """
    grid = prompt_grid([concept], ["affirm", "omit"], [seed], free=not is_pocket(model))
    known = load_wordings().set_index("id")
    if wording:
        check_wording(wording, known.index)
    own = known.loc[[wording] if wording else []]
    found = {}
    for condition, rows in grid.groupby("condition"):
        alike = rows[rows.pair == bool(own.pair.any())]
        control = rows[rows.wording.isin(own.control)]
        best = pd.concat([control, alike, rows]).iloc[0]
        found[condition] = best.prompt
    return found


def draw(
    artist: Artist,
    concept: str,
    prompt: str,
    seed: int = 0,
    weights: dict[str, float] | None = None,
    wording: str = "",
    on_call: Callable[[int], None] = lambda total: None,
) -> Drawing:
    """Draw a prompt and others from the same noise, and watch every word of the prompt.

    weights: word -> factor inside every softmax of `prompt` (0: not looked at). wording: id of the
    wording that the prompt was filled from, "" for a text of one's own. on_call(total) is told
    before each denoiser call; what it raises ends the drawing and leaves no hook behind. Raises
    `UserError` for anything that cannot be drawn.
    """
    weights = dict(weights or {})
    check_seeds([seed])
    prompts = _prompts(artist.model, concept, prompt, seed, wording, weights)
    table = pd.DataFrame({"concept": concept, "seed": seed, "prompt": list(prompts.values())})
    pipe, latents = artist.pipe, []

    def tell(sample: torch.Tensor) -> None:
        on_call(2 * len(pipe.scheduler.timesteps))
        latents.append(sample[:1])

    with each_call(pipe, tell):
        first, data = _watched(artist, table[:1], weights)
        states = decoded(pipe, latents)
        rest = artist.draw(table[1:], progress=False)
    pictures = np.concatenate([first, rest])
    scores = artist.judge.asked(pictures, [concept] * len(prompts))
    return Drawing(
        concept, prompts, dict(zip(prompts, pictures, strict=True)),
        scores.set_axis(list(prompts)), data.mass[0].mean("layer").to_pandas(),
        data["map"][0].mean("layer").values.astype(np.float32), states, weights,
    )  # fmt: skip


def _prompts(model, concept, prompt, seed, wording, weights) -> dict[str, str]:
    """Label -> prompt of everything that is drawn. UserError where there is nothing to watch."""
    words = words_of(prompt)
    if not words:
        raise UserError("the prompt has no words; type what to draw")
    if strange := [word for word in weights if word not in words]:
        raise UserError(f"{strange[0]!r} is not in the prompt; its words are {', '.join(words)}")
    again = {"unweighted": prompt} if weights else {}
    return {YOURS: prompt} | comparisons(concept, seed, wording, model) | again


def _watched(
    artist: Artist, row: pd.DataFrame, weights: dict[str, float]
) -> tuple[np.ndarray, xr.Dataset]:
    """One picture (1, H, W, 3), and mass and maps of all its words."""
    pipe, prompts = artist.pipe, list(row.prompt)
    with contextlib.ExitStack() as hooks:
        for word, w in weights.items():
            hooks.enter_context(steer_attention(pipe, [word], w, renormalize=True, prompts=prompts))
        capture = hooks.enter_context(
            capture_attention(
                pipe, words_of(prompts[0]), ("mass", "map"), grid=GRID, roles=(), prompts=prompts
            )
        )
        images = artist.draw(row, progress=False)
    return images, capture.dataset()


@contextlib.contextmanager
def each_call(pipe: DiffusionPipeline, tell: Callable[[torch.Tensor], None]) -> Iterator[None]:
    """Tell of every denoiser call, with the latents that it is given, before it is made.

    A hook of the denoiser and not the callback of the pipeline: it comes before the step instead of
    after it, and every family has it.
    """

    denoiser = denoiser_of(pipe)
    signature = inspect.signature(denoiser.forward)

    def hook(module, args, kwargs):
        tell(read_call(signature, args, kwargs).sample)

    handle = denoiser.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def decoded(pipe: DiffusionPipeline, latents: list[torch.Tensor]) -> np.ndarray | None:
    """Latents (1, C, h, w) of the steps as pictures, uint8 (steps, H, W, 3). None where latents are
    packed otherwise, or so large that decoding them all would take longer than drawing."""
    limit = LATENT.get(latents[0].device.type, LATENT["cpu"])
    plain = latents[0].ndim == 4 and isinstance(pipe.vae, AutoencoderKL)
    if not plain or max(latents[0].shape[-2:]) > limit:
        return None
    config, frames = pipe.vae.config, []
    for each in latents:
        z = each / config.scaling_factor + (getattr(config, "shift_factor", None) or 0)
        frames.append(pipe.vae.decode(z.to(pipe.vae.dtype)).sample[0].float().cpu())
    pixels = (torch.stack(frames).permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1)
    return np.rint(pixels.numpy() * 255).astype(np.uint8)


def answer(drawing: Drawing, without: Drawing) -> str:
    """One sentence on what taking words out did; `without` is `drawing` with words of weight 0."""
    words = " and ".join(f"“{word}”" for word in without.weights)
    before, after = (each.scores.loc[YOURS] for each in (drawing, without))
    first = "is found" if before.present else "is not found"
    then = "is not found" if not after.present else "is still found" if before.present else "is"
    return (
        f"For “{drawing.prompts[YOURS]}” and this seed, {drawing.concept} {first} in the picture"
        f" (score {before.p_asked:.2f}). With {words} taken out of the attention at every step, it"
        f" {then} (score {after.p_asked:.2f})."
    )
