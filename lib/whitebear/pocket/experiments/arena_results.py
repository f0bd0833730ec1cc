"""What is published of the arena: the full plan where its tables are there, else a smaller one.

Methods of two plans are never held against each other: each stands beside the untouched model at
the seeds of its own plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from whitebear.arena.entries import PLACES, REFERENCES, UNTOUCHED, load_entries
from whitebear.arena.tuning import curve
from whitebear.pocket.experiments.arena import (
    PUBLISHED,
    SCORED,
    TUNING,
    load_arena,
    scored_summary,
)

FOLDERS = (PUBLISHED, PUBLISHED / "small")  # of the first that has a method, it is taken


@dataclass(frozen=True)
class Part:
    """Methods that were drawn by one plan: records and tables `arena` by id, the references too."""

    records: dict[str, dict]
    tables: dict[str, pd.DataFrame]

    @property
    def small(self) -> bool:
        """Whether there are fewer pictures than declared."""
        return bool(self.records[UNTOUCHED.id]["small"])

    @property
    def seeds(self) -> dict[str, int]:
        """Pictures of a concept and family, by use."""
        return self.records[UNTOUCHED.id]["seeds"]

    @cached_property
    def names(self) -> list[str]:
        """The methods and references that have scored pictures."""
        return [name for name, table in self.tables.items() if (table.use == SCORED).any()]

    @property
    def untouched(self) -> pd.DataFrame:
        """The scored pictures of the untouched model."""
        return self.scored(UNTOUCHED.id)

    def scored(self, name: str) -> pd.DataFrame:
        """The scored pictures of a method at the strength that tuning took."""
        table = self.tables[name]
        return table[table.use == SCORED]

    def strength(self, name: str) -> float:
        """At which its pictures are scored."""
        return self.records[name]["tuned"]["strength"]


def load_published(folders: Sequence[Path] = FOLDERS) -> list[Part]:
    """The plans of which something can be shown, the full one first: those of which both references
    were scored. Raises `UserError` for a folder whose tables are of two plans or models."""
    parts = (Part(*load_arena(folder)) for folder in folders)
    return [part for part in parts if set(REFERENCES) <= set(part.names)]


def where(parts: Sequence[Part]) -> dict[str, Part]:
    """From which plan each method is shown: of the first that has it. In the order of their places,
    references last, the untouched model before the other ones."""
    place = {name: entry.place for name, entry in (REFERENCES | load_entries()).items()}
    found: dict[str, Part] = {}
    for part in parts:
        found |= {name: part for name in part.names if name not in found}
    order = sorted(found, key=lambda name: PLACES.index(place[name]))
    return {name: found[name] for name in order}


def summary(parts: Sequence[Part]) -> pd.DataFrame:
    """A row a method, in the order of `where`: columns of `arena.measures.summary`, from the plan
    that it is shown from."""
    shown, tables = where(parts), []
    for part in parts:
        own = [name for name, of in shown.items() if of is part]
        kept = {name: part.tables[name] for name in (*REFERENCES, *own)}
        tables.append(scored_summary(kept).loc[own])
    return pd.concat(tables).loc[list(shown)] if tables else pd.DataFrame()


def curves(parts: Sequence[Part]) -> dict[str, pd.DataFrame]:
    """What each strength does to the tuning concepts (`arena.tuning.curve`), by method; of those
    that were tuned, and without references."""
    found = {}
    for name, part in where(parts).items():
        rows = part.tables[name]
        rows, plain = (t[t.use == TUNING] for t in (rows, part.tables[UNTOUCHED.id]))
        if name not in REFERENCES and len(rows):
            found[name] = curve(rows, plain)
    return found


def chosen(part: Part, name: str) -> str:
    """How the strength of a method was come by: "only one", "by the rule" or "none spares" where it
    was tuned, else "fixed" or "strongest"; "published" for what an earlier plan had tuned."""
    record, strength = part.records[name], part.strength(name)
    entry = record["entry"]
    if len(entry["strengths"]) == 1 and strength == entry["strengths"][0]:
        return "only one"
    if TUNING in part.seeds:
        return "by the rule" if record["tuned"]["spares"] else "none spares"
    return {entry["strengths"][-1]: "strongest", entry["fixed"]: "fixed"}.get(strength, "published")


def missing(parts: Sequence[Part]) -> list[str]:
    """The methods of methods.csv that are not shown."""
    shown = where(parts)
    return [name for name in load_entries() if name not in shown]
