"""Equivalence is shown where it is, not where it is not, and never by too few pictures."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from whitebear.errors import UserError
from whitebear.stats import equivalence_p, equivalent

MARGIN = 0.05
BOTH = ("concept", "wording")


def rows(per_cell, concepts=16, wordings=4):
    """A row a picture; per_cell(concept, wording): the differences of a cell."""
    cells = [(c, w, d) for c in range(concepts) for w in range(wordings) for d in per_cell(c, w)]
    table = pd.DataFrame(cells, columns=["concept", "wording", "difference"])
    return table.astype({"difference": float})


def changing(rng, mean, share=0.2, wide=0.0):
    """Paired differences of -1, 0 and 1, a share of them not 0, whose mean is `mean`; concepts
    differ by wide."""
    means = np.clip(mean + wide * rng.normal(size=16), -share, share)

    def cell(concept, _):
        up, down = (share + means[concept]) / 2, (share - means[concept]) / 2
        return rng.choice([-1, 0, 1], size=4, p=[down, 1 - share, up])

    return rows(cell)


@pytest.mark.parametrize("over", [("concept",), BOTH])
def test_nothing_changed_is_equivalent_and_a_large_change_is_not(over):
    still = rows(lambda *_: [0] * 4)
    assert equivalent(still, MARGIN, over) and equivalence_p(still, MARGIN, over) < 0.001
    for change in (0.1, -0.1):
        moved = still.assign(difference=change)
        assert not equivalent(moved, MARGIN, over)
        assert equivalence_p(moved, MARGIN, over) == 0.5


def test_a_rise_is_no_loss():
    more = rows(lambda *_: [0.1])
    assert equivalent(more, MARGIN, lower_only=True) and not equivalent(more, MARGIN)
    assert not equivalent(more.assign(difference=-0.1), MARGIN, lower_only=True)
    assert equivalence_p(more, MARGIN, lower_only=True) < 0.05 < equivalence_p(more, MARGIN)


def test_too_few_pictures_show_nothing():
    assert not equivalent(rows(lambda *_: [0], 4, 1), MARGIN)
    assert not equivalent(rows(lambda *_: [0], 1, 1).iloc[:0], MARGIN)
    assert np.isnan(equivalence_p(rows(lambda *_: [0], 1, 1).iloc[:0], MARGIN))


def test_p_is_that_of_two_t_tests_where_concepts_are_means():
    """With values that are no counts there is no floor; many concepts make the bootstrap normal."""
    values = 0.03 + 0.1 * np.random.default_rng(1).standard_normal(200)
    table = rows(lambda c, _: [values[c]], 200, 1)
    tests = [
        scipy.stats.ttest_1samp(values, -0.05, alternative="greater").pvalue,
        scipy.stats.ttest_1samp(values, 0.05, alternative="less").pvalue,
    ]
    assert equivalence_p(table, MARGIN) == pytest.approx(max(tests), abs=0.003)
    assert equivalence_p(table, MARGIN, lower_only=True) == pytest.approx(tests[0], abs=0.001)
    assert equivalent(table, MARGIN) == (max(tests) < 0.05)


@pytest.mark.parametrize("wide", [0.0, 0.05])
def test_a_change_as_large_as_the_margin_passes_in_few_studies(wide):
    """At 5 %, of 200 studies no more than 18 (the 99.5 % point of the binomial)."""
    rng = np.random.default_rng(7)
    passed = sum(equivalent(changing(rng, -MARGIN, wide=wide), MARGIN, BOTH) for _ in range(200))
    assert passed <= 18


def test_no_change_passes_in_most_studies():
    rng = np.random.default_rng(8)
    found = [equivalent(changing(rng, 0.0, 0.04), MARGIN, BOTH) for _ in range(100)]
    assert sum(found) > 60


@pytest.mark.parametrize("margin", [0, -0.1, float("nan"), float("inf")])
def test_a_margin_is_a_positive_number(margin):
    for test in (equivalent, equivalence_p):
        with pytest.raises(UserError, match="margin is .*; give a positive number"):
            test(rows(lambda *_: [0]), margin)
