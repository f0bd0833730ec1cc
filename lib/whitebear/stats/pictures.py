"""Rates, suppression and paired differences of tables with a row a picture."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.stats

from whitebear.errors import UserError, nearest
from whitebear.stats.crossed import FACTORS, crossed_interval, crossed_sums, share_ends, within
from whitebear.stats.intervals import LEVEL, SEED, Estimate, agresti_min, ratio, wilson

RUNS = 3  # as many at least, to say something about other training runs
CONCEPTS = ("concept",)
KIND = ("concept", "wording")  # what a statement about a kind of instruction speaks about


def _estimate(rows: pd.DataFrame, columns: list, statistic, independent, level, over, ends=None):
    """An Estimate over the factors `over`; independent(rows): what it may not undercut."""
    rows = rows.assign(one=1.0)
    _refuse(rows, over)
    rows = rows[[*over, *columns]]
    rows = rows[rows.notna().all(axis=1)]
    if not len(rows):
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    levels = [sorted(rows[name].unique()) if name in over else None for name in FACTORS]
    sums = crossed_sums(rows, columns, levels)
    value, low, high = crossed_interval(sums, statistic, level, ends)
    if not np.isnan(value):
        floor_low, floor_high = independent(rows)
        low, high = float(np.fmin(low, floor_low)), float(np.fmax(high, floor_high))
    runs, wordings, concepts = sums.shape[:3]
    return Estimate(value, low, high, len(rows), concepts, wordings, runs)


def _refuse(rows: pd.DataFrame, over: Sequence[str]) -> None:
    if wrong := [name for name in over if name not in FACTORS or name not in rows]:
        among = [name for name in FACTORS if name in rows]
        raise UserError(f"cannot speak about every {wrong[0]}: {nearest(wrong[0], among)}")
    if "run" in over and (runs := rows.run.nunique()) < RUNS:
        raise UserError(
            f"{runs} training run{'s' * (runs != 1)} cannot speak about others:"
            f" give at least {RUNS}, or leave run out of `over`"
        )


def rate(rows: pd.DataFrame, level: float = LEVEL, over: Sequence[str] = CONCEPTS) -> Estimate:
    """Share of pictures with the concept: the mean of the column present (bool).

    over: of which the interval speaks about others, too: columns among concept, wording and run.
    The rest is fixed. Raises `UserError` for a claim about runs with fewer than three.

    >>> rate(scores, over=("concept", "wording", "run")).beyond()  # doctest: +SKIP
    ('concepts', 'wordings', 'runs')
    """
    independent = lambda rows: wilson(rows.present.sum(), len(rows), level)  # noqa: E731
    return _estimate(rows, ["present", "one"], ratio, independent, level, over, share_ends)


def add_affirm(scores: pd.DataFrame) -> pd.DataFrame:
    """Add `affirm`: the mean presence over the affirm wordings at the same concept and seed.

    One-object wordings are held against one-object affirmations, pairs against pairs: a pair
    makes either object a little less likely, and that is not obedience. NaN without affirm rows.
    """
    keys = ["concept", "seed", "pair"]
    means = scores[scores.condition == "affirm"].groupby(keys).present.mean().rename("affirm")
    return scores.join(means, on=keys)


def add_control(scores: pd.DataFrame, column: str = "present") -> pd.DataFrame:
    """Rows that have a control, with `control_value` (its value at the same seed) and `difference`.

    `column` is what is compared: presence, or another score such as clip_score.
    """
    keys = ["concept", "control", "seed"]
    controls = (
        scores.set_index(["concept", "wording", "seed"])[column]
        .astype(float)
        .rename("control_value")
    )
    rows = scores[scores.control != ""].join(controls.rename_axis(keys), on=keys)
    return rows.assign(difference=rows[column].astype(float) - rows.control_value)


def suppression(
    rows: pd.DataFrame, level: float = LEVEL, over: Sequence[str] = CONCEPTS
) -> Estimate:
    """1 - rate / affirm rate, over rows with columns present and affirm, paired by seed.

    0: as often as when asked for. 1: never. NaN where even a plain request never shows the concept.
    over: as in `rate`.
    """

    def independent(rows):
        low, high = wilson(rows.present.sum(), len(rows), level)
        return 1 - high / rows.affirm.mean(), 1 - low / rows.affirm.mean()

    columns = ["present", "affirm"]
    statistic = lambda totals: 1 - ratio(totals)  # noqa: E731
    return _estimate(rows, columns, statistic, independent, level, over, within(-np.inf, 1))


def taken_away(rows: pd.DataFrame, over: Sequence[str] = CONCEPTS) -> Estimate:
    """1 - rate / rate under the control, over rows with a `control_value`: `suppression` of what
    the same words without the instruction show. over: as in `rate`."""
    return suppression(rows.assign(affirm=rows.control_value), over=over)


def paired_difference(
    rows: pd.DataFrame, level: float = LEVEL, over: Sequence[str] = CONCEPTS
) -> Estimate:
    """Mean of `difference` over rows of `add_control`: what the instruction itself does.

    over: as in `rate`.
    """
    independent = lambda rows: agresti_min(rows.difference, level)  # noqa: E731
    return _estimate(rows, ["difference", "one"], ratio, independent, level, over, within(-1, 1))


def against(scores: pd.DataFrame, condition: str, reference: str, column: str = "present"):
    """Rows of a condition and of another one, matched by concept and seed, for `paired_difference`.

    Each concept and seed is one row: `difference` is the mean over the wordings of the one minus
    that of the other. Wordings with another object in the picture are held against such only.
    """
    keys = ["concept", "pair", "seed"]
    one, other = (
        scores[scores.condition == name].astype({column: float}).groupby(keys)[column].mean()
        for name in (condition, reference)
    )
    both = pd.concat({"one": one, "other": other}, axis=1).dropna()
    return both.assign(difference=both.one - both.other).reset_index()


def sign_flip_p(rows: pd.DataFrame, seed: int = SEED) -> float:
    """Two-sided p-value of a mean `difference` of 0: signs of the concepts' means flipped at will.

    The concepts are the independent units. All flips are tried where they are few, else 9,999. NaN
    for fewer than two concepts.
    """
    means = rows.groupby("concept").difference.mean().to_numpy()
    if len(means) < 2:
        return float("nan")
    test = scipy.stats.permutation_test(
        (means,), np.mean, permutation_type="samples", vectorized=True,
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(test.pvalue)


def holm(p: pd.Series) -> pd.Series:
    """p-values adjusted for testing them all (Holm 1979); NaN stays NaN and is not counted."""
    known = p.dropna().sort_values()
    steps = known * np.arange(len(known), 0, -1)
    return steps.cummax().clip(upper=1).reindex(p.index)


def by_concept(scores: pd.DataFrame) -> pd.DataFrame:
    """Per condition and concept: k, n, rate and its Wilson interval (low, high)."""
    groups = scores.groupby(["condition", "concept"], sort=False).present
    table = groups.agg(k="sum", n="size").reset_index()
    low, high = wilson(table.k, table.n)
    return table.assign(rate=table.k / table.n, low=low, high=high)


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a condition: rate, suppression and paired difference with intervals, and the counts.

    Columns condition, n, concepts, then rate, suppression, difference as `Estimate`s. A condition
    is all its wordings, so the intervals speak about other wordings as well as other concepts.
    """
    with_affirm, with_control = add_affirm(scores), add_control(scores)
    rows = []
    for condition in dict.fromkeys(scores.condition):
        total = rate(scores[scores.condition == condition], over=KIND)
        removed = suppression(with_affirm[with_affirm.condition == condition], over=KIND)
        change = paired_difference(with_control[with_control.condition == condition], over=KIND)
        rows.append((condition, total.n, total.concepts, total, removed, change))
    columns = ["condition", "n", "concepts", "rate", "suppression", "difference"]
    return pd.DataFrame(rows, columns=columns)


def by_wording(scores: pd.DataFrame) -> pd.DataFrame:
    """One row an instruction: what each wording does, held against its own control.

    Index wording; columns condition, text, heldout, n, rate, suppression, difference, near (that
    with its 90 % interval), taken (away of what its control shows; all `Estimate`s), control_value
    (its control's rate), p (sign flips), p_holm (adjusted).
    """
    with_control, rows = add_control(add_affirm(scores)), {}
    for wording, some in with_control.groupby("wording", sort=False):
        rows[wording] = {
            "condition": some.condition.iloc[0], "text": some.text.iloc[0],
            "heldout": bool(some.heldout.iloc[0]), "n": len(some), "rate": rate(some),
            "suppression": suppression(some), "difference": paired_difference(some),
            "near": paired_difference(some, level=0.90), "taken": taken_away(some),
            "control_value": some.control_value.mean(), "p": sign_flip_p(some),
        }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.assign(p_holm=holm(table.p)) if len(table) else table
