"""Train a pocket model to read, from nothing: `ReadingTraining`.

Autoencoder, detector, image tower and the drawing half of the denoiser come finished from a base;
scenes are the same for every model. Text encoder and cross-attention start from random weights.
Captions, first weights and the order of batches follow the seed.
"""

import math
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from whitebear.files import MODELS, alone
from whitebear.pocket.training import clip, words
from whitebear.pocket.training.denoiser import TextLoss
from whitebear.pocket.training.loop import load_checkpoint, save_checkpoint
from whitebear.pocket.training.recipe import FULL, Recipe, StageRecipe
from whitebear.pocket.training.train import PocketTraining, hardware
from whitebear.pocket.world.dataset import SceneSet, draw_captions

SCENES_SEED = 100  # of the scenes that all models see
READING = replace(
    FULL,
    captions_per_scene=1,  # of the shared scenes; nobody learns from these
    denoiser_captions=4,
    clip=StageRecipe(steps=1_000, batch=256, lr=1e-3, ema=0.995),
    denoiser=StageRecipe(steps=1_500, batch=64, lr=1e-3, ema=0.998),
)


class Ground(PocketTraining):
    """What models that learn to read share: scenes, their latents, what the image tower sees."""

    def __init__(self, recipe: Recipe, folder: Path, device: torch.device, base: Path = MODELS):
        super().__init__(recipe, SCENES_SEED, folder, device, base, "clip")

    @cached_property
    def embeddings(self) -> torch.Tensor:
        """Of every scene, by the image tower: unit length, float32 (N, width)."""
        path = self.folder / "embeddings.safetensors"
        if not path.exists():
            vision = self.finished.image_encoder
            found = words.embed_images(vision, self.train_set.images, self.device)
            save_checkpoint(path, {"embeddings": found}, {})
        return load_checkpoint(path)[0]["embeddings"].to(self.device)

    def prepare(self) -> "Ground":
        """Itself, with everything computed or read; processes beside it wait for the first."""
        with alone(self.folder):
            _ = self.latents, self.embeddings
        return self


class ReadingTraining(PocketTraining):
    """One model's training; `export` of `PocketTraining` writes it.

    chatter: as of `captions.wordings_with`; ground: made for the same base and recipe.
    label_weight: of the labels that the text encoder has to tell, 0 for contrastive learning alone.
    """

    def __init__(self, recipe: Recipe, seed: int, chatter: str, folder: Path, ground: Ground,
                 deadline: float = math.inf, label_weight: float = 1.0):  # fmt: skip
        self.chatter, self.ground, self.label_weight = chatter, ground, label_weight
        super().__init__(recipe, seed, folder, ground.device, ground.base, "clip", deadline)

    def decided_by(self) -> dict:
        return super().decided_by() | {"chatter": self.chatter, "label_weight": self.label_weight}

    @cached_property
    def train_set(self) -> SceneSet:
        return self.ground.train_set

    @cached_property
    def latents(self) -> torch.Tensor:
        return self.ground.latents

    def captions(self) -> list[list[str]]:
        """This model's own, K of each scene."""
        recipe = self.recipe
        about = recipe.denoiser_captions, recipe.r, recipe.denied, self.chatter, self.seed
        return draw_captions(recipe.scenes, "train", SCENES_SEED, *about)

    @cached_property
    def ids(self) -> torch.Tensor:
        """Token ids of its captions, int16 (N, K, 77)."""
        path = self.folder / "captions.safetensors"
        if not path.exists():
            ids = clip.encode_captions(self.tokenizer, self.captions())
            save_checkpoint(path, {"ids": ids}, {})
        return load_checkpoint(path)[0]["ids"].to(self.device)

    def build_text(self) -> words.TextTower:
        """A text encoder that knows nothing."""
        n_labels = len(self.world.names)
        return words.TextTower(clip.Clip(self.recipe, self.tokenizer, n_labels).text, n_labels)

    @cached_property
    def text_encoder(self) -> CLIPTextModel:
        """Learned on captions and on what the image tower sees."""

        def loss(tower, batch):
            data = self.ground.embeddings, self.train_set.labels, self.ids
            return words.LockedImageLoss(tower, *data, batch, self.label_weight)

        return self.fit("clip", self.build_text, loss).text

    @property
    def towers(self) -> tuple[nn.Module, nn.Module]:
        return self.text_encoder, self.finished.image_encoder

    def build_unet(self) -> UNet2DConditionModel:
        """The base's denoiser with cross-attention that knows nothing."""
        unet = words.forget_reading(self.finished.unet).requires_grad_(True)
        return words.fast_in_training(unet, self.device)

    def denoiser_loss(self, model: nn.Module, batch: int) -> nn.Module:
        about = *self.read(), batch, self.recipe.caption_dropout
        return TextLoss(self.text_encoder, model, *about)

    def read(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the denoiser learns from: latents, ids of captions, ids of the empty prompt."""
        empty = clip.encode_captions(self.tokenizer, [[""]])[0, 0].to(self.device)
        return self.latents, self.ids, empty

    def record(self) -> dict:
        return {"recipe": asdict(self.recipe), "seed": self.seed, "chatter": self.chatter,
                "seconds": self.seconds, "hardware": hardware(self.device),
                "torch": torch.__version__}  # fmt: skip
