"""Put every method into one arena, and publish what each removes and what it costs.

    python -m whitebear arena                          # all methods of data/arena/methods.csv
    python -m whitebear arena name-values --minutes 30 # stop after that; the same command goes on
    python -m whitebear arena --tuning --seeds 8       # the curves alone, from fewer pictures
    python -m whitebear arena --scored --seeds 4       # untuned: at the fixed or strongest setting
    python -m whitebear arena --quick                  # a few pictures of each, nothing published

Interrupt it whenever you like: it goes on with the first concept that is not drawn. A table with a
row a picture and a record of each method go to `data/results/arena`, those from fewer pictures than
declared to its folder `small`; pictures stay in `_build/arena`.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from whitebear.arena.drawing import changed, draw, drawn, rows_for
from whitebear.arena.entries import FOLDER, OTHER_SEEDS, REFERENCES, UNTOUCHED, Entry, load_entries
from whitebear.arena.measures import summary
from whitebear.arena.prompts import (
    ABSENT,
    FAMILIES,
    PAIR,
    PLACEBO,
    PLAIN,
    TUNED_ON,
    arena_grid,
    scored_concepts,
    tuning_concepts,
)
from whitebear.arena.tuning import Tuned, choose, curve
from whitebear.code import code_digest
from whitebear.draw.artist import Artist
from whitebear.draw.grid import png
from whitebear.errors import UserError, exit_on_user_error
from whitebear.files import RESULTS, ROOT, read_parquet, write_parquet
from whitebear.models.load import fingerprint
from whitebear.pocket.experiments.publishing import (
    deadline_in,
    in_turn,
    is_done,
    keep_record,
    made_by,
    named,
)
from whitebear.pocket.training.loop import OutOfTime

PUBLISHED, OUT = RESULTS / "arena", ROOT / "_build" / "arena"
TUNING, SCORED, FIXED = "tuning", "scored", "fixed"
SEEDS, QUICK_SEEDS, QUICK_CONCEPTS = 16, 2, 3
FIRST = {SCORED: 1000, TUNING: 2000}  # of the seeds; no earlier picture of the book has such noise
STEPS, GUIDANCE = 20, 4.0
SHOWN, SHOWN_FAMILIES = 6, (PLAIN, PAIR, ABSENT)  # of whose first seed the pictures are kept


@dataclass(frozen=True)
class Plan:
    """Which pictures there are: concepts and seeds of each use, and where results go.

    families: of scored pictures that are not fixed.
    """

    concepts: dict[str, tuple[str, ...]]
    seeds: dict[str, int]
    results: Path
    families: tuple[str, ...] = (*FAMILIES, PLACEBO)

    @property
    def small(self) -> bool:
        """Whether there are fewer pictures than declared."""
        least = {TUNING: SEEDS // 2, SCORED: SEEDS}
        return any(self.seeds.get(use, 0) < n for use, n in least.items())

    def grid(self, use: str, references: bool = False) -> pd.DataFrame:
        """The prompts of a use. What is untouched has no placebo; what is fixed is scored in the
        families of tuning."""
        families = self.families if use == SCORED else TUNED_ON
        families = [name for name in families if not (references and name == PLACEBO)]
        use = SCORED if use == FIXED else use
        seeds = range(FIRST[use], FIRST[use] + self.seeds[use])
        return arena_grid(self.concepts[use], families, seeds)


def plan_of(seeds: int = SEEDS, only: str = "", quick: bool = False) -> Plan:
    """The declared plan, or a smaller one: fewer seeds, one use alone, or a quick look.

    only: "tuning" for the curves alone, "scored" for methods as they are (`usual_strength`).

    Raises `UserError` for fewer than two seeds, of which tuning gets half.
    """
    if seeds < 2:
        raise UserError(f"seeds is {seeds}; give at least 2, of which tuning gets half")
    scored = tuple(scored_concepts())
    if quick:
        few = {SCORED: scored[:QUICK_CONCEPTS]}
        return Plan(few, {SCORED: QUICK_SEEDS}, OUT / "quick", (*TUNED_ON, PLACEBO))
    concepts = {TUNING: tuple(tuning_concepts()), SCORED: scored}
    counts = {TUNING: seeds // 2, SCORED: seeds}
    uses = [only] if only else list(concepts)
    plan = Plan({u: concepts[u] for u in uses}, {u: counts[u] for u in uses}, PUBLISHED)
    return replace(plan, results=PUBLISHED / "small") if plan.small else plan


class Arena:
    """Draws what a plan asks for, until the deadline (of `time.monotonic`); `OutOfTime` after it.

    Pictures that `out` holds are not drawn again.
    """

    def __init__(self, plan: Plan, artist: Artist, out: Path = OUT, deadline: float = math.inf):
        self.plan, self.artist, self.out, self.deadline = plan, artist, out, deadline

    def pictures(self, entry: Entry, strength: float,
                 grid: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:  # fmt: skip
        """Table and pictures of a method at a strength: as of `arena.drawing.drawn`, with the
        family in a column of its name."""
        rows = rows_for(entry, strength, grid)
        name, found = f"{entry.id} {strength:g}", []
        for _, some in tqdm(rows.groupby("concept", sort=False), desc=name, unit="concept"):
            if time.monotonic() > self.deadline:
                raise OutOfTime
            found.append(draw(self.artist, some, self.out))
        tables, images = zip(*found, strict=True)
        table = pd.concat(tables, ignore_index=True).rename(columns={"condition": "family"})
        return table, np.concatenate(images)

    @cached_property
    def untouched(self) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
        """What the model draws without any method, in each use."""
        return {
            use: self.pictures(UNTOUCHED, 0.0, self.plan.grid(use, True)) for use in self.plan.seeds
        }

    def table(self, entry: Entry, strength: float, use: str) -> pd.DataFrame:
        """Table `arena` of a method at a strength, in a use: of all its trainings, or for tuning of
        the first."""
        runs = range(1 if use == TUNING else entry.runs)
        return pd.concat([self._run(entry, run, strength, use) for run in runs], ignore_index=True)

    def _run(self, entry: Entry, run: int, strength: float, use: str) -> pd.DataFrame:
        grid = self.plan.grid(use, entry.id in REFERENCES)
        found, images = self.pictures(entry.run(run), strength, grid)
        drawn_as = SCORED if use == FIXED else use
        first = found.concept.isin(self.plan.concepts[drawn_as][:SHOWN])
        shown = first & found.family.isin(SHOWN_FAMILIES) & (found.seed == FIRST[drawn_as])
        return found.drop(columns=["kind", "control", "spans", "code"]).assign(
            change=changed(found, images, *self.untouched[drawn_as]), use=use, run=run,
            png=[png(image) if keep else None for image, keep in zip(images, shown, strict=True)],
        )  # fmt: skip

    def curve_of(self, entry: Entry) -> tuple[pd.DataFrame, Tuned]:
        """The tuning pictures of all strengths, and the one that the declared rule takes."""
        rows = pd.concat([self.table(entry, s, TUNING) for s in entry.strengths])
        return rows, choose(curve(rows, self.untouched[TUNING][0]))


def publish(entry: Entry, arena: Arena) -> Path:
    """Draw a method's pictures and keep their table, unless that was done; returns its record."""
    plan, origin = arena.plan, origin_of(entry, arena)
    record = plan.results / f"{entry.id}.json"
    if is_done(record, origin):
        return record
    tables, tuned = [], Tuned(usual_strength(entry), False)
    if TUNING in plan.seeds:
        rows, tuned = arena.curve_of(entry)
        tables.append(rows)
    if SCORED in plan.seeds:
        tables.append(arena.table(entry, tuned.strength, SCORED))
        if TUNING in plan.seeds and entry.fixed not in (None, tuned.strength):
            tables.append(arena.table(entry, entry.fixed, FIXED))
    write_parquet(pd.concat(tables, ignore_index=True), plan.results / f"{entry.id}.parquet")
    return keep_record(record, origin | {"tuned": asdict(tuned)} | made_by(arena.artist.device))


