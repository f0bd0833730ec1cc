"""Chapter 03: what the numbers say, in words that follow them whichever way they turn out."""

import math

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import (
    by_condition,
    by_wording,
    changed,
    instructed,
    instrument,
    outcome,
    points,
    quoted,
    usable,
)
from whitebear.prompts import name_of
from whitebear.scoring import calibration

INSTRUMENT = {
    "affirm": "An object that is asked for is drawn",
    "omit": "An object that is not mentioned is drawn",
}


def judge(scores: pd.DataFrame) -> str:
    """Who judged the pictures and how well."""
    reason = calibration.why_not(scores)
    if not scores.logit.notna().any():
        return "The pocket world's own detector judges presence, calibrated on renders (chapter 2)."
    if reason:
        return (
            f"CLIP judges presence zero-shot, and **without calibration**: {reason}. A concept"
            " counts as present where it fits a picture better than “something”."
        )
    found = calibration.accuracy(scores)
    return (
        "CLIP judges presence zero-shot, calibrated on this run's own pictures, each by what the"
        f" other half of the seeds taught: it tells pictures that were asked for from those that"
        f" were not with a balanced accuracy of {found.percent()} (n = {found.n} pictures of"
        f" {found.concepts} concepts; 50 % is chance). Pictures that the model failed to draw as"
        " asked count against it."
    )


def answer(scores: pd.DataFrame) -> str:
    """One sentence for the chapter's question."""
    table, conditions = by_condition(scores), instructed(scores)
    if not usable(table):
        return f"Nothing can be said about obedience here: {instrument(table)}."
    parts = [
        f"“{name_of(c)}” leaves the concept in {table.rate[c].percent()} of the pictures"
        f"{by_wording(scores, c)}"
        for c in conditions
    ]
    verdict = {
        frozenset({"drawn anyway"}): "It draws it anyway",
        frozenset({"left out"}): "It leaves it out, as told",
    }.get(frozenset(outcome(table, c) for c in conditions), "It depends on how it is told")
    return (
        f"{verdict}: {', and '.join(parts)},"
        f" against {table.rate['affirm'].percent()} for a plain request."
    )


def conclusions(scores: pd.DataFrame) -> pd.Series:
    """One robust word or yes/no a question: what a rerun on another machine must find again."""
    table = by_condition(scores)
    found = {"asking makes a difference": "yes" if usable(table) else "no"}
    for condition in instructed(scores):
        found[name_of(condition)] = _outcomes(table, condition)
        if "omit" in table.index:
            above = table.rate[condition].value - table.rate["omit"].value
            found[f"{name_of(condition)}, above “not mentioned”"] = rules.ABOVE(value=above)
    return pd.Series(found, name="outcome")


def _outcomes(table: pd.DataFrame, condition: str) -> str:
    """The word for either end of the interval: what a rerun can be held to, near a boundary too."""
    removed = table.suppression[condition]
    if not usable(table) or math.isnan(removed.low):
        return outcome(table, condition)
    ends = [rules.SUPPRESSION(value=end) for end in (removed.low, removed.high)]
    return " to ".join(dict.fromkeys(ends))


def claims(scores: pd.DataFrame) -> list[Claim]:
    """Whether the instrument works, and what each instruction changes by itself."""
    table, pairs, found = by_condition(scores), stats.add_control(scores), []
    works, about = "yes" if usable(table) else "no", "asked for against not mentioned"
    for condition, claim in INSTRUMENT.items():
        if condition in table.index:
            rate = table.rate[condition]
            found.append(made(claim, rate, works, "fig-rates", of="pictures", control=about))
    for condition in instructed(scores):
        change = table.difference[condition]
        claim = f"{quoted(condition)} by itself changes how often it is drawn"
        verdict = changed(pairs[pairs.condition == condition])
        found.append(made(claim, change, verdict, "fig-beside-controls", points(change)))
    return found


def wordings_of(models: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row an instruction, a column a model: the rate of the concept, and in brackets that of the
    same words without the instruction."""
    columns = {}
    for name, scores in models.items():
        groups = stats.add_control(scores).groupby("text", sort=False)
        columns[name] = groups[["present", "control_value"]].mean().apply(_beside, axis=1)
    return pd.DataFrame(columns).rename_axis("prompt (control in brackets)")


def _beside(row: pd.Series) -> str:
    return f"{100 * row.present:.0f} % ({100 * row.control_value:.0f} %)"


def numbers(scores: pd.DataFrame) -> dict[str, int | str]:
    """What prose pages quote: counts, and per condition rate, suppression and change as text."""
    found: dict[str, int | str] = {
        "images": len(scores),
        "concepts": scores.concept.nunique(),
        "seeds": scores.seed.nunique(),
        "model": str(scores.model.iloc[0]),
        "answer": answer(scores),
    }
    for condition, row in by_condition(scores).iterrows():
        found[f"{condition}_n"] = row.n
        found[f"{condition}_rate"] = row.rate.percent()
        found[f"{condition}_suppression"] = row.suppression.percent()
        found[f"{condition}_change"] = points(row.difference)
    return found
