"""A population of pocket models, each of which learned to read from nothing.

    python -m whitebear population                   # all members of data/why/population.csv
    python -m whitebear population web-1 none-1      # some of them
    python -m whitebear population --minutes 100     # stop after that; the same command goes on

Members share what cannot read: autoencoder, detector, image tower and the drawing half of the
denoiser, as shipped. They differ in the share of captions that negate, in chatter, and in seed.
Interrupt it whenever you like. Weights go to `_build/population/<member>`; scores of all pictures,
loss logs, quality and origin to `data/results/population`.
"""

import argparse
import json
import math
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

from whitebear.errors import UserError, exit_on_user_error
from whitebear.files import MODELS, ROOT, write_parquet, write_text
from whitebear.models.load import VERSIONS, fingerprint, load_pipeline
from whitebear.pocket.experiments.clauses import (
    CLAUSE_SEEDS,
    CLAUSE_STEPS,
    SEEDS,
    score_member,
)
from whitebear.pocket.experiments.members import FOLDER, MEMBERS, Member
from whitebear.pocket.experiments.teach import GUIDANCE, STEPS, load_cells
from whitebear.pocket.training.loop import OutOfTime
from whitebear.pocket.training.quality import judge, retrieval
from whitebear.pocket.training.reading import READING, Ground, ReadingTraining
from whitebear.pocket.training.recipe import Recipe
from whitebear.pocket.training.train import base_digest, cache_folder, hardware, training_device
from whitebear.pocket.world.scene import load_world
from whitebear.scoring.clip import load_clip
from whitebear.scoring.detector import Detector

OUT = ROOT / "_build" / "population"
PER_CONCEPT = 16  # pictures of each concept for the table of quality


def learn(member: Member, run: Path, out: Path, base: Path = MODELS, recipe: Recipe = READING,
          deadline: float = math.inf) -> dict:  # fmt: skip
    """Train a member in `run` and write its models to `out`; returns the seconds of each stage.

    The ground that members share is made in a folder beside `run`. Raises `OutOfTime` after the
    deadline (of `time.monotonic`).
    """
    ground = Ground(recipe, run.with_name(f"ground-{base_digest(base)}"), training_device(), base)
    training = ReadingTraining(replace(recipe, r=member.r), member.seed, member.chatter, run,
                               ground.prepare(), deadline)  # fmt: skip
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
    rows |= judge(pipe, Detector.load(folder / "detector", pipe.device), world, per_concept)
    return {k: v if isinstance(v, str) else round(float(v), 4) for k, v in rows.items()}


def publish(member: Member, deadline: float = math.inf) -> Path:
    """Train and score a member, unless that was done; returns the record of where it comes from."""
    origin, record = origin_of(member, READING), FOLDER / f"{member.id}.json"
    if record.is_file() and origin.items() <= json.loads(record.read_text()).items():
        return record
    run = cache_folder() / "population" / f"{member.id}-{origin['base']}"
    out, began = OUT / member.id, time.strftime("%Y-%m-%d")
    seconds = learn(member, run, out, deadline=deadline)
    scores, clauses = score_member(out)
    origin |= {
        "model": fingerprint(out / "pocket"), "versions": ", ".join(VERSIONS), "date": began,
        "hardware": hardware(training_device()), "seconds": seconds, "quality": quality(out),
    }  # fmt: skip
    FOLDER.mkdir(parents=True, exist_ok=True)
    for stage in seconds:
        shutil.copy(run / f"{stage}.csv", FOLDER / f"{member.id}-{stage}.csv")
    write_parquet(scores, FOLDER / f"{member.id}.parquet")
    write_parquet(clauses, FOLDER / f"{member.id}-clauses.parquet")
    return write_text(record, json.dumps(origin, indent=1) + "\n")


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear population [MEMBER ...] [--minutes N]`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("members", nargs="*", help=f"ids of {MEMBERS.name} (default: all)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop training after this")
    given, members = parser.parse_args(arguments), load_cells(MEMBERS, Member)
    if not given.minutes > 0:
        raise UserError(f"minutes is {given.minutes:g}; give how long to train, more than 0")
    deadline, names = time.monotonic() + 60 * given.minutes, given.members or list(members)
    if unknown := [name for name in names if name not in members]:
        raise UserError(f"there is no member {unknown[0]}; {MEMBERS.name} has {', '.join(members)}")
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}", flush=True)
        try:
            print(publish(members[name], deadline), flush=True)
        except OutOfTime:
            print("the time is over; the same command goes on from here", flush=True)
            return
