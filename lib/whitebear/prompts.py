"""Wordings x concepts x seeds -> a tidy table with one row per image to make.

A wording is a sentence with holes: `{c}` the concept, `{o}` another object, `{b}` a background.
Every instruction
names its control, the wording that says the same in the same order without the instruction; asking
for a condition
brings those controls along, since an effect without its control means nothing.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from string import Formatter

import pandas as pd

from whitebear.errors import UserError
from whitebear.paths import PROMPTS
from whitebear.pocket.world import World, load_world

COLUMNS = ("id", "condition", "pair", "text", "control")
GRID = (
    "concept", "condition", "wording", "control", "pair",
    "seed", "prompt", "other", "background", "spans",
)  # fmt: skip
PLACEHOLDERS = {"c", "o", "b"}
MAX_NAME = 60  # a concept is a noun phrase, not an essay

_NAME = re.compile(r"[^\W_](?:[^\W_]|[ -](?=[^\W_]))*")
_VOWEL_SOUND = re.compile(r"(?!uni[cfqtv]|us[eu]|eu|one\b)[aeiou]", re.IGNORECASE)
_OPEN_ARTICLE = re.compile(r"\b[Aa] $")


def nearest(name: object, valid: Iterable[str]) -> str:
    """End an error line helpfully: the nearest valid names, or all of them when none is near."""
    valid = list(valid)
    near = difflib.get_close_matches(str(name), valid, n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"valid: {', '.join(valid)}"


def load_wordings(path: Path = PROMPTS / "eval.csv") -> pd.DataFrame:
    """Read and check a list of wordings: id, condition, pair (bool), text, control ("" is none).

    Raises `UserError` for anything that could not be turned into prompts.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UserError(
            f"wordings {path} cannot be read ({error}); give a csv with {','.join(COLUMNS)}"
        ) from None
    if tuple(table.columns) != COLUMNS:
        raise UserError(
            f"wordings {path} has columns {','.join(table.columns)}; expected {','.join(COLUMNS)}"
        )
    if repeated := table.id[table.id.duplicated()].tolist():
        raise UserError(f"wordings {path} has the id {repeated[0]} twice; ids must be unique")
    for row in table.itertuples():
        _check_wording(row, set(table.id))
    return table.assign(pair=table.pair == "1")


def _check_wording(row, ids: set[str]) -> None:
    holes = _holes(row)
    if unknown := holes - PLACEHOLDERS:
        raise UserError(
            f"wording {row.id} has the placeholder {{{min(unknown)}}}; use {{c}}, {{o}} or {{b}}"
        )
    if row.condition == "omit" and "c" in holes:
        raise UserError(
            f"wording {row.id} is omit but names {{c}}; omit must leave the concept out"
        )
    if row.condition != "omit" and "c" not in holes:
        raise UserError(f"wording {row.id} never names the concept; put {{c}} into its text")
    if row.pair not in ("0", "1") or (row.pair == "1") != ("o" in holes):
        raise UserError(
            f"wording {row.id} has pair={row.pair!r}; pair is 1 exactly where the text has "
            f"{{o}}, else 0"
        )
    if row.control and row.control not in ids:
        raise UserError(
            f"wording {row.id} has the unknown control {row.control}; {nearest(row.control, ids)}"
        )


def _holes(row) -> set[str]:
    try:
        return {name for _, name, _, _ in Formatter().parse(row.text) if name is not None}
    except ValueError as error:
        raise UserError(f"wording {row.id} has unbalanced braces ({error}); write {{c}}") from None


def an(noun: str) -> str:
    """The noun with its indefinite article: "an owl", but "a unicorn"."""
    return f"{'an' if _VOWEL_SOUND.match(noun) else 'a'} {noun}"


