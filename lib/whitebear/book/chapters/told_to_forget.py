"""What the numbers say, in words that are chosen by the numbers, whichever way they turn out."""

import math

import pandas as pd

from whitebear import stats
from whitebear.book.report.claim import Claim
from whitebear.prompts import name_of
from whitebear.stats import Estimate

MARGIN = 0.10  # declared before any result: a change within +-10 points is "no change"
CONTRAST = (
    0.5  # by how much asking for a concept must raise its rate before obedience means a thing
)
INSTRUMENT = {
    "affirm": "An object that is asked for is drawn",
    "omit": "An object that is not mentioned is drawn",
}
LEVELS = (
    (0.10, "drawn anyway"),
    (0.50, "mostly drawn anyway"),
    (0.90, "mostly left out"),
    (math.inf, "left out"),
)


def outcome(suppression: float) -> str:
    """The word for a suppression: below 10 % "drawn anyway", up to "left out" from 90 % on."""
    if math.isnan(suppression):
        return "undecided"
    return next(word for bound, word in LEVELS if suppression < bound)


def _table(scores: pd.DataFrame) -> pd.DataFrame:
    return stats.summary(scores).set_index("condition")


def instructed(scores: pd.DataFrame) -> list[str]:
    """The conditions that have a control to be held against."""
    return list(dict.fromkeys(scores.condition[scores.control != ""]))


def is_usable(scores: pd.DataFrame) -> bool:
    """Whether asking for a concept changes the pictures enough for obedience to be judged."""
    return _usable(_table(scores))


def _usable(table: pd.DataFrame) -> bool:
    if not {"affirm", "omit"} <= set(table.index):
        return False
    return table.rate["affirm"].value - table.rate["omit"].value >= CONTRAST


def _outcome(table: pd.DataFrame, condition: str) -> str:
    return outcome(table.suppression[condition].value) if _usable(table) else "undecided"


def _outcomes(table: pd.DataFrame, condition: str) -> str:
    """The word for either end of the interval: what a rerun can be held to, near a boundary too."""
    removed = table.suppression[condition]
    if not _usable(table) or math.isnan(removed.low):
        return _outcome(table, condition)
    return " to ".join(dict.fromkeys([outcome(removed.low), outcome(removed.high)]))


def conclusions(scores: pd.DataFrame) -> pd.Series:
    """One robust word or yes/no a question: what a rerun on another machine must find again."""
    table = _table(scores)
    found = {"asking makes a difference": "yes" if _usable(table) else "no"}
    for condition in instructed(scores):
        found[name_of(condition)] = _outcomes(table, condition)
        if "omit" in table.index:
            above = table.rate[condition].value - table.rate["omit"].value > MARGIN
            found[f"{name_of(condition)}, above “not mentioned”"] = "yes" if above else "no"
    return pd.Series(found, name="outcome")


def short_answer(scores: pd.DataFrame) -> str:
    """One sentence for the chapter's question."""
    table, conditions = _table(scores), instructed(scores)
    if not _usable(table):
        return f"Nothing can be said about obedience here: {_instrument(table)}."
    parts = [
        f"“{name_of(c)}” leaves the concept in {table.rate[c].percent()} of the pictures"
        f"{by_wording(scores, c)}"
        for c in conditions
    ]
    words = {_outcome(table, c) for c in conditions}
    verdict = {
        frozenset({"drawn anyway"}): "It draws it anyway",
        frozenset({"left out"}): "It leaves it out, as told",
    }.get(frozenset(words), "It depends on how it is told")
    return (
        f"{verdict}: {', and '.join(parts)},"
        f" against {table.rate['affirm'].percent()} for a plain request."
    )


def by_wording(scores: pd.DataFrame, condition: str) -> str:
    """ " (0 to 90 % by wording)" where the wordings of a condition differ by more than the margin.

    The interval of their mean resamples concepts; it says nothing about other wordings.
    """
    rates = scores[scores.condition == condition].groupby("wording").present.mean()
    if rates.max() - rates.min() <= MARGIN:
        return ""
    return f" ({round(100 * rates.min())} to {round(100 * rates.max())} % by wording)"


