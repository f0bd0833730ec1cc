"""The concept as negative prompt: guidance pushes the image away from it.

eps = eps(negative) + g (eps(prompt) - eps(negative)), where plain guidance has the empty prompt in
the place of the negative one (Ho and Salimans 2022, arXiv 2207.12598, equation 6; for a concept
that is negated: Liu et al. 2022, arXiv 2206.01714). How far it pushes is the guidance g.

Fits every pipeline with a negative prompt, at guidance above 1. Costs nothing where guidance runs
two branches anyway; FLUX runs a second one for it, and takes twice as long.
"""

from collections.abc import Iterator

import pandas as pd

from whitebear.interventions.method import Drawing, Method
from whitebear.models.families import takes
from whitebear.prompts import noun_of


def _why_not(artist: Drawing, **_) -> str:
    """Why a negative prompt does nothing for an artist; "" where it does."""
    if not takes(artist.pipe, "negative_prompt"):
        return f"{type(artist.pipe).__name__} knows no negative prompt"
    if artist.guidance <= 1:  # then the prompt's branch alone is run
        return f"a negative prompt does nothing at guidance {artist.guidance}; give more than 1"
    return ""


def _negative_prompt(artist: Drawing, rows: pd.DataFrame, strength: float) -> Iterator[None]:
    """Give every row its concept as negative prompt (strength 1), or not (0)."""
    before, artist.negatives = artist.negatives, [noun_of(name) for name in rows.concept]
    try:
        yield
    finally:
        artist.negatives = before


negative_prompt = Method(
    "negative_prompt",
    _negative_prompt,
    default=1.0,
    neutral=0.0,
    highest=1.0,
    whole=True,
    why_not=_why_not,
)
