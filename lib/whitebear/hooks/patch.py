"""Swap the states of words with those of another prompt while an image is made."""

from collections.abc import Sequence
from functools import partial

import torch
from diffusers import DiffusionPipeline

from whitebear.errors import UserError
from whitebear.hooks.listener import Listener
from whitebear.hooks.run import Run
from whitebear.hooks.words import ROLES, Segment, check_names, positions, roles, tokenise
from whitebear.models.families import T5_LENGTH, as_read, segment_lengths, text_keys

PATCHES = ("concept", "eos", "pad", "all")


class Patching(Listener):
    """What `patch_text` gives."""

    def __init__(self, pipe, prompt, source_prompt, positions, concept, steps):
        super().__init__(pipe, steps=steps)
        self.parts, self.done = check_names(positions, PATCHES, "positions"), 0
        if "concept" in self.parts and not concept:
            raise UserError('positions="concept" needs the concept=... whose tokens are swapped')
        self.jobs = as_jobs(prompt, source_prompt, concept)  # one an image, or one for all
        self.encode(T5_LENGTH)
        self.layers, self.seen = {}, {}  # it swaps states, so no layer has to be met

    def encode(self, length: int) -> None:
        """States (n_text, D) of every source, padded to `length` where the caller may choose it."""
        unique = list(dict.fromkeys(source for _, source, _ in self.jobs))
        self.sources = dict(zip(unique, text_keys(self.pipe, unique, length), strict=True))

    def begin(self, run: Run) -> None:
        """Match positions of each prompt with those of its source, stretch by stretch."""
        jobs = self.jobs * run.rows if len(self.jobs) == 1 else self.jobs[self.done :][: run.rows]
        if len(jobs) < run.rows:
            raise UserError(f"{len(self.jobs)} prompts were given to patch, but more are drawn")
        self.done += run.rows
        self.segments(run, [prompt for prompt, _, _ in jobs])  # refuses other prompts
        stretches = segment_lengths(self.pipe, run.n_text)
        if len(next(iter(self.sources.values()))) != run.n_text:  # T5 reads its padding too
            self.encode(stretches[-1][2])
        matched = {job: self._match(stretches, *job) for job in dict.fromkeys(jobs)}
        self.swaps = [(*matched[job], self.sources[job[1]]) for job in jobs]

    def _match(self, stretches, prompt, source_prompt, concept) -> tuple[list[int], list[int]]:
        all_to, all_take = [], []
        for name, start, length in stretches:
            tokenizer = getattr(self.pipe, name)
            read = partial(as_read, self.pipe, tokenizer)
            texts = [read(prompt), read(source_prompt)]
            both = tokenise(tokenizer, texts, start, length, read)
            for part in self.parts:
                to, take = (_positions(both, row, part, concept) for row in (0, 1))
                if part == "pad":  # padding ends together, wherever it begins
                    n = min(len(to), len(take))
                    to, take = to[len(to) - n :], take[len(take) - n :]
                if len(to) != len(take):
                    raise UserError(
                        f"{concept or part!r} has {len(to)} tokens in the prompt and"
                        f" {len(take)} in the source prompt; they must be as many"
                    )
                all_to += [start + i for i in to]
                all_take += [start + i for i in take]
        if not all_to:
            what = concept or " and ".join(self.parts)
            raise UserError(f"neither prompt has {what!r}; nothing to swap")
        return all_to, all_take

    def edit_states(self, states: torch.Tensor, run: Run) -> torch.Tensor:
        states, first = states.clone(), run.slice_of("cond").start
        for row, (to, take, source) in enumerate(self.swaps, start=first):
            states[row, to] = source[take].to(states)
        return states


def _positions(both: Segment, row: int, part: str, concept: str | None) -> list[int]:
    """Which tokens of a prompt make up one of PATCHES."""
    if part == "all":
        return list(range(both.ids.shape[1]))
    if part == "concept":
        return positions(both, row, concept)
    return roles(both)[row, :, ROLES.index(part)].nonzero().flatten().tolist()


def as_jobs(prompt, source_prompt, concept) -> list[tuple[str, str, str | None]]:
    """(prompt, source, concept) of each image. Texts stand for all, lists are as long as another.

    Raises UserError for lists of different lengths.
    """
    given = {"prompt": prompt, "source_prompt": source_prompt, "concept": concept}
    lists = {k: list(v) for k, v in given.items() if v is not None and not isinstance(v, str)}
    n = max((len(v) for v in lists.values()), default=1)
    if wrong := [f"{len(v)} {k}" for k, v in lists.items() if len(v) != n]:
        raise UserError(f"there are {wrong[0]} for {n} images; give one each, or a text for all")
    return list(zip(*(lists.get(k, [v] * n) for k, v in given.items()), strict=True))


def patch_text(
    pipe: DiffusionPipeline,
    prompt: str | list[str],
    source_prompt: str | list[str],
    positions: str | Sequence[str] = "concept",
    concept: str | list[str] | None = None,
    steps="all",
) -> Patching:
    """Draw `prompt` with text states of `source_prompt` at some positions, in a with-block.

    positions: "concept" (the tokens of `concept`, in order), "eos", "pad" (aligned at the end) or
    "all", or several of them. Only the states that attention reads are swapped; pooled embeddings
    stay. The block is to draw `prompt` alone; lists name prompts, sources and concepts image by
    image, in the order in which they are drawn, over as many calls of the pipeline as it takes.

    Raises UserError where two prompts have no such positions or not as many.

    >>> import torch
    >>> from whitebear.models.load import load_pipeline
    >>> pipe = load_pipeline("pocket")
    >>> options = {"num_inference_steps": 2, "output_type": "np"}
    >>> noise = [torch.Generator().manual_seed(seed) for seed in (0, 0)]
    >>> with patch_text(pipe, "no bear", "a bear", "all"):
    ...     patched = pipe("no bear", generator=noise[0], **options).images
    >>> patched.shape
    (1, 64, 64, 3)
    >>> bool((abs(patched - pipe("a bear", generator=noise[1], **options).images) < 1e-4).all())
    True
    """
    return Patching(pipe, prompt, source_prompt, positions, concept, steps)
