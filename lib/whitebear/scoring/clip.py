"""CLIP as a judge: images and texts as vectors in one space."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import (
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from whitebear.errors import UserError, first_line
from whitebear.models import hub
from whitebear.models.load import check_weights, find_model, quiet_loading

BATCH = 256
CPU = torch.device("cpu")
# A judge that no supported generator contains, and its commit.
SAME_CLIP_FOR_ALL = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
SAME_CLIP_REVISION = "1a25a446712ba5ee05982a381eed697ef9b435cf"
LOADED = ["*.json", "merges.txt", "model*.safetensors"]  # of a CLIP on the hub


def batches(images: np.ndarray) -> list[np.ndarray]:
    """uint8 images (N, H, W, 3) in slices that fit a device. `UserError` for anything else."""
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[-1] != 3
    ):
        raise UserError("images must be a uint8 array (N, height, width, 3), as `generate` returns")
    return [images[start : start + BATCH] for start in range(0, len(images), BATCH)]


class Clip:
    """Text and images in one space, as unit vectors (N, width): computed on `device`, returned on
    the CPU."""

    def __init__(self, embed_text, embed_images, tokenizer, image_processor, scale: float,
                 device: torch.device = CPU):  # fmt: skip
        self._text, self._images, self.device = embed_text, embed_images, device
        self._tokenizer, self._processor, self.scale = tokenizer, image_processor, scale

    @torch.no_grad()
    def text(self, prompts: Sequence[str]) -> torch.Tensor:
        """Unit vectors of the prompts (N, width); equal prompts are encoded once."""
        unique = list(dict.fromkeys(prompts))
        tokens = self._tokenizer(
            unique, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).to(self.device)
        vectors = torch.nn.functional.normalize(self._text(tokens), dim=-1).cpu()
        row = {prompt: i for i, prompt in enumerate(unique)}
        return vectors[[row[prompt] for prompt in prompts]]

    @torch.no_grad()
    def images(self, images: np.ndarray) -> torch.Tensor:
        """Unit vectors (N, width) of uint8 images (N, H, W, 3)."""
        vectors = [
            self._images(
                self._processor(list(part), return_tensors="pt")["pixel_values"].to(self.device)
            )
            for part in batches(images)
        ]
        return torch.nn.functional.normalize(torch.cat(vectors), dim=-1).cpu()


def load_clip(source: str | Path = "pocket", device: str | torch.device = CPU) -> Clip:
    """CLIP of a pipeline folder with an image tower ("pocket"), a CLIPModel folder or a hub id."""
    device = torch.device(device)
    folder = locate_clip(find_model("pocket").source if source == "pocket" else source)
    with quiet_loading():
        if (folder / "image_encoder").is_dir():
            return _clip_of_pipeline(folder, device)
        return _clip_of_model(folder, device)


def locate_clip(source: str | Path) -> Path:
    """The checked local folder of a CLIP; a hub id is downloaded on first use. Raises `UserError`,
    which says what to do without a network."""
    folder = Path(source)
    if folder.exists():
        if not (folder / "image_encoder").is_dir():
            check_weights(folder)
        return folder
    same = str(source) == SAME_CLIP_FOR_ALL
    revision = SAME_CLIP_REVISION if same else None
    kept = hub.in_cache(str(source), revision)
    with contextlib.suppress(UserError):
        if kept is not None:
            check_weights(kept)
            return kept
    what = f"CLIP {source}{', the judge of pictures of web models (0.6 GB),' if same else ''}"
    folder = hub.fetch_files(what, str(source), revision, LOADED)
    check_weights(folder)
    return folder


def _clip_of_pipeline(folder: Path, device: torch.device) -> Clip:
    """Towers that share one space: pooled text state against image embedding, no projection."""
    for part in ("text_encoder", "image_encoder"):
        check_weights(folder / part)
    options = {"use_safetensors": True, "dtype": torch.float32}
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", **options)
    image = CLIPVisionModelWithProjection.from_pretrained(folder / "image_encoder", **options)
    text, image = text.eval().to(device), image.eval().to(device)
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
        device=device,
    )


def _clip_of_model(folder: Path, device: torch.device) -> Clip:
    try:
        options = {"use_safetensors": True, "dtype": torch.float32}
        model = CLIPModel.from_pretrained(folder, **options).eval()
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        processor = CLIPImageProcessor.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(
            f"CLIP {folder} cannot be loaded ({first_line(error)}); give a CLIPModel folder or"
            " hub id"
        ) from None
    scale = float(model.logit_scale.detach().exp())
    model.to(device)
    return Clip(
        lambda tokens: model.get_text_features(**tokens).pooler_output,
        lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
        tokenizer,
        processor,
        scale=scale,
        device=device,
    )


def clip_score(images: np.ndarray, prompts: Sequence[str], clip: Clip) -> np.ndarray:
    """Cosine of each image with its own prompt, (N,). images: uint8 (N, H, W, 3). Raises
    `UserError` for cosines that are no numbers."""
    if len(images) != len(prompts):
        raise UserError(
            f"{len(images)} images but {len(prompts)} prompts; give one prompt an image"
        )
    found = (clip.images(images) * clip.text(prompts)).sum(-1).numpy()
    if not np.isfinite(found).all():
        raise UserError("CLIP's scores are no numbers: its weights are damaged; get them again")
    return found
