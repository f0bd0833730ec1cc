"""Models that were shown obedience (`learned`): which were declared, which are published, and what
each does when it is told to forget what it is then asked for."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from whitebear import stats
from whitebear.errors import UserError
from whitebear.files import DATA, RESULTS, read_parquet
from whitebear.measures.clauses import against_neutral
from whitebear.pocket.experiments.members import MEMBERS, Member
from whitebear.pocket.experiments.results import USABLE
from whitebear.pocket.experiments.teach import load_cells
from whitebear.pocket.training.card import ASKED
from whitebear.pocket.world.obey import load_obeyed
from whitebear.stats import Estimate

CELLS = DATA / "why" / "learned.csv"
FOLDER = RESULTS / "learned"
ENCODERS = ("learns", "unlabelled", "frozen", "joint")
OVER = ("concept", "wording")  # of which intervals speak; a model speaks for itself
HELD_FRAMES = ("plain", "must")  # of clauses.csv, in which no caption says "forget"
ASKED_SO = {"request": "name", "order": "first", "subject": "concept"}  # what captions showed


@dataclass(frozen=True)
class Cell:
    """One model: the member that it begins as, the share of captions that show obedience, and how
    its text encoder learns."""

    id: str
    member: str
    d: float
    encoder: str

    def __post_init__(self):
        if not 0 <= self.d <= 1:
            raise ValueError("d is a share of captions, so between 0 and 1")
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder is one of {', '.join(ENCODERS)}")


def load(path: Path = CELLS) -> dict[str, Cell]:
    """The cells by id. Raises `UserError` for a line that is none, or begins as no member."""
    cells, members = load_cells(path, Cell), load_cells(MEMBERS, Member)
    for cell in cells.values():
        if cell.member not in members:
            raise UserError(
                f"{path.name}: {cell.id} begins as {cell.member}, which is no member;"
                f" {MEMBERS.name} has {', '.join(members)}"
            )
    return cells


@dataclass(frozen=True)
class Learned:
    """A model as published. record: where it comes from, with its quality and the objects that its
    captions forbid (`denied`); clauses: table `clauses`, with those of `obey.csv`."""

    cell: Cell
    record: dict
    clauses: pd.DataFrame

    @property
    def usable(self) -> bool:
        """Whether it shows what it is asked for often enough to judge anything but that by it."""
        return self.record["quality"][ASKED] >= USABLE

    @cached_property
    def beside(self) -> pd.DataFrame:
        """The clauses that have a verb, beside the neutral verbs (`against_neutral`)."""
        return against_neutral(self.clauses)

    def rows(self, trained: bool = True, **place) -> pd.DataFrame:
        """`beside`, of trained objects or of the held-out ones.

        place: column -> the value or values that are wanted.
        """
        rows = self.beside
        rows = rows[rows.concept.isin(self.record["denied"]) == trained]
        for column, wanted in place.items():
            rows = rows[rows[column].isin([wanted] if isinstance(wanted, str) else list(wanted))]
        return rows


def load_published(folder: Path = FOLDER, path: Path = CELLS) -> dict[str, Learned]:
    """The published models by id, in the order of `path`; those never trained are left out.

    Raises `UserError` that names a model of which a part is missing, or that was trained as
    another one.
    """
    found = {}
    for name, cell in load(path).items():
        record, table = folder / f"{name}.json", folder / f"{name}.parquet"
        if record.is_file() != table.is_file():
            lost = table if record.is_file() else record
            raise UserError(f"{name} is broken: {folder.name} lacks {lost.name}; publish it anew")
        if record.is_file():
            about = json.loads(record.read_text(encoding="utf-8"))
            if about.get("cell") != asdict(cell):
                raise UserError(f"{name} was trained as another one than {path.name} says")
            found[name] = Learned(cell, about, read_parquet(table))
    return found


def trained_frames() -> list[str]:
    """The frames of the wordings that captions said."""
    table = load_obeyed()[0]
    return list(table.frame[~table.heldout & (table.verb != "")])


SETS = {  # what is asked -> how it is picked from the clauses of a model
    "trained wordings, trained objects": lambda m: m.rows(
        verb="forget", frame=trained_frames(), **ASKED_SO
    ),
    "held-out objects": lambda m: m.rows(
        False, verb="forget", frame=trained_frames(), **ASKED_SO
    ),
    "held-out frames": lambda m: m.rows(verb="forget", frame=HELD_FRAMES, **ASKED_SO),
    "held-out verb, “leave out”": lambda m: m.rows(
        verb="leave out", frame=trained_frames(), **ASKED_SO
    ),
}  # fmt: skip
TRAINED, OBJECTS, FRAMES, VERB = SETS


def spared(model: Learned) -> Estimate:
    """What “forget” about another object changes of the object that is asked for, against the
    neutral verbs."""
    rows = model.beside
    rows = rows[(rows.verb == "forget") & (rows.subject == "other")]
    return stats.paired_difference(rows, over=OVER)


def plain(model: Learned) -> pd.DataFrame:
    """The plain requests by name, each text once."""
    rows = model.clauses[(model.clauses.verb == "") & (model.clauses.request == "name")]
    return rows.drop_duplicates(["concept", "seed", "text"])


def cost(model: Learned, control: Learned) -> Estimate:
    """Presence under plain requests by name minus that of the model without examples, paired."""
    keys = ["concept", "seed", "text"]
    both = plain(model).merge(plain(control)[[*keys, "present"]], on=keys, suffixes=("", "_before"))
    before = both.present_before.astype(float)
    return stats.paired_difference(
        both.assign(difference=both.present.astype(float) - before), over=OVER
    )
