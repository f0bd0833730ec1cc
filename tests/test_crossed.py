"""Intervals over crossed factors: against sums of squares by hand, and in simulated studies."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from studies import CONCEPT, RUN, WORDING, coverage, effects, simulate
from whitebear import stats
from whitebear.errors import UserError

SMALL, LARGE = 0.3, 1.2
SPREADS = {
    "concepts": {(CONCEPT,): LARGE},
    "wordings": {(CONCEPT,): SMALL, (WORDING,): LARGE},
    "runs": {(CONCEPT,): SMALL, (WORDING,): SMALL, (RUN,): 1.0},
    "all": {(CONCEPT,): LARGE, (WORDING,): LARGE, (RUN,): SMALL, (WORDING, CONCEPT): 0.6,
            (RUN, CONCEPT): SMALL, (RUN, WORDING): SMALL},
    "cells": {(CONCEPT,): SMALL, (WORDING, CONCEPT): LARGE},
}  # fmt: skip


def covered(levels, start=1.0, studies=400, **other):
    """Coverage by spread and statistic, and its simulation error is about one point."""
    rng, found = np.random.default_rng(7), {}
    for name, spread in SPREADS.items():
        if name == "runs" and levels[0] == 1:
            continue
        sums, truth = simulate(rng, studies, levels, spread, start, **other)
        for statistic in truth:
            found[name, statistic] = coverage(sums, truth, statistic)
    return found


def test_a_two_way_interval_is_that_of_the_mean_squares():
    """Wordings x concepts of numbers: components of a textbook's analysis of variance."""
    rng = np.random.default_rng(0)
    wordings, concepts = 6, 12
    y = effects(
        rng, 1, (1, wordings, concepts), {(WORDING,): 1, (CONCEPT,): 2, (WORDING, CONCEPT): 1}
    )
    value, half = stats.half_width(np.stack([y, np.ones_like(y)], -1), stats.ratio)
    y = y[0, 0]
    by_wording = concepts * y.mean(1).var(ddof=1) / y.size
    by_concept = wordings * y.mean(0).var(ddof=1) / y.size
    left = y - y.mean(0) - y.mean(1, keepdims=True) + y.mean()
    noise = (left**2).sum() / ((wordings - 1) * (concepts - 1)) / y.size
    square = scipy.stats.t.ppf(0.975, (wordings - 1) * (concepts - 1)) ** 2 * noise
    for part, df in ((by_wording, wordings - 1), (by_concept, concepts - 1)):
        explained = noise * scipy.stats.chi2.ppf(0.5 - 0.2 / df, df) / df
        square += scipy.stats.t.ppf(0.975, df) ** 2 * max(part - explained, 0)
    assert value[0] == pytest.approx(y.mean())
    assert half[0] == pytest.approx(np.sqrt(square), rel=1e-4)


def test_one_factor_alone_is_students_interval_and_none_has_no_interval():
    y = np.random.default_rng(1).normal(size=(1, 1, 9))
    sums = np.stack([y, np.ones_like(y)], -1)
    _, half = stats.half_width(sums, stats.ratio)
    assert half == pytest.approx(scipy.stats.t.ppf(0.975, 8) * y.std(ddof=1) / 3, rel=1e-4)
    assert stats.crossed_interval(sums, stats.ratio) == stats.cluster_bootstrap(
        sums[0, 0], stats.ratio
    )
    assert np.isnan(stats.half_width(sums[..., :1, :], stats.ratio)[1])


@pytest.mark.parametrize("levels", [(1, 6, 12), (1, 26, 24), (3, 6, 24), (5, 12, 12), (5, 26, 24)])
def test_intervals_cover_what_they_speak_about(levels):
    """In 93 to 97 % of studies on average, and in none of the worlds far from it."""
    found = covered(levels)
    assert 0.93 <= np.mean(list(found.values())) <= 0.97, found
    assert min(found.values()) >= 0.91, found


