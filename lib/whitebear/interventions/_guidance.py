"""What methods share that act on guidance: u + g (c - u), of outputs u under the empty (or the
negative) prompt and c under the prompt, which the denoiser computes in one call on stacked halves.

A hook after that call can put c' in the place of c, from further passes of the denoiser under other
texts. Whatever is to come out as e, c' = u + (e - u) / g gives it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from diffusers import DiffusionPipeline
from torch import nn

from whitebear.errors import UserError
from whitebear.hooks.run import noise_levels
from whitebear.interventions.method import Drawing
from whitebear.models.families import T5_LENGTH, denoiser_of, encoded
from whitebear.prompts import fill, noun_of

STACKED = ("UNet2DConditionModel", "SD3Transformer2DModel")  # SD 1.x and 2.x, SDXL; SD3 and SD3.5


def why_not_guided(artist: Drawing, **_) -> str:
    """Why an artist has no guidance on stacked halves; "" where it has."""
    if type(denoiser_of(artist.pipe)).__name__ not in STACKED:
        return f"{type(artist.pipe).__name__} calls its denoiser without stacked halves to guide"
    if artist.guidance <= 1:
        return f"it acts on guidance, and there is none at {artist.guidance}; give more than 1"
    return ""


def concept_texts(rows: pd.DataFrame, text: str) -> list[str]:
    """`text` with each row's concept at {c}."""
    return [fill(text, c=noun_of(concept))[0] for concept in rows.concept]


@dataclass(frozen=True)
class Texts:
    """What a denoiser reads of texts: states (N, n_text, D) and, where it reads such, pooled
    (N, P)."""

    states: torch.Tensor
    pooled: torch.Tensor | None

    @classmethod
    def of(cls, pipe: DiffusionPipeline, texts: list[str]) -> Texts:
        """Of N texts; equal ones are read once."""
        unique = list(dict.fromkeys(texts))
        states, _, pooled = (*encoded(pipe, unique, T5_LENGTH), None)[:3]
        return cls(states, pooled).rows([unique.index(text) for text in texts])

    @classmethod
    def empty(cls, pipe: DiffusionPipeline) -> Texts:
        """Of the empty prompt (N = 1), as the pipeline itself has it (zeros in SDXL)."""
        found = encoded(pipe, [""], T5_LENGTH, guided=True)
        return cls(found[1], found[3] if len(found) > 3 else None)

    def rows(self, where: slice | list[int]) -> Texts:
        """Some of them."""
        return Texts(self.states[where], None if self.pooled is None else self.pooled[where])

    def put(self, call: dict, rows: slice) -> dict:
        """A call's arguments with these texts in some of its rows; nothing is changed in place."""
        new = call | {"encoder_hidden_states": _with(call["encoder_hidden_states"], rows,
                                                     self.states)}  # fmt: skip
        if "pooled_projections" in call:
            new["pooled_projections"] = _with(call["pooled_projections"], rows, self.pooled)
        if (added := call.get("added_cond_kwargs")) and "text_embeds" in added:
            put = {"text_embeds": _with(added["text_embeds"], rows, self.pooled)}
            new["added_cond_kwargs"] = added | put
        return new


def _with(given: torch.Tensor, rows: slice, part: torch.Tensor) -> torch.Tensor:
    given = given.clone()
    given[rows] = part.to(given)
    return given


class Steps:
    """Which step of the sampler and which rows a call of the denoiser is for.

    A run of the pipeline begins with a new schedule, and calls the denoiser once a step. number:
    of the present step, from 0; rows: the slice of the `n` rows that are drawn that it is for.
    """

    def __init__(self, artist: Drawing, n: int):
        self.artist, self.n = artist, n
        self.denoiser = denoiser_of(artist.pipe)
        self.signature = inspect.signature(self.denoiser.forward)
        self.number, self.rows, self.schedule = 0, slice(0, 0), None

    def take(self, args: tuple, kwargs: dict) -> dict:
        """The arguments of the next call by their names. `UserError` where it is not one of a run
        with guidance alone, or for more rows than there are."""
        call = dict(self.signature.bind_partial(*args, **kwargs).arguments)
        pipe = self.artist.pipe
        if not pipe.do_classifier_free_guidance or getattr(pipe, "guidance_rescale", 0):
            raise UserError(
                "guidance is off or rescaled in a block that acts on it; draw with the artist, or"
                " with guidance_scale above 1 and guidance_rescale=0"
            )
        images = len(call["encoder_hidden_states"]) // 2
        if pipe.scheduler.timesteps is self.schedule:
            self.number += 1
        else:
            self.number, self.schedule = 0, pipe.scheduler.timesteps
            self.rows = slice(self.rows.stop, self.rows.stop + images)
        if self.rows.stop > self.n:
            raise UserError(
                f"more is drawn than the {self.n} rows that the intervention was given; draw these"
            )
        return call