def origin_of(entry: Entry, arena: Arena) -> dict:
    """What decides a method's results."""
    plan, artist = arena.plan, arena.artist
    about = {
        "entry": asdict(entry), "code": [entry.state(), code_digest(drawn), code_digest(choose)],
        "concepts": plan.concepts, "seeds": plan.seeds, "small": plan.small,
        "model": fingerprint(artist.folder), "detector": artist.judge.state(),
        "steps": artist.steps, "guidance": artist.guidance,
    }  # fmt: skip
    return json.loads(json.dumps(about))


def usual_strength(entry: Entry) -> float:
    """The strength that was published as tuned, else the fixed one, else the strongest."""
    record = PUBLISHED / f"{entry.id}.json"
    if record.is_file():
        return json.loads(record.read_text(encoding="utf-8"))["tuned"]["strength"]
    return entry.strengths[-1] if entry.fixed is None else entry.fixed


def load_arena(folder: Path = PUBLISHED) -> tuple[dict[str, dict], dict[str, pd.DataFrame]]:
    """Records and tables `arena` of the methods of a folder by id, the references first.

    Raises `UserError` where one was drawn by another plan or model than the rest.
    """
    records, tables = {}, {}
    for name in [*REFERENCES, *load_entries()]:
        if (path := folder / f"{name}.json").is_file():
            records[name] = json.loads(path.read_text(encoding="utf-8"))
            tables[name] = read_parquet(path.with_suffix(".parquet"))
    same = [{k: r[k] for k in ("concepts", "seeds", "model", "detector")} for r in records.values()]
    for name, one in zip(records, same, strict=True):
        if one != same[0]:
            raise UserError(f"{name} was drawn by another plan or model than {next(iter(records))}")
    return records, tables


