"""A population of pocket models, each of which learned to read from nothing.

    python -m whitebear population                   # all members of data/why/population.csv
    python -m whitebear population web-1 none-1      # some of them
    python -m whitebear population --minutes 100     # stop after that; the same command goes on

Members share what cannot read: autoencoder, detector, image tower and the drawing half of the
denoiser, as shipped. They differ in the share of captions that negate, in chatter, and in seed.
Interrupt it whenever you like. Weights go to `_build/population/<member>`; scores of all pictures,
loss logs, quality and origin to `data/results/population`.
"""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from whitebear.files import DATA, MODELS
from whitebear.models.load import fingerprint
from whitebear.pocket.experiments.teach import load_cells  # noqa: F401
from whitebear.pocket.training.reading import READING, Ground, ReadingTraining
from whitebear.pocket.training.recipe import Recipe
from whitebear.pocket.training.train import training_device
from whitebear.pocket.world.captions import CHATTERS

MEMBERS = DATA / "why" / "population.csv"


@dataclass(frozen=True)
class Member:
    """One model: how often its captions negate, which chatter they hold, and its seed."""

    id: str
    r: float
    chatter: str
    seed: int

    def __post_init__(self):
        if not 0 <= self.r <= 1:
            raise ValueError("r is a share of captions, so between 0 and 1")
        if self.chatter not in CHATTERS or self.seed < 1:
            raise ValueError(f"chatter is one of {', '.join(CHATTERS)}; a seed counts from 1")

    @property
    def group(self) -> str:
        """The part of the population that it belongs to: its id without the seed."""
        return re.sub(r"-\d+$", "", self.id)


def learn(member: Member, run: Path, out: Path, base: Path = MODELS, recipe: Recipe = READING,
          deadline: float = math.inf) -> dict:  # fmt: skip
    """Train a member in `run` and write its models to `out`; returns the seconds of each stage.

    The ground that members share is made in a folder beside `run`. Raises `OutOfTime` after the
    deadline (of `time.monotonic`).
    """
    ground = Ground(recipe, run.with_name(f"ground-{fingerprint(base)}"), training_device(), base)
    training = ReadingTraining(replace(recipe, r=member.r), member.seed, member.chatter, run,
                               ground.prepare(), deadline)  # fmt: skip
    training.export(out)
    return training.seconds
