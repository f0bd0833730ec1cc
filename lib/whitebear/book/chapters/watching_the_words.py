"""Chapter 06: attention to a concept's word while the picture is made."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import quoted, signed
from whitebear.prompts import name_of
from whitebear.stats import Estimate


def answer(conditions: pd.DataFrame, wordings: pd.DataFrame) -> str:
    """One sentence for the chapter's question, with its numbers: `attention.changes` by both."""
    parts = [
        f"“{name_of(condition)}” changes the attention to the concept's word by"
        f" {100 * row.relative:+.0f} % ({interval(row.difference)}, n = {row.difference.n} pairs)"
        for condition, row in conditions.iterrows()
    ]
    dropped = list(wordings.index[wordings.sustained])
    which = f" ({', '.join(f'`{name}`' for name in dropped)})" if dropped else ""
    count = f"{len(dropped) or 'none'} of {len(wordings)} wordings{which}"
    sentence = (
        f"It drops in a sustained way under {count}. Over all its wordings, {', and '.join(parts)},"
        " each against the same words without the instruction."
    )
    return sentence.replace(" -", " −").replace("[-", "[−")


def interval(difference: Estimate) -> str:
    """A difference of masses for prose: "AUC +0.0012 [-0.0003, 0.0027]"."""
    return f"AUC {difference.value:+.4f} [{difference.low:.4f}, {difference.high:.4f}]"


def claims(found: pd.DataFrame, controls: pd.DataFrame) -> list[Claim]:
    """Attention under instructions (`attention.changes`) and under the positive controls."""
    told = [
        made(
            f"{quoted(condition)} lowers attention to the word in a sustained way",
            row.difference,
            rules.SUSTAINED(steps=float(row.sustained)),
            "fig-curves",
            signed(row.difference, 4),
        )
        for condition, row in found.iterrows()
    ]
    names = dict.fromkeys(controls.what[controls.what != "as it is"])
    return told + [_control(what, controls) for what in names]


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
