"""Clauses: a sentence with a verb about the concept beside a request, in all combinations.

A verb forbids (forget, leave out) or is neutral (see, find, look at). Every verb stands in every
frame, with every request, before or after it, in the same words, so an instruction has no one
control: it is held against the mean of the neutral verbs in its place (`measures.clauses`).
"""

from pathlib import Path

import pandas as pd

from whitebear.errors import UserError
from whitebear.files import PROMPTS
from whitebear.prompts.wordings import _check_wording, read_csv

COLUMNS = ("id", "verb", "neutral", "frame", "request", "order", "subject", "heldout", "text")
PLACE = ["frame", "request", "order", "subject"]  # all that a clause is but its verb
FACTORS = ["verb", "neutral", *PLACE]
ALONE = {"name": "affirm", "description": "describe", "place": "omit", "other": "omit"}
VALUES = {
    "neutral": ("0", "1"), "request": tuple(ALONE), "order": ("first", "last", ""),
    "subject": ("concept", "other", ""), "heldout": ("0", "1"),
}  # fmt: skip


def load_clauses(path: Path = PROMPTS / "clauses.csv") -> pd.DataFrame:
    """The clauses as wordings for `prompt_grid`, with the columns FACTORS beside.

    verb: "" is the request alone; neutral (bool): whether the verb forbids nothing; frame: which
    words stand around verb and request; request: what is to be drawn, the concept by its name, by
    its description, a place, or another object; order: whether the verb comes first or last;
    subject: what the verb is about, the concept or the other object. The condition is the verb,
    or for a request alone what eval.csv calls such a request.

    Raises `UserError` for what could not be turned into prompts, and for a verb that is not in
    every place in which the others are.
    """
    table = read_csv(path, COLUMNS)
    if repeated := table.id[table.id.duplicated()].tolist():
        raise UserError(f"clauses {path} has the id {repeated[0]} twice; ids must be unique")
    for name, values in VALUES.items():
        if len(odd := table[~table[name].isin(values)]):
            row = odd.iloc[0]
            said = ", ".join(value or "nothing" for value in values)
            raise UserError(f"clause {row.id} has {name}={row[name]!r}; use {said}")
    alone = table.request.map(ALONE).where(table.verb == "", table.verb)
    table = table.assign(
        condition=alone.str.replace(" ", "_"), kind="object", control="",
        pair=table.text.str.contains("{o}", regex=False).map({True: "1", False: "0"}),
    )  # fmt: skip
    for row in table.itertuples():
        _check_wording(row, {row.id: row.kind})
    _check_crossed(table)
    return table.assign(**{name: table[name] == "1" for name in ("neutral", "pair", "heldout")})


def _check_crossed(table: pd.DataFrame) -> None:
    """Every verb once in every place, or what is held against the neutral verbs is not like it."""
    verbs = table[table.verb != ""]
    kinds = verbs.groupby("verb").neutral.unique().str.join(" and ")
    if len(odd := kinds[kinds.str.len() > 1]):
        raise UserError(f"clauses with the verb {odd.index[0]!r} have neutral=0 and 1; use one")
    if (kinds == "1").sum() < 2:
        raise UserError("clauses have fewer than two neutral verbs; one more shows how they differ")
    found = verbs.groupby([*PLACE, "verb"]).size().unstack(fill_value=0)
    for place, counts in found[(found != 1).any(axis=1)].iterrows():
        verb = counts.index[counts != 1][0]
        where = ", ".join(f"{name} {value}" for name, value in zip(PLACE, place, strict=True))
        raise UserError(
            f"clauses have the verb {verb!r} {counts[verb]} times with {where}; give it once"
        )
