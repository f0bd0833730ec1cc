"""Estimates against scipy and against slow loops that share no code with them."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from whitebear import stats
from whitebear.book.chapters.what_watching_costs import overheads
from whitebear.book.report import phrases, rules


def make_scores(rng, concepts=6, seeds=5, chance=None):
    chance = chance or {"affirm": 0.9, "negate": 0.7, "repeat": 0.9, "forget": 0.85, "omit": 0.02}
    wordings = [("a1", "affirm", "", False), ("a2", "affirm", "", False),
                ("ap", "affirm", "", True), ("n1", "negate", "a1", False),
                ("np", "negate", "ap", True), ("r1", "repeat", "", False),
                ("f1", "forget", "r1", False), ("o1", "omit", "", False)]  # fmt: skip
    rows = []
    for concept, (wording, condition, control, pair), seed in itertools.product(
        [f"c{i}" for i in range(concepts)], wordings, range(seeds)
    ):
        present = bool(rng.random() < chance[condition])
        rows.append((concept, wording, condition, control, pair, seed, present))
    columns = ["concept", "wording", "condition", "control", "pair", "seed", "present"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def scores():
    return make_scores(np.random.default_rng(1))


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_equals_scipy(level):
    for n in (1, 2, 8, 50, 142):
        k = np.arange(n + 1)
        low, high = stats.wilson(k, n, level)
        for i in k:
            reference = scipy.stats.binomtest(int(i), n).proportion_ci(level, method="wilson")
            assert np.allclose((low[i], high[i]), (reference.low, reference.high), atol=1e-12)


def test_wilson_at_the_edges():
    low, high = stats.wilson([0, 0, 8], [0, 5, 8])
    assert np.isnan([low[0], high[0]]).all()
    assert low[1] == 0
    assert high[2] == 1


def slow_bootstrap(sums, statistic, level, resamples, seed):
    """The same draws, one resample at a time, by repeating clusters."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        times = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)))
        chosen = [sums[i] for i in range(len(sums)) for _ in range(times[i])]
        values.append(statistic(np.sum(chosen, axis=0)))
    n = len(sums)
    t = scipy.stats.t.ppf((1 - level) / 2, n - 1) * np.sqrt(n / (n - 1))
    return np.quantile(values, [scipy.stats.norm.cdf(t), scipy.stats.norm.sf(t)])


def test_cluster_bootstrap_equals_a_slow_one():
    sums = np.random.default_rng(0).integers(1, 9, (7, 2)).astype(float)
    value, low, high = stats.cluster_bootstrap(sums, stats.ratio, 0.9, 300, 5)
    assert value == sums[:, 0].sum() / sums[:, 1].sum()
    assert np.allclose((low, high), slow_bootstrap(sums, lambda t: t[0] / t[1], 0.9, 300, 5))
    assert stats.cluster_bootstrap(sums, stats.ratio, 0.9, 300, 5) == (value, low, high)


