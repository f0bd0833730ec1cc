"""Make models of an experiment, score them, and keep what was found with where it comes from."""

import argparse
import json
import math
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from whitebear.errors import UserError
from whitebear.files import write_parquet, write_text
from whitebear.models.load import VERSIONS, fingerprint
from whitebear.pocket.training.loop import OutOfTime
from whitebear.pocket.training.train import hardware, training_device


@dataclass(frozen=True)
class Places:
    """Where a model is trained, where its weights go, and where its results."""

    run: Path
    out: Path
    results: Path


def is_done(record: Path, origin: dict) -> bool:
    """Whether results with this record are there and have this origin."""
    return record.is_file() and origin.items() <= json.loads(record.read_text("utf-8")).items()


def made_by(device: torch.device) -> dict:
    """With what results are made, and when, for their record."""
    return {"versions": ", ".join(VERSIONS), "hardware": hardware(device),
            "date": time.strftime("%Y-%m-%d")}  # fmt: skip


def keep_record(record: Path, about: dict) -> Path:
    """Write where results come from; returns the file."""
    return write_text(record, json.dumps(about, indent=1) + "\n")


def publish(name: str, places: Places, origin: dict, make: Callable[[Path, Path], dict],
            score: Callable[[Path], tuple[dict, dict]]) -> Path:  # fmt: skip
    """Make and score a model, unless that was done; returns the record of its results' origin.

    origin: what decides the results. make(run, out): seconds a stage. score(out): tables by what
    follows the name in that of their file, and quality rows.
    """
    record = places.results / f"{name}.json"
    if is_done(record, origin):
        return record
    made, seconds = made_by(training_device()), make(places.run, places.out)
    tables, quality = score(places.out)
    places.results.mkdir(parents=True, exist_ok=True)
    for stage in seconds:
        shutil.copy(places.run / f"{stage}.csv", places.results / f"{name}-{stage}.csv")
    for ending, table in tables.items():
        write_parquet(table, places.results / f"{name}{ending}.parquet")
    found = {
        "model": fingerprint(places.out / "pocket"), "seconds": seconds,
        "quality": {k: v if isinstance(v, str) else round(float(v), 4) for k, v in quality.items()},
    }  # fmt: skip
    return keep_record(record, origin | made | found)


def named(names: Iterable[str], cells: dict, path: Path) -> list[str]:
    """The names, or all of `cells` where there are none. Raises `UserError` for one of no cell."""
    if unknown := [name for name in names if name not in cells]:
        raise UserError(f"{path.name} has no {unknown[0]}; it has {', '.join(cells)}")
    return list(names) or list(cells)


def by_the_clock(arguments: list[str] | None, about: str, path: Path, cells: dict,
                 publish: Callable[[object, float], Path]) -> None:  # fmt: skip
    """The command line of an experiment that can stop by the clock.

    cells: of the file `path`, by id; publish(cell, deadline) is called for those that are named.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"ids of {path.name} (default: all)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop training after this")
    given = parser.parse_args(arguments)
    deadline, names = deadline_in(given.minutes, "train"), named(given.names, cells, path)
    in_turn(names, lambda name: publish(cells[name], deadline))


def deadline_in(minutes: float, what: str) -> float:
    """The deadline, of `time.monotonic`, of what is to be done in so many minutes."""
    if not minutes > 0:
        raise UserError(f"minutes is {minutes:g}; give how long to {what}, more than 0")
    return time.monotonic() + 60 * minutes


def in_turn(names: list[str], publish: Callable[[str], object]) -> None:
    """Publish one after the other, saying what comes of each, until the time is over."""
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}", flush=True)
        try:
            print(publish(name), flush=True)
        except OutOfTime:
            print("the time is over; the same command goes on from here", flush=True)
            return
