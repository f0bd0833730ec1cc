"""What capture, steering and patching share: where they listen, whose prompts they follow, and
that no chosen layer was missed.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from diffusers import DiffusionPipeline

from whitebear.errors import UserError
from whitebear.hooks.hearing import Hearing
from whitebear.hooks.intercept import Attention, Hub
from whitebear.hooks.run import BRANCHES, Run
from whitebear.hooks.words import Segment, selection, tokenise
from whitebear.models.families import (
    as_read,
    denoiser_of,
    is_joint,
    segment_lengths,
    text_layers,
)


class Listener:
    """A with-block on a pipeline's attention.

    layers: globs on module paths; steps: "all" or numbers of denoiser calls; branch: "cond" or
    "uncond"; prompts: one an image, in order (None: read from what the text encoders are given
    inside the block).
    """

    needs_lse = False

    def __init__(self, pipe: DiffusionPipeline, layers: str | list[str] = "*", steps="all",
                 branch: str = "cond", prompts: Sequence[str] | None = None):  # fmt: skip
        if branch not in BRANCHES:
            raise UserError(f'branch is {branch!r}; use "cond" or "uncond"')
        self.pipe, self.branch = pipe, branch
        self.denoiser = denoiser_of(pipe)
        self.joint = is_joint(self.denoiser)
        self.layers = {layer.path: layer for layer in text_layers(self.denoiser, layers)}
        self.steps = check_steps(steps)
        self.prompts = None if prompts is None else list(prompts)
        self.hub: Hub | None = None  # that was joined
        self.run: Run | None = None  # that was begun
        self.drawn = 0  # images of earlier runs
        self.expected, self.seen = 0, dict.fromkeys(self.layers, 0)

    def begin(self, run: Run) -> None:
        """A run starts: its prompts and shapes are known."""

    def edit_states(self, states: torch.Tensor, run: Run) -> torch.Tensor:
        """Text states (R, n_text, D) of one denoiser call, changed or not."""
        return states

    def edit(self, attention: Attention, run: Run) -> None:
        """Change what the kernel will get."""

    def observe(self, path: str, attention: Attention, run: Run) -> None:
        """Look at what the kernel got."""

    def __enter__(self):
        self.hub = Hub.of(self.pipe)
        self.hub.join(self)
        return self

    def __exit__(self, kind, value, trace) -> None:
        run = self.hub.run
        self.hub.leave(self)
        if kind is not None:
            return
        if denoiser_of(self.pipe) is not self.denoiser:
            raise UserError(
                "the pipeline's denoiser was exchanged inside this block, and what the new one drew"
                " was not watched; exchange it before the block"
            )
        if run is not None:
            run.check()
        short = [path for path, n in self.seen.items() if n != self.expected]
        if short:
            raise UserError(
                f"attention of {short[0]} was met {self.seen[short[0]]} times in {self.expected}"
                f" denoiser calls ({len(short)} of {len(self.layers)} layers fall short): it reads"
                " no text, or not through scaled_dot_product_attention; use the default attention"
                " processors"
            )

    def find(self, run: Run, words: Mapping[str, str | list[str]], roles: Sequence[str] = ()):
        """The run's prompts (rows), and the text keys that belong to words and roles, float32
        (rows, n_text, words + roles). words: as `check_tokens` returns them."""
        rows = slice(self.drawn, self.drawn + run.rows)
        self.drawn = rows.stop
        given = None if self.prompts is None else self.prompts[rows]
        if given is not None and len(given) < run.rows:
            raise UserError(
                f"prompts holds {len(self.prompts)} prompts, but more images are made;"
                " give one an image, in order"
            )
        segments = self.segments(run, given)
        each = {k: [v] * run.rows if isinstance(v, str) else v[rows] for k, v in words.items()}
        return given or segments[0].texts, selection(segments, each, roles, run.n_text)

    def segments(self, run: Run, given: list[str] | None) -> list[Segment]:
        """The tokens of the run's prompts, one row an image, as the denoiser got them.

        given: the prompts where they are known. UserError where they are not those from which the
        text states were made, or nothing in this block tells what those were made from.
        """
        hearing, found, n = self.hub.hearing, [], run.rows
        ids = hearing.read(run.branches[self.branch])
        for name, start, length in segment_lengths(self.pipe, run.n_text):
            tokenizer = getattr(self.pipe, name)
            read = partial(as_read, self.pipe, tokenizer)
            known = [None] * n if given is None else [read(text) for text in given]
            both = list(zip(ids[name], known, strict=True))
            texts = [hearing.text_of(tokenizer, *row) for row in both]
            if None in texts:
                refuse_shifted(hearing, tokenizer, "", length)
                raise UserError(
                    "the text states are none that was made of a prompt in this block (encoded"
                    " outside this block, weighted, blended or cut); give them as prompts=[...],"
                    " one an image"
                )
            segment = tokenise(tokenizer, texts, start, length, read)
            for row, heard in enumerate(ids[name]):
                check_row(hearing, segment, row, heard)
            found.append(segment)
        return found


def check_row(hearing: Hearing, segment: Segment, row: int, ids: tuple[int, ...] | None) -> None:
    """UserError where the tokens of a prompt are not what the denoiser reads.

    ids: from which its text states were made, as far as that is known.
    """
    tokenizer, text, length = segment.tokenizer, segment.texts[row], segment.ids.shape[1]
    if ids is not None:
        if ids != tuple(segment.ids[row].tolist()):
            raise UserError(
                f"the pipeline does not pad and cut {text!r} to {length} tokens as others do, so"
                " where its words stand is not known"
            )
        return
    refuse_shifted(hearing, tokenizer, text, length)
    if length > tokenizer.model_max_length:
        raise UserError(
            f"there are text states of {length} tokens, but {type(tokenizer).__name__} reads"
            f" {tokenizer.model_max_length}: prompts put together from parts cannot be watched;"
            " shorten the prompt"
        )


def refuse_shifted(hearing: Hearing, tokenizer, text: str, length: int) -> None:
    """UserError where more was read than there are text states, ending with this text."""
    if longer := next(hearing.longer(tokenizer, text, length), None):
        raise UserError(
            f"the pipeline puts more before the prompt ({longer[:40]!r}...) and cuts it off again;"
            " call it without (Sana: complex_human_instruction=None)"
        )


def check_steps(steps) -> frozenset[int] | None:
    """Chosen denoiser calls as a set, None for all. UserError for anything but whole numbers."""
    if isinstance(steps, str) and steps == "all":
        return None
    chosen = list(steps) if isinstance(steps, (list, tuple, range, set, frozenset)) else None
    if not chosen or not all(type(step) is int and step >= 0 for step in chosen):
        raise UserError(f'steps is {steps!r}; use "all" or whole numbers such as range(10)')
    return frozenset(chosen)
