"""Closed-form edits of keys and values: which text states read what others read, in one solve.

A state c of an erased text is to read what the guide's state g reads, v* = W g, while retained
states c_j keep what they read. The W' that does so with the least squared error is

    W' = (lam W + e sum v* c^T + p sum W c_j c_j^T)(lam I + e sum c c^T + p sum c_j c_j^T)^-1

As v* = W g, it is W' = W M with one M for the keys and values of all layers: the edit is a linear
map of the text states that attention reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import DiffusionPipeline

from whitebear.errors import UserError, nearest
from whitebear.hooks.words import Segment, positions, tokenise
from whitebear.interventions._weights import CARRIERS, Weights, check_number, sentences
from whitebear.models.families import T5_LENGTH, as_read, text_keys
from whitebear.prompts import noun_of


@dataclass(frozen=True)
class Form:
    """Published choices. lam: weight of the old weights; retain: texts whose states keep what they
    read; preserve: the weight of each such state, None being max(0.1, 1 / number of texts)."""

    lam: float
    retain: tuple[str, ...]
    preserve: float | None


FORMS = {
    "2023": Form(lam=0.1, retain=("",), preserve=None),
    "2025": Form(lam=0.5, retain=(), preserve=1.0),
    "carrier": Form(lam=0.5, retain=(), preserve=1.0),
}


def form_of(name: str) -> Form:
    """The form of a name. `UserError` for any other."""
    if name not in FORMS:
        raise UserError(f"unknown form {name!r} of the edit; {nearest(name, FORMS)}")
    return FORMS[name]


def states_of(pipe: DiffusionPipeline, texts: Sequence[str]) -> torch.Tensor:
    """What cross-attention reads of each text, float64 (texts, positions, width) in main memory."""
    return text_keys(pipe, list(texts), T5_LENGTH).cpu().double()


def last_token(pipe: DiffusionPipeline, text: str, word: str) -> int:
    """The position of the last token of a word in a text; that of the start token for "".

    `UserError` where the word is not among the tokens.
    """
    if not word:
        return 0
    segment = _segment(pipe, text)
    if not (found := positions(segment, 0, word)):
        raise UserError(f"{word!r} is not among the tokens of {text[:60]!r}; give a shorter text")
    return found[-1]


def _segment(pipe: DiffusionPipeline, text: str) -> Segment:
    tokenizer = pipe.tokenizer
    read = lambda text: as_read(pipe, tokenizer, text)  # noqa: E731
    return tokenise(tokenizer, [read(text)], 0, tokenizer.model_max_length, read)


def _at_last(pipe: DiffusionPipeline, texts: Sequence[str], word: str) -> torch.Tensor:
    """(texts, width): the state of the last token of a word in each text."""
    places = [last_token(pipe, text, word) for text in texts]
    return states_of(pipe, texts)[torch.arange(len(texts)), places]


def erased_states(
    pipe: DiffusionPipeline, form: str, concept: str, guide: str, carriers: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """States c of a concept and states g of the guide that it is to be read as, (n, width) each."""
    noun = noun_of(concept)
    if form == "carrier":
        texts = sentences(carriers, concept, least=2)
        others = sentences(carriers, guide) if guide else [""] * len(texts)
        return _at_last(pipe, texts, noun), _at_last(pipe, others, noun_of(guide))
    if form == "2025":
        return _at_last(pipe, [noun], noun), _at_last(pipe, [guide], guide)
    old, new = states_of(pipe, [noun, guide])
    old, new = old[last_token(pipe, noun, noun) :], new[last_token(pipe, guide, guide) :]
    n = min(len(old), len(new))
    return old[:n], new[:n]


def retained_states(
    pipe: DiffusionPipeline, form: str, text: str, carriers: Sequence[str]
) -> torch.Tensor:
    """States of a text that keep what they read, (n, width): all positions ("2023"), the last token
    ("2025"), or that of a concept's noun in each carrier sentence."""
    if form == "2023":
        return states_of(pipe, [text])[0]
    if form == "carrier" and text:
        return _at_last(pipe, sentences(carriers, text, least=2), noun_of(text))
    return _at_last(pipe, [text], text)


def edit_map(
    old: torch.Tensor, new: torch.Tensor, retained: torch.Tensor,
    lam: float, erase: float, preserve: float,
) -> torch.Tensor:  # fmt: skip
    """M (width, width) of W' = W M: states `old` (n, width) read what `new` (n, width) read."""
    shared = lam * torch.eye(old.shape[1], dtype=old.dtype) + preserve * retained.T @ retained
    wanted, given = shared + erase * new.T @ old, shared + erase * old.T @ old
    return torch.linalg.solve(given, wanted, left=False)


def uce_map(
    pipe: DiffusionPipeline, concept: str, form: str, guide: str = "",
    retain: Sequence[str] | None = None, erase: float = 1.0, preserve: float | None = None,
    lam: float | None = None, carriers: Sequence[str] = CARRIERS,
) -> torch.Tensor:  # fmt: skip
    """M of the edit that erases a concept in one of FORMS. None is what the form's authors set."""
    chosen = form_of(form)
    texts = chosen.retain if retain is None else retain
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"retain is {retain!r}; give a list of texts such as ['cat', 'car']")
    if {concept, noun_of(concept)} & set(texts):
        raise UserError(f"retain holds {concept!r}, which is erased; leave it out")
    preserve = chosen.preserve if preserve is None else preserve
    preserve = max(0.1, 1 / max(1, len(texts))) if preserve is None else preserve
    old, new = erased_states(pipe, form, concept, guide, carriers)
    return edit_map(
        old,
        new,
        torch.cat([old[:0], *(retained_states(pipe, form, text, carriers) for text in texts)]),
        check_number("lam", chosen.lam if lam is None else lam),
        check_number("erase", erase),
        check_number("preserve", preserve, positive=False),
    )


def times(weights: Weights, linear: torch.Tensor) -> Weights:
    """W M for each weight W, computed in float64."""
    return {name: (w.detach().cpu().double() @ linear).to(w) for name, w in weights.items()}
