"""Wordings x concepts x seeds -> a tidy table with one row per image to make.

Asking for a condition brings the controls of its wordings along, since an effect without its
control means nothing.
"""

import hashlib
from collections.abc import Sequence
from functools import cache

import pandas as pd

from whitebear.errors import UserError
from whitebear.prompts.concepts import Concepts, check_concepts, known_concepts, load_concepts
from whitebear.prompts.wordings import choose_wordings, fill, load_wordings

COLUMNS = [  # what each holds: `tables.GRID`
    "concept", "kind", "condition", "wording", "control", "heldout", "pair", "text",
    "seed", "prompt", "other", "background", "spans",
]  # fmt: skip


def check_seeds(seeds: int | Sequence[int]) -> list[int]:
    """Seeds as a list: a count n means 0..n-1. Raises `UserError` for n < 1 or ids < 0."""
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds > 0:
        return list(range(seeds))
    whole = isinstance(seeds, (list, tuple, range)) and all(type(seed) is int for seed in seeds)
    if not whole or not len(seeds) or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UserError(
            f"seeds is {seeds!r}; give a whole number of seeds, at least 1 (or a list of "
            "different ids >= 0)"
        )
    return list(seeds)


@cache
def _shuffled(key: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: hashlib.sha256(f"{key}\0{name}".encode()).digest()))


def partner(concept: str, seed: int, world: Concepts) -> tuple[str, str]:
    """The other object and the background that go with (concept, seed), whatever the wording.

    Each concept goes through all others in an order of its own, so any run of consecutive seeds is
    balanced, and a wording and its control always show the same partner.
    """
    others = _shuffled(f"other {concept}", tuple(name for name in world.objects if name != concept))
    places = _shuffled(f"background {concept}", tuple(world.backgrounds))
    return others[seed % len(others)], places[seed % len(places)]


def prompt_grid(
    concepts: Sequence[str],
    conditions: Sequence[str],
    seeds: int | Sequence[int],
    wordings: pd.DataFrame | None = None,
    world: Concepts | None = None,
    free: bool = False,
) -> pd.DataFrame:
    """One row per image to make, with the columns of `tables.GRID`.

    `concepts=[]` means every object of the world; `free` admits words outside it; `seeds` is a
    count or a list of ids. `text` is the wording with its holes, `prompt` the same filled in.
    `other` and `background` are "" where the wording does not use them. `spans` are [start, end)
    character positions of the concept in the prompt. Rows come concept by concept, wording by
    wording, seed by seed.

    >>> grid = prompt_grid(["bear", "owl"], ["affirm"], seeds=2)
    >>> grid.shape == (2 * grid.wording.nunique() * 2, len(COLUMNS))
    True
    >>> grid.prompt[0], grid.spans[0]
    ('a picture of a bear', [[15, 19]])
    """
    world = load_concepts() if world is None else world
    wordings = load_wordings() if wordings is None else wordings
    names, seeds, rows = check_concepts(concepts, world, free), check_seeds(seeds), []
    known = known_concepts(world, free)
    for concept in names:
        kind, noun, description = known.get(concept, ("object", concept, ""))
        chosen = choose_wordings(conditions, wordings, kind)
        if not description and chosen.text.str.contains("{d}", regex=False).any():
            raise UserError(
                f"{concept} has no description; leave out the conditions"
                " implicit and describe, or add one to the list of concepts"
            )
        for wording in chosen.itertuples():
            for seed in seeds:
                other, place = partner(concept, seed, world)
                other, place = other if wording.pair else "", place if "{b}" in wording.text else ""
                prompt, spans = fill(
                    wording.text,
                    c=noun,
                    o=world.concept(other).noun if other else "",
                    b=world.concept(place).noun if place else "",
                    d=description,
                )
                ids = (concept, kind, wording.condition, wording.id, wording.control)
                ids += (wording.heldout, wording.pair, wording.text, seed)
                rows.append((*ids, prompt, other, place, spans))
    return pd.DataFrame(rows, columns=COLUMNS)


def named(table: pd.DataFrame) -> list[str | None]:
    """The word or phrase that stands for the concept in each prompt of a grid; None where none."""
    return [r.prompt[slice(*r.spans[0])] if len(r.spans) else None for r in table.itertuples()]


def about_objects(table: pd.DataFrame, least: int = 1) -> pd.DataFrame:
    """The rows of a grid about objects. `UserError` where these are fewer than `least` objects."""
    found = table[table.kind == "object"].reset_index(drop=True)
    if found.concept.nunique() < least:
        wanted = "an object" if least == 1 else f"{least} objects"
        raise UserError(f"concepts names too few objects for this chapter; give at least {wanted}")
    return found
