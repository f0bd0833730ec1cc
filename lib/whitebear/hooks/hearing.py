"""What the tokenizers and text encoders of a pipeline read while anyone listens, and which prompt
the text states are from that the denoiser gets.

Nothing is guessed from the order of calls: states are matched with what an encoder gave out, its
token ids with what the tokenizer made of a text.
"""

from __future__ import annotations

import functools
import inspect
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from diffusers import DiffusionPipeline
from torch import nn

from whitebear.errors import UserError
from whitebear.hooks.words import plain
from whitebear.models.families import segment_lengths

FEATURES = 4  # of each position's state tell encodings apart
ENCODINGS = 64  # calls of an encoder that are remembered
TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")


class After:
    """Calls `then(arguments, result)` after each call of a method of one object, until removed."""

    def __init__(self, owner: object, name: str, then: Callable[[dict, object], None]):
        own, self.owner, self.name = getattr(owner, name), owner, name
        self.before, self.on = vars(owner).get(name), True
        signature = inspect.signature(own)

        @functools.wraps(own)
        def method(*args, **kwargs):
            result = own(*args, **kwargs)
            if self.on:
                then(signature.bind(*args, **kwargs).arguments, result)
            return result

        self.method = method
        setattr(owner, name, method)

    def remove(self) -> None:
        self.on = False
        if vars(self.owner).get(self.name) is not self.method:  # another one came later
            return
        if self.before is None:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.before)


@dataclass(frozen=True, eq=False)
class Encoding:
    """One call of a text encoder: ids (P, L), and of each tensor (P, L, D) that it gave out, D and
    the first FEATURES of D."""

    ids: torch.Tensor
    outputs: list[tuple[int, torch.Tensor]]


class Hearing:
    """The ears on a pipeline's tokenizers and text encoders."""

    def __init__(self, pipe: DiffusionPipeline):
        self.pipe = pipe
        self.texts: dict[int, dict[tuple, list[str]]] = {}  # id of the tokenizer -> ids -> texts
        self.encodings: dict[str, deque[Encoding]] = {}
        self.handles: list = []
        for name in TOKENIZERS:
            tokenizer = getattr(pipe, name, None)
            if tokenizer is not None and id(tokenizer) not in self.texts:
                heard = self.texts[id(tokenizer)] = {}
                note = functools.partial(note_texts, heard)
                self.handles.append(After(tokenizer, "_encode_plus", note))
            encoder = getattr(pipe, name.replace("tokenizer", "text_encoder"), None)
            if isinstance(encoder, nn.Module):
                calls = self.encodings[name] = deque(maxlen=ENCODINGS)
                note = functools.partial(note_encoding, calls)
                self.handles.append(encoder.register_forward_hook(note, with_kwargs=True))

    def remove(self) -> None:
        while self.handles:
            self.handles.pop().remove()

    def read(self, states: torch.Tensor) -> dict[str, list[tuple[int, ...] | None]]:
        """Tokenizer -> the token ids from which each row of text states (rows, n_text, D) was made;
        None where no encoder gave out these states since anyone listens."""
        found, key, feature = {}, -1, 0
        for name, start, length in segment_lengths(self.pipe, states.shape[1]):
            feature = feature if start == key else 0  # encoders of one stretch share the features
            key = start
            part = states[:, start : start + length, feature : feature + FEATURES]
            found[name], width = match(part, self.encodings.get(name, ()))
            feature += width
        return found

    def text_of(self, tokenizer, ids: tuple[int, ...] | None, given: str | None) -> str | None:
        """The text that these ids were made of, `given` where none was heard. UserError where
        another was heard, or two with different words (CLIP reads "20" and "2 0" alike)."""
        texts = self.texts.get(id(tokenizer), {}).get(ids, [])
        wanted = plain(given) if given is not None else texts and plain(texts[-1])
        alike = [text for text in texts if plain(text) == wanted]
        if texts and not alike:
            raise UserError(
                f"prompts says {given!r}, but {texts[-1]!r} is drawn; give the prompts in order"
            )
        if given is None and len(alike) < len(texts):
            raise UserError(
                f"{texts[0]!r} and {texts[-1]!r} have the same tokens; use one block for each"
            )
        return alike[-1] if alike else given

    def longer(self, tokenizer, text: str, length: int) -> Iterator[str]:
        """The heard texts that end with this one and have more than `length` tokens."""
        for ids, texts in self.texts.get(id(tokenizer), {}).items():
            if len(ids) > length:
                yield from (t for t in texts if t != text and t.endswith(text))


def note_texts(heard: dict[tuple, list[str]], arguments: dict, result) -> None:
    """Remember which texts a tokenizer's ids are of."""
    texts, rows = arguments["text"], result["input_ids"]
    if isinstance(texts, str):
        texts, rows = [texts], [rows]
    for text, ids in zip(texts, rows, strict=False):
        if isinstance(text, str):
            same = heard.setdefault(tuple(torch.as_tensor(ids).flatten().tolist()), [])
            if text not in same:
                same.append(text)


def note_encoding(calls: deque[Encoding], module, args, kwargs, output) -> None:
    """Remember what a text encoder gave out."""
    ids = args[0] if args else kwargs.get("input_ids")
    if ids is None:
        return
    outputs = []
    for x in output.values() if isinstance(output, dict) else output:
        for tensor in x if isinstance(x, (tuple, list)) else [x]:
            if isinstance(tensor, torch.Tensor) and tensor.shape[:-1] == ids.shape:
                outputs.append((tensor.shape[-1], tensor[..., :FEATURES].detach().clone()))
    calls.append(Encoding(ids, outputs))


def match(states: torch.Tensor, calls) -> tuple[list[tuple[int, ...] | None], int]:
    """For each row of states (rows, L, FEATURES) the ids whose encoding it is, the latest first;
    and the features of that encoding."""
    found: list = [None] * len(states)
    width = 0
    for call in reversed(calls):
        for size, own in reversed(call.outputs):
            if own.shape[1:] != states.shape[1:]:
                continue
            same = (states[:, None] == own.to(states)).flatten(2).all(2).cpu()
            for row, of in same.nonzero().tolist():
                if found[row] is None:
                    found[row], width = tuple(call.ids[of].tolist()), size
            if None not in found:
                return found, width
    return found, width
