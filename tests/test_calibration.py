"""Zero-shot scores of known truth: rates come out, noise teaches nothing, nobody judges itself."""

import io

import numpy as np
import pandas as pd
import pytest

from whitebear.book.chapters import told_to_forget
from whitebear.book.figures import calibration as calibration_figures
from whitebear.errors import UserError
from whitebear.scoring import calibration
from whitebear.scoring.calibration import NEUTRAL, calibrate, why_not

SHOWN = {"affirm": 0.65, "omit": 0.0, "negate": 0.5}  # share of pictures that have the concept


def simulated(apart=5.0, concepts=8, seeds=16, wordings=2, spread=3.0, shift=9.0, noise=0):
    """Scores N(floor + apart * truth, 1); each concept has a floor of its own, far from 0."""
    rng = np.random.default_rng(noise)
    floors = shift + spread * rng.standard_normal(concepts)
    rows = [
        (f"c{c}", condition, seed, rng.random() < SHOWN[condition])
        for c in range(concepts) for condition in SHOWN for seed in range(seeds)
        for _ in range(wordings)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["concept", "condition", "seed", "truth"])
    floor = floors[table.concept.str[1:].astype(int)]
    logit = floor + apart * table.truth + rng.standard_normal(len(table))
    return table.assign(logit=logit, p_asked=0.9, present=True)


def test_rates_of_known_truth_are_recovered():
    table = calibrate(simulated())
    rates, truth = (table.groupby("condition")[c].mean() for c in ("present", "truth"))
    assert np.abs(rates - truth).max() < 0.05
    assert (table.present == table.truth).mean() > 0.95
    raw = simulated().logit >= NEUTRAL
    assert raw.mean() > 0.9  # what the uncalibrated threshold makes of it
    assert table.present.equals(table.p_asked >= 0.5)
    assert table.present.equals(table.logit >= table.threshold)


def test_the_accuracy_is_that_of_the_judge_times_that_of_the_model():
    """All requests fulfilled: nearly 1. 65 % of them: at most (0.65 + 1) / 2."""
    found = calibration.accuracy(calibrate(simulated()))
    assert found.low < (1 + SHOWN["affirm"]) / 2 < found.high
    assert found.n == 8 * 16 * 2 * 2 and found.concepts == 8
    table = simulated()
    obedient = table[(table.condition != "affirm") | table.truth]
    assert calibration.accuracy(calibrate(obedient)).value > 0.97


def test_groups_that_do_not_overlap_stay_finite():
    table = calibrate(simulated(apart=400.0))
    assert np.isfinite(table.p_asked).all() and table.p_asked.between(0, 1).all()
    assert (table.present == table.truth).mean() > 0.95
    assert table.present[table.truth].all()


def test_noise_teaches_nothing():
    """Cross-fitted accuracy is that of chance; the best cut of the very same pictures is not."""
    crossed, best = [], []
    for noise in range(20):
        table = simulated(apart=0.0, concepts=2, seeds=10, wordings=1, noise=noise)
        crossed.append(calibration.accuracy(calibrate(table)).value)
        rows = table[calibration.anchors(table)]
        asked = rows.condition == "affirm"
        best.append(max(((rows.logit >= cut) == asked).mean() for cut in rows.logit))
    assert abs(np.mean(crossed) - 0.5) < 0.03
    assert np.mean(best) > 0.55


def test_no_picture_moves_its_own_threshold():
    """Another score for pictures of odd seeds changes the thresholds of even seeds only."""
    table = simulated(seeds=6)
    other = table.assign(logit=table.logit + np.where(table.seed % 2, 7.0, 0.0))
    before, after = calibrate(table), calibrate(other)
    odd = table.seed % 2 == 1
    assert before.threshold[odd].equals(after.threshold[odd])
    assert (before.threshold[~odd] != after.threshold[~odd]).all()


def test_floors_are_shared_where_pictures_are_few():
    """With one picture a concept, the means' differences are chance; with many they are real."""
    alike = simulated(spread=0.0, seeds=4, wordings=1)
    floors = calibration.fit(alike[alike.condition != "negate"]).floors
    assert np.ptp(list(floors.values())) < 1.0
    apart = simulated(spread=3.0, seeds=32)
    learned = calibration.fit(apart[apart.condition != "negate"])
    silent = apart[apart.condition == "omit"].groupby("concept").logit.mean()
    assert np.abs(pd.Series(learned.floors) - silent).max() < 0.1
    assert learned.thresholds(pd.Series(["unheard of"]))[0] == pytest.approx(
        learned.floor + learned.cut * learned.scale
    )


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (lambda t: t[t.condition != "affirm"], "the run has no affirm pictures"),
        (lambda t: t[t.condition != "omit"], "the run has no omit pictures"),
        (lambda t: t[t.seed == 0], "half of the seeds have 0 affirm pictures, fewer than 8"),
        (lambda t: t.assign(logit=np.nan), "calibrated on renders"),
    ],
)
def test_what_cannot_be_calibrated_stays_as_it_is_and_says_so(rows, line):
    table = rows(simulated())
    assert line in why_not(table) and line in told_to_forget.judge(table)
    same = calibrate(table)
    assert same[table.columns.tolist()].equals(table)
    assert same.threshold[table.logit.notna()].eq(NEUTRAL).all()
    assert same.threshold[table.logit.isna()].isna().all()
    with pytest.raises(UserError, match="no calibration to show"):
        calibration_figures.calibrated(same)


def test_interventions_teach_nothing():
    """Rows of a part are judged, but not learned from."""
    table = simulated().assign(part="")
    swapped = table.assign(part="padding", logit=table.logit + 50)
    both = calibrate(pd.concat([table, swapped], ignore_index=True))
    alone = calibrate(table)
    assert both.threshold[both.part == ""].to_numpy() == pytest.approx(alone.threshold.to_numpy())
    assert both.present[both.part != ""].all()


def test_probabilities_are_reliable_where_all_requests_are_fulfilled(monkeypatch):
    monkeypatch.setitem(SHOWN, "affirm", 1.0)
    bins = calibration.reliability(calibrate(simulated(apart=2.0, seeds=64)))
    assert (np.abs(bins.predicted - bins.asked) < 0.08).all()
    assert ((bins.low <= bins.asked) & (bins.asked <= bins.high)).all()


def test_the_figure_shows_groups_thresholds_and_accuracy():
    table = calibrate(simulated())
    figure = calibration_figures.calibrated(table)
    figure.savefig(io.BytesIO())
    left, right = figure.axes
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["asked for (n = 256)", "not mentioned (n = 256)"]
    assert calibration.accuracy(table).percent() in left.get_title(loc="left")
    assert calibration.accuracy(table).percent() in told_to_forget.judge(table)
    assert len(left.lines[0].get_xdata()) == 16  # a threshold for each concept and half
    assert len(right.lines[1].get_xdata()) == 6
