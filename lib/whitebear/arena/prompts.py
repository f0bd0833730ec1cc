"""The prompts of the arena: concepts x families x seeds, with wordings that take turns.

Each picture belongs to a concept, a family and a seed. Wording, second object and place go with
the seed, so concepts and wordings are crossed, and every method gets the same prompts at the same
noise.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from whitebear.arena.entries import FOLDER
from whitebear.errors import UserError, nearest
from whitebear.prompts import Concepts, fill, load_concepts, partner
from whitebear.prompts.grid import COLUMNS
from whitebear.prompts.wordings import _holes, read_csv

PLAIN, HELD_OUT, DESCRIPTION = "plain", "held-out", "description"
PAIR, ATTRIBUTES, ABSENT, NEAR, PLACE = "pair", "attributes", "absent", "near", "place"
PLACEBO = "placebo"  # the held-out prompts, while something else is left out
FAMILIES = (PLAIN, HELD_OUT, DESCRIPTION, PAIR, ATTRIBUTES, ABSENT, NEAR, PLACE)
UNASKED = (ABSENT, NEAR, PLACE)  # the concept is not asked for
TUNED_ON = (HELD_OUT, PAIR, ABSENT)
TUNING = 8  # concepts
PARTNER, NEIGHBOUR = "partner", "neighbour"
COLUMNS_OF_FILE = ("family", "id", "heldout", "other", "colour", "text")


def in_order(names: Sequence[str]) -> list[str]:
    """Names in the order of a hash, which nobody chose: the first `TUNING` are for tuning."""
    return sorted(names, key=lambda name: hashlib.sha256(f"arena {name}".encode()).hexdigest())


def tuning_concepts(world: Concepts | None = None) -> list[str]:
    """The objects on which strengths are chosen."""
    return in_order((world or load_concepts()).objects)[:TUNING]


def scored_concepts(world: Concepts | None = None) -> list[str]:
    """The other objects."""
    return in_order((world or load_concepts()).objects)[TUNING:]


@cache
def load_families(path: Path = FOLDER / "families.csv") -> pd.DataFrame:
    """The wordings: family, id, heldout (bool), other, colour, text. `UserError` naming a bad one.

    other: which object {o} is, "partner" or "neighbour"; colour: the one that {o} is asked for in.
    """
    table = read_csv(path, COLUMNS_OF_FILE)
    if repeated := table.id[table.id.duplicated()].tolist():
        raise UserError(f"{path.name} has the id {repeated[0]} twice; ids must be unique")
    for row in table.itertuples():
        if why := _why_not(row):
            raise UserError(f"{path.name}: wording {row.id} {why}")
    if lacking := [name for name in FAMILIES if name not in set(table.family)]:
        raise UserError(f"{path.name} has no wording of the family {lacking[0]}; give one")
    return table.assign(heldout=table.heldout == "1")


def _why_not(row) -> str:
    """What is wrong with a wording; "" for nothing."""
    holes = _holes(row)
    if row.family not in FAMILIES:
        return f"has the unknown family {row.family!r}; {nearest(row.family, FAMILIES)}"
    if row.heldout not in ("0", "1"):
        return f"has heldout={row.heldout!r}; use 1 or 0"
    if row.other not in ((PARTNER, NEIGHBOUR) if "o" in holes else ("",)):
        return f"has other={row.other!r}; say partner or neighbour exactly where the text has {{o}}"
    if bool(holes & {"c", "d"}) == (row.family in UNASKED):
        return "must name the concept with {c} or {d}, except in absent, near and place"
    coloured = f"{row.colour} {{o}}" in row.text if row.colour else row.family != ATTRIBUTES
    if not coloured or (row.colour and row.family != ATTRIBUTES):
        return f"has colour={row.colour!r}; in attributes, and only there, say the colour of {{o}}"
    return ""


@cache
def neighbours(path: Path = FOLDER / "neighbours.csv") -> dict[str, str]:
    """Concept -> the object whose caption the text encoder takes for the most similar."""
    table = read_csv(path, ("concept", "neighbour"))
    found = dict(zip(table.concept, table.neighbour, strict=True))
    known = load_concepts().objects
    for name in (*found, *found.values()):
        if name not in known:
            raise UserError(f"{path.name}: unknown concept {name!r}; {nearest(name, known)}")
    if lacking := [name for name in known if found.get(name, name) == name]:
        raise UserError(f"{path.name} has no neighbour of {lacking[0]}; give another object")
    return found


def placebo_of(concepts: Sequence[str]) -> dict[str, str]:
    """Concept -> the one that is left out in its stead as a placebo: the next of these."""
    concepts = list(concepts)
    if len(concepts) < 2:
        raise UserError("a placebo needs a second concept; give at least two")
    return dict(zip(concepts, concepts[1:] + concepts[:1], strict=True))


def arena_grid(
    concepts: Sequence[str], families: Sequence[str], seeds: Sequence[int],
    wordings: pd.DataFrame | None = None,
) -> pd.DataFrame:  # fmt: skip
    """A row a picture: a grid as of `prompt_grid`, whose condition is the family, with the columns
    erased (what a method leaves out) and colour (asked for of the second object, or "").

    families: of FAMILIES or PLACEBO. Spans are those of the concept's name: nobody tells a method
    that a description means the concept.

    >>> grid = arena_grid(["bear", "owl"], ["held-out", "placebo"], range(4))
    >>> grid.groupby("condition").erased.unique().str[0].to_dict()
    {'held-out': 'bear', 'placebo': 'owl'}
    """
    wordings = load_families() if wordings is None else wordings
    world, rows = load_concepts(), []
    for concept in concepts:
        for family in families:
            same = HELD_OUT if family == PLACEBO else family
            options = list(wordings[wordings.family == same].itertuples())
            erased = placebo_of(concepts)[concept] if family == PLACEBO else concept
            for seed in seeds:
                wording = options[seed % len(options)]
                rows.append(_row(world, concept, family, erased, wording, seed))
    return pd.DataFrame(rows, columns=[*COLUMNS, "erased", "colour"])


def _row(world: Concepts, concept: str, family: str, erased: str, wording, seed: int) -> tuple:
    other, place = partner(concept, seed, world)
    other = {"": "", PARTNER: other, NEIGHBOUR: neighbours()[concept]}[wording.other]
    place = place if "{b}" in wording.text else ""
    about = world.concept(concept)
    prompt, spans = fill(
        wording.text, c=about.noun, d=about.description,
        o=world.concept(other).noun if other else "", b=world.concept(place).noun if place else "",
    )  # fmt: skip
    told = spans if erased == concept and "{c}" in wording.text else []
    ids = (concept, about.kind, family, wording.id, "", wording.heldout, bool(other), wording.text)
    return (*ids, seed, prompt, other, place, told, erased, wording.colour)
