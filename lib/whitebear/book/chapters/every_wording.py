"""Chapter 04: what the whole prompt grid says."""

import pandas as pd

from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import (
    by_condition,
    changes,
    obeyed,
    points,
    quoted,
    said,
    spread,
    usable,
    wording_claims,
)

HALF = "takes away half or more"


def lowering(table: pd.DataFrame) -> pd.DataFrame:
    """Wordings (rows of `stats.by_wording`) whose instruction lowers the rate beyond doubt."""
    return table[changes(table).isin(["lowers it", HALF])]


def suppressing(table: pd.DataFrame) -> pd.DataFrame:
    """Of those, the wordings that take away at least half of what their control shows."""
    return table[changes(table) == HALF]


def raising(table: pd.DataFrame) -> pd.DataFrame:
    """Wordings whose instruction raises the rate beyond doubt: told to leave it out, more do it."""
    return table[changes(table) == "raises it"]


def unasked(table: pd.DataFrame) -> pd.DataFrame:
    """Wordings that name the concept, forbid it, and do not ask for it anywhere."""
    return table[table.condition.isin(["negate", "forget_only"])]


def answer(scores: pd.DataFrame, table: pd.DataFrame) -> str:
    """For the question whether any wording suppresses: how many do, and each that does otherwise.

    table: of `stats.by_wording`.
    """
    if not usable(by_condition(scores)):
        return "Nothing can be said about obedience here: asking for a concept makes no difference."
    half, low, up = suppressing(table), lowering(table), raising(table)
    same, none = ((changes(table) == word).sum() for word in ("no change", "no room"))
    strongest = table.loc[table.difference.map(lambda d: d.value).idxmin()]
    which = ", ".join(_changed(row) for row in up.itertuples())
    return (
        f"Of {len(table)} wordings in {table.condition.nunique()} kinds of instruction,"
        f" {len(low) or 'none'} lower{_s(low)} the rate of the concept against the same words"
        f" without the instruction, and {len(half) or 'none'} take{_s(half)} away at least half of"
        f" it; the strongest is {_changed(strongest)}. {len(up) or 'None'} raise{_s(up)} it"
        f"{': ' * bool(which)}{which}. Shown to change it by less than {100 * rules.MARGIN:.0f}"
        f" points: {same}; without room to lower it, since the control hardly shows it: {none}."
        " X is the concept, Y another object, B a place."
    )


def _s(some: pd.DataFrame) -> str:
    return "s" if len(some) == 1 else ""


def _changed(row) -> str:
    return f"“{said(row.text)}” ({points(row.difference)}, n = {row.n})"


def claims(scores: pd.DataFrame, table: pd.DataFrame) -> list[Claim]:
    """A claim for each kind of instruction, over all its wordings, and one for each wording.

    table: of `stats.by_wording`.
    """
    summary = by_condition(scores)
    kinds = []
    for condition in dict.fromkeys(table.condition):
        row, own = summary.loc[condition], table[table.condition == condition]
        gone, change = ([e.value for e in own[c]] for c in ("suppression", "difference"))
        kinds.append(made(
            f"{quoted(condition)} suppresses the concept",
            row.suppression,
            rules.SUPPRESSION(row.suppression),
            "fig-ladder",
            f"suppression {row.suppression.percent()}, by wording {spread(gone)} %;"
            f" change {points(row.difference)}, by wording {spread(change, '+')}",
            of=f"pictures, {row.concepts} concepts, {len(own)} wordings",
            control="a plain request; the change: the same words without the instruction",
        ))  # fmt: skip
    return kinds + wording_claims(table, "fig-wordings")


def conclusions(scores: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """One robust word a question: what a rerun on another machine must find again."""
    asked = "yes" if usable(by_condition(scores)) else "no"
    return pd.Series({"asking makes a difference": asked, "obeyed": obeyed(table)["obeys"]})


def numbers(
    scores: pd.DataFrame, table: pd.DataFrame, attributes: pd.DataFrame
) -> dict[str, int | str]:
    """What prose pages quote. attributes: the pictures of colours and styles."""
    images = len(scores) + len(attributes)
    return {"answer": answer(scores, table), "images": images, "wordings": len(table)}
