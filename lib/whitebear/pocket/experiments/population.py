"""A population of pocket models, each of which learned to read from nothing.

    python -m whitebear population                   # all members of data/why/population.csv
    python -m whitebear population web-1 none-1      # some of them
    python -m whitebear population --minutes 100     # stop after that; the same command goes on

Members share what cannot read: autoencoder, detector, image tower and the drawing half of the
denoiser, as shipped. They differ in the share of captions that negate, in chatter, and in seed.
Interrupt it whenever you like. Weights go to `_build/population/<member>`; scores of all pictures,
loss logs, quality and origin to `data/results/population`.
"""

import json
import math
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from whitebear.errors import exit_on_user_error
from whitebear.files import MODELS, ROOT
from whitebear.models.load import load_pipeline
from whitebear.pocket.experiments import publishing
from whitebear.pocket.experiments.clauses import (
    CLAUSE_SEEDS,
    CLAUSE_STEPS,
    SEEDS,
    score_member,
)
from whitebear.pocket.experiments.members import FOLDER, MEMBERS, Member
from whitebear.pocket.experiments.teach import GUIDANCE, STEPS, load_cells
from whitebear.pocket.training.quality import judge, retrieval
from whitebear.pocket.training.reading import READING, Ground, ReadingTraining
from whitebear.pocket.training.recipe import Recipe
from whitebear.pocket.training.train import base_digest, cache_folder, training_device
from whitebear.pocket.world.scene import load_world
from whitebear.scoring.clip import load_clip
from whitebear.scoring.detector import Detector

OUT = ROOT / "_build" / "population"
PER_CONCEPT = 8  # pictures of each concept for the table of quality


def ground_in(folder: Path, base: Path = MODELS, recipe: Recipe = READING) -> Ground:
    """What members share, made in a folder of `folder`, or found there."""
    ground = folder / f"ground-{base_digest(base)}"
    return Ground(recipe, ground, training_device(), base).prepare()


def learn(member: Member, run: Path, out: Path, base: Path = MODELS, recipe: Recipe = READING,
          deadline: float = math.inf) -> dict:  # fmt: skip
    """Train a member in `run` and write its models to `out`; returns the seconds of each stage.

    The ground that members share is made in a folder beside `run`. Raises `OutOfTime` after the
    deadline (of `time.monotonic`).
    """
    ground = ground_in(run.parent, base, recipe)
    training = ReadingTraining(replace(recipe, r=member.r), member.seed, member.chatter, run,
                               ground, deadline)  # fmt: skip
    training.export(out)
    return training.seconds


def origin_of(member: Member, recipe: Recipe) -> dict:
    """What decides a member's results."""
    pictures = {"seeds": SEEDS, "clause_seeds": CLAUSE_SEEDS, "steps": STEPS,
                "clause_steps": CLAUSE_STEPS, "guidance": GUIDANCE,
                "per_concept": PER_CONCEPT}  # fmt: skip
    about = {"member": asdict(member), "recipe": asdict(recipe), "pictures": pictures}
    return json.loads(json.dumps(about)) | {"base": base_digest(MODELS)}


def quality(folder: Path, per_concept: int = PER_CONCEPT) -> dict:
    """Rows of the quality table that a member has for itself: not those of shared parts."""
    pipe, world = load_pipeline(str(folder / "pocket")), load_world()
    rows = retrieval(load_clip(folder / "pocket"), world)
    return rows | judge(pipe, Detector.load(folder / "detector", pipe.device), world, per_concept)


def publish(member: Member, deadline: float = math.inf) -> Path:
    """Train and score a member, unless that was done; returns the record of where it comes from."""
    origin = origin_of(member, READING)
    run = cache_folder() / "population" / f"{member.id}-{origin['base']}"

    def score(out: Path):
        scores, clauses = score_member(out)
        return {"": scores, "-clauses": clauses}, quality(out)

    make = partial(learn, member, deadline=deadline)
    places = publishing.Places(run, OUT / member.id, FOLDER)
    return publishing.publish(member.id, places, origin, make, score)


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear population [MEMBER ...] [--minutes N]`."""
    members = load_cells(MEMBERS, Member)
    publishing.by_the_clock(arguments, __doc__, MEMBERS, members, publish)
