"""The population as published: which models there are, and what was found of each."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from whitebear.errors import UserError
from whitebear.files import DATA, MODELS, RESULTS, read_parquet
from whitebear.models.load import fingerprint
from whitebear.pocket.experiments.inside import SHIPPED
from whitebear.pocket.experiments.results import USABLE
from whitebear.pocket.experiments.teach import load_cells
from whitebear.pocket.training.card import ASKED
from whitebear.pocket.world.captions import CHATTERS

MEMBERS = DATA / "why" / "population.csv"
FOLDER = RESULTS / "population"
OTHERS = RESULTS / "clauses"  # of models of other chapters
INSIDE = RESULTS / "winning"
GROUPS = {  # of members, and what their captions are
    "none": "no caption negates",
    "web": "0.58 % negate",
    "quiet": "0.58 % negate, quiet chatter",
    "fifth": "20 % negate",
}


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


@dataclass(frozen=True)
class Published:
    """A member as published. record: where it comes from, with its quality and the seconds of each
    stage; scores: table `scores` of all wordings about objects; clauses: table `clauses`."""

    member: Member
    record: dict
    scores: pd.DataFrame
    clauses: pd.DataFrame

    @property
    def usable(self) -> bool:
        """Whether it shows what it is asked for often enough to judge anything by it."""
        return self.record["quality"][ASKED] >= USABLE


def load_members(folder: Path = FOLDER, path: Path = MEMBERS) -> dict[str, Published]:
    """The published members by id, in the order of `path`; those never trained are left out.

    Raises `UserError` that names a member of which a part is missing, or whose base is another.
    """
    found = {}
    for name, member in load_cells(path, Member).items():
        parts = [folder / f"{name}{end}" for end in (".json", ".parquet", "-clauses.parquet")]
        there = [part.is_file() for part in parts]
        if any(there) and not all(there):
            lost = ", ".join(p.name for p, known in zip(parts, there, strict=True) if not known)
            raise UserError(f"member {name} is broken: {folder.name} lacks {lost}; publish it anew")
        if all(there):
            record = json.loads(parts[0].read_text(encoding="utf-8"))
            if record.get("member") != asdict(member):
                raise UserError(f"member {name} was trained as another one than {path.name} says")
            found[name] = Published(member, record, *map(read_parquet, parts[1:]))
    if len(bases := {p.record["base"] for p in found.values()}) > 1:
        raise UserError(f"{folder.name} holds members on {len(bases)} bases; publish all anew")
    return found


def by_group(found: dict[str, Published]) -> dict[str, list[Published]]:
    """The members of each group that has some, in the order of their ids."""
    groups: dict[str, list[Published]] = {}
    for published in found.values():
        groups.setdefault(published.member.group, []).append(published)
    return groups


def others(folder: Path = OTHERS) -> dict[str, pd.DataFrame]:
    """Tables `clauses` of the shipped and the taught model, those that are published, by name."""
    return {path.stem: read_parquet(path) for path in sorted(folder.glob("*.parquet"))}


def load_inside(found: dict[str, Published], folder: Path = INSIDE) -> dict[str, pd.DataFrame]:
    """Tables `WINNING` of the shipped model and of members, by name; those without are left out.

    Raises `UserError` where a table was measured on other weights.
    """
    weights = {SHIPPED: fingerprint(MODELS / "pocket")}
    weights |= {name: member.record["model"] for name, member in found.items()}
    tables = {}
    for name, model in weights.items():
        record, table = folder / f"{name}.json", folder / f"{name}.parquet"
        if record.is_file() and table.is_file():
            if json.loads(record.read_text(encoding="utf-8"))["model"] != model:
                raise UserError(
                    f"{folder.name}/{table.name} was measured on other weights of {name};"
                    f" measure it anew: python -m whitebear winning {name}"
                )
            tables[name] = read_parquet(table)
    return tables
