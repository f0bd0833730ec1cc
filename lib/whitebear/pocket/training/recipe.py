"""What the pocket models are made of: sizes, steps and learning rates, at full and at toy scale."""

from dataclasses import dataclass

from whitebear.pocket.world.captions import NATURAL_NEGATION_RATE


@dataclass(frozen=True)
class StageRecipe:
    """One training stage: AdamW with warm-up and cosine decay, an average of the weights kept."""

    steps: int
    batch: int
    lr: float
    warmup: int = 200
    ema: float = 0.999


@dataclass(frozen=True)
class Recipe:
    """Everything that defines the shipped models, besides the world and the captions."""

    scenes: int
    captions_per_scene: int
    denoiser_captions: int  # of each scene; their text states are kept in memory
    reconstructions: int
    vocabulary: int
    vae: StageRecipe
    decoder: StageRecipe
    clip: StageRecipe
    detector: StageRecipe
    denoiser: StageRecipe
    vae_channels: tuple[int, ...]
    latent_channels: int
    text_width: int
    text_layers: int
    vision_layers: int
    detector_channels: tuple[int, ...]
    denoiser_channels: tuple[int, ...]
    r: float = NATURAL_NEGATION_RATE
    denoiser_r: float | None = None  # where the denoiser's captions negate at another rate
    denied: str = "all"  # objects that negated captions deny: all, or half
    caption_dropout: float = 0.1
    kl_weight: float = 5e-4


FULL = Recipe(
    scenes=60_000,
    captions_per_scene=5,
    denoiser_captions=2,
    reconstructions=16_000,
    vocabulary=3328,
    vae=StageRecipe(steps=2_800, batch=32, lr=1.5e-3),
    decoder=StageRecipe(steps=6_000, batch=32, lr=1e-3),
    clip=StageRecipe(steps=1_000, batch=256, lr=1e-3, ema=0.995),
    detector=StageRecipe(steps=3_000, batch=128, lr=2e-3, ema=0.998),
    denoiser=StageRecipe(steps=16_000, batch=32, lr=1e-3),
    vae_channels=(16, 32, 64, 96),
    latent_channels=16,
    text_width=128,
    text_layers=4,
    vision_layers=4,
    detector_channels=(32, 64, 128, 128),
    denoiser_channels=(64, 128),
)

TOY = Recipe(
    scenes=64,
    captions_per_scene=2,
    denoiser_captions=2,
    reconstructions=32,
    vocabulary=856,
    vae=StageRecipe(steps=4, batch=4, lr=1e-3, warmup=2),
    decoder=StageRecipe(steps=4, batch=4, lr=1e-3, warmup=2),
    clip=StageRecipe(steps=4, batch=8, lr=1e-3, warmup=2),
    detector=StageRecipe(steps=4, batch=8, lr=1e-3, warmup=2),
    denoiser=StageRecipe(steps=4, batch=8, lr=1e-3, warmup=2),
    vae_channels=(8, 8, 8, 16),
    latent_channels=16,
    text_width=32,
    text_layers=2,
    vision_layers=2,
    detector_channels=(8, 8, 16, 16),
    denoiser_channels=(16, 32),
)

RECIPES = {"full": FULL, "toy": TOY}
