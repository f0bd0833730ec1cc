"""Chapter 11: another text encoder in front of an unchanged denoiser: what it changes, wording by
wording, and what the pocket model predicts about that."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import points, said
from whitebear.measures import text_states as encoder
from whitebear.pocket.experiments import inside as mechanism
from whitebear.prompts import name_of
from whitebear.stats import Estimate

CONDITIONS = ("affirm", "omit", "negate", "forget_only", "forget_then_request")
PREDICTED = ("negate", "forget_then_request")
NONE = Estimate(float("nan"), float("nan"), float("nan"), 0, 0)


def changes(own: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """What the other encoder changes at the same prompts and seeds: index condition; columns own
    and other (rates), change (paired difference, other minus own), `Estimate`s that speak about
    other wordings, too.

    own, other: the same judged rows, drawn with either encoder.
    """
    difference = other.present.astype(float).to_numpy() - own.present.astype(float).to_numpy()
    pairs = own.assign(difference=difference)
    return pd.DataFrame.from_dict(
        {
            name: {"own": stats.rate(rows, over=stats.KIND),
                   "other": stats.rate(other.loc[rows.index], over=stats.KIND),
                   "change": stats.paired_difference(rows, over=stats.KIND)}
            for name, rows in pairs.groupby("condition", sort=False)
        },
        orient="index",
    )  # fmt: skip


def by_wording(own: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """What each instruction takes away of what its control shows, with either encoder: index
    wording; columns condition, text, room (the lower of the two controls' rates), own and other
    (suppression against the control, `Estimate` over concepts).

    An encoder that the denoiser reads badly loses plain requests as well. So it is shares that are
    compared, not points: where nothing is drawn anyway, points can only be lost.
    """
    tables, rows = {"own": stats.add_control(own), "other": stats.add_control(other)}, {}
    for wording, some in tables["own"].groupby("wording", sort=False):
        pairs = {name: t[t.wording == wording] for name, t in tables.items()}
        rows[wording] = {
            "condition": some.condition.iloc[0], "text": said(some.text.iloc[0]),
            "room": min(t.control_value.mean() for t in pairs.values()),
            **{name: stats.taken_away(t) for name, t in pairs.items()},
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def words(wordings: pd.DataFrame) -> pd.DataFrame:
    """Of the wordings with room for it: whether each is obeyed, with either encoder."""
    return wordings[wordings.room >= rules.ROOM][["own", "other"]].map(rules.OBEYS)


def gained(wordings: pd.DataFrame) -> pd.DataFrame:
    """The wordings that are obeyed with the other encoder and were not with the own."""
    word = words(wordings)
    better = (word.other == "obeys") & (word.own == "does not obey")
    return wordings.loc[better.index[better]]


def predictions(wordings: pd.DataFrame) -> list[Claim]:
    """Exchanging the encoder alone makes no plain negation and no instruction to forget obeyed that
    was not obeyed before. wordings: of `by_wording`."""
    claims = []
    for name in PREDICTED:
        rows = wordings[(wordings.condition == name) & (wordings.room >= rules.ROOM)]
        better, word = gained(rows), words(rows)
        spared = ((word.other == "does not obey") | (word.own == "obeys")).sum()
        shown = better if len(better) else rows
        most = max(shown.other, key=lambda e: e.value, default=NONE)
        text = "; ".join(
            f"“{row.text}” {row.own.percent()}, then {row.other.percent()}"
            for row in better.itertuples()
        )
        verdict = rules.EXCHANGED(gained=len(better), judged=len(rows), spared=int(spared))
        claims.append(
            made(
                f"An exchanged encoder alone makes no wording of “{name_of(name)}” obeyed that was"
                " not",
                most, verdict, "fig-other-wordings", text or f"at most {most.percent()}",
                control="the pipeline's own encoder, and either's control",
            )
        )  # fmt: skip
    return claims


def answer(changes: pd.DataFrame, wordings: pd.DataFrame) -> str:
    """What the other encoder changes: which wordings it makes obeyed, and what it does to plain
    requests. changes, wordings: of the functions above."""
    asked = wordings[wordings.condition.isin(PREDICTED)]
    better, word, affirm = gained(asked), words(asked), changes.change["affirm"]
    maybe = asked.loc[word.index[(word.own == "does not obey") & (word.other == rules.OPEN)]]
    which, also = (", ".join(f"“{text}”" for text in some.text) for some in (better, maybe))
    return (
        "With the other text encoder, and the denoiser as it is, of the wordings that were not"
        f" obeyed before {which or 'none'} is obeyed now"
        f"{f', and it is open whether {also} is' if also else ''}; the rate of plain requests"
        f" changes by {points(affirm)} (n = {affirm.n} pairs). X is the concept, Y another"
        " object, B a place."
    )


def heard(own: Estimate, other: Estimate) -> str:
    """What a probe reads off either encoder; own, other: of `best_accuracy`."""
    return (
        f"A probe reads “to be absent” off the other encoder's states in {other.percent()} of"
        f" prompts, off those of the pipeline's own encoder in {own.percent()}; chance is 50 %."
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
