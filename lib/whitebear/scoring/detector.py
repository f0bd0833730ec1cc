"""Which concepts are in a picture: a trained detector, or CLIP without training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from transformers import ResNetForImageClassification

from whitebear.errors import UserError
from whitebear.files import MODELS, shipped
from whitebear.models.load import check_filled, check_weights, quiet_loading, read_json
from whitebear.models.sums import check_sums
from whitebear.prompts import caption_of
from whitebear.scoring.clip import CPU, Clip, batches


class Detector:
    """Multi-label detector of the pocket world; `concepts` are its labels."""

    def __init__(self, model: ResNetForImageClassification, thresholds: dict[str, float]):
        self.model = model.eval()
        self.concepts = tuple(model.config.id2label[i] for i in range(model.config.num_labels))
        self.thresholds = pd.Series(thresholds)[list(self.concepts)]

    @classmethod
    def load(cls, path: Path = MODELS / "detector", device: str | torch.device = CPU) -> "Detector":
        """Load a detector folder. Raises `UserError` where it is incomplete or no detector."""
        path = shipped(Path(path))
        check_weights(path)
        config = read_json(path / "config.json", f"{path} is no detector folder")
        check_sums(path)
        thresholds, labels = config.get("presence_thresholds"), config.get("id2label")
        names = list(labels.values()) if isinstance(labels, dict) else []
        known = isinstance(thresholds, dict) and names and all(isinstance(n, str) for n in names)
        if not known or set(names) - set(thresholds):
            raise UserError(
                f"{path} is no detector folder; its config.json needs presence_thresholds for "
                "every label"
            )
        for name in names:
            if type(at := thresholds[name]) not in (int, float) or not 0 <= at <= 1:
                raise UserError(
                    f"{path}: the presence threshold of {name} is {at!r}; give a number from 0 to 1"
                )
        with quiet_loading():
            model = ResNetForImageClassification.from_pretrained(
                path, use_safetensors=True, dtype=torch.float32
            )
        check_filled(path, model)
        return cls(model.to(device), thresholds)

    @torch.no_grad()
    def scores(self, images: np.ndarray) -> pd.DataFrame:
        """Calibrated probability of each concept in uint8 images (N, H, W, 3): (N, concepts)."""
        pixels = (
            torch.from_numpy(part).permute(0, 3, 1, 2).float() / 127.5 - 1
            for part in batches(images)
        )
        device = self.model.device
        chances = [torch.sigmoid(self.model(pixel_values=x.to(device)).logits) for x in pixels]
        return pd.DataFrame(torch.cat(chances).cpu().numpy(), columns=list(self.concepts))

    def present(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Presence (bool) from `scores`, each concept at the threshold chosen on fresh renders."""
        return scores >= self.thresholds[list(scores.columns)]


class ZeroShotDetector:
    """Presence from CLIP: softmax over "a picture of a {c}" against "a picture of something" (as in
    AcT).

    For concepts or models outside the pocket world, where no trained detector exists. Not
    calibrated by itself: `calibration` does that with the pictures of a run.
    """

    def __init__(self, clip: Clip, concepts: Sequence[str]):
        self.clip, self.concepts = clip, tuple(concepts)

    def logits(self, images: np.ndarray) -> pd.DataFrame:
        """How much better each concept fits than "something": scaled difference of cosines."""
        return self.logits_of(self.clip.images(images))

    def logits_of(self, vectors: torch.Tensor) -> pd.DataFrame:
        """`logits` of images by their unit vectors (N, width)."""
        with_concept = vectors @ self.clip.text([caption_of(c) for c in self.concepts]).T
        something = vectors @ self.clip.text(["a picture of something"]).T
        fits = self.clip.scale * (with_concept - something)
        return pd.DataFrame(fits.numpy(), columns=list(self.concepts))

    def scores(self, images: np.ndarray) -> pd.DataFrame:
        """Probability of each concept against "something" (softmax of two), (N, concepts)."""
        return expit(self.logits(images))

    def present(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Presence (bool): likelier than not."""
        return scores >= 0.5
