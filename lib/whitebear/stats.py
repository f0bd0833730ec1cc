"""Rates, suppression and paired differences with intervals, seeds paired and concepts as clusters.

Pictures of one concept resemble each other, so a mean over concepts varies with the concepts that
were picked: intervals resample whole concepts (cluster bootstrap). A bootstrap of identical values
has no width at all, so no interval is left narrower than the one for independent pictures: Wilson
for a proportion, Agresti and Min (2005) for a difference of paired proportions. Where there is one
concept only, that is all there is, and it speaks about this concept alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats
from scipy.special import ndtr, ndtri, stdtrit

LEVEL = 0.95
RESAMPLES = 4000
SEED = 20260401


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, from `n` pictures of `concepts` concepts. NaN: cannot be said.

    >>> Estimate(0.931, 0.902, 0.96, n=640, concepts=24).percent()
    '93 % [90, 96]'
    """

    value: float
    low: float
    high: float
    n: int
    concepts: int

    def percent(self) -> str:
        """For prose: "93 % [90, 96]"."""
        if np.isnan(self.value):
            return "undefined"
        ends = "" if np.isnan(self.low) else f" [{round(100 * self.low)}, {round(100 * self.high)}]"
        return f"{round(100 * self.value)} %{ends}".replace("-", "−")

    def relative_to(self, whole: float) -> "Estimate":
        """The same as a part of something positive that is taken as known."""
        ends = (end / whole for end in (self.value, self.low, self.high))
        return Estimate(*ends, self.n, self.concepts)


def counted(k: int, n: int) -> Estimate:
    """k of n, all there are: a share that needs no interval."""
    return Estimate(k / n if n else np.nan, np.nan, np.nan, n, n)


