"""Text states of a prompt that leaves the concept out, at the end token and the padding.

What a prompt says is summed up behind its words (see the chapter on where the word travels): there
the states h(prompt) that attention reads become h(source), for a share of the steps from the first
one on. Activation patching, as of Meng et al. 2022 (arXiv 2202.05262) for language models.

Fits every family that `patch_text` knows. Costs one more reading of each source by the encoders.
"""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from whitebear.hooks import patch_text
from whitebear.interventions._silent import silent_prompts, state
from whitebear.interventions.method import Drawing, Method

POSITIONS = ("eos", "pad")


def _why_not(artist: Drawing, **_) -> str:
    if not hasattr(artist.pipe, "encode_prompt"):
        return f"{type(artist.pipe).__name__} has no encode_prompt"
    return ""


def _swap_states(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    sources: Sequence[str] | None = None,
    positions: Sequence[str] = POSITIONS,
) -> Iterator[None]:
    """Draw the rows with states of `sources` in the first `strength` of the steps (1: in all).

    sources: a prompt a row; None is the first wording of `omit` for each row's concept and seed.
    positions: as of `patch_text`.
    """
    sources = silent_prompts(artist, rows) if sources is None else list(sources)
    steps = list(range(math.ceil(strength * artist.steps)))
    with patch_text(artist.pipe, list(rows.prompt), sources, positions, steps=steps):
        yield


swap_states = Method(
    "swap_states",
    _swap_states,
    default=1.0,
    neutral=0.0,
    highest=1.0,
    why_not=_why_not,
    state=state,
)
