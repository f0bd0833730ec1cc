"""A model ready to draw and to judge what it drew: everything about it is resolved once.

artist = Artist("pocket")
rows = artist.draw_and_judge(prompt_grid(["bear"], ["affirm"], 2))
rows.present    # is the concept in the image?
"""

import copy
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers import DiffusionPipeline

from whitebear.draw.generate import check_sampling, generate_batches
from whitebear.draw.outlook import check_room, outlook
from whitebear.errors import UserError
from whitebear.files import MODELS, as_path, digest
from whitebear.interventions.exchange_part import with_part
from whitebear.models.families import denoiser_of
from whitebear.models.load import (
    VERSIONS,
    best_device,
    check_device,
    find_model,
    fingerprint,
    load_pipeline,
    locate,
)
from whitebear.models.presets import held
from whitebear.scoring.judge import Judge


class Artist:
    """A model, how it samples, its judge, and the device on which all of them compute.

    model: short name, pipeline folder or hub id; steps, guidance: what its authors recommend
    unless given. Files are looked for, and weights loaded, when they are needed first. Raises
    `UserError` for an unknown model and for sampling that cannot be.

    >>> from whitebear.prompts import prompt_grid
    >>> artist = Artist("pocket", steps=1)
    >>> rows = artist.draw_and_judge(prompt_grid(["bear"], ["omit"], seeds=1), progress=False)
    >>> artist.draw(rows[:2], progress=False).shape, rows.present.dtype
    ((2, 64, 64, 3), dtype('bool'))
    """

    def __init__(
        self,
        model: str = "pocket",
        steps: int | None = None,
        guidance: float | None = None,
        device: str | torch.device | None = None,
    ):
        entry = find_model(model)
        self.model, self.entry, self.batch = model, entry, entry.batch
        self.steps = entry.steps if steps is None else steps
        self.guidance = entry.guidance if guidance is None else guidance
        check_sampling(self.steps, self.guidance)
        self.device = best_device() if device is None else torch.device(device)
        check_device(entry, self.device)
        self.judge, self.parts = Judge(model, self.device), ""
        # set by an intervention, one a row:
        self.negatives: list[str] | None = None
        self.prompts: list[str] | None = None  # drawn in place of the rows' own
        # likewise, from rows and their images to those that are given out:
        self.screen: Callable[[pd.DataFrame, np.ndarray], np.ndarray] | None = None

    @cached_property
    def folder(self) -> Path:
        """The checked folder of the model; a hub id is downloaded on first use."""
        return locate(self.model)

    @cached_property
    def pipe(self) -> DiffusionPipeline:
        """The pipeline, on the device; how it is held there is said, but of the pocket model."""
        pipe = load_pipeline(self.model, self.device)
        if not self.pocket:
            kind = str(denoiser_of(pipe).dtype).removeprefix("torch.")
            print(f"{self.model} is loaded in {kind}, {held(pipe)}.")
        return pipe

    def ready(self, pictures: int, judged: bool = True) -> None:
        """Say what lies ahead, and fetch the judge and then the model where they are not there yet;
        nothing is said of the pocket model.

        pictures: how many are going to be drawn, about; judged: whether a judge is needed. Raises
        `UserError` for what this machine cannot hold, and where something cannot be fetched,
        before anything is drawn.
        """
        if not self.pocket:
            print(f"{outlook(self.entry, self.model, self.device, self.steps, pictures)}.")
            check_room(self.entry, self.model, self.device)
        if judged:
            self.judge.fetch()
        self.folder  # noqa: B018 - is fetched, and checked

    @property
    def pocket(self) -> bool:
        """Whether the model knows the concepts of the pocket world and no others."""
        return self.judge.pocket

    def state(self) -> str:
        """Digest of all that decides an image and its scores but for its row and our code."""
        sampling = self.model, self.steps, float(self.guidance), VERSIONS
        return digest(*sampling, fingerprint(self.folder), self.judge.state(), self.parts)

    def sampling(self, steps: int, guidance: float) -> "Artist":
        """The same artist, with all that is loaded, at other steps and guidance."""
        check_sampling(steps, guidance)
        other = self.using(self.pipe, self.parts)
        other.steps, other.guidance = steps, guidance
        return other

    def using(self, pipe: DiffusionPipeline, parts: str = "") -> "Artist":
        """An artist with another pipeline and the same judge. parts: what tells it from the model
        of its name, for `state`."""
        other = copy.copy(self)
        other.pipe, other.parts = pipe, parts
        return other

    def batches(
        self, rows: pd.DataFrame, progress: bool = True
    ) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
        """The rows of a grid batch by batch, each with its images (see `generate_batches`)."""
        sampling = self.steps, self.guidance, self.batch
        said = self.negatives, self.prompts
        drawn = generate_batches(self.pipe, rows, *sampling, progress, *said)
        return drawn if self.screen is None else self._screened(drawn)

    def _screened(self, drawn):
        for rows, images in drawn:
            yield rows, self.screen(rows, images)

    def draw(self, rows: pd.DataFrame, progress: bool = True) -> np.ndarray:
        """The images of the rows, uint8 (N, H, W, 3). rows: columns concept, seed, prompt."""
        return np.concatenate([images for _, images in self.batches(rows, progress)])

    def judged(self, rows: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
        """The rows with p_asked, present (is the concept in the image?) and logit."""
        found = self.judge.asked(images, list(rows.concept))
        return rows.assign(**{name: found[name].to_numpy() for name in found})

    def draw_and_judge(self, rows: pd.DataFrame, progress: bool = True) -> pd.DataFrame:
        """`judged` of `draw`."""
        return self.judged(rows, self.draw(rows, progress))


def check_part(artist: Artist, part: str, source: str | Path) -> None:
    """Raise `UserError` for a part of the pocket model in another one, before anything is fetched
    or loaded."""
    if not artist.pocket and as_path(source).resolve().is_relative_to(MODELS):
        raise UserError(
            f"{source} is a {part} of the pocket model and fits no other; give one with the sizes"
            f" of that of {artist.model}, a folder or a hub id: for sd15 that is a CLIP ViT-L/14"
        )


def artist_with_part(
    artist: Artist, part: str, source: str | Path, revision: str | None = None
) -> Artist:
    """The artist with one part of its pipeline from elsewhere (see `with_part`)."""
    check_part(artist, part, source)
    pipe = with_part(artist.pipe, part, source, revision)
    weights = fingerprint(Path(source)) if Path(source).is_dir() else f"{source}@{revision}"
    return artist.using(pipe, f"{artist.parts} {part} {weights}")
