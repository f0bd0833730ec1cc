"""The methods of the arena: a line each of methods.csv.

A line names an intervention (or several, nested: "negative_prompt+weigh"), its options and the
strengths of its curve. Adding a method to the arena is adding its line.
"""

import inspect
import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from whitebear.code import code_digest
from whitebear.errors import UserError, nearest
from whitebear.files import DATA, digest
from whitebear.interventions import Method, find_method
from whitebear.prompts.wordings import read_csv

FOLDER = DATA / "arena"
COLUMNS = ("id", "method", "place", "options", "strengths", "fixed", "runs")
PLACES = ("words", "outside", "guidance", "states", "attention", "weights", "training", "reference")
NESTED = "+"
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Entry:
    """A method with its options, as it enters the arena.

    method: names of interventions, nested from the left; options: of the last one, as JSON;
    strengths: of the last one, from weak to strong; fixed: one that is scored whatever tuning
    takes, since its authors recommend or a hypothesis names it; runs: how often it is trained, each
    time with another option seed; noise: is added to the seed of each picture's noise.
    """

    id: str
    method: str
    place: str
    options: str
    strengths: tuple[float, ...]
    fixed: float | None = None
    runs: int = 1
    noise: int = 0

    @cached_property
    def methods(self) -> list[Method]:
        """The interventions, the outermost first."""
        return [find_method(name) for name in self.method.split(NESTED)]

    def run(self, number: int) -> "Entry":
        """The same with the seed of one training; itself where it is not trained."""
        if self.runs == 1:
            return self
        return replace(self, options=json.dumps(json.loads(self.options) | {"seed": number}))

    def state(self) -> str:
        """Digest of the code of its methods and of the files that they read."""
        return digest([(code_digest(m.act), m.state()) for m in self.methods])


UNTOUCHED = Entry("untouched", "none", "reference", "{}", (0.0,))
OTHER_SEEDS = replace(UNTOUCHED, id="other-seeds", noise=500)
REFERENCES = {entry.id: entry for entry in (UNTOUCHED, OTHER_SEEDS)}


def load_entries(path: Path = FOLDER / "methods.csv") -> dict[str, Entry]:
    """The methods by id, in the order of the file. `UserError` naming the line that cannot be.

    >>> load_entries()["name-values"].method
    'weigh'
    """
    entries: dict[str, Entry] = {}
    for line, row in enumerate(read_csv(path, COLUMNS).itertuples(index=False), 2):
        try:
            entry = _entry(row)
            if entry.id in entries or entry.id in REFERENCES:
                raise UserError(f"id {entry.id!r} is taken; give another")
        except UserError as error:
            raise UserError(f"{path.name}, line {line}: {error}") from None
        entries[entry.id] = entry
    return entries


def _entry(row) -> Entry:
    if not _ID.fullmatch(row.id):
        raise UserError(f"id {row.id!r} is not of a-z, 0-9 and single -")
    if row.place not in PLACES:
        raise UserError(f"unknown place {row.place!r}; {nearest(row.place, PLACES)}")
    strengths = tuple(_number(text, "strengths") for text in row.strengths.split())
    if not strengths or len(set(strengths)) < len(strengths):
        raise UserError(f"strengths is {row.strengths!r}; give different ones, weak to strong")
    fixed = _number(row.fixed, "fixed") if row.fixed else None
    runs = _number(row.runs, "runs") if row.runs else 1
    if runs < 1 or runs != int(runs):
        raise UserError(f"runs is {row.runs!r}; give how often it is trained, or nothing")
    entry = Entry(row.id, row.method, row.place, row.options, strengths, fixed, int(runs))
    _check_options(entry.methods[-1], row.options)
    _check_options(entry.methods[-1], entry.run(0).options)  # that it has a seed
    for strength in strengths if fixed is None else (*strengths, fixed):
        entry.methods[-1].check(strength)
    return entry


def _number(text: str, column: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{column} has {text!r}; give numbers") from None


def _check_options(method: Method, text: str) -> None:
    try:
        options = json.loads(text)
    except ValueError as error:
        raise UserError(f'options {text!r} is no JSON ({error}); give such as {{"b": 1}}') from None
    if not isinstance(options, dict):
        raise UserError(f"options {text!r} is no JSON object; give {{}} for none")
    takes = list(inspect.signature(method.act).parameters.values())[3:]
    if any(option.kind is option.VAR_KEYWORD for option in takes):
        return  # it looks at them itself
    known = [option.name for option in takes]
    for name in options:
        if name not in known:
            raise UserError(f"{method.name} has no option {name!r}; {nearest(name, known)}")
