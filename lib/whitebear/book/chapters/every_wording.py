"""What the whole prompt grid says, in words chosen by the numbers (see `answers`)."""

import pandas as pd

from whitebear import stats
from whitebear.book.chapters.told_to_forget import (
    by_wording,
    direction_of,
    is_usable,
    outcome,
    points,
)
from whitebear.book.report.claim import Claim
from whitebear.prompts import name_of
from whitebear.stats import Estimate

ALPHA = 0.05  # for all wordings together, by Holm's adjustment; declared before any result
HALF = 0.5  # a wording "suppresses" if it removes at least half of what a plain request gives
UNASKED = "omit"
UNDECIDED = "undecided"


def lowering(table: pd.DataFrame) -> pd.DataFrame:
    """Wordings (rows of `stats.by_wording`) whose instruction lowers the rate beyond doubt."""
    down = table.difference.map(lambda d: d.value < 0).astype(bool)
    return table[down & (table.p_holm < ALPHA)]


def suppressing(table: pd.DataFrame) -> pd.DataFrame:
    """Of those, the wordings that remove at least half of the concept."""
    low = lowering(table)
    return low[low.suppression.map(lambda s: s.value >= HALF).astype(bool)]


def naming(scores: pd.DataFrame) -> pd.DataFrame:
    """How much likelier a concept is when it is named and not wanted than when it is not named.

    Same place or companion, same noise. Index condition; columns n, difference (`Estimate`).
    """
    present = [c for c in ("negate", "forget_only", "mention") if c in set(scores.condition)]
    rows = {c: stats.paired_difference(stats.against(scores, c, UNASKED)) for c in present}
    return pd.DataFrame({"n": {c: e.n for c, e in rows.items()}, "difference": rows})


def answer(scores: pd.DataFrame, table: pd.DataFrame) -> str:
    """One sentence for the question whether any wording suppresses."""
    if not is_usable(scores):
        return "Nothing can be said about obedience here: asking for a concept makes no difference."
    half, low = suppressing(table), lowering(table)
    strongest = table.loc[table.difference.map(lambda d: d.value).idxmin()]
    text = (
        f"Of {len(table)} wordings in {table.condition.nunique()} kinds of instruction,"
        f" {len(low) or 'none'} lower{'s' if len(low) == 1 else ''} the rate of the concept against"
        f" the same words without the instruction, and {len(half) or 'none'}"
        f" remove{'s' if len(half) == 1 else ''} at least half of it; the strongest is"
        f" `{strongest.name}` ({points(strongest.difference)}, n = {strongest.n})."
    )
    named = naming(scores)
    if "negate" in named.index:
        found = named.difference["negate"]
        verdict = _likelier(found)
        if verdict == UNDECIDED:
            text += " Whether asking to leave a concept out makes it likelier is undecided"
        else:
            text += f" Asking to leave a concept out makes it {verdict} than not naming it"
        rate = stats.rate(scores[scores.condition == "negate"])
        text += f": {points(found)}; it is then drawn in {rate.percent()} of pictures"
        text += f"{by_wording(scores, 'negate')}."
    return text


def _likelier(found: Estimate) -> str:
    return {"raises": "likelier", "lowers": "less likely", "": UNDECIDED}[direction_of(found)]


def claims(scores: pd.DataFrame, table: pd.DataFrame) -> list[Claim]:
    """A claim for each kind of instruction, and one for naming against not naming."""
    summary, found = stats.summary(scores).set_index("condition"), []
    for condition in dict.fromkeys(table.condition):
        row = summary.loc[condition]
        found.append(
            Claim(
                f"“{name_of(condition).capitalize()}” suppresses the concept",
                row.suppression,
                f"suppression {row.suppression.percent()}; change {points(row.difference)}",
                f"{row.n} pictures, {row.concepts} concepts",
                "a plain request; the change: the same words without the instruction",
                outcome(row.suppression.value),
                "fig-ladder",
            )
        )
    for condition, row in naming(scores).iterrows():
        found.append(
            Claim(
                f"“{name_of(condition).capitalize()}” makes it likelier than not naming it",
                row.difference,
                points(row.difference),
                f"{row.n} pairs",
                "the same place, nothing named",
                _likelier(row.difference),
                "fig-naming",
            )
        )
    return found


def conclusions(scores: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """One robust word a question: what a rerun on another machine must find again."""
    summary = stats.summary(scores).set_index("condition")
    floor = summary.rate[UNASKED].value
    above = [name_of(c) for c in dict.fromkeys(table.condition)
             if summary.rate[c].value > floor + 0.1]  # fmt: skip
    return pd.Series({
        "asking makes a difference": "yes" if is_usable(scores) else "no",
        "instructions that leave more than silence does": ", ".join(above) or "none",
        "negate: likelier than not naming": _likelier(naming(scores).difference["negate"]),
    })  # fmt: skip
