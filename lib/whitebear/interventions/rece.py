"""RECE: find the state that brings the erased concept back, erase that too, and again.

From UCE's weights, a round solves for the states c' that the edited keys and values read as the
original ones read the name's states c,

    c' = (sum W_new^T W_new + lam I)^-1 (sum W_new^T W_old) c

(sums over the keys and values of all layers), and makes c' read what the empty text reads, with the
empty text retained: UCE's closed form with lam 0.1, e 1 and p 0.1. Gong et al. 2024 (arXiv
2407.12383). The authors take 3 rounds and lam 0.1 for nudity, lam 1 for objects that are easy, one
round and lam 0.001 for styles and hard objects, and keep the round that their detector likes best;
here the number of rounds is the strength, and none is chosen by its pictures.

Fits what `uce` fits. Costs no passes; to prepare it takes two more solves a round, below a second
where a text state has a few hundred entries.

with rece(artist, rows, 1, concept="bear"):
    rows = artist.draw_and_judge(rows)
"""

from collections.abc import Iterable, Iterator

import pandas as pd
import torch

from whitebear.interventions._closed_form import edit_map, states_of, times, uce_map
from whitebear.interventions._weights import (
    check_number,
    check_unedited,
    concept_of,
    cross_attention_weights,
    edited,
    why_not_weights,
)
from whitebear.interventions.method import Drawing, Method
from whitebear.prompts import noun_of


def adversarial_states(
    states: torch.Tensor, new: Iterable[torch.Tensor], old: Iterable[torch.Tensor], lam: float = 0.1
) -> torch.Tensor:
    """States that edited weights read as the original ones read `states`; float64, same shape.

    states: (..., width); new, old: the keys and values of all layers, (n, width) each, in the same
    order; lam: ridge. Gong et al. 2024 (arXiv 2407.12383), as in the head of this module. It is
    also a probe: where c' draws the concept, the edit has hidden it and the rest still knows it.

    >>> w = torch.eye(2, dtype=torch.float64)
    >>> adversarial_states(torch.tensor([3.0, 1.0]), [0.5 * w], [w], lam=0.25)
    tensor([3., 1.], dtype=torch.float64)
    """
    check_number("lam", lam)
    pairs = [(a.detach().cpu().double(), b.detach().cpu().double())
             for a, b in zip(new, old, strict=True)]  # fmt: skip
    gram = sum(a.T @ a for a, _ in pairs) + lam * torch.eye(states.shape[-1], dtype=torch.float64)
    cross = sum(a.T @ b for a, b in pairs)
    return states.cpu().double() @ torch.linalg.solve(gram, cross).T


def _rece(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    form: str = "2023",
    concept: str | None = None,
    lam: float = 0.1,
) -> Iterator[None]:
    """Draw the rows by the UNet without `concept` after UCE and `strength` rounds.

    form: of `uce`, with its defaults; concept: None is that of the rows, which must be one; lam: of
    the states c'.
    """
    concept = concept_of("rece", artist, rows, concept)
    check_unedited("rece", artist)
    old = cross_attention_weights(artist.pipe.unet)
    linear = uce_map(artist.pipe, concept, form)
    name, empty = states_of(artist.pipe, [noun_of(concept), ""])
    for _ in range(int(strength)):
        back = adversarial_states(name, times(old, linear).values(), old.values(), lam)
        linear = linear @ edit_map(back, empty, empty, lam=0.1, erase=1.0, preserve=0.1)
    with edited("rece", artist, times(old, linear)):
        yield


rece = Method(
    "rece", _rece, default=3.0, neutral=0.0, highest=100.0, whole=True, why_not=why_not_weights
)