def scored_summary(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a method: `arena.measures.summary` of the scored concepts. tables: of `load_arena`.

    Raises `UserError` without the references, or where nothing was scored.
    """
    scored = {name: table[table.use == SCORED] for name, table in tables.items()}
    for name in REFERENCES:
        if name not in scored or not len(scored[name]):
            raise UserError(f"{name} has no scored pictures; run the arena first")
    kept = {name: table for name, table in scored.items() if len(table)}
    return summary(kept, scored[UNTOUCHED.id], scored[OTHER_SEEDS.id])


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear arena [METHOD ...] [--minutes N] [--seeds N]
    [--tuning | --scored | --quick]`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="ids of methods.csv (default: all)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop drawing after this")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="pictures of a concept and family")
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--tuning", action="store_const", dest="only", const=TUNING, default="",
                      help="the curves of the strengths alone")  # fmt: skip
    some.add_argument("--scored", action="store_const", dest="only", const=SCORED,
                      help="no tuning: at the fixed strength, else the strongest")  # fmt: skip
    some.add_argument("--quick", action="store_true", help="a few pictures, nothing published")
    given = parser.parse_args(arguments)
    deadline = deadline_in(given.minutes, "draw")
    entries, path = load_entries(), FOLDER / "methods.csv"
    plan = plan_of(given.seeds, given.only, given.quick)
    names = named(given.names, entries, path)
    if given.quick and not given.names:  # a training takes longer than all the others
        names = [name for name in names if entries[name].place != "training"]
    names = [*REFERENCES, *names]
    arena = Arena(plan, Artist("pocket", STEPS, GUIDANCE), OUT, deadline)

    def one(name: str) -> Path | str:
        try:
            return publish((REFERENCES | entries)[name], arena)
        except UserError as error:  # one that cannot be used is named, as declared
            return f"{name} is left out: {error}"

    in_turn(names, one)
