"""Chapter 07: what attention to the word is a share of, layer by layer, and what it says of
pictures."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import UNTOLD, Claim, made
from whitebear.book.report.phrases import quoted, signed
from whitebear.prompts import name_of
from whitebear.stats import Estimate


def answer(table: pd.DataFrame, rho: Estimate) -> str:
    """One sentence: table of `heads.by_denominator`, rho of `heads.rank_correlation`."""
    parts = []
    for condition in dict.fromkeys(table.index.get_level_values(1)):
        some = table.xs(condition, level=1).relative
        values = sorted(100 * e.value for e in some)
        ends = dict.fromkeys(f"{v:+.0f}" for v in (values[0], values[-1]))
        parts.append(f"“{name_of(condition)}” by {' to '.join(ends)} %")
    text = (
        f"By the choice of what it is a share of, attention to the word changes under"
        f" {', under '.join(parts)}. Over the wordings, the change of attention and the change of"
        f" presence {rules.TOGETHER(rho)} (Spearman's ρ = {signed(rho, 2)})."
    )
    return text.replace(" -", " −")


def falls_in(layers: pd.DataFrame, condition: str) -> Estimate:
    """The share of layers in which attention to the word falls; table of `heads.by_layer`."""
    some = layers.xs(condition, level=1).relative
    return stats.counted(sum(rules.MOVES(found) == "falls" for found in some), len(some))


def claims(table: pd.DataFrame, layers: pd.DataFrame, rho: Estimate) -> list[Claim]:
    """The change under each condition and denominator, layer by layer, and the relation."""
    shares = [
        made(
            f"{quoted(condition)} lowers attention to the word ({what})",
            found, rules.MOVES(found), "fig-denominators", f"{found.percent()} of the control",
        )
        for (what, condition), found in table.relative.items()
    ]  # fmt: skip
    conditions = dict.fromkeys(layers.index.get_level_values(1))
    related = made(
        "Wordings that lower attention to the word lower its presence", rho, rules.TOGETHER(rho),
        "fig-relation", f"ρ = {signed(rho, 2)}", of="wordings and concepts", control="no relation",
    )  # fmt: skip
    return [*shares, *(_in_every_layer(layers, condition) for condition in conditions), related]


def _in_every_layer(layers: pd.DataFrame, condition: str) -> Claim:
    found, pairs = falls_in(layers, condition), layers.xs(condition, level=1).relative.iloc[0].n
    return Claim(
        f"Under “{name_of(condition)}” attention to the word falls in every layer", found,
        f"it falls in {round(found.value * found.n)} of {found.n}", f"{pairs} pairs a layer",
        UNTOLD, rules.EVERY_LAYER(found), "fig-denominators",
    )  # fmt: skip
