"""Chapter 12, the small version: a few pictures of a few methods, drawn on the page's own machine,
on any model whose parts the methods fit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logit

from whitebear.arena.drawing import draw, rows_for
from whitebear.arena.entries import UNTOUCHED, Entry, load_entries
from whitebear.arena.prompts import ABSENT, HELD_OUT, PAIR, arena_grid, scored_concepts
from whitebear.draw.artist import Artist
from whitebear.draw.grid import png
from whitebear.errors import UserError, nearest
from whitebear.models.load import fingerprint
from whitebear.pocket.experiments.arena import FIRST, SCORED
from whitebear.pocket.experiments.arena_results import Part, where
from whitebear.prompts import load_concepts
from whitebear.scoring.calibration import calibrate

FAMILIES = (HELD_OUT, PAIR, ABSENT)
KEYS = ["concept", "family", "wording", "seed"]
ASKED = {HELD_OUT: "affirm", ABSENT: "omit"}  # what zero-shot judgements are calibrated on


def entries_of(names: Sequence[str]) -> list[Entry]:
    """Methods of methods.csv by id. Raises `UserError` for an unknown one."""
    known = load_entries()
    for name in names:
        if name not in known:
            raise UserError(f"unknown method {name!r}; {nearest(name, known)}")
    return [known[name] for name in names]


def drawn(
    artist: Artist,
    names: Sequence[str],
    concepts: Sequence[str],
    seeds: int,
    folder: Path,
    parts: Sequence[Part] = (),
) -> dict[str, pd.DataFrame]:
    """Table `arena` of the untouched model and of each method, by id, with the first pictures.

    At the strength that is published in `parts` for this very model, else that of its authors or
    the strongest; seeds as those of scored pictures. concepts: objects of the world, [] takes those
    that are scored. Goes on where it was stopped. Raises `UserError` for what is no method, object
    or number of seeds.
    """
    if seeds < 1:
        raise UserError(f"seeds is {seeds}; give at least 1")
    objects = load_concepts().objects
    for name in concepts:
        if name not in objects:
            raise UserError(f"concept {name!r} is no object; {nearest(name, objects)}")
    first, shown = FIRST[SCORED], where(parts)
    grid = arena_grid(list(concepts) or scored_concepts(), FAMILIES, range(first, first + seeds))
    found = {}
    for entry in [UNTOUCHED, *entries_of(names)]:
        strength = _strength(entry, shown.get(entry.id), artist)
        rows = rows_for(entry.run(0), strength, grid)
        tables, images = [], []
        for _, some in rows.groupby("concept", sort=False):
            table, pictures = draw(artist, some, folder)
            tables.append(table)
            images += list(pictures)
        table = pd.concat(tables, ignore_index=True).rename(columns={"condition": "family"})
        kept = [png(image) if seed == first else None
                for image, seed in zip(images, table.seed, strict=True)]  # fmt: skip
        found[entry.id] = table.assign(png=kept, run=0)
    return found if artist.pocket else calibrated(found)


def _strength(entry: Entry, part: Part | None, artist: Artist) -> float:
    if part is not None and _same_model(artist, part):
        return part.strength(entry.id)
    return entry.strengths[-1] if entry.fixed is None else entry.fixed


def calibrated(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """CLIP's judgements of the concept, put right by the untouched pictures that ask for it and
    those that do not; those of other objects stay as they are."""
    rows = pd.concat(tables, names=["of"]).reset_index("of")
    with np.errstate(divide="ignore"):
        raw = logit(rows.p_asked.to_numpy(float))
    part = np.where(rows.of == UNTOUCHED.id, "", rows.of)
    condition = rows.family.map(ASKED).fillna("other")
    rows = calibrate(rows.assign(logit=raw, part=part, condition=condition).reset_index(drop=True))
    return {name: rows[rows.of == name].reset_index(drop=True) for name in tables}


def rates(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """In how many pictures what is looked for is found: a row a method, the families in columns."""
    looked_for = {
        "concept, held-out": (HELD_OUT, "present"), "concept, pair": (PAIR, "present"),
        "second object": (PAIR, "other_present"), "other object": (ABSENT, "other_present"),
    }  # fmt: skip
    rows = {}
    for name, table in tables.items():
        rows[name] = {"strength": f"{table.strength.iloc[0]:g}".replace("-", "−")}
        for head, (family, column) in looked_for.items():
            flags = table[table.family == family][column]
            rows[name][head] = f"{int(flags.sum())} of {len(flags)}"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def beside(tables: dict[str, pd.DataFrame], parts: Sequence[Part], artist: Artist) -> pd.DataFrame:
    """Each method's pictures that are published too, at the same strength and of the same model:
    how many, and in how many the detector finds the same. Empty where there are none."""
    rows, shown = {}, where(parts)
    for name, table in tables.items():
        part = shown.get(name)
        if part is None or not _same_model(artist, part):
            continue
        theirs = part.scored(name)
        theirs = theirs[theirs.run == 0]
        both = table.merge(theirs, on=[*KEYS, "strength", "prompt"], suffixes=("", "_published"))
        if len(both):
            same = both.present == both.present_published
            rows[name] = {
                "pictures": len(both), "same finding": int(same.sum()),
                "here": f"{int(both.present.sum())}",
                "published": f"{int(both.present_published.sum())}",
            }  # fmt: skip
    heads = ["pictures", "same finding", "here", "published"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=heads).rename_axis("method")


def _same_model(artist: Artist, part: Part) -> bool:
    record = part.records[UNTOUCHED.id]
    mine = fingerprint(artist.folder), artist.steps, artist.guidance
    return mine == tuple(record[name] for name in ("model", "steps", "guidance"))
