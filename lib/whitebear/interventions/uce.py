"""Unified Concept Editing: the concept's text states read what the empty text's read.

W' = (lam W + e sum v* c^T + p sum W c_j c_j^T)(lam I + e sum c c^T + p sum c_j c_j^T)^-1 for every
key and value matrix W of cross-attention, v* = W g: the closed form of Gandikota et al. 2024 (arXiv
2308.14761). c: states of the concept's name; g: of the guide, the empty text; c_j: of texts that
are retained. Which states these are decides more than lam and e, hence `form`:

"2023": as in the code published with the paper, and in what was built on it: c from the last token
of the bare name to the end of the padding, g from the guide's last token on (the start token of the
empty text), all states of the empty text retained; lam 0.1, e 1, p max(0.1, 1 / retained texts).
"2025": as in the authors' second repository: c the last token of the bare name alone, g the start
token of the empty text, nothing retained unless given, by its last token; lam 0.5, e 1, p 1.
"carrier": as "2025", but c is read in sentences. It is of this book, and from no paper: a bare name
stands at the first position of a text, and the edit may change that position more than the name.

The strength s mixes, W + s (W' - W): 1 is the published edit.

Fits pipelines whose UNet reads text in cross-attention (Stable Diffusion 1.x and 2.x, SDXL). Costs
no passes; to prepare it takes one solve of the size of a text state, and is done in a second.

with uce(artist, rows, concept="bear", form="carrier"):
    rows = artist.draw_and_judge(rows)
"""

from collections.abc import Iterator, Sequence

import pandas as pd
import torch

from whitebear.interventions._closed_form import times, uce_map
from whitebear.interventions._weights import (
    CARRIERS,
    check_unedited,
    concept_of,
    cross_attention_weights,
    edited,
    why_not_weights,
)
from whitebear.interventions.method import Drawing, Method


def _uce(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    form: str = "2023",
    concept: str | None = None,
    guide: str = "",
    retain: Sequence[str] | None = None,
    erase: float = 1.0,
    preserve: float | None = None,
    lam: float | None = None,
    carriers: Sequence[str] = CARRIERS,
) -> Iterator[None]:
    """Draw the rows by the UNet without `concept`; None is that of the rows, which must be one.

    form: "2023", "2025" or "carrier"; guide: what the concept is to be read as; retain: texts (in
    "carrier": concepts) that stay as they are; erase, preserve, lam: e, p and lam above; None is
    what the form's authors set. carriers: the sentences of that form, with {c}.
    """
    concept = concept_of("uce", artist, rows, concept)
    check_unedited("uce", artist)
    linear = uce_map(artist.pipe, concept, form, guide, retain, erase, preserve, lam, carriers)
    own = torch.eye(len(linear), dtype=linear.dtype)
    mixed = own + strength * (linear - own)
    with edited("uce", artist, times(cross_attention_weights(artist.pipe.unet), mixed)):
        yield


uce = Method("uce", _uce, default=1.0, neutral=0.0, highest=2.0, why_not=why_not_weights)
