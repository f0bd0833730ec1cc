"""Is the concept in the picture? A calibrated detector for the pocket world, CLIP for the rest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from transformers import (
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
    ResNetForImageClassification,
)

from whitebear.errors import UserError
from whitebear.files import MODELS
from whitebear.models.load import check_filled, check_weights, find_model, quiet_loading, read_json
from whitebear.prompts import caption_of

BATCH = 256
# A judge that no supported generator contains, and its commit.
SAME_CLIP_FOR_ALL = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
SAME_CLIP_REVISION = "1a25a446712ba5ee05982a381eed697ef9b435cf"


def _batches(images: np.ndarray) -> list[np.ndarray]:
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[-1] != 3
    ):
        raise UserError("images must be a uint8 array (N, height, width, 3), as `generate` returns")
    return [images[start : start + BATCH] for start in range(0, len(images), BATCH)]


class Detector:
    """Multi-label detector of the pocket world; `concepts` are its labels."""

    def __init__(self, model: ResNetForImageClassification, thresholds: dict[str, float]):
        self.model = model.eval()
        self.concepts = tuple(model.config.id2label[i] for i in range(model.config.num_labels))
        self.thresholds = pd.Series(thresholds)[list(self.concepts)]

    @classmethod
    def load(cls, path: Path = MODELS / "detector") -> "Detector":
        """Load a detector folder. Raises `UserError` where it is incomplete or no detector."""
        path = Path(path)
        check_weights(path)
        config = read_json(path / "config.json", f"{path} is no detector folder")
        thresholds = config.get("presence_thresholds")
        labels = set(config.get("id2label", {}).values())
        if not isinstance(thresholds, dict) or not labels or labels - set(thresholds):
            raise UserError(
                f"{path} is no detector folder; its config.json needs presence_thresholds for "
                "every label"
            )
        with quiet_loading():
            model = ResNetForImageClassification.from_pretrained(
                path, use_safetensors=True, dtype=torch.float32
            )
        check_filled(path, model)
        return cls(model, thresholds)

    @torch.no_grad()
    def scores(self, images: np.ndarray) -> pd.DataFrame:
        """Calibrated probability of each concept in uint8 images (N, H, W, 3): (N, concepts)."""
        pixels = (
            torch.from_numpy(part).permute(0, 3, 1, 2).float() / 127.5 - 1
            for part in _batches(images)
        )
        device = self.model.device
        chances = [torch.sigmoid(self.model(pixel_values=x.to(device)).logits) for x in pixels]
        return pd.DataFrame(torch.cat(chances).cpu().numpy(), columns=list(self.concepts))

    def present(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Presence (bool) from `scores`, each concept at the threshold chosen on fresh renders."""
        return scores >= self.thresholds[list(scores.columns)]


class Clip:
    """Text and images in one space, as unit vectors (N, width)."""

    def __init__(self, embed_text, embed_images, tokenizer, image_processor, scale: float):
        self._text, self._images = embed_text, embed_images
        self._tokenizer, self._processor, self.scale = tokenizer, image_processor, scale

    @torch.no_grad()
    def text(self, prompts: Sequence[str]) -> torch.Tensor:
        """Unit vectors of the prompts (N, width); equal prompts are encoded once."""
        unique = list(dict.fromkeys(prompts))
        tokens = self._tokenizer(
            unique, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        )
        vectors = torch.nn.functional.normalize(self._text(tokens), dim=-1)
        row = {prompt: i for i, prompt in enumerate(unique)}
        return vectors[[row[prompt] for prompt in prompts]]

    @torch.no_grad()
    def images(self, images: np.ndarray) -> torch.Tensor:
        """Unit vectors (N, width) of uint8 images (N, H, W, 3)."""
        vectors = [
            self._images(self._processor(list(part), return_tensors="pt")["pixel_values"])
            for part in _batches(images)
        ]
        return torch.nn.functional.normalize(torch.cat(vectors), dim=-1)


def load_clip(source: str | Path = "pocket") -> Clip:
    """CLIP of a pipeline folder with an image tower ("pocket"), a CLIPModel folder or a hub id."""
    folder = Path(find_model("pocket").source if source == "pocket" else source)
    with quiet_loading():
        if (folder / "image_encoder").is_dir():
            return _clip_of_pipeline(folder)
        if folder.exists():
            check_weights(folder)
        return _clip_of_model(str(source))


