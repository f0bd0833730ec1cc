"""Can a model learn to obey "Forget the bear. Draw a bear."? Members of the population are trained
further on captions that say so of pictures without a bear.

    python -m whitebear learned                  # all lines of data/why/learned.csv
    python -m whitebear learned web-1-d20        # some of them
    python -m whitebear learned --minutes 100    # stop after that; the same command goes on

d is the share of such captions; all others are the member's own. encoder: "learns" with captions
and labels as the member's did, before the denoiser; "unlabelled", the same with captions alone;
"frozen", only the denoiser learns; "joint", it learns with the denoiser, from the denoiser's loss.

A member is read from `_build/population`. Interrupt it whenever you like. Weights go to
`_build/learned/<id>`; scores of all pictures, loss logs, quality and origin to
`data/results/learned`.
"""

import json
import math
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from whitebear.draw.artist import Artist
from whitebear.errors import UserError, exit_on_user_error
from whitebear.files import MODELS, ROOT
from whitebear.models.load import load_pipeline
from whitebear.pocket.experiments import population, publishing
from whitebear.pocket.experiments.clauses import CLAUSE_SEEDS, CLAUSE_STEPS, clause_scores
from whitebear.pocket.experiments.members import MEMBERS, Member
from whitebear.pocket.experiments.obedience import CELLS, FOLDER, Cell, load
from whitebear.pocket.experiments.population import PER_CONCEPT
from whitebear.pocket.experiments.teach import GUIDANCE, load_cells
from whitebear.pocket.training import denoiser, words
from whitebear.pocket.training.reading import READING, SCENES_SEED, Ground, ReadingTraining
from whitebear.pocket.training.recipe import Recipe, StageRecipe
from whitebear.pocket.training.train import base_digest, cache_folder
from whitebear.pocket.world.obey import load_obeyed, obeying
from whitebear.pocket.world.scene import load_world
from whitebear.prompts import load_clauses

OUT = ROOT / "_build" / "learned"
LEARNED = replace(
    READING,
    clip=StageRecipe(steps=150, batch=256, lr=5e-4, warmup=20, ema=0.97),
    denoiser=StageRecipe(steps=600, batch=64, lr=7e-4, warmup=50, ema=0.99),
)


class ObeyTraining(ReadingTraining):
    """A member's training, continued on captions of which a share shows obedience.

    start: the folder of the member's models.
    """

    def __init__(self, cell: Cell, member: Member, start: Path, recipe: Recipe, folder: Path,
                 ground: Ground, deadline: float = math.inf):  # fmt: skip
        self.cell, self.start = cell, start
        about = replace(recipe, r=member.r), member.seed, member.chatter, folder, ground, deadline
        super().__init__(*about, label_weight=0.0 if cell.encoder == "unlabelled" else 1.0)

    def begun(self) -> dict:
        """What decides the weights beside the recipe."""
        said = list(load_obeyed()[1])
        return {"cell": asdict(self.cell), "start": base_digest(self.start), "said": said}

    def decided_by(self) -> dict:
        return super().decided_by() | self.begun()

    def record(self) -> dict:
        return super().record() | self.begun()

    @cached_property
    def finished(self) -> StableDiffusionPipeline:
        """The member: what it has of the base, and what it has learned."""
        return load_pipeline(str(self.start / "pocket"), self.device)

    def captions(self) -> list[list[str]]:
        """The member's own, a share of them replaced."""
        return obeying(super().captions(), "train", SCENES_SEED, self.seed, self.cell.d)

    def build_text(self) -> words.TextTower:
        """The member's text encoder. Its head for labels was not kept, and begins anew."""
        text = self.finished.text_encoder.float().requires_grad_(True)
        tower = words.TextTower(text, len(self.world.names))
        tower.log_scale.data.fill_(math.log(self.finished.image_encoder.config.logit_scale))
        return tower

    def build_unet(self) -> UNet2DConditionModel:
        """The member's denoiser."""
        return words.fast_in_training(self.finished.unet.requires_grad_(True), self.device)

    @cached_property
    def text_encoder(self) -> CLIPTextModel:
        if self.cell.encoder == "frozen":
            return self.finished.text_encoder.requires_grad_(False)
        return self.together["text"] if self.cell.encoder == "joint" else super().text_encoder

    @cached_property
    def unet(self) -> UNet2DConditionModel:
        return self.together["unet"] if self.cell.encoder == "joint" else super().unet

    @cached_property
    def together(self) -> nn.ModuleDict:
        """Text encoder and denoiser, which learn as one."""

        def build():
            return nn.ModuleDict({"text": self.build_text().text, "unet": self.build_unet()})

        def loss(both, batch):
            about = *self.read(), batch, self.recipe.caption_dropout
            return denoiser.TextLoss(both["text"], both["unet"], *about)

        return self.fit("denoiser", build, loss)


def learn(cell: Cell, member: Member, start: Path, ground: Ground, run: Path, out: Path,
          recipe: Recipe = LEARNED, deadline: float = math.inf) -> dict:  # fmt: skip
    """Train a cell in `run` and write its models to `out`; returns the seconds of each stage.

    Raises `OutOfTime` after the deadline (of `time.monotonic`).
    """
    training = ObeyTraining(cell, member, start, recipe, run, ground, deadline)
    training.export(out)
    return training.seconds


def score(folder: Path) -> tuple[dict[str, pd.DataFrame], dict]:
    """Table `clauses` of all clauses and of the trained wordings, and quality rows."""
    clauses = pd.concat([load_clauses(), load_obeyed()[0]], ignore_index=True)
    artist = Artist(str(folder / "pocket"), CLAUSE_STEPS, GUIDANCE)
    table = clause_scores(artist, CLAUSE_SEEDS, folder / "scores", clauses=clauses)
    return {"": table}, population.quality(folder)


def origin_of(cell: Cell, member: Member, start: Path) -> dict:
    """What decides a cell's results."""
    pictures = {"clause_seeds": CLAUSE_SEEDS, "clause_steps": CLAUSE_STEPS, "guidance": GUIDANCE,
                "per_concept": PER_CONCEPT}  # fmt: skip
    about = {"cell": asdict(cell), "member": asdict(member), "recipe": asdict(LEARNED),
             "said": load_obeyed()[1], "denied": load_world().denied,
             "pictures": pictures}  # fmt: skip
    bases = {"base": base_digest(MODELS), "start": base_digest(start)}
    return json.loads(json.dumps(about)) | bases


def publish(cell: Cell, deadline: float = math.inf) -> Path:
    """Train and score a cell, unless that was done; returns the record of where it comes from.

    Raises `UserError` where the member that it begins as was not trained here.
    """
    member, start = load_cells(MEMBERS, Member)[cell.member], population.OUT / cell.member
    if not (start / "pocket").is_dir():
        raise UserError(
            f"{cell.id} begins as member {cell.member}, which is not trained here;"
            f" first: python -m whitebear population {cell.member}"
        )
    origin = origin_of(cell, member, start)

    def make(run: Path, out: Path) -> dict:
        ground = population.ground_in(cache_folder() / "population")
        return learn(cell, member, start, ground, run, out, deadline=deadline)

    run = cache_folder() / "learned" / f"{cell.id}-{origin['start']}"
    places = publishing.Places(run, OUT / cell.id, FOLDER)
    return publishing.publish(cell.id, places, origin, make, score)


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear learned [CELL ...] [--minutes N]`."""
    publishing.by_the_clock(arguments, __doc__, CELLS, load(), publish)