def test_cluster_bootstrap_agrees_with_scipy():
    """scipy resamples values, so give every cluster the same size: then ratio is a plain mean."""
    means = np.random.default_rng(0).normal(size=40)
    ours = stats.cluster_bootstrap(np.column_stack([means, np.ones(40)]), stats.ratio)
    reference = scipy.stats.bootstrap(
        (means,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert np.allclose(ours[1:], reference, atol=0.02)


def test_coverage_when_concepts_differ():
    """Concepts differ a lot: the interval must widen for it (a plain binomial one covers ~40 %)."""
    rng, hits = np.random.default_rng(3), 0
    for trial in range(200):
        chances = rng.beta(1, 1, 24)
        sums = np.column_stack([rng.binomial(16, chances), np.full(24, 16)])
        _, low, high = stats.cluster_bootstrap(sums, stats.ratio, resamples=400, seed=trial)
        hits += low <= 0.5 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_suppression_by_hand(scores):
    rows = stats.add_affirm(scores)
    negate = rows[rows.condition == "negate"]
    expected = 0.0
    for row in negate.itertuples():
        same = scores[(scores.concept == row.concept) & (scores.seed == row.seed)]
        same = same[(same.condition == "affirm") & (same.pair == row.pair)]
        expected += same.present.mean()
    estimate = stats.suppression(negate)
    assert estimate.value == pytest.approx(1 - negate.present.sum() / expected)
    assert estimate.low < estimate.value < estimate.high
    assert (estimate.n, estimate.concepts) == (len(negate), 6)
    affirm = stats.suppression(rows[rows.condition == "affirm"])
    assert affirm.value == pytest.approx(0)


def test_paired_difference_by_hand(scores):
    rows = stats.add_control(scores)
    assert set(rows.condition) == {"negate", "forget"}
    expected = []
    for row in rows[rows.condition == "negate"].itertuples():
        at = (scores.concept == row.concept) & (scores.seed == row.seed)
        expected.append(
            row.present - float(scores[at & (scores.wording == row.control)].present.iloc[0])
        )
    estimate = stats.paired_difference(rows[rows.condition == "negate"])
    assert estimate.value == pytest.approx(np.mean(expected))
    assert estimate.low <= estimate.value <= estimate.high


def test_agresti_min_by_hand():
    """b pairs lose it, c gain it, the rest stay: Wald after adding half a pair to each cell."""
    for n, b, c in [(6, 0, 0), (40, 5, 2), (9, 9, 0)]:
        differences = [-1] * b + [1] * c + [0] * (n - b - c)
        m, lost, gained = n + 2, b + 0.5, c + 0.5
        mean = (gained - lost) / m
        half = 1.959963985 * np.sqrt(lost + gained - (gained - lost) ** 2 / m) / m
        expected = np.clip([mean - half, mean + half], -1, 1)
        assert np.allclose(stats.agresti_min(differences), expected)
    assert np.isnan(stats.agresti_min([0.2, 0.1])).all()


def identical_controls(concepts, seeds):
    """Scores in which the instruction changes not a single picture."""
    scores = make_scores(np.random.default_rng(0), concepts, seeds)
    keys = ["concept", "seed"]
    controls = scores[scores.wording == "r1"].set_index(keys).present
    forget = scores.wording == "f1"
    same = controls.loc[list(map(tuple, scores.loc[forget, keys].values))].values
    scores.loc[forget, "present"] = same
    rows = stats.add_control(scores)
    return rows[rows.condition == "forget"]


def test_equivalence_needs_evidence(scores):
    """Not one picture changed: proof within 10 points from 100 pairs, none from 6."""
    many, few = identical_controls(10, 10), identical_controls(2, 3)
    assert stats.paired_difference(many).value == stats.paired_difference(few).value == 0
    same = lambda rows: rules.SAME(near=stats.paired_difference(rows, level=0.90))  # noqa: E731
    assert same(many) == "yes" and phrases.changed(many) == "no change"
    assert same(few) == "no" and phrases.changed(few) == "undecided"
    rows = stats.add_control(scores)
    assert same(rows[rows.condition == "negate"]) == "no"


def test_certainty_is_never_claimed():
    """All pictures alike: the bootstrap has no width, the interval has."""
    scores = make_scores(np.random.default_rng(0)).assign(present=True)
    estimate = stats.rate(scores[scores.condition == "omit"])
    assert (estimate.low, estimate.high) == pytest.approx(wilson_of(30, 30))
    removed = stats.suppression(stats.add_affirm(scores))
    assert removed.low < 0.001 < removed.high


def test_other_scores_have_a_difference_too(scores):
    scores = scores.assign(clip_score=np.random.default_rng(0).normal(size=len(scores)))
    rows = stats.add_control(scores, "clip_score")
    assert np.allclose(rows.difference, rows.clip_score - rows.control_value)
    estimate = stats.paired_difference(rows)
    assert estimate.low < estimate.value < estimate.high


def test_nothing_and_never_give_nan():
    scores = make_scores(np.random.default_rng(0))
    assert np.isnan(stats.rate(scores.head(0)).value)
    never = scores.assign(present=False)
    rows = stats.add_affirm(never)
    estimate = stats.suppression(rows[rows.condition == "negate"])
    assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
    assert estimate.percent() == "undefined"
    without = stats.add_affirm(scores[scores.condition != "affirm"])
    assert np.isnan(stats.suppression(without).value)
    table = stats.summary(never)
    assert table.rate.map(lambda e: e.value).eq(0).all()


def wilson_of(k, n):
    return tuple(float(end) for end in stats.wilson(k, n))


def test_one_concept_speaks_for_itself(scores):
    one = scores[(scores.concept == "c0") & (scores.condition == "affirm")]
    estimate = stats.rate(one)
    assert (estimate.low, estimate.high) == pytest.approx(wilson_of(one.present.sum(), 15))
    assert np.isnan(stats.cluster_bootstrap(np.ones((1, 2)), stats.ratio)[1:]).all()


def test_by_concept_and_summary(scores):
    table = stats.by_concept(scores)
    assert len(table) == 5 * 6
    row = table[(table.condition == "affirm") & (table.concept == "c2")].iloc[0]
    picked = scores[(scores.condition == "affirm") & (scores.concept == "c2")].present
    assert (row.k, row.n, row.rate) == (picked.sum(), 15, picked.mean())
    assert ((table.low <= table.rate) & (table.rate <= table.high)).all()
    lines = stats.summary(scores).set_index("condition")
    assert list(lines.index) == ["affirm", "negate", "repeat", "forget", "omit"]
    assert lines.n["affirm"] == 90
    assert np.isnan(lines.difference["affirm"].value)
    assert lines.difference["forget"].n == 30


def test_percent_reads_well():
    assert stats.Estimate(0.934, 0.9, 0.961, 10, 3).percent() == "93 % [90, 96]"
    assert stats.Estimate(-0.02, -0.05, 0.01, 10, 3).percent() == "−2 % [−5, 1]"


def test_overheads_are_ratios_within_a_round():
    """A machine that is twice as slow in round 1 changes no ratio."""
    rows = [
        {"shape": "s", "round": i, "contender": name, "cpu": speed * cost, "kept": 2**20, "peak": p}
        for i, speed in enumerate((1.0, 2.0, 1.0))
        for name, cost, p in (("bare", 3.0, 100), ("tool", 6.0, 150))
    ]
    table = overheads(pd.DataFrame(rows), "bare").loc["s"]
    assert table.loc["bare"].tolist() == [1, 1, 1, 3, 1, 1]
    assert table.loc["tool"].tolist() == [2, 2, 2, 3, 1, 1.5]


def simulated(rng, concepts, seeds, spread=1.0):
    """Pictures of concepts with rates of their own, with and without an instruction, paired."""
    base, effect = rng.normal(1.7, spread, concepts), rng.normal(-0.5, 0.4 * spread, concepts)
    first, other = rng.random((2, concepts, seeds))
    second = np.where(rng.random((concepts, seeds)) < 0.5, first, other)
    chance = lambda logit: scipy.special.expit(logit)[:, None]  # noqa: E731
    affirm, present = first < chance(base), second < chance(base + effect)
    return pd.DataFrame({
        "concept": np.repeat(np.arange(concepts), seeds), "present": present.ravel(),
        "affirm": affirm.ravel().astype(float),
        "difference": present.ravel().astype(float) - affirm.ravel(),
    })  # fmt: skip


def test_intervals_cover_the_truth():
    """95 % intervals hold the true value in 93 to 97 % of simulated studies."""
    many = simulated(np.random.default_rng(0), 400_000, 1)
    asked, told = many.affirm.mean(), many.present.mean()
    truth = {stats.rate: told, stats.suppression: 1 - told / asked,
             stats.paired_difference: told - asked}  # fmt: skip
    rng, n = np.random.default_rng(1), 600
    studies = [simulated(rng, concepts=24, seeds=16) for _ in range(n)]
    for estimate, value in truth.items():
        found = [estimate(study) for study in studies]
        share = np.mean([e.low <= value <= e.high for e in found])
        assert 0.93 <= share <= 0.97, (estimate.__name__, share)


def test_sign_flips_are_right_about_nothing_and_about_something():
    rng = np.random.default_rng(2)
    rows = lambda shift: pd.DataFrame({  # noqa: E731
        "concept": np.repeat(np.arange(8), 5), "difference": rng.normal(shift, 1, 40),
    })  # fmt: skip
    p = [stats.sign_flip_p(rows(0)) for _ in range(200)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.09
    assert stats.sign_flip_p(rows(3)) == 2 / 2**8  # none of the other flips is as extreme
    assert np.isnan(stats.sign_flip_p(rows(3).query("concept == 0")))


def test_holm_is_what_its_definition_says():
    p = pd.Series({"a": 0.01, "b": 0.04, "c": 0.03, "d": np.nan, "e": 0.9})
    adjusted = stats.holm(p)
    assert np.allclose(adjusted[["a", "c", "b", "e"]], [0.04, 0.09, 0.09, 0.9])
    assert np.isnan(adjusted["d"])


def test_conditions_are_held_against_each_other_by_concept_and_seed(scores):
    rows = stats.against(scores, "negate", "omit")
    assert set(rows.columns) >= {"concept", "seed", "pair", "difference"}
    assert not rows.pair.any()  # omit has no pair wordings here
    for row in rows.itertuples():
        at = (scores.concept == row.concept) & (scores.seed == row.seed) & ~scores.pair
        negate = scores[at & (scores.condition == "negate")].present.mean()
        omit = scores[at & (scores.condition == "omit")].present.mean()
        assert row.difference == pytest.approx(negate - omit)
