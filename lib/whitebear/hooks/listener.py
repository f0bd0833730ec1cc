"""What capture, steering and patching share: where they listen, whose prompts they follow, and
that no chosen layer was missed.
"""

from collections.abc import Mapping, Sequence

import torch
from diffusers import DiffusionPipeline

from whitebear.errors import UserError
from whitebear.hooks.intercept import Attention, Hub, Run
from whitebear.hooks.words import Segment, read_back, selection, tokenise
from whitebear.models.families import denoiser_of, is_joint, segment_lengths, text_layers

BRANCHES = ("cond", "uncond")


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
        Hub.of(self.pipe).join(self)
        return self

    def __exit__(self, kind, value, trace) -> None:
        Hub.of(self.pipe).leave(self)
        short = [path for path, n in self.seen.items() if n != self.expected]
        if kind is None and short:
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
        segments = self.segments(run, rows)
        each = {k: [v] * run.rows if isinstance(v, str) else v[rows] for k, v in words.items()}
        return segments[0].texts, selection(segments, each, roles, run.n_text)

    def segments(self, run: Run, rows: slice) -> list[Segment]:
        """The tokens of the run's prompts, one row an image; rows: of `prompts`."""
        lengths = segment_lengths(self.pipe, run.n_text)
        if self.prompts is None:
            return [read_back(*heard) for heard in heard_ids(self, run, lengths)]
        texts = self.prompts[rows]
        if len(texts) < run.rows:
            raise UserError(
                f"prompts holds {len(self.prompts)} prompts, but more images are made;"
                " give one an image, in order"
            )
        return [tokenise(getattr(self.pipe, name), texts, *where) for name, *where in lengths]


def heard_ids(listener: Listener, run: Run, lengths: list[tuple[str, int, int]]) -> list[tuple]:
    """(tokenizer, first key, ids (rows, L)) as the text encoders were given them for this run.

    Pipelines encode the prompts first and the negative prompts second, and repeat each prompt
    num_images_per_prompt times in a row. UserError where that is not what the states show.
    """
    which, rows, found = BRANCHES.index(listener.branch), run.rows, []
    advice = "give them as prompts=[...], one an image"
    for name, start, length in lengths:
        calls = run.heard.get(name.replace("tokenizer", "text_encoder"), [])
        if len(calls) <= which:
            raise UserError(f"the prompts were encoded outside this block; {advice}")
        ids = calls[which].cpu().long()
        if rows % len(ids) or ids.shape[1] != length:
            raise UserError(f"{len(ids)} prompts were encoded for {rows} images; {advice}")
        ids = ids.repeat_interleave(rows // len(ids), 0)
        found.append((getattr(listener.pipe, name), start, ids))
    states = run.states[run.slice_of(listener.branch)]
    ids = torch.cat([ids for _, _, ids in found], dim=1)
    same = (ids[1:] == ids[:-1]).all(1)
    gap = (states[1:] - states[:-1]).abs().flatten(1).amax(1)
    alike = (gap < 1e-3 * states.abs().amax()).cpu()
    if not torch.equal(same, alike):
        raise UserError(f"the order of the prompts is not that of their encoding; {advice}")
    return found


def check_steps(steps) -> frozenset[int] | None:
    """Chosen denoiser calls as a set, None for all. UserError for anything but whole numbers."""
    if isinstance(steps, str) and steps == "all":
        return None
    chosen = list(steps) if isinstance(steps, (list, tuple, range, set, frozenset)) else None
    if not chosen or not all(type(step) is int and step >= 0 for step in chosen):
        raise UserError(f'steps is {steps!r}; use "all" or whole numbers such as range(10)')
    return frozenset(chosen)
