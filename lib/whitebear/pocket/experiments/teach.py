"""Teach negation at a known rate: every cell is the shipped model, trained further on captions that
negate as often as the cell says.

    python -m whitebear teach                  # all cells of data/why/cells.csv
    python -m whitebear teach e20-d20-s1       # one of them
    python -m whitebear teach --again e20-d20-s1   # beside it a second time, from nothing

Interrupt it whenever you like; the same command goes on from the last checkpoint. Weights go to
`_build/why/<cell>`; scores of all pictures, loss logs and their origin to `data/results/why`, those
of a second time to `why/again` in both.
"""

import argparse
import csv
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import pandas as pd

from whitebear.draw.grid import Run, run_grid
from whitebear.errors import UserError, exit_on_user_error
from whitebear.files import DATA, MODELS, RESULTS, ROOT
from whitebear.models.load import fingerprint, load_pipeline
from whitebear.pocket.experiments import publishing
from whitebear.pocket.training.quality import judge
from whitebear.pocket.training.recipe import FULL, Recipe, StageRecipe
from whitebear.pocket.training.train import PocketTraining, cache_folder, training_device
from whitebear.pocket.world.captions import deniable
from whitebear.pocket.world.scene import load_world
from whitebear.scoring.detector import Detector

CELLS = DATA / "why" / "cells.csv"
OUT = ROOT / "_build"
PUBLISHED, AGAIN = "why", "why/again"  # folders below OUT, RESULTS and the cache of checkpoints
TAUGHT = replace(
    FULL,
    scenes=12_000,
    denoiser_captions=3,
    clip=StageRecipe(steps=100, batch=256, lr=5e-4, warmup=20, ema=0.97),
    denoiser=StageRecipe(steps=1_500, batch=32, lr=7e-4, warmup=100, ema=0.995),
    denied="half",
)
CONDITIONS = ("affirm", "omit", "mention", "negate", "forget_only", "forget_then_request",
              "reinforced", "role", "implicit")  # fmt: skip
SEEDS, STEPS, GUIDANCE = 2, 20, 4.0  # of the pictures that a cell is judged by
PER_CONCEPT = 8  # pictures of each concept for the table of quality


@dataclass(frozen=True)
class Cell:
    """One model of the experiment: how often the captions of either part negate, the seed, and how
    many times as long as the others its denoiser learns; 0 is the shipped model itself."""

    id: str
    encoder_r: float
    denoiser_r: float
    seed: int
    times: int

    def __post_init__(self):
        if not (0 <= self.encoder_r <= 1 and 0 <= self.denoiser_r <= 1):
            raise ValueError("a rate is a share of captions, so between 0 and 1")
        if self.times < 0:
            raise ValueError("times is how long it learns, from 0")

    def recipe(self, taught: Recipe = TAUGHT) -> Recipe:
        """What it is trained with."""
        longer = replace(taught.denoiser, steps=self.times * taught.denoiser.steps)
        return replace(taught, r=self.encoder_r, denoiser_r=self.denoiser_r, denoiser=longer)


