"""Intervals that speak about other concepts, other wordings and other training runs at once.

The three are crossed: every concept is drawn in every wording by every run. So whatever is common
to a wording, a run or a concept is in many pictures, and each must widen the interval by itself
(Clark 1973, "The language-as-fixed-effect fallacy"). To resample one within the other does not.

A statistic of sums is taken as linear near its value. Its variance is split as in an analysis of
variance (components by moments: Searle, Casella and McCulloch 1992, ch. 4; main effects by leaving
a level out), and each part gets Student's t of its own: half^2 = sum of t^2 x part (Graybill and
Wang 1980). With few levels a part may look smaller than it is by chance. So what noise explains is
not taken off in full (`_explained`, chosen by simulation: rather too wide than too narrow).
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import chdtri, expit, logit, stdtrit

from whitebear.stats.intervals import LEVEL, cluster_bootstrap

FACTORS = "run", "wording", "concept"
AXES = -3, -2, -1  # of a table without its last axis, the totals

Statistic = Callable[[np.ndarray], np.ndarray]
Ends = Callable[[float, float], tuple[float, float]]  # value, half width -> low, high


def half_width(
    sums: np.ndarray, statistic: Statistic, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Value of a statistic and half the width of its interval; leading axes are separate studies.

    sums: (..., runs, wordings, concepts, m), what each cell adds to the m totals, all 0 where
    nothing was drawn; statistic: (..., m) -> (...), a function of ratios of totals. A factor with
    one level is fixed: nothing is said about others. NaN where the statistic is, or all are fixed.

    >>> p = np.array([[0.9, 0.5, 0.7], [0.6, 0.1, 0.5]])  # a run, 2 wordings, 3 concepts
    >>> table = np.stack([8 * p, np.full_like(p, 8)], -1)[None]
    >>> value, half = half_width(table, lambda t: t[..., 0] / t[..., 1])
    >>> round(float(value), 2), bool(half > 0.4)
    (0.55, True)
    """
    sums = np.asarray(sums, float)
    filled = (sums != 0).any(-1)
    value, influence = _influence(sums, statistic)
    parts, square = {}, np.where(np.isnan(value), np.nan, 0.0)
    varied = [axis for axis in AXES if sums.shape[axis - 1] > 1]
    for size in range(len(varied), 0, -1):
        for axes in combinations(varied, size):
            found = (
                _interaction(influence, filled, axes)
                if size > 1
                else _main(sums, influence, statistic, value, axes[0])
            )
            df = np.prod([sums.shape[axis - 1] - 1 for axis in axes])
            noise = sum(part for others, part in parts.items() if set(axes) < set(others))
            parts[axes] = np.maximum(found - noise * _explained(df), 0)
            square = square + stdtrit(df, (1 + level) / 2) ** 2 * parts[axes]
    return value, np.sqrt(square) if varied else np.full_like(value, np.nan)


def _explained(df: int) -> float:
    """How much of what noise adds on average is taken off a mean square: what it falls short of in
    30 % of cases with one degree of freedom, and in up to a half with many."""
    return chdtri(df, 0.5 + 0.2 / df) / df


def _influence(sums: np.ndarray, statistic: Statistic) -> tuple[np.ndarray, np.ndarray]:
    """The statistic, and what each cell adds to it: its gradient times the cell's sums."""
    totals = sums.sum((-4, -3, -2))
    steps = 1e-5 * np.abs(totals).max(-1)[..., None, None] * np.eye(totals.shape[-1])
    ends = [statistic(totals[..., None, :] + sign * steps) for sign in (1, -1)]
    gradient = (ends[0] - ends[1]) / (2 * steps.max(-1))
    return statistic(totals), np.einsum("...rwcm,...m->...rwc", sums, np.nan_to_num(gradient))


def _main(sums, influence, statistic, value, axis: int) -> np.ndarray:
    """Mean square of a factor, as variance of the statistic: each level's influence times what
    leaving the level out changes, which is exact for a mean (and for a mean of two groups)."""
    others = tuple(a for a in AXES if a != axis)
    levels = sums.sum(tuple(a - 1 for a in others))  # (..., levels, m)
    own = influence.sum(others)
    out = value[..., None] - statistic(levels.sum(-2, keepdims=True) - levels)
    return np.maximum((own * np.where(np.isnan(out), own, out)).sum(-1), 0)


def _interaction(influence, filled, axes: tuple[int, ...]) -> np.ndarray:
    """The same for several factors together: what is left of a cell's influence without theirs."""
    others = tuple(a for a in AXES if a not in axes)
    left = influence.sum(others, keepdims=True)
    count = filled.sum(others, keepdims=True)
    weight = 1.0
    for axis in axes:
        share = count / np.maximum(count.sum(axis, keepdims=True), 1)
        left = left - share * left.sum(axis, keepdims=True)
        weight = weight / np.where(share < 1, 1 - share, 1)
    return (weight * left**2).sum(AXES)


def crossed_interval(
    sums: np.ndarray,
    statistic: Statistic,
    level: float = LEVEL,
    ends: Ends | None = None,
) -> tuple[float, float, float]:
    """Value and interval of a statistic over crossed factors: `half_width`, for a single study.

    sums: (runs, wordings, concepts, m), all 0 where nothing was drawn; ends(value, half): the
    interval, where not value -+ half. Where one factor alone has levels, `cluster_bootstrap`.
    """
    many = [axis for axis in range(3) if sums.shape[axis] > 1]
    if len(many) < 2:
        return cluster_bootstrap(sums.reshape(-1, sums.shape[-1]), statistic, level)
    value, half = map(float, half_width(sums, statistic, level))
    low, high = ends(value, half) if ends and half > 0 else (value - half, value + half)
    return value, low, high


def crossed_sums(rows: pd.DataFrame, columns: list, levels: Sequence[Sequence]) -> np.ndarray:
    """(runs, wordings, concepts, columns): sums of rows in each cell of `levels`, one list for each
    of `FACTORS`; None: the factor is fixed, and its cells are one."""
    keys = [name for name, some in zip(FACTORS, levels, strict=True) if some is not None]
    index = pd.MultiIndex.from_product([some for some in levels if some is not None], names=keys)
    sums = rows.groupby(keys)[columns].sum()
    sums = sums.reindex(index if len(keys) > 1 else index.get_level_values(0), fill_value=0)
    return sums.to_numpy(float).reshape(
        *(1 if some is None else len(some) for some in levels), len(columns)
    )


def share_ends(value: float, half: float) -> tuple[float, float]:
    """On the logit scale, since a share near 0 or 1 has no room on one side."""
    centre, wide = logit(value), half / (value * (1 - value))
    return float(expit(centre - wide)), float(expit(centre + wide))


def within(lowest: float, highest: float) -> Ends:
    """value -+ half, as far as it can be."""
    return lambda value, half: (max(value - half, lowest), min(value + half, highest))