def fill(text: str, c: str = "", o: str = "", b: str = "") -> tuple[str, list[list[int]]]:
    """Fill a wording; returns the prompt and the [start, end) character spans of the concept in it.

    >>> fill("no {c}, and a {o}", c="bear", o="owl")
    ('no bear, and an owl', [[3, 7]])
    """
    values, prompt, spans = {"c": c, "o": o, "b": b}, "", []
    for literal, name, _, _ in Formatter().parse(text):
        prompt += literal
        if name is None:
            continue
        value = values[name]
        if _OPEN_ARTICLE.search(prompt) and _VOWEL_SOUND.match(value):
            prompt = prompt[:-1] + "n "
        if name == "c":
            spans.append([len(prompt), len(prompt) + len(value)])
        prompt += value
    return prompt, spans


def check_concepts(concepts: Sequence[str], world: World, free: bool = False) -> list[str]:
    """Concepts as a checked list. Objects of the world, or any plain noun phrase where `free`."""
    if isinstance(concepts, str) or not all(isinstance(name, str) for name in concepts):
        raise UserError(f"concepts is {concepts!r}; give a list of names such as ['bear', 'car']")
    names = list(concepts) or list(world.objects)
    for name in names:
        if len(name) > MAX_NAME or not _NAME.fullmatch(name):
            raise UserError(
                f"concept {name[:MAX_NAME]!r} cannot be used; a name has letters, digits, "
                "single spaces and hyphens,"
                f" at most {MAX_NAME} characters"
            )
        if not free and name not in world.objects:
            raise UserError(f"unknown concept {name!r}; {nearest(name, world.objects)}")
    if len(set(names)) < len(names):
        raise UserError("concepts names something twice; name each concept once")
    return names


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


def choose_wordings(conditions: Sequence[str], wordings: pd.DataFrame) -> pd.DataFrame:
    """The wordings of these conditions together with the controls they need, in list order."""
    if isinstance(conditions, str) or not len(conditions):
        raise UserError(f"conditions is {conditions!r}; give a list such as ['affirm', 'negate']")
    valid = list(dict.fromkeys(wordings.condition))
    for condition in conditions:
        if condition not in valid:
            raise UserError(f"unknown condition {condition!r}; {nearest(condition, valid)}")
    asked = wordings.condition.isin(list(conditions))
    return wordings[asked | wordings.id.isin(wordings.control[asked])]


@cache
def _shuffled(key: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: hashlib.sha256(f"{key}\0{name}".encode()).digest()))


def partner(concept: str, seed: int, world: World) -> tuple[str, str]:
    """The other object and the background that go with (concept, seed), whatever the wording.

    Each concept goes through all others in an order of its own, so any run of consecutive seeds is
    balanced,
    and a wording and its control always show the same partner.
    """
    others = _shuffled(f"other {concept}", tuple(name for name in world.objects if name != concept))
    places = _shuffled(f"background {concept}", tuple(world.backgrounds))
    return others[seed % len(others)], places[seed % len(places)]


def prompt_grid(
    concepts: Sequence[str],
    conditions: Sequence[str],
    seeds: int | Sequence[int],
    wordings: pd.DataFrame | None = None,
    world: World | None = None,
    free: bool = False,
) -> pd.DataFrame:
    """One row per image to make: concept, condition, wording, control, pair, seed, prompt, other,
    background, spans.

    `concepts=[]` means every object of the world; `free` admits words outside it; `seeds` is a
    count or a list of
    ids. `other` and `background` are "" where the wording does not use them. `spans` are [start,
    end) character
    positions of the concept in the prompt. Rows come concept by concept, wording by wording, seed
    by seed.
    """
    world = load_world() if world is None else world
    chosen = choose_wordings(conditions, load_wordings() if wordings is None else wordings)
    names, seeds = check_concepts(concepts, world, free), check_seeds(seeds)
    noun = {concept.name: concept.noun for concept in world.concepts}
    rows = []
    for concept in names:
        for wording in chosen.itertuples():
            for seed in seeds:
                other, place = partner(concept, seed, world)
                other, place = other if wording.pair else "", place if "{b}" in wording.text else ""
                prompt, spans = fill(
                    wording.text,
                    c=noun.get(concept, concept),
                    o=noun.get(other, ""),
                    b=noun.get(place, ""),
                )
                ids = (concept, wording.condition, wording.id, wording.control, wording.pair, seed)
                rows.append((*ids, prompt, other, place, spans))
    return pd.DataFrame(rows, columns=GRID)
