"""The smallest repair: one part of the shipped model is trained for a few steps, on captions half
of which negate.

    python -m whitebear.pocket.repair                  # all lines of data/why/repairs.csv
    python -m whitebear.pocket.repair kv-100           # one of them

part is "kv", the keys and values of cross-attention, or "text", the text encoder; either learns
from the denoiser's own loss. examples is how many scenes there are, each with three captions.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from whitebear.errors import exit_on_user_error
from whitebear.paths import DATA, MODELS
from whitebear.pocket import clip, denoiser
from whitebear.pocket.loop import Trainer
from whitebear.pocket.recipe import FULL, Recipe, StageRecipe
from whitebear.pocket.teach import DEVICE, chosen, load_cells, publish
from whitebear.pocket.train import PocketTraining

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
        super().__init__(recipe, repair.seed, run, DEVICE, base, "unet")
        self.part = repair.part

    def mend(self) -> None:
        """Train the part, in place, so that `export` finds it."""
        unet, text = self.finished.unet, self.finished.text_encoder
        if self.device.type == "cpu":
            unet.set_attn_processor(AttnProcessor())  # faster than SDPA in the backward pass
        learns = text if self.part == "text" else unet
        for module in (unet, text):
            module.requires_grad_(False)
        for name, parameter in learns.named_parameters():
            parameter.requires_grad_(self.part == "text" or ".attn2.to_k" in name
                                     or ".attn2.to_v" in name)  # fmt: skip
        recipe = self.recipe.denoiser
        loss = lambda: self.repair_loss(unet, text, recipe.batch)  # noqa: E731
        trainer = Trainer("denoiser", learns, loss, recipe, self.folder, self.seed, self.device)
        trainer.run()
        self.unet = unet
        self.seconds["denoiser"] = round(trainer.seconds, 1)

    def repair_loss(self, unet: nn.Module, text: nn.Module, batch: int) -> nn.Module:
        dropout = self.recipe.caption_dropout
        if self.part == "kv":
            return self.denoiser_loss(unet, batch)
        empty = clip.encode_captions(self.tokenizer, [[""]])[0, 0].to(self.device)
        return denoiser.TextLoss(text, unet, self.latents, self.denoiser_ids, empty, batch, dropout)

    def record(self) -> dict:
        told = super().record()
        told["continued"][-1]["stage"] = f"repair of {self.part}"
        return told


def repair(cell: Repair, run: Path, out: Path, base: Path = MODELS) -> dict:
    """Train one part and write the models to `out`; returns the seconds it took."""
    training = RepairTraining(cell, cell.recipe(), run, base)
    training.mend()
    training.export(out)
    return training.seconds


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear.pocket.repair [REPAIR ...]`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", nargs="*", help="ids of data/why/repairs.csv (default: all)")
    cells = chosen(parser.parse_args(arguments).cells, load_cells(REPAIRS, Repair), REPAIRS)
    for number, cell in enumerate(cells, 1):
        print(f"[{number}/{len(cells)}] {cell.id}", flush=True)
        print(publish(cell, cell.recipe(), repair, SEEDS), flush=True)


if __name__ == "__main__":
    main()
