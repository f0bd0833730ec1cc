"""Concepts that prompts ask for: those of the pocket world by name, any noun for other models."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from whitebear.errors import UserError, nearest
from whitebear.files import PROMPTS, WORLD, shipped
from whitebear.prompts.wordings import KINDS, fill, read_csv

KINDS_OF_WORLD = ("object", "colour", "background", "style")
HEADER = ["kind", "name", "noun", "place", "colour", "description", "denied"]
NAME = re.compile(r"[a-z][a-z0-9-]*")
PHRASE = re.compile(r"[a-z][a-z0-9 -]*")
COLOUR = re.compile(r"#[0-9a-f]{6}")
MAX_NAME = 60  # a concept is a noun phrase, not an essay
_NAME = re.compile(r"[^\W_](?:[^\W_]|[ -](?=[^\W_]))*")


@dataclass(frozen=True)
class Concept:
    """A line of concepts.csv: what the detector looks for and how captions call it.

    `description` says what an object is without its name: "a sea animal with two claws". `denied`:
    whether captions that deny only some of the objects deny this one ("1", "0").
    """

    kind: str
    name: str
    noun: str
    place: str
    colour: str
    description: str
    denied: str


class Concepts:
    """The concepts of a world by kind, in the order of its concepts.csv; no drawings."""

    def __init__(self, concepts: tuple[Concept, ...]):
        self.concepts = concepts
        self.names = tuple(c.name for c in concepts)
        self.objects, self.colours, self.backgrounds, self.styles = (
            tuple(c.name for c in concepts if c.kind == kind) for kind in KINDS_OF_WORLD
        )
        self.denied = tuple(c.name for c in concepts if c.denied == "1")
        self._index = {name: i for i, name in enumerate(self.names)}

    def concept(self, name: str) -> Concept:
        """The concept of that name."""
        return self.concepts[self._index[name]]


@cache
def load_concepts(path: Path = WORLD / "concepts.csv") -> Concepts:
    """The concepts of the pocket world. `UserError` for a file that cannot be used."""
    return Concepts(read_concepts(path))


def read_concepts(path: Path) -> tuple[Concept, ...]:
    """The lines of concepts.csv. UserError on a missing file, bad header, bad or repeated name."""
    try:
        with shipped(path).open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing; a world needs a concepts.csv with columns {','.join(HEADER)}"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a UTF-8 csv file: {error}") from None
    if header != HEADER:
        raise UserError(
            f"{path} must start with the columns {','.join(HEADER)}, not {','.join(header)!r}"
        )
    concepts = tuple(_concept(path, number, row) for number, row in enumerate(rows, start=2))
    names = [c.name for c in concepts]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"{path}: name {name!r} appears twice; every concept needs a name of its own"
            )
    for kind in KINDS_OF_WORLD:
        if sum(c.kind == kind for c in concepts) < (2 if kind == "object" else 1):
            raise UserError(
                f"{path}: too few lines of kind {kind!r}; it needs two objects and one of the rest"
            )
    return concepts


def _concept(path: Path, number: int, row: list[str]) -> Concept:
    where = f"{path}, line {number}"
    if len(row) != len(HEADER):
        raise UserError(f"{where}: {len(row)} columns; expected {len(HEADER)} ({','.join(HEADER)})")
    concept = Concept(*row)
    if concept.kind not in KINDS_OF_WORLD:
        raise UserError(
            f"{where}: kind {concept.kind!r} is unknown; use one of {', '.join(KINDS_OF_WORLD)}"
        )
    if not NAME.fullmatch(concept.name):
        raise UserError(f"{where}: name {concept.name!r} is not allowed; use a-z, 0-9 and -")
    if not PHRASE.fullmatch(concept.noun):
        raise UserError(f"{where}: noun {concept.noun!r} is not allowed; use lower-case words")
    placed = concept.kind in ("background", "style")
    if not (PHRASE.fullmatch(concept.place) if placed else concept.place == ""):
        raise UserError(
            f"{where}: place {concept.place!r}; words for backgrounds and styles, else empty"
        )
    if not (COLOUR.fullmatch(concept.colour) if concept.kind == "colour" else concept.colour == ""):
        raise UserError(
            f"{where}: colour {concept.colour!r}; #rrggbb in lower case for colours, else empty"
        )
    described = concept.kind == "object"
    if not (PHRASE.fullmatch(concept.description) if described else concept.description == ""):
        raise UserError(
            f"{where}: description {concept.description!r};"
            " lower-case words for objects, else empty"
        )
    if concept.denied not in (("0", "1") if described else ("",)):
        raise UserError(f"{where}: denied {concept.denied!r}; 1 or 0 for objects, else empty")
    if concept.noun in concept.description.split():
        raise UserError(f"{where}: description names the {concept.noun}; say it without its name")
    return concept


@cache
def web_concepts(path: Path = PROMPTS / "web_concepts.csv") -> pd.DataFrame:
    """Concepts to ask of web-trained models: kind (object, style), group, name, description."""
    table = read_csv(path, ("kind", "group", "name", "description"))
    for row in table.itertuples():
        if row.kind not in KINDS:
            raise UserError(f"{path.name}: {row.name} has kind {row.kind!r}; use object or style")
        _check_name(row.name)
    return table


def known_concepts(world: Concepts, free: bool) -> dict[str, tuple[str, str, str]]:
    """Name -> (kind, noun, description) of the concepts that come with the book."""
    known = {c.name: (c.kind, c.noun, c.description) for c in world.concepts if c.kind in KINDS}
    if free:
        known |= {r.name: (r.kind, r.name, r.description) for r in web_concepts().itertuples()}
    return known


def caption_of(concept: str) -> str:
    """What a judge compares a picture with: "a picture of an owl", "a picture in pencil style"."""
    kind, noun, _ = _known(concept)
    texts = {"colour": "a picture of something {c}", "style": "a picture in {c} style"}
    return fill(texts.get(kind, "a picture of a {c}"), c=noun)[0]


def noun_of(concept: str) -> str:
    """What prompts call a concept; a concept that does not come with the book by its name."""
    return _known(concept)[1]


def description_of(concept: str) -> str:
    """What an object is without its name, with its article; "" where no list of the book says it.

    >>> description_of("bear")
    'a big furry animal with round ears'
    """
    return _known(concept)[2]


def _known(concept: str) -> tuple[str, str, str]:
    return known_concepts(load_concepts(), free=True).get(concept, ("object", concept, ""))


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise UserError(
            f"concept {name[:MAX_NAME]!r} cannot be used; a name has letters, digits, single spaces"
            f" and hyphens, at most {MAX_NAME} characters"
        )


def _places(world: Concepts) -> set[str]:
    """The words for backgrounds: "city" and "street" for a city street."""
    nouns = (world.concept(name).noun for name in world.backgrounds)
    return {*world.backgrounds, *(noun.split()[-1] for noun in nouns)}


def check_concepts(concepts: Sequence[str], world: Concepts, free: bool = False) -> list[str]:
    """Concepts as a checked list: names of the world's objects, colours and styles, or any plain
    noun phrase where `free`. [] is every object of the world, or of the list for web models."""
    if isinstance(concepts, str) or not all(isinstance(name, str) for name in concepts):
        raise UserError(f"concepts is {concepts!r}; give a list of names such as ['bear', 'car']")
    known = known_concepts(world, free)
    names = list(concepts) or (list(web_concepts().name) if free else list(world.objects))
    for name in names:
        _check_name(name)
        if not free and name not in known:
            raise UserError(f"unknown concept {name!r}; {nearest(name, known)}")
        if free and name.lower().split()[-1] in _places(world):
            raise UserError(
                f"concept {name!r} is a place that pictures without it are set in"
                f" ({', '.join(world.backgrounds)}); choose something else"
            )
    if len(set(names)) < len(names):
        raise UserError("concepts names something twice; name each concept once")
    return names
