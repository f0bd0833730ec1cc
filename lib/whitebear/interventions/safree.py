"""Project the words that carry the concept off its subspace.

With E the pooled embeddings of phrases for the concept as columns, P_C = E (E^T E)^+ E^T projects
on the concept's subspace; with those of the prompt, each without one of its tokens, P_I on the
prompt's. Token i is a trigger if d_i >= (1 + a) mean_(j != i) d_j, where d_i = ||(I - P_C) p_i||
and p_i is the pooled embedding without token i: without it, the prompt is farther from the concept.
Its state e_i becomes (I - P_C) P_I e_i, in the order of the code; the paper prints the other one
(SAFREE: Yoon et al. 2024, arXiv 2410.12761). The strength is a: the smaller, the more tokens are
projected, all of them at -1, none at infinity. End token and padding are never triggers, and keep
the concept.

The authors take a = 0.01, and their code gives the phrases to every run as negative prompt, too;
that is the option `negative=True`. Tokens are left out by token id 0, as there. Left out here: how
many steps use the projected states (their self-validation), and the filtering of features in the
denoiser.

Fits Stable Diffusion 1.x and 2.x, where the pooled embedding is the end token's state, and SDXL,
for which that state is taken (its authors' code takes embeddings of another width there). Costs no
more calls of the model; to prepare, one reading of each prompt for each of its tokens.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from whitebear.hooks.edit import Places, edit_text
from whitebear.hooks.text import clip_states
from whitebear.hooks.words import ROLES, roles, tokenise
from whitebear.interventions.clip_skip import clip_skip, prompt_ids
from whitebear.interventions.method import Drawing, Method, with_values
from whitebear.interventions.negative_prompt import negative_prompt
from whitebear.prompts import fill, noun_of

PHRASES = ("{c}", "a {c}", "a photo of a {c}", "an image of a {c}")
MASK = 0  # the token id in the place of the one that is left out


def _why_not(artist: Drawing, negative: bool = False, **_) -> str:
    return clip_skip.why_not(artist) or (negative_prompt.why_not(artist) if negative else "")


def _safree(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    phrases: Sequence[str] = PHRASES,
    negative: bool = False,
) -> Iterator[None]:
    """Project the triggers of each prompt off its row's concept.

    phrases: with {c} for the concept's noun, they span its subspace; negative: give them as
    negative prompt, too.
    """
    texts = {c: [fill(x, c=noun_of(c))[0] for x in phrases] for c in dict.fromkeys(rows.concept)}
    pairs = list(zip(rows.prompt, rows.concept, strict=True))
    spans = {concept: basis(end_states(artist, texts[concept])) for concept in texts}
    found = {x: project(artist, x[0], spans[x[1]], strength) for x in dict.fromkeys(pairs)}

    def edit(row: int, states: torch.Tensor, places: Places) -> torch.Tensor:
        own, states = found[pairs[row]], states.clone()
        inside = on_span(states[own.triggers].double(), own.prompt)
        states[own.triggers] = (inside - on_span(inside, own.concept)).to(states)
        return states

    told = {"negatives": [", ".join(texts[c]) for c in rows.concept]} if negative else {}
    with with_values(artist, **told), edit_text(artist.pipe, list(rows.prompt), edit):
        yield


safree = Method("safree", _safree, default=0.01, neutral=math.inf, lowest=-1.0, why_not=_why_not)


@dataclass(frozen=True)
class Projection:
    """What is done to a prompt: its positions that are triggers, and the bases (n, D) of the
    subspaces of prompt and concept, float64."""

    triggers: list[int]
    prompt: torch.Tensor
    concept: torch.Tensor


def project(artist: Drawing, prompt: str, concept: torch.Tensor, strength: float) -> Projection:
    """What is to be done to one prompt. concept: the basis (n, D) of its subspace."""
    ids = prompt_ids(artist, [prompt])
    first = artist.pipe.tokenizer
    where = roles(tokenise(first, [prompt], 0, first.model_max_length))[0]
    tokens = where[:, ROLES.index("other")].nonzero().flatten().tolist()
    end = int(where[:, ROLES.index("eos")].nonzero()[0])
    masked = [own.repeat(len(tokens), 1) for own in ids]
    for own in masked:
        own[range(len(tokens)), tokens] = MASK
    p = clip_states(artist.pipe, masked)[:, end].double()
    distance = (p - on_span(p, concept)).norm(dim=-1)
    others = (distance.sum() - distance) / max(1, len(tokens) - 1)  # one token alone is a trigger
    hits = distance >= (1 + strength) * others
    triggers = [token for token, hit in zip(tokens, hits.tolist(), strict=True) if hit]
    return Projection(triggers, basis(p), concept)


def end_states(artist: Drawing, texts: list[str]) -> torch.Tensor:
    """The end token's states (texts, D), which are the pooled embeddings, float64."""
    first = artist.pipe.tokenizer
    where = roles(tokenise(first, texts, 0, first.model_max_length))[..., ROLES.index("eos")]
    states = clip_states(artist.pipe, prompt_ids(artist, texts))
    return states[where.to(states.device)].double()


def basis(rows: torch.Tensor) -> torch.Tensor:
    """Orthonormal rows (r, D) that span the rows (n, D)."""
    _, s, v = torch.linalg.svd(rows, full_matrices=False)
    return v[s > s[0] * max(rows.shape) * torch.finfo(s.dtype).eps]


def on_span(x: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """The orthogonal projection of x (n, D) on the span of orthonormal rows: P x of each row, with
    P = E (E^T E)^+ E^T for any E with that span."""
    return x @ base.T @ base
