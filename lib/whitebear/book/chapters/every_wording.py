"""Chapter 04: what the whole prompt grid says."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import by_condition, by_wording, points, quoted, usable
from whitebear.prompts import name_of

UNASKED = "omit"


def lowering(table: pd.DataFrame) -> pd.DataFrame:
    """Wordings (rows of `stats.by_wording`) whose instruction lowers the rate beyond doubt."""
    return table[_verdicts(table).isin(["lowers it", "suppresses"])]


def suppressing(table: pd.DataFrame) -> pd.DataFrame:
    """Of those, the wordings that remove at least half of the concept."""
    return table[_verdicts(table) == "suppresses"]


def _verdicts(table: pd.DataFrame) -> pd.Series:
    words = [rules.WORDING(row.difference, p=row.p_holm, suppression=row.suppression.value)
             for row in table.itertuples()]  # fmt: skip
    return pd.Series(words, index=table.index, dtype=object)


def naming(scores: pd.DataFrame) -> pd.DataFrame:
    """How much likelier a concept is when it is named and not wanted than when it is not named.

    Same place or companion, same noise. Index condition; columns n, difference (`Estimate`).
    """
    present = [c for c in ("negate", "forget_only", "mention") if c in set(scores.condition)]
    rows = {c: stats.paired_difference(stats.against(scores, c, UNASKED)) for c in present}
    return pd.DataFrame({"n": {c: e.n for c, e in rows.items()}, "difference": rows})


def answer(scores: pd.DataFrame, table: pd.DataFrame) -> str:
    """One sentence for the question whether any wording suppresses."""
    if not usable(by_condition(scores)):
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
    return text + _naming_answer(scores)


def _naming_answer(scores: pd.DataFrame) -> str:
    named = naming(scores)
    if "negate" not in named.index:
        return ""
    found = named.difference["negate"]
    verdict = rules.NAMING(found)
    text = (
        " Whether asking to leave a concept out makes it likelier is undecided"
        if verdict == rules.UNDECIDED
        else f" Asking to leave a concept out makes it {verdict} than not naming it"
    )
    rate = stats.rate(scores[scores.condition == "negate"])
    text += f": {points(found)}; it is then drawn in {rate.percent()} of pictures"
    return f"{text}{by_wording(scores, 'negate')}."


def claims(scores: pd.DataFrame, table: pd.DataFrame) -> list[Claim]:
    """A claim for each kind of instruction, and one for naming against not naming."""
    summary = by_condition(scores)
    kinds = [
        made(
            f"{quoted(condition)} suppresses the concept",
            row.suppression,
            rules.SUPPRESSION(row.suppression),
            "fig-ladder",
            f"suppression {row.suppression.percent()}; change {points(row.difference)}",
            of=f"pictures, {row.concepts} concepts",
            control="a plain request; the change: the same words without the instruction",
        )
        for condition, row in summary.loc[list(dict.fromkeys(table.condition))].iterrows()
    ]
    named = [
        made(
            f"{quoted(condition)} makes it likelier than not naming it",
            row.difference,
            rules.NAMING(row.difference),
            "fig-naming",
            points(row.difference),
            control="the same place, nothing named",
        )
        for condition, row in naming(scores).iterrows()
    ]
    return kinds + named


def conclusions(scores: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """One robust word a question: what a rerun on another machine must find again."""
    summary = by_condition(scores)
    floor = summary.rate[UNASKED].value
    above = [name_of(c) for c in dict.fromkeys(table.condition)
             if rules.ABOVE(value=summary.rate[c].value - floor) == "yes"]  # fmt: skip
    return pd.Series({
        "asking makes a difference": "yes" if usable(summary) else "no",
        "instructions that leave more than silence does": ", ".join(above) or "none",
        "negate: likelier than not naming": rules.NAMING(naming(scores).difference["negate"]),
    })  # fmt: skip
