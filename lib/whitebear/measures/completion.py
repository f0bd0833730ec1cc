"""Does a model complete the concept that the untouched one began? A probe, with its floor.

The untouched model draws the first steps of the prompt, and another one, or an intervention, the
rest from its latents (When Are Concepts Erased from Diffusion Models?, Lu et al. 2025, arXiv
2505.17013). What it cannot tell without a floor: a latent may show the object already, so that an
empty prompt completes it, too. `floor` says how often; choose a share of the steps at which it is
low.

artist, rows = Artist("pocket"), prompt_grid(["bear"], ["affirm"], 8)
begun = begin(artist, rows, steps=2)
least = floor(artist, begun)
with uce(artist, rows):
    found = complete(artist, begun)
"""

import contextlib
import copy
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import torch

from whitebear.draw.artist import Artist
from whitebear.errors import UserError


@dataclass(frozen=True)
class Begun:
    """What has been drawn so far. rows: of a grid; steps: how many of the artist's; latents: of
    each batch; scheduler: what the scheduler remembered then, of each batch."""

    rows: pd.DataFrame
    steps: int
    latents: list[torch.Tensor]
    scheduler: list[dict]


def begin(artist: Artist, rows: pd.DataFrame, steps: int) -> Begun:
    """The rows as the artist has them after `steps` of its steps. It draws them to the end.

    Raises `UserError` unless at least one step is drawn and one is left.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps < artist.steps:
        raise UserError(
            f"steps is {steps!r}; give a whole number from 1 to {artist.steps - 1}: some steps are"
            " drawn before, and some after"
        )
    begun = Begun(rows, steps, [], [])
    scheduler = artist.pipe.scheduler

    def note(batch: int, latents: torch.Tensor) -> torch.Tensor:
        begun.latents.append(latents.clone())
        begun.scheduler.append(copy.deepcopy(_memory(scheduler)))
        return latents

    with _after_step(scheduler, steps, note):
        artist.draw(rows)
    return begun


def complete(artist: Artist, begun: Begun) -> pd.DataFrame:
    """The rows with p_asked, present and logit, finished by the artist from where they stand: in a
    with-block of an intervention, under that, which acts in the steps that are left.

    The artist draws as many rows at a time, in as many steps, as the one that began.
    """
    return _finished(artist, begun, begun.rows)


def floor(artist: Artist, begun: Begun) -> pd.DataFrame:
    """As `complete`, by the artist with the empty prompt: what the latents show by themselves."""
    return _finished(artist, begun, begun.rows.assign(prompt=""))


def _finished(artist: Artist, begun: Begun, rows: pd.DataFrame) -> pd.DataFrame:
    scheduler = artist.pipe.scheduler

    def replace(batch: int, latents: torch.Tensor) -> torch.Tensor:
        vars(scheduler).update(copy.deepcopy(begun.scheduler[batch]))
        return begun.latents[batch].to(latents)

    with _after_step(scheduler, begun.steps, replace):
        return artist.draw_and_judge(rows)


def _memory(scheduler) -> dict:
    return {name: value for name, value in vars(scheduler).items() if name != "step"}


@contextlib.contextmanager
def _after_step(scheduler, steps: int, change) -> Iterator[None]:
    """change(batch, latents) takes the place of what the `steps`-th step of each batch gives."""
    step, calls = scheduler.step, 0

    @functools.wraps(step)  # pipelines look at its signature
    def stepped(*args, **kwargs):
        nonlocal calls
        out = step(*args, **kwargs)
        batch, done = divmod(calls, len(scheduler.timesteps))
        calls += 1
        if done + 1 != steps:
            return out
        if isinstance(out, tuple):
            return change(batch, out[0]), *out[1:]
        out.prev_sample = change(batch, out.prev_sample)
        return out

    scheduler.step = stepped
    try:
        yield
    finally:
        del scheduler.step