@dataclass(frozen=True)
class Step:
    """A step of the sampler, after the denoiser's call for n images.

    number: from 0; rows: which of all rows these are; call: the arguments of the call; timestep;
    images: the noisy latents (n, ...); uncond, cond: the outputs u and c, of their shape;
    per_noise: what a change of the output changes of the noise that it says, d eps / d output.
    """

    number: int
    rows: slice
    call: dict
    timestep: torch.Tensor
    images: torch.Tensor
    uncond: torch.Tensor
    cond: torch.Tensor
    per_noise: float
    denoiser: nn.Module

    def under(self, texts: Texts) -> torch.Tensor:
        """The output for the same noisy images under other texts: one more pass."""
        n = len(self.cond)
        call = texts.put(rows_of(self.call, torch.arange(n, 2 * n), 2 * n), slice(0, n))
        return self.denoiser.forward(**call)[0]


def rows_of(given, rows: torch.Tensor, n: int):
    """Arguments of a call for n rows as they are for some of these: of each tensor that has n."""
    if isinstance(given, Mapping):
        return {name: rows_of(value, rows, n) for name, value in given.items()}
    has_rows = isinstance(given, torch.Tensor) and given.ndim and len(given) == n
    return given[rows.to(given.device)] if has_rows else given


def per_noise(scheduler) -> torch.Tensor:
    """d eps / d output at each timestep of the schedule, float64: 1 where the noise eps is
    predicted, sqrt(a) for v = sqrt(a) eps - sqrt(1 - a) x0, 1 - sigma for v = eps - x0 of
    flow matching (Salimans and Ho 2022, arXiv 2202.00512; Lipman et al. 2022, arXiv 2210.02747).

    At zero terminal SNR it is 0 in the first step: there the picture says nothing about the noise.
    """
    sigma = noise_levels(scheduler)
    if type(scheduler).__name__.startswith("FlowMatch"):
        return 1 - sigma
    kind = scheduler.config.get("prediction_type", "epsilon")
    if kind == "epsilon":
        return torch.ones_like(sigma)
    if kind == "v_prediction":
        return (1 + sigma**2) ** -0.5
    raise UserError(f"the model predicts {kind!r}; only epsilon, v_prediction and flows are known")


@contextlib.contextmanager
def guided_by(artist: Drawing, n: int, change: Callable[[Step], torch.Tensor]) -> Iterator[None]:
    """A block in which `change(step)`, c', stands in the place of c. n: rows that are drawn."""
    steps, scale = Steps(artist, n), None

    def after(module: nn.Module, args: tuple, kwargs: dict, output: tuple) -> tuple:
        nonlocal scale
        call = steps.take(args, kwargs)
        if steps.number == 0:
            scale = per_noise(artist.pipe.scheduler)
        uncond, cond = output[0].chunk(2)
        images = call["sample"] if "sample" in call else call["hidden_states"]
        step = Step(steps.number, steps.rows, call, call["timestep"], images[len(cond) :], uncond,
                    cond, float(scale[steps.number]), module)  # fmt: skip
        return torch.cat([uncond, change(step)]), *output[1:]

    handle = steps.denoiser.register_forward_hook(after, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def empty_outside(artist: Drawing, n: int, start: int, until: int) -> Iterator[None]:
    """A block in which guidance starts from the empty prompt in all steps but start ... until - 1,
    whatever the negative prompt is. n: rows that are drawn."""
    steps, empty = Steps(artist, n), Texts.empty(artist.pipe)

    def before(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        call = steps.take(args, kwargs)
        if start <= steps.number < until:
            return None
        return (), empty.put(call, slice(0, len(call["encoder_hidden_states"]) // 2))

    handle = steps.denoiser.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
