"""Shrink the largest singular values of the concept's text states, down to none.

chi = [c_name, c_EOT, c_PAD], the states at the concept's word, the end token and all padding, is
U S V^T, and each singular value s becomes s exp(-a s): the soft-weighted regularisation of
SuppressEOT (Li et al. 2024, arXiv 2402.05375), which takes the largest ones for the concept's, as
what end token and padding repeat. The strength is a, and joins two methods: the larger it is, the
less is left, down to states of zeros. The authors' a = 1 is next to that where states are long;
`kept_norm` says how near. They shrink from a fifth of the steps on (`after=0.2`); here it is all
steps unless said. Their second part, an optimisation of the states in mid-run, is left out.

Fits every family that `edit_text` knows; of two stretches of text keys (SD3), each has its own
chi. Costs a singular value decomposition a picture, no more calls of the model, no preparation.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch

from whitebear.hooks.edit import Places, edit_text, read_states
from whitebear.hooks.words import check_names
from whitebear.interventions.method import Drawing, Method
from whitebear.interventions.swap_states import swap_states
from whitebear.models.families import stretches
from whitebear.prompts import named

ROLES = ("eos", "pad")


def _suppress_states(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    after: float = 0.0,
    roles: Sequence[str] = ROLES,
) -> Iterator[None]:
    """Shrink the states of the concept's word and of `roles` by exp(-strength s).

    after: the share of the steps that are drawn untouched before. Rows without the word stay as
    they are.
    """
    roles = check_names(roles, ROLES, "roles")

    def edit(row: int, states: torch.Tensor, places: Places) -> torch.Tensor:
        states = states.clone()
        for keys in chosen(artist, len(states), places, roles):
            states[keys] = shrunk(states[keys].float(), strength).to(states)
        return states

    with edit_text(artist.pipe, list(rows.prompt), edit, named(rows), after):
        yield


suppress_states = Method(
    "suppress_states", _suppress_states, default=1.0, neutral=0.0, why_not=swap_states.why_not
)


def chosen(
    artist: Drawing, n_text: int, places: Places, roles: Sequence[str]
) -> Iterator[torch.Tensor]:
    """bool (n_text,): the columns of chi in each stretch of text keys; none without the word."""
    if not places["concept"].any():
        return
    keys = torch.stack([places[name] for name in ("concept", *roles)]).any(0)
    for stretch in stretches(artist.pipe, n_text):
        here = torch.zeros_like(keys)
        here[stretch] = keys[stretch]
        if here.any():
            yield here


def shrunk(chi: torch.Tensor, strength: float) -> torch.Tensor:
    """chi (keys, D) with singular values s exp(-strength s).

    >>> shrunk(torch.diag(torch.tensor([2.0, 1.0])), 1.0).diagonal().tolist() # 2 / e^2, 1 / e
    [0.2706705629825592, 0.3678794503211975]
    """
    u, s, v = torch.linalg.svd(chi, full_matrices=False)
    return (u * (s * (-strength * s).exp())) @ v


def kept_norm(
    artist: Drawing, rows: pd.DataFrame, strength: float, roles: Sequence[str] = ROLES
) -> np.ndarray:
    """Of each row, the share of the Frobenius norm of chi that is left, 0 to 1; NaN where its
    prompt lacks the word. 0 is zeroing, 1 nothing."""
    pairs = list(zip(rows.prompt, named(rows), strict=True))
    different = list(dict.fromkeys(pairs))
    states = read_states(artist.pipe, *map(list, zip(*different, strict=True)))
    norms = {}
    for pair, (own, places) in zip(different, states, strict=True):
        parts = [own[keys].float() for keys in chosen(artist, len(own), places, roles)]
        before = sum(part.square().sum().item() for part in parts)
        after = sum(shrunk(part, strength).square().sum().item() for part in parts)
        norms[pair] = (after / before) ** 0.5 if parts else np.nan
    return np.array([norms[pair] for pair in pairs])
