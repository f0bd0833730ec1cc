"""Another text encoder in front of an unchanged denoiser: what it changes, and what the pocket
model predicts about that (declared before any model of the web was tried)."""

import pandas as pd

from whitebear import encoder, mechanism, stats
from whitebear.answers import points
from whitebear.claims import Claim
from whitebear.figures import name_of
from whitebear.stats import Estimate

CONDITIONS = ("affirm", "omit", "negate", "forget_only", "forget_then_request")
PREDICTED = ("negate", "forget_then_request")
MARGIN = 0.10  # a smaller change is none, if two one-sided tests at 5 % show it


def changes(own: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """What the other encoder changes at the same prompts and seeds: index condition; columns own
    and other (rates, `Estimate`), change (paired difference, other minus own).

    own, other: the same rows of `mechanism.draw`, drawn with either encoder.
    """
    difference = other.present.astype(float).to_numpy() - own.present.astype(float).to_numpy()
    pairs = own.assign(difference=difference)
    return pd.DataFrame.from_dict(
        {
            name: {"own": stats.rate(rows), "other": stats.rate(other.loc[rows.index]),
                   "change": stats.paired_difference(rows)}
            for name, rows in pairs.groupby("condition", sort=False)
        },
        orient="index",
    )  # fmt: skip


def predictions(own: pd.DataFrame, other: pd.DataFrame) -> list[Claim]:
    """The encoder alone leaves a plain negation, and an instruction to forget, where they were."""
    difference = other.present.astype(float).to_numpy() - own.present.astype(float).to_numpy()
    pairs, claims = own.assign(difference=difference), []
    for name in PREDICTED:
        rows = pairs[pairs.condition == name]
        change = stats.paired_difference(rows)
        about = points(change), f"{change.n} pairs", "the pipeline's own encoder"
        claim = f"Another encoder alone does not change how “{name_of(name)}” is followed"
        verdict = _verdict(rows, change)
        claims.append(Claim(claim, change, *about, verdict, "fig-other-encoder"))
    return claims


def _verdict(rows: pd.DataFrame, change: Estimate) -> str:
    if stats.equivalent(rows, MARGIN):
        return "holds"
    return "refuted" if change.high < -MARGIN or change.low > MARGIN else "open"


def answer(table: pd.DataFrame, own_probe: Estimate, other_probe: Estimate) -> str:
    """One sentence: what the other encoder changes, for the two kinds of instruction and at the
    price of plain requests. table: of `changes`; probes: of `mechanism.best_accuracy`."""
    told = [f"“{name_of(name)}” by {points(table.change[name])}"
            for name in (*PREDICTED, "affirm")]  # fmt: skip
    return (
        "With the other text encoder and the denoiser as it is, the rate of the concept changes"
        f" under {', under '.join(told)} (n = {table.change['affirm'].n} pairs)."
        f" A probe reads “to be absent” off its states in {other_probe.percent()} of prompts,"
        f" off those of the pipeline's own encoder in {own_probe.percent()}; chance is 50 %."
    )


def probes(pipes: dict, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """`encoder.probe` for each pipeline, on the instructions of a grid and their controls."""
    rows = table[~table.condition.isin(["affirm", "omit"]) | table.wording.isin(table.control)]
    rows = rows.reset_index(drop=True)
    return {name: encoder.probe(rows, encoder.vectors(pipe, rows)) for name, pipe in pipes.items()}


def instructions(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What instructions change against their controls, with either encoder: index encoder."""
    found = mechanism.by_part({(name, ""): table for name, table in tables.items()})
    return found.droplevel("denoiser").map(points)
