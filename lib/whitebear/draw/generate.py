"""Make the images of a prompt grid. The noise of an image belongs to its (concept, seed) alone."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from tqdm.auto import tqdm

from whitebear.errors import UserError
from whitebear.models.families import T5_LENGTH, call_options, negative_options, picture_side

PIXELS = 2 * 1024**2  # of a batch, where nothing else is said: 2 pictures of SDXL, 8 of SD 1.5
LARGEST = 64


def noise_seed(concept: str, seed: int) -> int:
    """A 63-bit number that is the same for (concept, seed) on every machine and Python.

    All wordings of one (concept, seed) start from the same noise, so they differ by their words
    alone.
    """
    digest = hashlib.sha256(f"{concept}\0{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def row_noise(table: pd.DataFrame) -> list[torch.Generator]:
    """A CPU generator for each row, seeded by its concept and seed alone."""
    return [
        torch.Generator().manual_seed(noise_seed(r.concept, r.seed)) for r in table.itertuples()
    ]


def check_sampling(steps: int, guidance: float) -> None:
    """Raise `UserError` unless steps is a whole number >= 1 and guidance a finite number >= 0."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UserError(f"steps is {steps!r}; give a whole number of at least 1")
    if (
        isinstance(guidance, bool)
        or not isinstance(guidance, (int, float))
        or not 0 <= guidance < np.inf
    ):
        raise UserError(f"guidance is {guidance!r}; give a number of at least 0")


def check_lengths(pipe: DiffusionPipeline, prompts: Iterable[str]) -> None:
    """Raise `UserError`, with the count, for a prompt that no text encoder can read to its end."""
    parts = [getattr(pipe, f"tokenizer{suffix}", None) for suffix in ("", "_2", "_3")]
    limits = {min(t.model_max_length, T5_LENGTH): t for t in parts if t is not None}
    if not limits:
        return
    longest = max(limits)
    unique = list(dict.fromkeys(prompts))
    for prompt, ids in zip(unique, limits[longest](unique).input_ids, strict=True):
        if len(ids) > longest:
            raise UserError(
                f"the prompt {prompt[:60]!r} has {len(ids)} tokens, but the text encoder reads"
                f" {longest}; shorten its wording"
            )


def fitting_batch(pipe: DiffusionPipeline) -> int:
    """Images at a time that a common GPU has the memory for, by the size of a pipeline's images."""
    return max(1, min(LARGEST, PIXELS // picture_side(pipe) ** 2))


def generate_batches(
    pipe: DiffusionPipeline,
    table: pd.DataFrame,
    steps: int,
    guidance: float,
    batch_size: int | None = None,
    progress: bool = True,
    negatives: Sequence[str] | None = None,
    prompts: Sequence[str] | None = None,
) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """The rows of `table` (columns concept, seed, prompt) batch by batch, each with its images,
    uint8 (n, H, W, 3).

    Each row draws its noise on the CPU from its own generator: the same image (to rounding) comes
    out whatever else is in the table or the batch, on any device. batch_size: None is
    `fitting_batch`; negatives: a negative prompt a row; prompts: one a row, drawn in place of its
    own. Raises `UserError` for prompts that are too long to be read whole, and for images that are
    no numbers.
    """
    check_sampling(steps, guidance)
    if not len(table):
        raise UserError("there is nothing to generate; the prompt table has no rows")
    for what, given in (("negative prompts", negatives), ("prompts", prompts)):
        if given is not None and len(given) != len(table):
            raise UserError(
                f"{len(given)} {what} but {len(table)} rows; draw the rows that the intervention"
                " was given"
            )
    read = table.prompt if prompts is None else pd.Series(list(prompts), table.index)
    check_lengths(pipe, read)
    text = _TextInputs(pipe, read, guidance, negatives)
    with tqdm(
        total=len(table), desc="images", unit="img", disable=not progress, leave=False
    ) as bar:
        for rows in slices(len(table), batch_size or fitting_batch(pipe)):
            part = table.iloc[rows]
            out = pipe(
                **text.of(read.iloc[rows], None if negatives is None else negatives[rows]),
                generator=row_noise(part),
                num_inference_steps=steps,
                output_type="np",
                **call_options(pipe),
            )
            check_numbers(out.images)
            yield part, np.rint(out.images * 255).astype(np.uint8)
            bar.update(len(part))


def check_numbers(images: np.ndarray) -> None:
    """Raise `UserError` for NaN, which would become black pictures: "concept absent"."""
    if not np.isfinite(images).all():
        raise UserError(
            "the model made pictures that are no numbers (half precision overflowed); load it in"
            " bfloat16 or float32"
        )


def generate(pipe: DiffusionPipeline, table: pd.DataFrame, steps: int, guidance: float,
             batch_size: int | None = None, progress: bool = True) -> np.ndarray:  # fmt: skip
    """All images of `generate_batches`, uint8 (N, H, W, 3), in the order of the rows."""
    batches = generate_batches(pipe, table, steps, guidance, batch_size, progress)
    return np.concatenate([images for _, images in batches])


def slices(n: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` that cover n."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


class _TextInputs:
    """What a pipeline is given for prompts and guidance: every different prompt is encoded once.

    Pipelines other than StableDiffusionPipeline (several encoders, pooled states) encode their own
    prompts.
    """

    def __init__(
        self,
        pipe: DiffusionPipeline,
        prompts: pd.Series,
        guidance: float,
        negatives: Sequence[str] | None,
        chunk: int = 64,
    ):
        self.row, self.scale = None, {"guidance_scale": float(guidance)}
        if negatives is not None:
            self.scale = negative_options(pipe, guidance)
        if not isinstance(pipe, StableDiffusionPipeline):
            return
        unique = list(dict.fromkeys([*prompts, *(negatives or [])]))
        self.row = {prompt: i for i, prompt in enumerate(unique)}
        guided = guidance > 1
        with torch.no_grad():
            encoded = [
                pipe.encode_prompt(unique[part], pipe._execution_device, 1, guided)
                for part in slices(len(unique), chunk)
            ]
        self.states = torch.cat([states for states, _ in encoded])  # (prompts, positions, width)
        self.empty = (
            encoded[0][1][:1] if guided else None
        )  # (1, positions, width): the unguided half

    def of(self, prompts: pd.Series, negatives: Sequence[str] | None) -> dict:
        if self.row is None:
            pushed = {} if negatives is None else {"negative_prompt": list(negatives)}
            return {"prompt": list(prompts)} | pushed | self.scale
        states = self._states(prompts)
        if self.empty is None:
            return {"prompt_embeds": states} | self.scale
        away = self.empty.expand_as(states) if negatives is None else self._states(negatives)
        return {"prompt_embeds": states, "negative_prompt_embeds": away} | self.scale

    def _states(self, prompts: Iterable[str]) -> torch.Tensor:
        return self.states[[self.row[prompt] for prompt in prompts]]