def test_few_levels_make_intervals_too_wide_rather_than_too_narrow():
    """Two runs, four wordings: up to all are covered where neither varies, never far below 93 %."""
    for levels in ((2, 4, 12), (2, 6, 24), (3, 4, 12)):
        found = covered(levels)
        assert min(found.values()) >= 0.91, (levels, found)
        assert np.mean(list(found.values())) >= 0.95, (levels, found)


def test_rates_near_the_ceiling_that_differ_a_lot_are_covered_less():
    """The known weakness: a rare wording that suppresses is missing from most samples."""
    found = covered((1, 6, 12), start=3.0)
    assert min(value for (_, what), value in found.items() if what == "rate") >= 0.91, found
    assert min(found.values()) >= 0.84, found


def test_missing_cells_do_not_spoil_it():
    """A third of the wordings was never drawn of each concept."""
    rng = np.random.default_rng(3)
    for spread in (SPREADS["all"], SPREADS["cells"], SPREADS["wordings"]):
        sums, truth = simulate(rng, 400, (3, 9, 24), spread)
        sums[:, :, rng.random((9, 24)) < 1 / 3] = 0
        for statistic in truth:
            assert 0.92 <= coverage(sums, truth, statistic) <= 0.995, (spread, statistic)


def test_intervals_over_concepts_alone_would_not_do():
    """What the crossed interval is for: wordings differ, and concepts alone are resampled."""
    sums, truth = simulate(np.random.default_rng(4), 100, (1, 6, 24), SPREADS["wordings"])
    ends = [
        stats.cluster_bootstrap(s[0].sum(0)[:, [0, 2]], stats.ratio, resamples=300)[1:]
        for s in sums
    ]
    assert np.mean([low <= truth["rate"] <= high for low, high in ends]) < 0.6


def scores(runs=3, wordings=4, concepts=6, seeds=2):
    rng, rows = np.random.default_rng(5), []
    sums, _ = simulate(rng, 1, (runs, wordings, concepts), SPREADS["all"], pictures=seeds)
    for (run, wording, concept), (told, control, _) in zip(
        np.ndindex(runs, wordings, concepts), sums[0].reshape(-1, 3), strict=True
    ):
        for seed in range(seeds):
            rows.append(
                (run, f"w{wording}", f"c{concept}", seed, seed < told, float(seed < control))
            )
    columns = ["run", "wording", "concept", "seed", "present", "affirm"]
    rows = pd.DataFrame(rows, columns=columns)
    return rows.assign(difference=rows.present - rows.affirm), sums[0]


def test_callers_name_what_they_speak_about():
    rows, sums = scores()
    every = "concept", "wording", "run"
    found = stats.paired_difference(rows, over=every)
    assert (found.n, found.concepts, found.wordings, found.runs) == (len(rows), 6, 4, 3)
    assert found.beyond() == ("concepts", "wordings", "runs")
    value, half = stats.half_width(sums, lambda t: (t[..., 0] - t[..., 1]) / t[..., 2])
    assert found.value == pytest.approx(value)
    assert found.low == pytest.approx(max(value - half, -1))
    rate = stats.rate(rows, over=every)
    assert 0 <= rate.low < rate.value < rate.high <= 1
    assert stats.suppression(rows, over=every).high <= 1
    alone = stats.rate(rows)
    assert alone.beyond() == ("concepts",) and alone.high - alone.low < rate.high - rate.low
    one = stats.rate(rows[rows.wording == "w0"], over=("concept", "wording"))
    assert one.beyond() == ("concepts",)  # the wording is fixed
    shuffled = rows.sample(frac=1, random_state=0)
    assert stats.rate(shuffled, over=every) == rate


def test_nothing_is_said_about_other_runs_from_two():
    rows, _ = scores(runs=2)
    with pytest.raises(
        UserError, match="2 training runs cannot speak about others: give at least 3"
    ):
        stats.rate(rows, over=("concept", "wording", "run"))
    assert stats.rate(rows, over=("concept", "wording")).runs == 1
    with pytest.raises(UserError, match="cannot speak about every wordings: did you mean wording"):
        stats.rate(rows, over=("concept", "wordings"))
