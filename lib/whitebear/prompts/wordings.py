"""Wordings: sentences with holes, and the names of the conditions that they belong to.

`{c}` is the concept, `{d}` what it is without its name, `{o}` another object, `{b}` a background.
Every instruction names its control, the wording that says the same in the same order without the
instruction. Wordings that are `heldout` use words for their request that no training caption uses.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from string import Formatter

import pandas as pd

from whitebear.errors import UserError, nearest
from whitebear.files import PROMPTS, shipped

COLUMNS = ("id", "condition", "kind", "heldout", "pair", "text", "control")
PLACEHOLDERS = {"c", "d", "o", "b"}
KINDS = ("object", "colour", "style")
NAMES = {
    "affirm": "asked for",
    "omit": "not mentioned",
    "repeat": "named as often",
    "forget_then_request": "forget it, then draw it",
    "negate": "asked to leave it out",
    "mention": "named in passing",
    "forget_only": "forget it, draw the place",
    "reinforced": "forget it, insistently",
    "role": "forbidden by a role",
    "describe": "described, not named",
    "implicit": "described, to be forgotten",
}
VOWEL_SOUND = re.compile(r"(?!uni[cfqtv]|us[eu]|eu|one\b)[aeiou]", re.IGNORECASE)
_OPEN_ARTICLE = re.compile(r"\b[Aa] $")


def name_of(condition: str) -> str:
    """How a condition is called in figures and sentences."""
    return NAMES.get(condition, condition.replace("_", " "))


def in_order(conditions: Sequence[str]) -> list[str]:
    """Different conditions, in the order that the book shows them."""
    known = [name for name in NAMES if name in set(conditions)]
    return known + [name for name in dict.fromkeys(conditions) if name not in NAMES]


def load_wordings(path: Path = PROMPTS / "eval.csv") -> pd.DataFrame:
    """Read and check a list of wordings: id, condition, kind, heldout, pair (bool), text, control.

    kind: of the concepts that a wording is for, several separated by a space; control: "" is none.
    Raises `UserError` for anything that could not be turned into prompts.
    """
    table = read_csv(path, COLUMNS)
    if repeated := table.id[table.id.duplicated()].tolist():
        raise UserError(f"wordings {path} has the id {repeated[0]} twice; ids must be unique")
    kinds = dict(zip(table.id, table.kind, strict=True))
    for row in table.itertuples():
        _check_wording(row, kinds)
    return table.assign(pair=table.pair == "1", heldout=table.heldout == "1")


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


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table of text with exactly these columns. `UserError` where the file has none such."""
    shipped(path)
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