def wilson(k, n, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval (low, high) of k successes in n trials; arrays broadcast, n=0 is NaN.

    >>> [round(float(end), 2) for end in wilson(8, 8)]
    [0.68, 1.0]
    """
    k, n = np.broadcast_arrays(np.asarray(k, float), np.where(np.asarray(n) > 0, n, np.nan))
    z, p = ndtri((1 + level) / 2), k / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return np.where(k == 0, n * 0, centre - half), np.where(k == n, n / n, centre + half)


def agresti_min(differences: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the mean of paired differences in {-1, 0, 1}; any other values give NaN.

    Wald's interval after adding half a pair to each cell of the 2x2 table: one pair that changes
    nothing, half a pair that changes either way.
    """
    differences = np.asarray(differences, float)
    if not np.isin(differences, (-1, 0, 1)).all():
        return np.nan, np.nan
    n = len(differences) + 2
    mean = differences.sum() / n
    changed = np.abs(differences).sum() + 1
    half = ndtri((1 + level) / 2) * np.sqrt(changed - n * mean**2) / n
    return max(mean - half, -1.0), min(mean + half, 1.0)


def cluster_bootstrap(
    sums: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float, float]:
    """Value and expanded percentile interval (Hesterberg 2015) of a statistic of cluster sums.

    Plain percentiles of a few clusters are too narrow, by what a normal interval lacks beside
    Student's with one degree of freedom less than clusters; so more extreme ones are taken.

    sums: (clusters, m), what each cluster adds to the m totals; statistic: (..., m) -> (...).
    A single cluster says nothing about others: its interval is NaN.
    """
    sums = np.asarray(sums, float)
    clusters = len(sums)
    value = float(statistic(sums.sum(0)))
    if clusters < 2 or np.isnan(value):
        return value, np.nan, np.nan
    rng = np.random.default_rng(seed)
    times = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    drawn = statistic(times @ sums)  # (resamples,)
    low, high = np.nanquantile(drawn, _tails(clusters, level))
    return value, float(low), float(high)


def nested_bootstrap(
    sums: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float, float]:
    """`cluster_bootstrap` where models were trained several times: runs are drawn, then concepts.

    sums: (runs, clusters, m); each run's concepts are drawn anew. With one run this is the plain
    cluster bootstrap, which says nothing about other runs. Two runs are few: their spread enters,
    but the interval cannot promise its level over training seeds.
    """
    sums = np.asarray(sums, float)
    runs, clusters, _ = sums.shape
    if runs == 1:
        return cluster_bootstrap(sums[0], statistic, level, resamples, seed)
    value = float(statistic(sums.sum((0, 1))))
    if clusters < 2 or np.isnan(value):
        return value, np.nan, np.nan
    rng = np.random.default_rng(seed)
    chosen = rng.integers(runs, size=(resamples, runs))
    even = np.full(clusters, 1 / clusters)
    times = rng.multinomial(clusters, even, size=(resamples, runs))  # (resamples, runs, clusters)
    drawn = statistic(np.einsum("rkc,rkcm->rm", times, sums[chosen]))
    low, high = np.nanquantile(drawn, _tails(clusters, level))
    return value, float(low), float(high)


def _tails(clusters: int, level: float) -> tuple[float, float]:
    """Where to cut the resamples of a few clusters (Hesterberg 2015, expanded percentiles)."""
    t = stdtrit(clusters - 1, (1 - level) / 2)
    tail = float(ndtr(t * np.sqrt(clusters / (clusters - 1))))
    return tail, 1 - tail


def ratio(totals: np.ndarray) -> np.ndarray:
    """totals[..., 0] / totals[..., 1], NaN where nothing was counted."""
    top, bottom = totals[..., 0], totals[..., 1]
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def _estimate(rows: pd.DataFrame, columns: list, statistic, independent, level) -> Estimate:
    """Cluster bootstrap over concepts; independent(rows): the interval that it may not undercut."""
    rows = rows.assign(one=1.0)[["concept", *columns]]
    rows = rows[rows.notna().all(axis=1)]
    if not len(rows):
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    sums = rows.groupby("concept")[columns].sum().to_numpy(float)
    value, low, high = cluster_bootstrap(sums, statistic, level)
    if not np.isnan(value):
        floor_low, floor_high = independent(rows)
        low, high = float(np.fmin(low, floor_low)), float(np.fmax(high, floor_high))
    return Estimate(value, low, high, len(rows), len(sums))


def rate(rows: pd.DataFrame, level: float = LEVEL) -> Estimate:
    """Share of pictures with the concept: the mean of the column present (bool)."""
    independent = lambda rows: wilson(rows.present.sum(), len(rows), level)  # noqa: E731
    return _estimate(rows, ["present", "one"], ratio, independent, level)


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


def suppression(rows: pd.DataFrame, level: float = LEVEL) -> Estimate:
    """1 - rate / affirm rate, over rows with columns present and affirm, paired by seed.

    0: as often as when asked for. 1: never. NaN where even a plain request never shows the concept.
    """

    def independent(rows):
        low, high = wilson(rows.present.sum(), len(rows), level)
        return 1 - high / rows.affirm.mean(), 1 - low / rows.affirm.mean()

    columns = ["present", "affirm"]
    return _estimate(rows, columns, lambda totals: 1 - ratio(totals), independent, level)


def paired_difference(rows: pd.DataFrame, level: float = LEVEL) -> Estimate:
    """Mean of `difference` over rows of `add_control`: what the instruction itself does."""
    independent = lambda rows: agresti_min(rows.difference, level)  # noqa: E731
    return _estimate(rows, ["difference", "one"], ratio, independent, level)


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

    Columns condition, n, concepts, then rate, suppression, difference as `Estimate`s.
    """
    with_affirm, with_control = add_affirm(scores), add_control(scores)
    rows = []
    for condition in dict.fromkeys(scores.condition):
        total = rate(scores[scores.condition == condition])
        removed = suppression(with_affirm[with_affirm.condition == condition])
        change = paired_difference(with_control[with_control.condition == condition])
        rows.append((condition, total.n, total.concepts, total, removed, change))
    columns = ["condition", "n", "concepts", "rate", "suppression", "difference"]
    return pd.DataFrame(rows, columns=columns)


def by_wording(scores: pd.DataFrame) -> pd.DataFrame:
    """One row an instruction: what each wording does, held against its own control.

    Index wording; columns condition, text, heldout, n, rate, suppression, difference
    (`Estimate`s), control_value (its control's rate), p (sign flips), p_holm (adjusted).
    """
    with_control, rows = add_control(add_affirm(scores)), {}
    for wording, some in with_control.groupby("wording", sort=False):
        rows[wording] = {
            "condition": some.condition.iloc[0], "text": some.text.iloc[0],
            "heldout": bool(some.heldout.iloc[0]), "n": len(some), "rate": rate(some),
            "suppression": suppression(some), "difference": paired_difference(some),
            "control_value": some.control_value.mean(), "p": sign_flip_p(some),
        }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.assign(p_holm=holm(table.p)) if len(table) else table
