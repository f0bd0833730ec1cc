"""Less guidance, down to none: the control of all that pushes guidance away from the concept.

g' = 1 + (1 - s) (g - 1) in eps = eps(0) + g' (eps(p) - eps(0)), so that s = 1 leaves eps(p), what
the model says under the prompt alone (Ho and Salimans 2022, arXiv 2207.12598). A negative prompt
that says the same as the prompt comes to the same picture: what of its effect is more than that?

Fits every pipeline that guides with two branches, at guidance above 1. Halves the time at s = 1.
"""

from collections.abc import Iterator

import pandas as pd

from whitebear.interventions.method import Drawing, Method, with_values
from whitebear.models.families import denoiser_of, family_of


def _why_not(artist: Drawing, **_) -> str:
    if family_of(denoiser_of(artist.pipe)).negative_scale != "guidance_scale":
        return f"guidance is a number that {type(artist.pipe).__name__} reads, not a second branch"
    if artist.guidance <= 1:
        return f"there is no guidance to take away at {artist.guidance}; give more than 1"
    return ""


def _unguided(artist: Drawing, rows: pd.DataFrame, strength: float) -> Iterator[None]:
    """Draw with a share of the guidance less (strength 1: without)."""
    with with_values(artist, guidance=1 + (1 - strength) * (artist.guidance - 1)):
        yield


unguided = Method("unguided", _unguided, default=1.0, neutral=0.0, highest=1.0, why_not=_why_not)
