"""Chapter 03: what the numbers say, in words that follow them whichever way they turn out."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import (
    by_condition,
    by_obedience,
    changed,
    differ,
    instructed,
    instrument,
    obeyed,
    one_by_one,
    outcome,
    points,
    quoted,
    said,
    spread,
    usable,
    wording_claims,
)
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
    """What the model draws, in a sentence a kind of instruction: its wordings one by one where
    they differ, all together where they do not."""
    table, wordings = by_condition(scores), stats.by_wording(scores)
    if not usable(table):
        return f"Nothing can be said about obedience here: {instrument(table)}."
    conditions = instructed(scores)
    verdict = {
        frozenset({"drawn anyway"}): "It draws it anyway",
        frozenset({"left out"}): "It leaves it out, as told",
    }.get(frozenset(outcome(table, c) for c in conditions), _depends(wordings))
    parts = [_told(c, table, wordings[wordings.condition == c]) for c in conditions]
    return f"{verdict}. {' '.join(parts)} X is the concept, Y another object, B a place."


def _depends(wordings: pd.DataFrame) -> str:
    """Which wordings are obeyed, by the interval, and how many are not or cannot be told."""
    obeys, not_obeyed, unclear = (
        [f"“{said(wordings.text[name])}”" for name in names]
        for names in by_obedience(wordings).values()
    )
    some = f"{', '.join(obeys) or 'no wording'} {'is' if len(obeys) < 2 else 'are'} obeyed"
    left = f", and of {len(unclear)} it is open" if unclear else ""
    return f"It depends on the words: {some}, {len(not_obeyed)} of {len(wordings)} are not{left}"


def _told(condition: str, table: pd.DataFrame, wordings: pd.DataFrame) -> str:
    if differ(wordings):
        return (
            f"{quoted(condition)}, wording by wording, and in brackets the same words without the"
            f" instruction: {one_by_one(wordings)}."
        )
    same = [rules.SAME(None, near) for near in wordings.near].count("yes")
    return (
        f"{quoted(condition)}: {table.rate[condition].percent()}; in {same} of {len(wordings)}"
        f" wordings the instruction is shown to change it by less than"
        f" {100 * rules.MARGIN:.0f} points."
    )


def conclusions(scores: pd.DataFrame) -> pd.Series:
    """One robust word a question: what a rerun on another machine must find again."""
    found = {"asking makes a difference": "yes" if usable(by_condition(scores)) else "no"}
    return pd.Series(found | obeyed(stats.by_wording(scores)))


def claims(scores: pd.DataFrame) -> list[Claim]:
    """Whether the instrument works, what each kind of instruction changes by itself, over all its
    wordings, and what each wording does."""
    table, pairs, found = by_condition(scores), stats.add_control(scores), []
    wordings = stats.by_wording(scores)
    works, about = "yes" if usable(table) else "no", "asked for against not mentioned"
    for condition, claim in INSTRUMENT.items():
        if condition in table.index:
            rate = table.rate[condition]
            found.append(made(claim, rate, works, "fig-rates", of="pictures", control=about))
    for condition in instructed(scores):
        change, own = table.difference[condition], wordings[wordings.condition == condition]
        claim = f"{quoted(condition)} by itself changes how often it is drawn"
        verdict = changed(pairs[pairs.condition == condition])
        text = f"{points(change)}; by wording {spread((e.value for e in own.difference), '+')}"
        found.append(made(claim, change, verdict, "fig-beside-controls", text))
    return found + wording_claims(wordings, "fig-beside-controls")


def wordings_of(models: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row an instruction, a column a model: the rate of the concept, and in brackets that of the
    same words without the instruction."""
    columns = {}
    for name, scores in models.items():
        groups = stats.add_control(scores).groupby("text", sort=False)
        columns[name] = groups[["present", "control_value"]].mean().apply(_beside, axis=1)
    return pd.DataFrame(columns).rename(said).rename_axis("prompt (control in brackets)")


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
