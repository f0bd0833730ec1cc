"""The smallest repair: one part of the shipped model is trained for a few steps, on captions half
of which negate.

    python -m whitebear repair                  # all lines of data/why/repairs.csv
    python -m whitebear repair kv-100           # one of them

part is "kv", the keys and values of cross-attention, or "text", the text encoder; either learns
from the denoiser's own loss. examples is how many scenes there are, each with three captions.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from whitebear.errors import exit_on_user_error
from whitebear.files import DATA, MODELS
from whitebear.pocket.experiments.teach import publish_all
from whitebear.pocket.training import clip, denoiser
from whitebear.pocket.training.recipe import FULL, Recipe, StageRecipe
from whitebear.pocket.training.train import PocketTraining, training_device

REPAIRS = DATA / "why" / "repairs.csv"
PARTS = ("kv", "text")
REPAIRED = replace(FULL, denoiser_captions=3, captions_per_scene=3, denied="half", r=0.5)
SEEDS = 1  # pictures for each wording and concept: there are many repairs, and each needs few


@dataclass(frozen=True)
class Repair:
    """One repair: which part is trained, for how many steps, on how many scenes."""

    id: str
    part: str
    steps: int
    examples: int
    seed: int

    def __post_init__(self):
        if self.part not in PARTS or min(self.steps, self.examples) < 1:
            raise ValueError(f"part is one of {', '.join(PARTS)}; steps and examples from 1")

    def recipe(self, repaired: Recipe = REPAIRED) -> Recipe:
        """What it is trained with: a third of the usual learning rate, a short average."""
        short = StageRecipe(self.steps, 32, 3e-4, warmup=min(20, self.steps // 5), ema=0.95)
        return replace(repaired, scenes=self.examples, denoiser=short)


class RepairTraining(PocketTraining):
    """The denoiser's stage, in which one part of the model learns and all else stays."""

    def __init__(self, repair: Repair, recipe: Recipe, run: Path, base: Path):
        super().__init__(recipe, repair.seed, run, training_device(), base, "unet")
        self.part = repair.part

    def mend(self) -> None:
        """Train the part, in place, so that `export` finds it."""
        self.unet, text = self.build_unet(), self.finished.text_encoder
        learns = text if self.part == "text" else self.unet
        for module in (self.unet, text):
            module.requires_grad_(False)
        for name, parameter in learns.named_parameters():
            parameter.requires_grad_(self.part == "text" or ".attn2.to_k" in name
                                     or ".attn2.to_v" in name)  # fmt: skip
        loss_of = self.text_loss if self.part == "text" else self.denoiser_loss
        self.fit("denoiser", lambda: learns, loss_of)

    def text_loss(self, text: nn.Module, batch: int) -> nn.Module:
        dropout = self.recipe.caption_dropout
        empty = clip.encode_captions(self.tokenizer, [[""]])[0, 0].to(self.device)
        data = self.latents, self.denoiser_ids, empty
        return denoiser.TextLoss(text, self.unet, *data, batch, dropout)

    def record(self) -> dict:
        told = super().record()
        told["continued"][-1]["stage"] = f"repair of {self.part}"
        return told


def repair(
    cell: Repair, run: Path, out: Path, base: Path = MODELS, repaired: Recipe = REPAIRED
) -> dict:
    """Train one part and write the models to `out`; returns the seconds it took."""
    training = RepairTraining(cell, cell.recipe(repaired), run, base)
    training.mend()
    training.export(out)
    return training.seconds


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear repair [REPAIR ...]`."""
    publish_all(arguments, __doc__, REPAIRS, Repair, repair, SEEDS)
