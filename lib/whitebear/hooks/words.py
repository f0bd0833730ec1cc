"""Where the words of a prompt stand among the text keys that a denoiser attends to.

A `Segment` is a stretch of the text keys that one tokenizer describes: Stable Diffusion has one,
SDXL two over the same positions, SD3 two over the first 77 and a third over the rest.
"""

import itertools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from whitebear.errors import UserError

ROLES = ("bos", "eos", "pad", "other")
TEXT = "text"  # every text key: what the others add up to
APOSTROPHES = str.maketrans("\u2018\u2019\u02bc", "'''")
UNSPACED = re.compile(  # scripts without spaces between words: Thai to Khmer, kana, Han
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True, eq=False)
class Segment:
    """Tokens of P prompts by one tokenizer, from text key `start` on.

    ids: int64 (P, L); texts: the P prompts as the tokenizer got them; offsets: P lists of L
    (start, end) characters; as_read: what the pipeline makes of a text before its tokenizer.
    """

    tokenizer: PreTrainedTokenizerBase
    start: int
    ids: torch.Tensor
    texts: list[str]
    offsets: list[list[tuple[int, int]]]
    as_read: Callable[[str], str] = str


def check_names(names: str | Sequence[str], valid: Sequence[str], what: str) -> list[str]:
    """One name or several as a list, each one valid and once. UserError otherwise."""
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in valid or names.count(name) > 1:
            raise UserError(f"{what} holds {name!r}; use each of {', '.join(valid)} at most once")
    return names


def check_tokens(tokens, prompts: list[str] | None) -> dict[str, str | list[str]]:
    """Labels and their words: one word for all prompts, or a list with one word a prompt."""
    if isinstance(tokens, str):
        raise UserError(f"tokens is {tokens!r}; give a list of words such as [{tokens!r}]")
    words = dict(tokens) if isinstance(tokens, Mapping) else {word: word for word in tokens}
    for label, word in words.items():
        if isinstance(word, str):
            continue
        words[label] = list(word)
        if prompts is None or len(words[label]) != len(prompts):
            raise UserError(f"tokens[{label!r}] lists words; give prompts=[...] of the same length")
    return words


def tokenise(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], start: int, length: int,
    as_read: Callable[[str], str] = str,
) -> Segment:  # fmt: skip
    """The segment of prompts, padded and cut to `length` tokens as the pipelines do."""
    out = tokenizer(
        list(texts), padding="max_length", max_length=length, truncation=True,
        return_offsets_mapping=True,
    )  # fmt: skip
    ids = torch.tensor(out.input_ids)
    return Segment(tokenizer, start, ids, list(texts), out.offset_mapping, as_read)


def roles(segment: Segment) -> torch.Tensor:
    """bool (P, L, 4): which tokens are bos, eos, padding, or others, in the order of ROLES.

    Only the first end-of-text token is eos: CLIP pads with the same id.
    """
    ids, tokenizer = segment.ids, segment.tokenizer
    bos = torch.zeros_like(ids, dtype=torch.bool)
    if tokenizer.bos_token_id is not None:
        bos[:, 0] = ids[:, 0] == tokenizer.bos_token_id
    ends = (ids == tokenizer.eos_token_id) & ~bos
    eos = ends & (ends.cumsum(1) == 1)
    pad = (ends.cumsum(1) >= 1) & ~eos
    return torch.stack([bos, eos, pad, ~(bos | eos | pad)], dim=-1)


def fold(text: str) -> tuple[str, list[tuple[int, int]]]:
    """A text as words are compared (composed, case folded, straight apostrophes), and for each of
    its characters the characters of the text that it stands for.

    >>> fold("Don\u2019t")
    ("don't", [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)])
    """
    starts: list[int] = []
    for i, char in enumerate(text):
        whole = text[starts[-1] : i] if starts else ""
        size = len(unicodedata.normalize("NFC", whole + char))
        composes = size <= len(unicodedata.normalize("NFC", whole))
        if not starts or not (composes or unicodedata.combining(char)):
            starts.append(i)
    folded, spans = "", []
    for start, end in itertools.pairwise([*starts, len(text)]):
        part = unicodedata.normalize("NFC", text[start:end]).translate(APOSTROPHES).casefold()
        folded += part
        spans += [(start, end)] * len(part)
    return folded, spans


