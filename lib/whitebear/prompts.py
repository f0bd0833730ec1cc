"""Wordings x concepts x seeds -> a tidy table with one row per image to make.

A wording is a sentence with holes: `{c}` the concept, `{d}` what it is without its name, `{o}`
another object, `{b}` a background. Wordings belong to kinds of concept (object, colour, style).
Every instruction names its control, the wording that says the same in the same order without the
instruction; asking for a condition brings those controls along, since an effect without its
control means nothing. Wordings that are `heldout` use words for their request that no training
caption uses.
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

COLUMNS = ("id", "condition", "kind", "heldout", "pair", "text", "control")
GRID = (
    "concept", "kind", "condition", "wording", "control", "heldout", "pair",
    "seed", "prompt", "other", "background", "spans",
)  # fmt: skip
PLACEHOLDERS = {"c", "d", "o", "b"}
KINDS = ("object", "colour", "style")
MAX_NAME = 60  # a concept is a noun phrase, not an essay

_NAME = re.compile(r"[^\W_](?:[^\W_]|[ -](?=[^\W_]))*")
VOWEL_SOUND = re.compile(r"(?!uni[cfqtv]|us[eu]|eu|one\b)[aeiou]", re.IGNORECASE)
_OPEN_ARTICLE = re.compile(r"\b[Aa] $")


def nearest(name: object, valid: Iterable[str]) -> str:
    """End an error line helpfully: the nearest valid names, or all of them when none is near."""
    valid = list(valid)
    near = difflib.get_close_matches(str(name), valid, n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"valid: {', '.join(valid)}"


def load_wordings(path: Path = PROMPTS / "eval.csv") -> pd.DataFrame:
    """Read and check a list of wordings: id, condition, kind, heldout, pair (bool), text, control.

    kind: of the concepts that a wording is for, several separated by a space; control: "" is none.
    Raises `UserError` for anything that could not be turned into prompts.
    """
    table = _read_csv(path, COLUMNS)
    if repeated := table.id[table.id.duplicated()].tolist():
        raise UserError(f"wordings {path} has the id {repeated[0]} twice; ids must be unique")
    kinds = dict(zip(table.id, table.kind, strict=True))
    for row in table.itertuples():
        _check_wording(row, kinds)
    return table.assign(pair=table.pair == "1", heldout=table.heldout == "1")


def _read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); give a csv with {','.join(columns)}"
        ) from None
    if tuple(table.columns) != tuple(columns):
        raise UserError(
            f"{path} has columns {','.join(table.columns)}; expected {','.join(columns)}"
        )
    return table


def _check_wording(row, kinds: dict[str, str]) -> None:
    holes = _holes(row)
    if unknown := holes - PLACEHOLDERS:
        raise UserError(
            f"wording {row.id} has the placeholder {{{min(unknown)}}}; use {{c}}, {{d}}, {{o}}"
            " or {b}"
        )
    if not row.kind.split() or not set(row.kind.split()) <= set(KINDS):
        raise UserError(f"wording {row.id} has kind {row.kind!r}; use {', '.join(KINDS)}")
    if row.condition == "omit" and holes & {"c", "d"}:
        raise UserError(
            f"wording {row.id} is omit but names the concept; omit must leave {{c}} and {{d}} out"
        )
    if row.condition != "omit" and not holes & {"c", "d"}:
        raise UserError(
            f"wording {row.id} never names the concept; put {{c}} (or {{d}}) into its text"
        )
    if row.pair not in ("0", "1") or (row.pair == "1") != ("o" in holes):
        raise UserError(
            f"wording {row.id} has pair={row.pair!r}; pair is 1 exactly where the text has "
            f"{{o}}, else 0"
        )
    if row.heldout not in ("0", "1"):
        raise UserError(f"wording {row.id} has heldout={row.heldout!r}; use 1 or 0")
    if row.control and row.control not in kinds:
        raise UserError(
            f"wording {row.id} has the unknown control {row.control}; {nearest(row.control, kinds)}"
        )
    if row.control and kinds[row.control] != row.kind:
        raise UserError(f"wording {row.id} is for {row.kind}, but not its control {row.control}")


def _holes(row) -> set[str]:
    try:
        return {name for _, name, _, _ in Formatter().parse(row.text) if name is not None}
    except ValueError as error:
        raise UserError(f"wording {row.id} has unbalanced braces ({error}); write {{c}}") from None


def an(noun: str) -> str:
    """The noun with its indefinite article: "an owl", but "a unicorn"."""
    return f"{'an' if VOWEL_SOUND.match(noun) else 'a'} {noun}"


def fill(
    text: str, c: str = "", o: str = "", b: str = "", d: str = ""
) -> tuple[str, list[list[int]]]:
    """Fill a wording; returns the prompt and the [start, end) character spans of the concept in it,
    named or described. Proper names ("Pikachu") stand without an article.

    >>> fill("no {c}, and a {o}", c="bear", o="owl")
    ('no bear, and an owl', [[3, 7]])
    """
    values, prompt, spans = {"c": c, "o": o, "b": b, "d": d}, "", []
    for literal, name, _, _ in Formatter().parse(text):
        prompt += literal
        if name is None:
            continue
        value = values[name]
        if _OPEN_ARTICLE.search(prompt) and value[:1].isupper():
            prompt = prompt[:-2]
        elif _OPEN_ARTICLE.search(prompt) and VOWEL_SOUND.match(value):
            prompt = prompt[:-1] + "n "
        if name in "cd":
            spans.append([len(prompt), len(prompt) + len(value)])
        prompt += value
    return prompt, spans


@cache
def web_concepts(path: Path = PROMPTS / "web_concepts.csv") -> pd.DataFrame:
    """Concepts to ask of web-trained models: kind (object, style), group, name, description."""
    table = _read_csv(path, ("kind", "group", "name", "description"))
    for row in table.itertuples():
        if row.kind not in KINDS:
            raise UserError(f"{path.name}: {row.name} has kind {row.kind!r}; use object or style")
        _check_name(row.name)
    return table


def _known(world: World, free: bool) -> dict[str, tuple[str, str, str]]:
    """Name -> (kind, noun, description) of the concepts that come with the book."""
    known = {c.name: (c.kind, c.noun, c.description) for c in world.concepts if c.kind in KINDS}
    if free:
        known |= {r.name: (r.kind, r.name, r.description) for r in web_concepts().itertuples()}
    return known


def caption_of(concept: str) -> str:
    """What a judge compares a picture with: "a picture of an owl", "a picture in pencil style"."""
    kind, noun, _ = _known(load_world(), free=True).get(concept, ("object", concept, ""))
    texts = {"colour": "a picture of something {c}", "style": "a picture in {c} style"}
    return fill(texts.get(kind, "a picture of a {c}"), c=noun)[0]


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise UserError(
            f"concept {name[:MAX_NAME]!r} cannot be used; a name has letters, digits, single spaces"
            f" and hyphens, at most {MAX_NAME} characters"
        )


def check_concepts(concepts: Sequence[str], world: World, free: bool = False) -> list[str]:
    """Concepts as a checked list: names of the world's objects, colours and styles, or any plain
    noun phrase where `free`. [] is every object of the world, or of the list for web models."""
    if isinstance(concepts, str) or not all(isinstance(name, str) for name in concepts):
        raise UserError(f"concepts is {concepts!r}; give a list of names such as ['bear', 'car']")
    known = _known(world, free)
    names = list(concepts) or (list(web_concepts().name) if free else list(world.objects))
    for name in names:
        _check_name(name)
        if not free and name not in known:
            raise UserError(f"unknown concept {name!r}; {nearest(name, known)}")
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


def choose_wordings(
    conditions: Sequence[str], wordings: pd.DataFrame, kind: str = "object"
) -> pd.DataFrame:
    """The wordings of these conditions for a kind of concept, with the controls that they need."""
    if isinstance(conditions, str) or not len(conditions):
        raise UserError(f"conditions is {conditions!r}; give a list such as ['affirm', 'negate']")
    valid = list(dict.fromkeys(wordings.condition))
    for condition in conditions:
        if condition not in valid:
            raise UserError(f"unknown condition {condition!r}; {nearest(condition, valid)}")
    ours = wordings[[kind in kinds.split() for kinds in wordings.kind]]
    asked = ours.condition.isin(list(conditions))
    if not asked.any():
        raise UserError(
            f"no wording of {', '.join(conditions)} is for a {kind};"
            f" valid: {', '.join(dict.fromkeys(ours.condition))}"
        )
    return ours[asked | ours.id.isin(ours.control[asked])]


@cache
def _shuffled(key: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: hashlib.sha256(f"{key}\0{name}".encode()).digest()))


def partner(concept: str, seed: int, world: World) -> tuple[str, str]:
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
    world: World | None = None,
    free: bool = False,
) -> pd.DataFrame:
    """One row per image to make, with the columns GRID.

    `concepts=[]` means every object of the world; `free` admits words outside it; `seeds` is a
    count or a list of ids. `other` and `background` are "" where the wording does not use them.
    `spans` are [start, end) character positions of the concept in the prompt. Rows come concept by
    concept, wording by wording, seed by seed.
    """
    world = load_world() if world is None else world
    wordings = load_wordings() if wordings is None else wordings
    names, seeds, rows = check_concepts(concepts, world, free), check_seeds(seeds), []
    known = _known(world, free)
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
                ids += (wording.heldout, wording.pair, seed)
                rows.append((*ids, prompt, other, place, spans))
    return pd.DataFrame(rows, columns=GRID)


def about_objects(table: pd.DataFrame, least: int = 1) -> pd.DataFrame:
    """The rows of a grid about objects. `UserError` where these are fewer than `least` objects."""
    found = table[table.kind == "object"].reset_index(drop=True)
    if found.concept.nunique() < least:
        wanted = "an object" if least == 1 else f"{least} objects"
        raise UserError(f"concepts names too few objects for this chapter; give at least {wanted}")
    return found
