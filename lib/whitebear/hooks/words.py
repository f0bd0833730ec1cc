"""Where the words of a prompt stand among the text keys that a denoiser attends to.

A `Segment` is a stretch of the text keys that one tokenizer describes: Stable Diffusion has one,
SDXL two over the same positions, SD3 two over the first 77 and a third over the rest.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from whitebear.errors import UserError

ROLES = ("bos", "eos", "pad", "other")
TEXT = "text"  # every text key: what the others add up to


@dataclass(frozen=True, eq=False)
class Segment:
    """Tokens of P prompts by one tokenizer, from text key `start` on.

    ids: int64 (P, L); texts: the P prompts; offsets: P lists of L (start, end) characters.
    """

    tokenizer: PreTrainedTokenizerBase
    start: int
    ids: torch.Tensor
    texts: list[str]
    offsets: list[list[tuple[int, int]]]


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
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], start: int, length: int
) -> Segment:
    """The segment of prompts, padded and cut to `length` tokens as the pipelines do."""
    out = tokenizer(
        list(texts), padding="max_length", max_length=length, truncation=True,
        return_offsets_mapping=True,
    )  # fmt: skip
    return Segment(tokenizer, start, torch.tensor(out.input_ids), list(texts), out.offset_mapping)


def read_back(tokenizer: PreTrainedTokenizerBase, start: int, ids: torch.Tensor) -> Segment:
    """The segment of token ids (P, L) that a text encoder was given.

    Raises UserError where the ids do not follow from any text that decoding them gives.
    """
    texts = [_decode(tokenizer, row) for row in ids.tolist()]
    segment = tokenise(tokenizer, texts, start, ids.shape[1])
    if not torch.equal(segment.ids, ids.cpu().long()):
        raise UserError(
            "the prompts cannot be read back from their tokens; give them as prompts=[...]"
        )
    return segment


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """The text before padding, without the special tokens that tokenising it again adds."""
    last = ids.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in ids else len(ids)
    first = int(ids[0] == tokenizer.bos_token_id)
    return tokenizer.decode(ids[first:last], clean_up_tokenization_spaces=False)


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


def positions(segment: Segment, prompt: int, word: str) -> list[int]:
    """Tokens of one prompt that belong to a word or phrase, all occurrences, whatever the case.

    Counted within the segment. Empty where the word is not among the tokens.
    """
    parts = re.findall(r"\w+|[^\w\s]", word.lower())
    if not parts:
        raise UserError(f"token {word!r} has no letters; give a word of the prompt")
    pattern = r"(?<!\w)" + r"\s*".join(map(re.escape, parts)) + r"(?!\w)"
    found = [m.span() for m in re.finditer(pattern, segment.texts[prompt].lower())]
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
    Raises UserError where a word is among the tokens of no segment.
    """
    n = len(segments[0].ids)
    out = torch.zeros(n, n_keys, len(words) + len(chosen_roles))
    for column, each in enumerate(words.values()):
        for prompt, word in enumerate(each):
            if word is None:
                continue
            hits = [s.start + i for s in segments for i in positions(s, prompt, word)]
            if not hits:
                raise UserError(_not_found(word, segments, prompt))
            out[prompt, hits, column] = 1
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


def _not_found(word: str, segments: Sequence[Segment], prompt: int) -> str:
    text, length = segments[0].texts[prompt], segments[0].ids.shape[1]
    shown = text if len(text) <= 60 else text[:57] + "..."
    return (
        f"{word!r} is not among the first {length} tokens of the prompt {shown!r};"
        " check its spelling, or shorten the prompt"
    )