def plain(text: str) -> str:
    """A text folded, with single spaces: texts with the same words are equal."""
    return " ".join(fold(text)[0].split())


def occurrences(text: str, word: str) -> list[tuple[int, int]]:
    """(start, end) of a word or phrase wherever it stands as such in a text, whatever the case.

    >>> occurrences("No bear, a Bear's bears", "bear")
    [(3, 7), (11, 15)]
    """
    folded, spans = fold(text)
    pattern = r"\s+".join(re.escape(fold(part)[0]) for part in word.split())
    if not pattern:
        raise UserError(f"token {word!r} has no letters; give a word of the prompt")
    found = [m.span(1) for m in re.finditer(f"(?=({pattern}))", folded)]
    return [
        (spans[a][0], spans[b - 1][1])
        for a, b in found
        if not (_one_word(folded[a - 1 : a + 1]) or _one_word(folded[b - 1 : b + 1]))
    ]


def _one_word(pair: str) -> bool:
    """Whether two neighbouring characters are of one word, in scripts that put spaces between."""
    inside = [unicodedata.category(c)[0] in "LMN" or c in "_\u200d" for c in pair]
    return len(pair) == 2 and all(inside) and not UNSPACED.search(pair)


def positions(segment: Segment, prompt: int, word: str) -> list[int]:
    """Tokens of one prompt that belong to a word or phrase, all occurrences, whatever the case.

    Counted within the segment. Empty where the word is not among the tokens.
    """
    found = occurrences(segment.texts[prompt], segment.as_read(word))
    return [
        i
        for i, (start, end) in enumerate(segment.offsets[prompt])
        if any(start < stop and end > begin for begin, stop in found)
    ]


def selection(
    segments: Sequence[Segment], words: dict[str, list[str]], chosen_roles: Sequence[str],
    n_keys: int,
) -> torch.Tensor:  # fmt: skip
    """float32 (P, n_keys, words + roles): which text keys are summed for each word and role.

    words: label -> its word in each of the P prompts, None where it has none. "other" is what no
    asked word and no other role covers, so words, bos, eos, pad and other add up to all text keys.
    Raises UserError where a word is among the tokens of no segment, or its tokens were cut off.
    """
    n = len(segments[0].ids)
    out = torch.zeros(n, n_keys, len(words) + len(chosen_roles))
    for column, each in enumerate(words.values()):
        for prompt, word in enumerate(each):
            if word is None:
                continue
            out[prompt, _keys_of(word, segments, prompt), column] = 1
    named = out.any(-1)
    masks = _role_masks(segments, n, n_keys)
    for column, role in enumerate(chosen_roles, start=len(words)):
        out[..., column] = masks[role] & ~named if role == "other" else masks[role]
    return out


def _role_masks(segments: Sequence[Segment], n: int, n_keys: int) -> dict[str, torch.Tensor]:
    """bool (n, n_keys) for every role. Of tokenizers that share positions, the first decides; keys
    of an encoder that the pipeline does without are padding."""
    masks = {role: torch.zeros(n, n_keys, dtype=torch.bool) for role in ROLES}
    covered = torch.zeros(n_keys, dtype=torch.bool)
    for segment in segments:
        keys = slice(segment.start, segment.start + segment.ids.shape[1])
        if not covered[keys].any():
            for role, mask in zip(ROLES, roles(segment).unbind(-1), strict=True):
                masks[role][:, keys] = mask
        covered[keys] = True
    masks["pad"][:, ~covered] = True
    return masks | {TEXT: torch.ones(n, n_keys, dtype=torch.bool)}


def _keys_of(word: str, segments: Sequence[Segment], prompt: int) -> list[int]:
    """The text keys of a word in one prompt, in all segments whose text has the word.

    UserError where it is in none, or was cut off one.
    """
    keys, short = [], []
    for segment in segments:
        here = positions(segment, prompt, word)
        keys += [segment.start + i for i in here]
        if not here and occurrences(segment.texts[prompt], segment.as_read(word)):
            short.append(segment)
    if keys and not short:
        return keys
    first = (short or segments)[0]
    text, length = first.texts[prompt], first.ids.shape[1]
    shown = text if len(text) <= 60 else text[:57] + "..."
    raise UserError(
        f"{word!r} is not among the first {length} tokens of the prompt {shown!r};"
        " check its spelling, or shorten the prompt"
    )
