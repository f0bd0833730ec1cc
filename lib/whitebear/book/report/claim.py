"""What the book claims, each with its number: saved by chapters, collected on one page."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from whitebear.errors import UserError
from whitebear.files import markdown_table
from whitebear.stats import Estimate

HEAD = ("Claim", "Estimate [95 %]", "n", "Held against", "Verdict", "Where")
UNTOLD = "the same words without the instruction"  # the control of most claims


@dataclass(frozen=True)
class Claim:
    """One sentence of the book that a number decides.

    found: the number; estimate: the same with its interval, as text; n: what was counted; control:
    what it was held against; verdict: the word that the number leads to, by a rule declared before;
    figure: the label of the figure (or section) that shows it.
    """

    claim: str
    found: Estimate
    estimate: str
    n: str
    control: str
    verdict: str
    figure: str


def made(
    claim: str,
    found: Estimate,
    verdict: str,
    figure: str,
    estimate: str | None = None,
    *,
    of: str = "pairs",
    control: str = UNTOLD,
) -> Claim:
    """A claim with what most have in common: a number in percent, pairs with the usual control.

    of: what was counted, behind the number of it.
    """
    estimate = found.percent() if estimate is None else estimate
    return Claim(claim, found, estimate, f"{found.n} {of}", control, verdict, figure)


def verdicts(claims: Sequence[Claim]) -> pd.DataFrame:
    """One row a claim: what was declared, what was found, and the verdict."""
    rows = {c.claim: {"found": c.estimate, "n": c.n, "verdict": c.verdict} for c in claims}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("declared")


TEXTS = ("claim", "estimate", "n", "control", "verdict", "figure")


def as_records(claims: list[Claim]) -> list[dict]:
    """Claims for a JSON file: their texts, and value, low, high (None where undefined).

    Raises `UserError` for a claim that lacks a part, or that is made twice.
    """
    for claim in claims:
        if empty := [name for name in TEXTS if not str(getattr(claim, name)).strip()]:
            raise UserError(f"the claim {claim.claim!r} has no {empty[0]}")
    if len(made := [claim.claim for claim in claims]) > len(set(made)):
        twice = next(text for text in made if made.count(text) > 1)
        raise UserError(f"the claim {twice!r} is made twice; say what tells them apart")
    return [
        {name: str(getattr(claim, name)) for name in TEXTS}
        | {end: _number(getattr(claim.found, end)) for end in ("value", "low", "high")}
        for claim in claims
    ]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)


def table(chapters: dict[str, list[dict]]) -> str:
    """The claims of all chapters (title -> records) as Markdown, a heading and a table each."""
    parts = []
    for title, records in chapters.items():
        if records:
            rows = markdown_table(HEAD, map(_row, records))
            parts.append(f"**{_cell(title)}**\n\n{rows}")
    return "\n\n".join(parts)


def _row(record: dict) -> list[str]:
    cells = [_cell(record[k]) for k in ("claim", "estimate", "n", "control", "verdict")]
    figure = record["figure"]
    if not re.fullmatch(r"[a-z][a-z0-9-]*", figure):
        raise UserError(f"figure {figure!r} of a claim is no label; use a-z, 0-9 and -")
    return [*cells, f"{{numref}}`{figure}`"]


def _cell(text: str) -> str:
    """Text that can neither leave its cell nor be read as markup."""
    text = re.sub(r"\s+", " ", str(text))
    return re.sub(r"([\\|*_`{}\[\]<>$])", r"\\\1", text)
