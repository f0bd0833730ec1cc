"""Safe latent diffusion: guidance is turned away from a concept where it leads towards it.

In every step, elementwise, with s the concept's text (Schramowski et al. 2023, arXiv 2211.05105,
equations 3 to 8):

    mu = min(1, s_S |eps(p) - eps(s)|) where eps(p) - eps(s) < lambda, else 0
    gamma = mu (eps(s) - eps(0)) + s_m nu,    nu <- beta nu + (1 - beta) gamma
    eps = eps(0) + g (eps(p) - eps(0) - gamma) from step delta on, else without gamma

The strength is one of the authors' configurations, 1 weak ... 4 max, whose values stand in PRESETS;
their warm-up of delta steps in 50 is scaled to the number of steps. s_S and lambda are meant for
predicted noise: outputs of models that predict v or a flow are converted (`per_noise`), which
leaves nothing to turn in the first step of a schedule with zero terminal SNR. The authors' text is
a list of harms; here it is the concept.

    with sld(artist, rows, "max"):
        images = artist.draw(rows)

Fits SD 1.x, 2.x, SDXL and SD3, at guidance above 1 and without rescaling. Costs a third pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import pandas as pd
import torch

from whitebear.errors import UserError, nearest
from whitebear.interventions._guidance import (
    Step,
    Texts,
    concept_texts,
    guided_by,
    why_not_guided,
)
from whitebear.interventions.method import Drawing, Method


@dataclass(frozen=True)
class Preset:
    """A configuration: warmup (delta, of 50 steps), scale (s_S), threshold (lambda), momentum (s_m)
    and beta."""

    warmup: int
    scale: float
    threshold: float
    momentum: float
    beta: float


PRESETS = {
    "weak": Preset(15, 20, 0.0, 0.0, 0.0),
    "medium": Preset(10, 1000, 0.01, 0.3, 0.4),
    "strong": Preset(7, 2000, 0.025, 0.5, 0.7),
    "max": Preset(0, 5000, 1.0, 0.5, 0.7),
}


def _sld(
    artist: Drawing, rows: pd.DataFrame, strength: float, text: str = "{c}", **values: float
) -> Iterator[None]:
    """Draw the rows away from their concepts. strength: 1 to 4, of PRESETS.

    text: s, with {c} for the concept; values: fields of the preset that are to be others.
    """
    names = [field.name for field in fields(Preset)]
    if unknown := set(values) - set(names):
        raise UserError(f"sld has no {min(unknown)!r}; {nearest(min(unknown), names)}")
    preset = replace(list(PRESETS.values())[int(strength) - 1], **values)
    away = _Away(preset, artist.steps, Texts.of(artist.pipe, concept_texts(rows, text)))
    with guided_by(artist, len(rows), away):
        yield


class _Away:
    """c - gamma, step by step."""

    def __init__(self, preset: Preset, steps: int, texts: Texts):
        self.preset, self.texts = preset, texts
        self.first = round(preset.warmup / 50 * steps)

    def __call__(self, step: Step) -> torch.Tensor:
        this, share = self.preset, step.per_noise
        concept = step.under(self.texts.rows(step.rows))
        ahead = share * (step.cond - concept)
        mu = (ahead.abs() * this.scale).clamp(max=1.0)
        mu = mu.masked_fill(ahead >= this.threshold, 0.0)
        gamma = mu * share * (concept - step.uncond)
        if step.number:
            gamma = gamma + this.momentum * self.nu
            self.nu = this.beta * self.nu + (1 - this.beta) * gamma
        else:
            self.nu = (1 - this.beta) * gamma
        if step.number < self.first or not share:
            return step.cond
        return step.cond - gamma / share


sld = Method(
    "sld",
    _sld,
    default=3.0,
    neutral=0.0,
    highest=4.0,
    whole=True,
    levels=("none", *PRESETS),
    why_not=why_not_guided,
)