def _instrument(table: pd.DataFrame) -> str:
    if not {"affirm", "omit"} <= set(table.index):
        return "the run needs both the conditions affirm and omit"
    return (
        f"the concept is found in {table.rate['affirm'].percent()} of the pictures that ask for it"
        f" and in {table.rate['omit'].percent()} of those that do not mention it"
    )


def full_answer(scores: pd.DataFrame) -> str:
    """The chapter's findings as a Markdown list: instrument first, then one item an instruction."""
    table, twins = _table(scores), stats.add_twin(scores)
    lines = [f"**The instrument.** {_instrument(table).capitalize()}."]
    if not _usable(table):
        lines[0] += " That is too little difference: what follows says nothing about obedience."
    for condition in instructed(scores):
        row, pairs = table.loc[condition], twins[twins.condition == condition]
        lines.append(
            f"**“{name_of(condition).capitalize()}”: {_outcome(table, condition)}.**"
            f" The concept is in {row.rate.percent()} of {row.n} pictures of {row.concepts}"
            f" concepts{by_wording(scores, condition)}; relative to a plain request,"
            f" {row.suppression.percent()} is suppressed."
            f" Against the same words without the instruction the rate changes by"
            f" {points(row.difference)}: {_effect(row.difference, pairs)}."
        )
    return "\n".join(f"- {line}" for line in lines)


def points(difference: Estimate) -> str:
    """A difference of rates for prose: "−3 points [−6, −1]"."""
    return difference.percent().replace(" %", " points")


def _effect(difference: Estimate, pairs: pd.DataFrame) -> str:
    margin = f"{100 * MARGIN:.0f} points"
    direction = direction_of(difference)
    if stats.equivalent(pairs, MARGIN):
        also = f" (it {direction} the rate, but by less than that)" if direction else ""
        return f"shown to be smaller than {margin} either way{also}"
    if direction:
        return f"the instruction itself {direction} it"
    return f"too few pictures to tell it from nothing, or to bound it by {margin}"


def claims(scores: pd.DataFrame) -> list[Claim]:
    """Whether the instrument works, and what each instruction changes by itself."""
    table, twins, found = _table(scores), stats.add_twin(scores), []
    works = "yes" if _usable(table) else "no"
    for condition, claim in INSTRUMENT.items():
        if condition in table.index:
            rate = table.rate[condition]
            about = rate.percent(), f"{rate.n} pictures", "asked for against not mentioned"
            found.append(Claim(claim, rate, *about, works, "fig-rates"))
    for condition in instructed(scores):
        change, pairs = table.difference[condition], twins[twins.condition == condition]
        claim = f"“{name_of(condition).capitalize()}” by itself changes how often it is drawn"
        about = points(change), f"{change.n} pairs", "the same words without the instruction"
        found.append(Claim(claim, change, *about, _changed(change, pairs), "fig-twins"))
    return found


def _changed(difference: Estimate, pairs: pd.DataFrame) -> str:
    if stats.equivalent(pairs, MARGIN):
        return "no change"
    direction = direction_of(difference)
    return f"{direction} it" if direction else "undecided"


def direction_of(difference: Estimate) -> str:
    """What an instruction does to a rate, where the interval says so: "lowers", "raises" or ""."""
    return "lowers" if difference.high < 0 else "raises" if difference.low > 0 else ""


def numbers(scores: pd.DataFrame) -> dict[str, int | str]:
    """What prose pages quote: counts, and per condition rate, suppression and change as text."""
    table = _table(scores)
    found: dict[str, int | str] = {
        "images": len(scores),
        "concepts": scores.concept.nunique(),
        "seeds": scores.seed.nunique(),
        "model": str(scores.model.iloc[0]),
        "answer": short_answer(scores),
    }
    for condition, row in table.iterrows():
        found[f"{condition}_n"] = row.n
        found[f"{condition}_rate"] = row.rate.percent()
        found[f"{condition}_suppression"] = row.suppression.percent()
        found[f"{condition}_change"] = points(row.difference)
    return found
