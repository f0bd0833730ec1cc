"""A value with its interval: proportions, paired proportions, and statistics over clusters."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

LEVEL = 0.95
RESAMPLES = 4000
SEED = 20260401


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, from `n` pictures of `concepts` concepts. NaN: cannot be said.

    wordings, runs: how many there were where the interval speaks about others of them, too. With
    one, or where they were not asked about, it holds for these alone; so it does for one concept.

    >>> found = Estimate(0.931, 0.902, 0.96, n=640, concepts=24, wordings=6)
    >>> found.percent(), found.beyond()
    ('93 % [90, 96]', ('concepts', 'wordings'))
    """

    value: float
    low: float
    high: float
    n: int
    concepts: int
    wordings: int = 1
    runs: int = 1

    def beyond(self) -> tuple[str, ...]:
        """What the interval speaks about others of: "concepts", "wordings", "runs"."""
        many = {"concepts": self.concepts, "wordings": self.wordings, "runs": self.runs}
        return tuple(name for name, levels in many.items() if levels > 1)

    def percent(self) -> str:
        """For prose: "93 % [90, 96]"."""
        if np.isnan(self.value):
            return "undefined"
        ends = "" if np.isnan(self.low) else f" [{round(100 * self.low)}, {round(100 * self.high)}]"
        return f"{round(100 * self.value)} %{ends}".replace("-", "−")

    def relative_to(self, whole: float) -> "Estimate":
        """The same as a part of something positive that is taken as known."""
        ends = (end / whole for end in (self.value, self.low, self.high))
        return Estimate(*ends, self.n, self.concepts, self.wordings, self.runs)


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


def _tails(clusters: int, level: float) -> tuple[float, float]:
    """Where to cut the resamples of a few clusters (Hesterberg 2015, expanded percentiles)."""
    t = stdtrit(clusters - 1, (1 - level) / 2)
    tail = float(ndtr(t * np.sqrt(clusters / (clusters - 1))))
    return tail, 1 - tail


def ratio(totals: np.ndarray) -> np.ndarray:
    """totals[..., 0] / totals[..., 1], NaN where nothing was counted."""
    top, bottom = totals[..., 0], totals[..., 1]
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)
