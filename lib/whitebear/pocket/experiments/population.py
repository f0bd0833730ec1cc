"""A population of pocket models, each of which learned to read from nothing.

    python -m whitebear population                   # all members of data/why/population.csv
    python -m whitebear population web-1 none-1      # some of them
    python -m whitebear population --minutes 100     # stop after that; the same command goes on

All members share what cannot read: autoencoder, detector, image tower, and the drawing half of the
denoiser, taken from the shipped model. Text encoder and cross-attention start from random weights;
captions, first weights and the order of batches are a member's own. Interrupt it whenever you like.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from whitebear.files import MODELS, alone
from whitebear.pocket.training import clip, denoiser, words
from whitebear.pocket.training.loop import (
    Trainer,
    load_checkpoint,
    save_checkpoint,
    stable_seed,
)
from whitebear.pocket.training.recipe import FULL, StageRecipe
from whitebear.pocket.training.train import PocketTraining
from whitebear.pocket.world.dataset import draw_captions

SCENES_SEED = 100  # the scenes of all members
READING = replace(
    FULL,
    scenes=60_000,
    captions_per_scene=1,
    clip=StageRecipe(steps=1_000, batch=256, lr=1e-3, ema=0.995),
    denoiser=StageRecipe(steps=2_000, batch=64, lr=1e-3, ema=0.998),
)
CAPTIONS = 4  # of each scene and member


@dataclass(frozen=True)
class Member:
    """One model: how often its captions negate, which chatter they hold, and its seed."""

    id: str
    r: float
    chatter: str
    seed: int


class Ground(PocketTraining):
    """What members share: scenes, their latents and what the image tower sees in them."""

    def __init__(self, recipe, folder: Path, device: torch.device, base: Path = MODELS):
        super().__init__(recipe, SCENES_SEED, folder, device, base, "clip")

    @cached_property
    def embeddings(self) -> torch.Tensor:
        path = self.folder / "embeddings.safetensors"
        if not path.exists():
            vision = self.finished.image_encoder
            found = words.embed_images(vision, self.train_set.images, self.device)
            save_checkpoint(path, {"embeddings": found}, {})
        return load_checkpoint(path)[0]["embeddings"].to(self.device)

    def prepare(self) -> None:
        with alone(self.folder):
            _ = self.latents, self.embeddings


class Reading:
    """One member's training: captions of its own, then text encoder, then denoiser."""

    def __init__(self, member: Member, ground: Ground, folder: Path):
        self.member, self.ground, self.folder = member, ground, folder
        self.recipe, self.device = ground.recipe, ground.device
        self.seconds: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def ids(self) -> torch.Tensor:
        path = self.folder / "captions.safetensors"
        if not path.exists():
            m, n = self.member, self.recipe.scenes
            texts = draw_captions(n, "train", SCENES_SEED, CAPTIONS, m.r, "all", m.chatter, m.seed)
            ids = clip.encode_captions(self.ground.tokenizer, texts)
            save_checkpoint(path, {"ids": ids}, {})
        return load_checkpoint(path)[0]["ids"].to(self.device)

    def fit(self, name: str, build, loss_of) -> nn.Module:
        recipe = getattr(self.recipe, name)
        torch.manual_seed(stable_seed(self.member.seed, name, "init"))
        model = build().to(self.device)
        make_loss = lambda: loss_of(model, recipe.batch)  # noqa: E731
        trainer = Trainer(name, model, make_loss, recipe, self.folder, self.member.seed, self.device)
        model = trainer.run().requires_grad_(False)
        self.seconds[name] = round(trainer.seconds, 1)
        return model

    @cached_property
    def text(self):
        ground = self.ground
        n_labels = len(ground.world.names)

        def build():
            new = clip.Clip(self.recipe, ground.tokenizer, n_labels).text
            return words.TextTower(new, n_labels)

        def loss(m, b):
            return words.LockedImageLoss(
                m, ground.embeddings, ground.train_set.labels, self.ids, b, 1.0
            )

        return self.fit("clip", build, loss).text

    @cached_property
    def unet(self):
        ground = self.ground

        def build():
            unet = words.forget_reading(ground.finished.unet).requires_grad_(True)
            return words.fast_in_training(unet, self.device)

        def loss(m, b):
            empty = clip.encode_captions(ground.tokenizer, [[""]])[0, 0].to(self.device)
            return words.ReadingLoss(
                m, self.text, ground.latents, self.ids, empty, b, self.recipe.caption_dropout
            )

        return self.fit("denoiser", build, loss)
