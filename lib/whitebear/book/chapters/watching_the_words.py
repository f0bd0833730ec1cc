"""Chapter 06: attention to a concept's word while the picture is made."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import UNTOLD, Claim, made
from whitebear.book.report.phrases import ends, moved_under, quoted, signed, texts_of
from whitebear.prompts import load_wordings, name_of
from whitebear.stats import Estimate, counted


def answer(conditions: pd.DataFrame, wordings: pd.DataFrame) -> str:
    """For the chapter's question, with its numbers: `attention.changes` by both."""
    parts = [
        f"“{name_of(condition)}” changes it by {row.relative.percent()}"
        f" ({interval(row.difference)}, n = {row.difference.n} pairs)"
        for condition, row in conditions.iterrows()
    ]
    return (
        f"Attention to the concept's word, wording by wording (of {len(wordings)}):"
        f" {moved_under(wordings.relative.map(rules.MOVES))}. Over all its wordings,"
        f" {', and '.join(parts)}; these intervals allow for other wordings. Each is held against"
        " the same words without the instruction. X is the concept, Y another object, B a place."
    )


def interval(difference: Estimate) -> str:
    """A difference of masses for prose: "AUC +0.0012 [−0.0003, 0.0027]"."""
    return f"AUC {signed(difference, 4)}"


def sustained(lasting: pd.DataFrame) -> pd.Series:
    """The word for each row of `attention.lasting`: is the drop sustained?"""
    words = [rules.SUSTAINED(below=row.below, above=row.above) for row in lasting.itertuples()]
    return pd.Series(words, index=lasting.index, dtype=object)


def beside(changes: pd.DataFrame, lasting: pd.DataFrame) -> pd.DataFrame:
    """A row a wording, or a kind of instruction: the mass under it and under its control, the
    change with its interval, and whether the drop is sustained. Of `attention.changes`, `lasting`.
    """
    known = set(load_wordings().id)
    names = [texts_of([i])[0] if i in known else name_of(i) for i in changes.index]
    return pd.DataFrame({
        "attention": changes.auc.round(4).to_numpy(),
        "its control": changes.control_value.round(4).to_numpy(),
        "change": [e.percent() for e in changes.relative],
        "n": [e.n for e in changes.relative],
        "": list(sustained(lasting)),
    }, index=names)  # fmt: skip


def claims(conditions: pd.DataFrame, wordings: pd.DataFrame) -> list[Claim]:
    """What kinds of instruction, and single wordings, change of the attention: `attention.changes`
    by both."""
    kind = load_wordings().set_index("id").condition[wordings.index]
    found = []
    for condition, row in conditions.iterrows():
        each = ends((e.value for e in wordings.difference[kind == condition]), 4)
        found.append(_lowers(quoted(condition), row, f", by wording {each}"))
    names = texts_of(wordings.index)
    return found + [_lowers(n, r) for n, (_, r) in zip(names, wordings.iterrows(), strict=True)]


def _lowers(name: str, row: pd.Series, more: str = "") -> Claim:
    text = f"{signed(row.difference, 4)}{more}; {row.relative.percent()} of the control"
    claim = f"{name} lowers attention to the word"
    return made(claim, row.difference, rules.MOVES(row.relative), "fig-curves", text)


def lasting_claims(lasting: pd.DataFrame) -> list[Claim]:
    """Whether a kind of instruction lowers attention for half of the steps: `attention.lasting`."""
    found = []
    for row, word in zip(lasting.itertuples(), sustained(lasting), strict=True):
        below, above = (round(row.steps * share) for share in (row.below, row.above))
        text = f"by a tenth or more at {below} of {row.steps} steps, by less at {above}"
        claim = f"{quoted(row.Index)} lowers attention to the word in a sustained way"
        share = counted(below, row.steps)
        found.append(Claim(claim, share, text, f"{row.steps} steps", UNTOLD, word, "fig-curves"))
    return found


def control_claims(controls: pd.DataFrame) -> list[Claim]:
    """The positive controls of `attention.positive_controls`, beside requests as they are."""
    names = dict.fromkeys(controls.what[controls.what != "as it is"])
    return [_control(what, controls) for what in names]


def _control(what: str, controls: pd.DataFrame) -> Claim:
    plain = controls[controls.what == "as it is"].set_index(["concept", "seed"]).auc
    rows = controls[controls.what == what].join(plain.rename("plain"), on=["concept", "seed"])
    change = stats.paired_difference(rows.assign(difference=rows.auc - rows.plain))
    return made(
        f"{what.capitalize()}, a positive control, lowers attention to the word",
        change,
        rules.CONTROL(change.relative_to(plain.mean())),
        "fig-controls",
        signed(change, 4),
        control="a plain request",
    )