def load_cells(path: Path = CELLS, kind: type = Cell) -> dict:
    """The cells by id. Raises `UserError` naming the line that cannot be used."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cells = {}
    for line, row in enumerate(rows, 2):
        where = f"{path.name}, line {line}"
        try:
            cell = kind(**{f.name: f.type(row[f.name]) for f in fields(kind)})
        except (KeyError, TypeError, ValueError) as error:
            names = ",".join(f.name for f in fields(kind))
            raise UserError(f"{where} is no cell ({error}); give {names}") from None
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", cell.id) or cell.id in cells:
            raise UserError(f"{where}: id {cell.id!r} is taken, or not of a-z, 0-9, . and -")
        cells[cell.id] = cell
    return cells


def teach(cell: Cell, run: Path, out: Path, base: Path = MODELS, taught: Recipe = TAUGHT) -> dict:
    """Train a cell and write its models to `out`; returns the seconds of each stage.

    Cells of one seed and one encoder rate learn from the same scenes and have the same encoder: it
    is trained once, in a folder beside `run`. One that learns for no time is a copy of `base`.
    """
    if not cell.times:
        shutil.copytree(base, out, dirs_exist_ok=True)
        return {}
    ground = f"encoder-{cell.encoder_r:g}-s{cell.seed}-{run.name.rpartition('-')[2]}"
    about = cell.seed, run.with_name(ground), training_device(), base, "clip"
    shared = replace(cell.recipe(taught), denoiser_r=None, denoiser=taught.denoiser)
    first = PocketTraining(shared, *about)
    training = PocketTraining(cell.recipe(taught), cell.seed, run, *about[2:])
    for part in ("train_set", "ids", "latents", "clip"):
        setattr(training, part, getattr(first, part))
    training.seconds |= first.seconds
    shutil.copy(first.folder / "clip.csv", run)
    _ = training.unet
    training.export(out)
    return training.seconds


def scored_images(folder: Path, conditions: Sequence[str], seeds: int, steps: int) -> pd.DataFrame:
    """Scores of what a folder's model draws of all objects in these conditions, a row a picture."""
    grid = Run(str(folder / "pocket"), [], list(conditions), seeds, steps, GUIDANCE,
               str(folder / "scores"))  # fmt: skip
    return run_grid(grid).drop(columns=["png", "model"])


def score(folder: Path, seeds: int = SEEDS, steps: int = STEPS, per_concept: int = PER_CONCEPT):
    """How a model follows instructions (a row a picture), and ordinary prompts (quality rows)."""
    table = scored_images(folder, CONDITIONS, seeds, steps)
    detector = Detector.load(folder / "detector")
    return table, judge(load_pipeline(str(folder / "pocket")), detector, load_world(), per_concept)


def origin_of(cell, recipe: Recipe, seeds: int) -> dict:
    """What decides a cell's results: what it learns, and `seeds` and more of the pictures."""
    pictures = {"conditions": CONDITIONS, "seeds": seeds, "steps": STEPS, "guidance": GUIDANCE,
                "per_concept": PER_CONCEPT}  # fmt: skip
    about = {"cell": asdict(cell), "recipe": asdict(recipe),
             "denied": deniable(load_world(), recipe.denied), "pictures": pictures}  # fmt: skip
    return json.loads(json.dumps(about)) | {"base": fingerprint(MODELS / "pocket")}


def publish(cell, recipe: Recipe, make: Callable, seeds: int, place: str = PUBLISHED) -> Path:
    """Make (`make(cell, run, out)`, seconds a stage) and score a model, unless that was done.

    Returns the record of where its results come from.
    """
    origin = origin_of(cell, recipe, seeds)
    run = cache_folder() / place / f"{cell.id}-{origin['base']}"

    def scores(out: Path):
        table, quality = score(out, seeds)
        return {"": table}, quality

    places = publishing.Places(run, OUT / place / cell.id, RESULTS / place)
    return publishing.publish(cell.id, places, origin, partial(make, cell), scores)


def publish_all(arguments: list[str] | None, about: str, path: Path, kind: type, make: Callable,
                seeds: int) -> None:  # fmt: skip
    """The command line of an experiment: publish the cells of `path` that are named, or all.

    Raises `UserError` for a name that is none.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("cells", nargs="*", help=f"ids of {path.name} (default: all)")
    parser.add_argument("--again", action="store_true", help="once more, beside the published one")
    given, cells = parser.parse_args(arguments), load_cells(path, kind)
    names, place = publishing.named(given.cells, cells, path), AGAIN if given.again else PUBLISHED
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}", flush=True)
        print(publish(cells[name], cells[name].recipe(), make, seeds, place), flush=True)


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear teach [CELL ...]`."""
    publish_all(arguments, __doc__, CELLS, Cell, teach, SEEDS)
