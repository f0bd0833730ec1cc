"""Is the concept in the picture? A calibrated detector for the pocket world, CLIP for the rest."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import expit

from whitebear.errors import UserError
from whitebear.files import MODELS
from whitebear.models.load import find_model, fingerprint
from whitebear.scoring.clip import (
    CPU,
    SAME_CLIP_FOR_ALL,
    SAME_CLIP_REVISION,
    Clip,
    load_clip,
    locate_clip,
)
from whitebear.scoring.detector import Detector, ZeroShotDetector


def is_pocket(model: str) -> bool:
    """Whether a model name or folder is one trained on the pocket world, shipped or not."""
    return (Path(find_model(model).source) / "training.json").is_file()


def clip_source(model: str) -> str:
    """The CLIP that judges a model: its own image tower if it has one, else a public CLIP."""
    source = find_model(model).source
    return source if (Path(source) / "image_encoder").is_dir() else SAME_CLIP_FOR_ALL


class Judge:
    """The judge of a model's pictures, loaded once, when it is needed first.

    pocket: whether the trained detector judges; otherwise CLIP does, zero-shot. clip: the model's
    own, or a public one. Both compute on `device`.
    """

    def __init__(self, model: str, device: str | torch.device = CPU):
        self.pocket, self.source, self.device = is_pocket(model), clip_source(model), device

    def fetch(self) -> None:
        """Make sure that the judge is there; a public CLIP is downloaded on first use. Raises
        `UserError`."""
        if not self.pocket:
            locate_clip(self.source)

    @cached_property
    def clip(self) -> Clip:
        """CLIP of the model."""
        return load_clip(self.source, self.device)

    @cached_property
    def trained(self) -> Detector:
        """The detector of the pocket world."""
        return Detector.load(device=self.device)

    def state(self) -> str:
        """What the judge is at this moment: digest of its files, or id and commit."""
        if self.pocket:
            return fingerprint(MODELS / "detector")
        folder = Path(self.source)
        return fingerprint(folder) if folder.is_dir() else f"{self.source}@{SAME_CLIP_REVISION}"

    def scores(self, images: np.ndarray, names: Sequence[str]) -> dict[str, pd.DataFrame]:
        """Tables (N, names) of p_asked, present (bool) and logit (the zero-shot score that
        `calibration` needs; NaN from a trained detector). images: uint8 (N, H, W, 3)."""
        names = list(names)
        detector = self.trained if self.pocket else ZeroShotDetector(self.clip, names)
        if self.pocket:
            scores = detector.scores(images)[names]
            logits = scores * np.nan
        else:
            logits = detector.logits(images)
            scores = expit(logits)
        if not np.isfinite(scores.to_numpy()).all():
            raise UserError(
                "the judge's scores are no numbers, which would count as absent: its weights are"
                " damaged; get them again"
            )
        return {"p_asked": scores, "present": detector.present(scores), "logit": logits}

    def asked(self, images: np.ndarray, concepts: Sequence[str]) -> pd.DataFrame:
        """Is the concept that belongs to each picture in it? Columns as the tables of `scores`.

        images: uint8 (N, H, W, 3); concepts: N names.
        """
        if len(images) != len(concepts):
            raise UserError(
                f"{len(images)} images but {len(concepts)} concepts; give one concept an image"
            )
        names = sorted(set(concepts))
        at = np.arange(len(images)), [names.index(name) for name in concepts]
        tables = self.scores(images, names)
        return pd.DataFrame({name: table.to_numpy()[at] for name, table in tables.items()})
