"""Numbers and findings as text, for more than one chapter."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.prompts import name_of
from whitebear.stats import Estimate


def points(difference: Estimate) -> str:
    """A difference of rates for prose: "−3 points [−6, −1]"."""
    return difference.percent().replace(" %", " points")


def signed(found: Estimate, digits: int = 3) -> str:
    """ "+0.030 [−0.012, 0.071]" with proper minus signs."""
    text = f"{found.value:+.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
    return text.replace("-", "−")


def quoted(condition: str) -> str:
    """The name of a condition at the beginning of a sentence: "“Asked to leave it out”"."""
    return f"“{name_of(condition).capitalize()}”"


def by_wording(scores: pd.DataFrame, condition: str) -> str:
    """ " (0 to 90 % by wording)" where the wordings of a condition differ by more than the margin.

    The interval of their mean resamples concepts; it says nothing about other wordings.
    """
    rates = scores[scores.condition == condition].groupby("wording").present.mean()
    if rates.max() - rates.min() <= rules.MARGIN:
        return ""
    return f" ({round(100 * rates.min())} to {round(100 * rates.max())} % by wording)"


def by_condition(scores: pd.DataFrame) -> pd.DataFrame:
    """`stats.summary` with the conditions as its index."""
    return stats.summary(scores).set_index("condition")


def instructed(scores: pd.DataFrame) -> list[str]:
    """The conditions that have a control to be held against."""
    return list(dict.fromkeys(scores.condition[scores.control != ""]))


def usable(table: pd.DataFrame) -> bool:
    """Whether asking for a concept changes the pictures enough for obedience to be judged.

    table: of `by_condition`.
    """
    if not {"affirm", "omit"} <= set(table.index):
        return False
    return rules.ASKING(value=table.rate["affirm"].value - table.rate["omit"].value) == "yes"


def outcome(table: pd.DataFrame, condition: str) -> str:
    """The word for what a condition removes; "undecided" where obedience cannot be judged."""
    return rules.SUPPRESSION(table.suppression[condition]) if usable(table) else rules.UNDECIDED


def changed(pairs: pd.DataFrame) -> str:
    """What an instruction changes by itself, in one word; pairs: rows of `stats.add_control`."""
    near = stats.paired_difference(pairs, level=0.90)
    return rules.CHANGE(stats.paired_difference(pairs), near)


def instrument(table: pd.DataFrame) -> str:
    """How often a concept is found where it is asked for and where it is not mentioned."""
    if not {"affirm", "omit"} <= set(table.index):
        return "the run needs both the conditions affirm and omit"
    return (
        f"the concept is found in {table.rate['affirm'].percent()} of the pictures that ask for it"
        f" and in {table.rate['omit'].percent()} of those that do not mention it"
    )


def findings(scores: pd.DataFrame) -> str:
    """A chapter's findings as a Markdown list: instrument first, then one item an instruction."""
    table, every = by_condition(scores), stats.add_control(scores)
    lines = [f"**The instrument.** {instrument(table).capitalize()}."]
    if not usable(table):
        lines[0] += " That is too little difference: what follows says nothing about obedience."
    for condition in instructed(scores):
        row, pairs = table.loc[condition], every[every.condition == condition]
        lines.append(
            f"**{quoted(condition)}: {outcome(table, condition)}.**"
            f" The concept is in {row.rate.percent()} of {row.n} pictures of {row.concepts}"
            f" concepts{by_wording(scores, condition)}; relative to a plain request,"
            f" {row.suppression.percent()} is suppressed."
            f" Against the same words without the instruction the rate changes by"
            f" {points(row.difference)}: {effect(row.difference, changed(pairs))}."
        )
    return "\n".join(f"- {line}" for line in lines)


def effect(difference: Estimate, change: str) -> str:
    """What an instruction does to a rate, for the end of a sentence; change: of `changed`."""
    margin, moved = f"{100 * rules.MARGIN:.0f} points", rules.MOVED(difference)
    if change == "no change":
        known = moved != rules.UNDECIDED
        also = f" (it {moved.replace('it', 'the rate')}, but by less than that)" if known else ""
        return f"shown to be smaller than {margin} either way{also}"
    if moved != rules.UNDECIDED:
        return f"the instruction itself {moved}"
    return f"too few pictures to tell it from nothing, or to bound it by {margin}"