def _clip_of_pipeline(folder: Path) -> Clip:
    """Towers that share one space: pooled text state against image embedding, no projection."""
    for part in ("text_encoder", "image_encoder"):
        check_weights(folder / part)
    options = {"use_safetensors": True, "dtype": torch.float32}
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", **options).eval()
    image = CLIPVisionModelWithProjection.from_pretrained(
        folder / "image_encoder", **options
    ).eval()
    if text.config.hidden_size != image.config.projection_dim:
        raise UserError(
            f"{folder} has towers of different widths; they cannot be compared without a projection"
        )
    return Clip(
        lambda tokens: text(**tokens).pooler_output,
        lambda pixels: image(pixel_values=pixels).image_embeds,
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        CLIPImageProcessor.from_pretrained(folder / "feature_extractor"),
        scale=100.0,  # the value at which CLIP's own temperature is capped
    )


def _clip_of_model(source: str) -> Clip:
    pin = {"revision": SAME_CLIP_REVISION} if source == SAME_CLIP_FOR_ALL else {}
    try:
        options = {"use_safetensors": True, "dtype": torch.float32, **pin}
        model = CLIPModel.from_pretrained(source, **options).eval()
        tokenizer, processor = (
            CLIPTokenizer.from_pretrained(source, **pin),
            CLIPImageProcessor.from_pretrained(source, **pin),
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise UserError(
            f"CLIP {source} cannot be loaded ({reason}); give a CLIPModel folder or hub id"
        ) from None
    return Clip(
        lambda tokens: model.get_text_features(**tokens).pooler_output,
        lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
        tokenizer,
        processor,
        scale=float(model.logit_scale.detach().exp()),
    )


def clip_score(images: np.ndarray, prompts: Sequence[str], clip: Clip) -> np.ndarray:
    """Cosine of each image with its own prompt, (N,). images: uint8 (N, H, W, 3)."""
    if len(images) != len(prompts):
        raise UserError(
            f"{len(images)} images but {len(prompts)} prompts; give one prompt an image"
        )
    return (clip.images(images) * clip.text(prompts)).sum(-1).numpy()


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
        vectors = self.clip.images(images)
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


def is_pocket(model: str) -> bool:
    """Whether a model name or folder is one trained on the pocket world, shipped or not."""
    return (Path(find_model(model).source) / "training.json").is_file()


def clip_source(model: str) -> str:
    """The CLIP that judges a model: its own image tower if it has one, else a public CLIP."""
    source = find_model(model).source
    return source if (Path(source) / "image_encoder").is_dir() else SAME_CLIP_FOR_ALL


def detector_for(model: str, concepts: Sequence[str], clip: Clip) -> Detector | ZeroShotDetector:
    """The trained detector for the pocket model, CLIP zero-shot over `concepts` for any other."""
    return Detector.load() if is_pocket(model) else ZeroShotDetector(clip, concepts)


def find_asked(model: str, images: np.ndarray, asked: Sequence[str], clip: Clip) -> pd.DataFrame:
    """Is the concept that belongs to each picture in it? Columns p_asked, present (bool) and logit
    (the zero-shot score that `calibration` needs; NaN from a trained detector).

    images: uint8 (N, H, W, 3); asked: N names of concepts.
    """
    if len(images) != len(asked):
        raise UserError(
            f"{len(images)} images but {len(asked)} concepts; give one concept an image"
        )
    names = sorted(set(asked))
    detector = detector_for(model, names, clip)
    column = np.arange(len(images)), [names.index(name) for name in asked]
    found = {name: part.to_numpy()[column] for name, part in judge(detector, images, names).items()}
    return pd.DataFrame(found)


def judge(
    detector: "Detector | ZeroShotDetector", images: np.ndarray, names: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Tables (N, names) of p_asked, present and logit (NaN from a trained detector)."""
    names = list(names)
    if isinstance(detector, ZeroShotDetector):
        logits = detector.logits(images)[names]
        scores = expit(logits)
    else:
        scores = detector.scores(images)[names]
        logits = scores * np.nan
    return {"p_asked": scores, "present": detector.present(scores), "logit": logits}
