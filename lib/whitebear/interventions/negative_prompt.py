"""The concept as negative prompt: guidance pushes the image away from it.

eps = eps(n) + g (eps(p) - eps(n)), where plain guidance has the empty prompt in the place of the
negative one n (Ho and Salimans 2022, arXiv 2207.12598, equation 6; for a concept that is negated:
Liu et al. 2022, arXiv 2206.01714). How far it pushes is the guidance g. In a window of steps, n is
the concept there and the empty prompt before and after it (Ban et al. 2024, arXiv 2406.02965, find
that a negative prompt acts with delay, and harms when it comes early).

Where n is the request itself it cancels: eps = eps(p), the model without guidance. So `unguided` is
its control.

Fits every pipeline with a negative prompt, at guidance above 1; a window those with stacked halves
(SD 1.x, 2.x, SDXL, SD3). Costs nothing where guidance runs two branches anyway; FLUX runs a second
one for it, and takes twice as long.
"""

import contextlib
from collections.abc import Iterator

import pandas as pd

from whitebear.errors import UserError
from whitebear.interventions._guidance import concept_texts, empty_outside, why_not_guided
from whitebear.interventions.method import Drawing, Method, with_values
from whitebear.models.families import takes


def _why_not(artist: Drawing, start: int = 0, until: int | None = None, **_) -> str:
    """Why a negative prompt does nothing for an artist; "" where it does."""
    if not takes(artist.pipe, "negative_prompt"):
        return f"{type(artist.pipe).__name__} knows no negative prompt"
    if artist.guidance <= 1:  # then the prompt's branch alone is run
        return f"a negative prompt does nothing at guidance {artist.guidance}; give more than 1"
    return "" if (start, until) == (0, None) else why_not_guided(artist)


def _negative_prompt(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    text: str = "{c}",
    start: int = 0,
    until: int | None = None,
) -> Iterator[None]:
    """Give every row its concept as negative prompt (strength 1), or not (0).

    text: the negative prompt, with {c} for the concept; start, until: the steps, from 0, in which
    it stands there (until: the first without it; None is never).
    """
    window = _window(artist, len(rows), start, until)
    with with_values(artist, negatives=concept_texts(rows, text)), window:
        yield


def _window(artist: Drawing, n: int, start: int, until: int | None):
    end = artist.steps if until is None else until
    whole = all(isinstance(x, int) and not isinstance(x, bool) for x in (start, end))
    if not whole or not 0 <= start < end <= artist.steps:
        raise UserError(
            f"start is {start!r} and until is {until!r}; give whole numbers with 0 <= start <"
            f" until <= {artist.steps}, the steps"
        )
    if (start, end) == (0, artist.steps):
        return contextlib.nullcontext()
    return empty_outside(artist, n, start, end)


negative_prompt = Method(
    "negative_prompt",
    _negative_prompt,
    default=1.0,
    neutral=0.0,
    highest=1.0,
    whole=True,
    why_not=_why_not,
)
