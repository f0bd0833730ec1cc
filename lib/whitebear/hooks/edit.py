"""Change the text states of prompts by a function while an image is made."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from diffusers import DiffusionPipeline

from whitebear.errors import UserError
from whitebear.hooks.listener import Listener
from whitebear.hooks.run import Run
from whitebear.hooks.words import check_tokens, selection, tokenise
from whitebear.models.families import T5_LENGTH, as_read, segment_lengths, text_keys

PLACES = ("concept", "bos", "eos", "pad")
Places = dict[str, torch.Tensor]  # of PLACES -> bool (n_text,)


class Editing(Listener):
    """What `edit_text` gives."""

    def __init__(self, pipe, prompts, edit, words, after):
        super().__init__(pipe, prompts=prompts)
        if not 0 <= after <= 1:
            raise UserError(f"after is {after!r}; give a share of the steps, from 0 to 1")
        words = [None] * len(self.prompts) if words is None else words
        self.words, self.function = check_tokens({"concept": words}, self.prompts), edit
        self.after = after
        self.layers, self.seen = {}, {}  # it changes states, so no layer has to be met

    def begin(self, run: Run) -> None:
        first, states = self.drawn, run.branches[self.branch]
        _, found = self.find(run, self.words, PLACES[1:])
        edited = [
            self.function(first + i, states[i], as_places(found[i].to(states.device)))
            for i in range(run.rows)
        ]
        self.edited = torch.stack(edited).to(states)

    def edit_states(self, states: torch.Tensor, run: Run) -> torch.Tensor:
        if run.step < self.after * len(run.schedule):
            return states
        states = states.clone()
        states[run.slice_of(self.branch)] = self.edited
        return states


def as_places(found: torch.Tensor) -> Places:
    """Columns (n_text, 4) of `selection` by their names."""
    return dict(zip(PLACES, found.bool().unbind(-1), strict=True))


def edit_text(
    pipe: DiffusionPipeline,
    prompts: Sequence[str],
    edit: Callable[[int, torch.Tensor, Places], torch.Tensor],
    words: Sequence[str | None] | None = None,
    after: float = 0.0,
) -> Editing:
    """Draw `prompts`, one an image, with text states that a function changed, in a with-block.

    edit(row, states, places): the states (n_text, D) of an image, changed or not; row: its place in
    `prompts`; places: which text keys are the concept's word, "bos", "eos" and "pad", each bool
    (n_text,). words: the word of each prompt, None where it has none. after: the share of the steps
    that are drawn before with the states as they are. Pooled embeddings stay.

    Raises UserError as `patch_text` does.

    >>> from whitebear.models.load import load_pipeline
    >>> pipe, prompts = load_pipeline("pocket"), ["a bear", "a car"]
    >>> def silence(row, states, places):
    ...     return states * ~places["concept"][:, None]
    >>> with edit_text(pipe, prompts, silence, words=["bear", None]):
    ...     images = pipe(prompts, num_inference_steps=2, output_type="np").images
    >>> images.shape
    (2, 64, 64, 3)
    """
    return Editing(pipe, list(prompts), edit, words, after)


def read_states(
    pipe: DiffusionPipeline, prompts: Sequence[str], words: Sequence[str | None] | None = None
) -> list[tuple[torch.Tensor, Places]]:
    """For each prompt its text states (n_text, D), as the denoiser gets them, and its places, both
    as `edit_text` hands them to its function. Prompts that are too long are cut."""
    prompts = list(prompts)
    words = {"concept": [None] * len(prompts) if words is None else list(words)}
    batches = [text_keys(pipe, prompts[i : i + 64], T5_LENGTH) for i in range(0, len(prompts), 64)]
    states, segments = torch.cat(batches), []
    for name, start, length in segment_lengths(pipe, states.shape[1]):
        tokenizer = getattr(pipe, name)
        read = partial(as_read, pipe, tokenizer)
        segments.append(tokenise(tokenizer, [read(x) for x in prompts], start, length, read))
    found = selection(segments, words, PLACES[1:], states.shape[1]).to(states.device)
    return [(own, as_places(where)) for own, where in zip(states, found, strict=True)]
