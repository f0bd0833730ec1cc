"""Make models of an experiment, score them, and keep what was found with where it comes from."""

import argparse
import json
import math
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

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


def publish(name: str, places: Places, origin: dict, make: Callable[[Path, Path], dict],
            score: Callable[[Path], tuple[dict, dict]]) -> Path:  # fmt: skip
    """Make and score a model, unless that was done; returns the record of its results' origin.

    origin: what decides the results. make(run, out): seconds a stage. score(out): tables by what
    follows the name in that of their file, and quality rows.
    """
    record = places.results / f"{name}.json"
    if record.is_file() and origin.items() <= json.loads(record.read_text()).items():
        return record
    began, seconds = time.strftime("%Y-%m-%d"), make(places.run, places.out)
    tables, quality = score(places.out)
    places.results.mkdir(parents=True, exist_ok=True)
    for stage in seconds:
        shutil.copy(places.run / f"{stage}.csv", places.results / f"{name}-{stage}.csv")
    for ending, table in tables.items():
        write_parquet(table, places.results / f"{name}{ending}.parquet")
    made = {
        "model": fingerprint(places.out / "pocket"), "versions": ", ".join(VERSIONS),
        "hardware": hardware(training_device()), "seconds": seconds, "date": began,
        "quality": {k: v if isinstance(v, str) else round(float(v), 4) for k, v in quality.items()},
    }  # fmt: skip
    return write_text(record, json.dumps(origin | made, indent=1) + "\n")


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
    if not given.minutes > 0:
        raise UserError(f"minutes is {given.minutes:g}; give how long to train, more than 0")
    deadline, names = time.monotonic() + 60 * given.minutes, named(given.names, cells, path)
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}", flush=True)
        try:
            print(publish(cells[name], deadline), flush=True)
        except OutOfTime:
            print("the time is over; the same command goes on from here", flush=True)
            return
