"""Chapter 10: another text encoder in front of an unchanged denoiser: what it changes, and what the
pocket model predicts about that (declared before any model of the web was tried)."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import points
from whitebear.measures import text_states as encoder
from whitebear.pocket.experiments import inside as mechanism
from whitebear.prompts import name_of
from whitebear.stats import Estimate

CONDITIONS = ("affirm", "omit", "negate", "forget_only", "forget_then_request")
PREDICTED = ("negate", "forget_then_request")


def changes(own: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """What the other encoder changes at the same prompts and seeds: index condition; columns own
    and other (rates, `Estimate`), change (paired difference, other minus own).

    own, other: the same judged rows, drawn with either encoder.
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


def gains(own: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """How much more an instruction changes with the other encoder: rows of the instructions, with
    `difference`, (instruction minus control) with the other encoder minus the same with the own.

    An encoder that the denoiser reads badly loses plain requests as well; that cancels.
    """
    pairs = stats.add_control(own)
    return pairs.assign(difference=stats.add_control(other).difference - pairs.difference)


def predictions(own: pd.DataFrame, other: pd.DataFrame) -> list[Claim]:
    """Exchanging the encoder alone makes neither a plain negation nor an instruction to forget
    work better against its control."""
    rows, claims = gains(own, other), []
    for name in PREDICTED:
        gain = stats.paired_difference(rows[rows.condition == name])
        claims.append(
            made(
                f"An exchanged encoder alone makes “{name_of(name)}” work no better",
                gain, rules.NO_BETTER(gain), "fig-other-encoder", points(gain),
                control="the pipeline's own encoder, and either's control",
            )
        )  # fmt: skip
    return claims


def answer(changes: pd.DataFrame, claims: list[Claim], own: Estimate, other: Estimate) -> str:
    """What the other encoder changes: for instructions against their controls, for plain requests,
    and for a probe. changes, claims: of the functions above; own, other: `best_accuracy`."""
    told = [f"“{name_of(name)}” by {claim.estimate}"
            for name, claim in zip(PREDICTED, claims, strict=True)]  # fmt: skip
    affirm = changes.change["affirm"]
    return (
        "With the other text encoder, and the denoiser as it is, what an instruction changes"
        f" against its control moves under {', and under '.join(told)} (below 0: it is obeyed more"
        f" often); the rate of plain requests changes by {points(affirm)} (n = {affirm.n} pairs)."
        f" A probe reads “to be absent” off its states in {other.percent()} of prompts, off those"
        f" of the pipeline's own encoder in {own.percent()}; chance is 50 %."
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
