"""A threshold for CLIP's zero-shot score, from a run's own pictures that were asked for or not.

The raw score of a picture is how much better "a picture of a bear" fits it than "a picture of
something" (`ZeroShotDetector.logits`). Where it parts pictures of bears from others differs from
model to model and from concept to concept. So it is learned from a run's `affirm` pictures, whose
prompt asks for the concept, and its `omit` pictures, whose prompt does not mention it:

    s = (logit - floor_c) / sd          floor_c: mean of the concept's omit pictures, shrunk
    p = sigmoid(slope (s - cut))        cut: highest balanced accuracy; slope: Platt (1999)

What is learned is *which prompt* a picture comes from, not what is in it: a model does not draw all
that it is asked for, so the accuracy is that of the judge times that of the model, a lower bound.
The cut does not suffer: pictures that lack the concept in spite of the request pull the two groups
together, but the place where they are equally likely stays. Nobody judges their own case: pictures
of every other seed are judged by what the remaining seeds teach, and the other way round.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit

from whitebear import stats
from whitebear.stats import Estimate

SMALLEST = 8  # pictures of either kind that a half of the seeds must have
STEEPEST = 4.0  # prior standard deviation of the slope: groups that do not overlap have no estimate
NEUTRAL = 0.0  # the threshold without calibration: as likely as "something"


@dataclass(frozen=True)
class Calibration:
    """What a number of pictures taught. floors: raw score of a concept that is not there; floor:
    that of any other concept; scale: raw units of one standard deviation."""

    floors: dict[str, float]
    floor: float
    scale: float
    cut: float
    slope: float

    def thresholds(self, concepts: pd.Series) -> np.ndarray:
        """Raw scores from which on each row's concept counts as present."""
        floors = concepts.map(self.floors).fillna(self.floor).to_numpy(float)
        return floors + self.cut * self.scale

    def chances(self, rows: pd.DataFrame) -> np.ndarray:
        """Calibrated probabilities of rows with the columns concept and logit; 0.5 at the cut."""
        above = rows.logit.to_numpy(float) - self.thresholds(rows.concept)
        return expit(self.slope * above / self.scale)


def fit(rows: pd.DataFrame) -> Calibration:
    """Learn from rows with columns concept, condition ("affirm" or "omit") and logit."""
    asked = (rows.condition == "affirm").to_numpy()
    floors, floor, scale = _floors(rows[~asked])
    score = (rows.logit - rows.concept.map(floors).fillna(floor)).to_numpy(float) / scale
    cut = best_cut(score, asked)
    return Calibration(floors, floor, scale, cut, _slope(score - cut, asked))


def _floors(omitted: pd.DataFrame) -> tuple[dict[str, float], float, float]:
    """Mean score of each concept's pictures, their mean, and the spread around them.

    A concept's mean is drawn to the mean of all by as much as chance has a part in the means'
    differences (empirical Bayes): with few pictures, all concepts share one floor.
    """
    groups = omitted.groupby("concept").logit
    mean, count = groups.mean(), groups.count()
    inside = max(1.0, len(omitted) - len(mean))
    within = ((omitted.logit - omitted.concept.map(mean)) ** 2).sum() / inside
    between = max(0.0, mean.var() - (within / count).mean()) if len(mean) > 1 else 0.0
    trust = between / (between + within / count) if between else 0.0 * count
    floor = float(mean.mean())
    scale = float(np.sqrt(within)) if within > 0 else 1.0
    return (floor + trust * (mean - floor)).to_dict(), floor, scale


def best_cut(score: np.ndarray, asked: np.ndarray) -> float:
    """The score that parts two groups with the highest balanced accuracy.

    The middle of all places that are as good to within one picture, by their width: the best place
    of a sample alone would follow chance.
    """
    values = np.unique(score)
    if len(values) == 1:
        return float(values[0])
    cuts, widths = (values[1:] + values[:-1]) / 2, np.diff(values)
    above = 1 - np.searchsorted(np.sort(score[asked]), cuts) / asked.sum()
    below = np.searchsorted(np.sort(score[~asked]), cuts) / (~asked).sum()
    accuracy = (above + below) / 2
    good = accuracy >= accuracy.max() - 0.501 / min(asked.sum(), (~asked).sum())
    return float(np.average(cuts[good], weights=widths[good]))


def _slope(above: np.ndarray, asked: np.ndarray) -> float:
    """Slope at least 0 of a logistic curve through (0, 1/2); both groups weigh the same."""
    weight = np.where(asked, 0.5 / asked.mean(), 0.5 / (~asked).mean())
    sign = np.where(asked, 1.0, -1.0)

    def loss(slope: float) -> float:
        fit = (weight * np.logaddexp(0, -sign * slope * above)).sum()
        return fit + slope**2 / (2 * STEEPEST**2)

    return float(minimize_scalar(loss, bounds=(0, 10 * STEEPEST), method="bounded").x)


def halves(table: pd.DataFrame) -> np.ndarray:
    """0 or 1 for each row: every other seed of the run."""
    rank = {seed: i for i, seed in enumerate(sorted(table.seed.unique()))}
    return table.seed.map(rank).to_numpy() % 2


def anchors(table: pd.DataFrame) -> pd.Series:
    """Rows to learn from: affirm and omit pictures with a raw score, drawn without intervention."""
    plain = table.part == "" if "part" in table else True
    return table.condition.isin(["affirm", "omit"]) & table.logit.notna() & plain


def why_not(table: pd.DataFrame) -> str:
    """What keeps a table from being calibrated, for a sentence; "" where nothing does."""
    if not table.logit.notna().any():
        return "the detector of the pocket model was calibrated on renders"
    some, half = table[anchors(table)], halves(table)[anchors(table)]
    for condition in ("affirm", "omit"):
        if condition not in set(some.condition):
            return f"the run has no {condition} pictures"
        fewest = min((half[some.condition == condition] == k).sum() for k in (0, 1))
        if fewest < SMALLEST:
            return f"half of the seeds have {fewest} {condition} pictures, fewer than {SMALLEST}"
    return ""


def calibrate(table: pd.DataFrame) -> pd.DataFrame:
    """The scores of a run with zero-shot judgements put right; those of a detector as they are.

    table: columns concept, condition, seed, logit, p_asked, present (and part, where there were
    interventions: "" is none). p_asked and present are replaced; `threshold` is the raw score from
    which on a concept counts as present: NEUTRAL where there was nothing to learn from (see
    `why_not`), NaN where a trained detector judged.
    """
    zero_shot = table.logit.notna()
    if why_not(table):
        return table.assign(threshold=np.where(zero_shot, NEUTRAL, np.nan))
    half, known = halves(table), anchors(table).to_numpy()
    chance, threshold = table.p_asked.to_numpy(float).copy(), np.full(len(table), np.nan)
    for k in (0, 1):
        learned, rows = fit(table[known & (half != k)]), half == k
        chance[rows] = learned.chances(table[rows])
        threshold[rows] = learned.thresholds(table.concept[rows])
    present = table.logit.to_numpy(float) >= threshold
    return table.assign(p_asked=chance, present=present, threshold=threshold)


def accuracy(table: pd.DataFrame) -> Estimate:
    """Balanced accuracy of affirm against omit: mean of the share of asked-for pictures that count
    as present and of unasked ones that do not.

    The interval resamples concepts, and is no narrower than that of independent pictures.
    """
    rows = table[anchors(table)]
    asked = rows.condition == "affirm"
    right = rows.present.astype(bool) == asked
    columns = {"hit": right & asked, "asked": asked, "spared": right & ~asked, "silent": ~asked}
    sums = pd.DataFrame(columns).astype(float).groupby(rows.concept).sum().to_numpy()

    def balanced(totals: np.ndarray) -> np.ndarray:
        return (stats.ratio(totals[..., :2]) + stats.ratio(totals[..., 2:])) / 2

    value, low, high = stats.cluster_bootstrap(sums, balanced)
    hit, n_asked, spared, n_silent = sums.sum(0)
    ends = [np.array(stats.wilson(k, n)) - k / n for k, n in ((hit, n_asked), (spared, n_silent))]
    half = np.hypot(*ends) / 2  # the two shares are independent: their errors add in squares
    low, high = np.fmin(low, value - half[0]), np.fmax(high, value + half[1])
    return Estimate(value, max(0.0, float(low)), min(1.0, float(high)), len(rows), len(sums))


def reliability(table: pd.DataFrame, bins: int = 6) -> pd.DataFrame:
    """Of pictures with about the same probability, how many had been asked for?

    Bins of as many pictures each. Columns predicted (mean probability), asked, low, high (share
    with its Wilson interval, both kinds weighing the same), n.
    """
    rows = table[anchors(table)]
    asked = (rows.condition == "affirm").to_numpy()
    odds = (~asked).sum() / max(1, asked.sum())
    share = lambda p: p * odds / (p * odds + 1 - p)  # noqa: E731
    bin_of = pd.qcut(rows.p_asked.rank(method="first"), min(bins, len(rows)), labels=False)
    found = []
    for _, some in rows.assign(asked=asked).groupby(bin_of.to_numpy()):
        low, high = stats.wilson(some.asked.sum(), len(some))
        found.append((some.p_asked.mean(), share(some.asked.mean()), share(low), share(high),
                      len(some)))  # fmt: skip
    return pd.DataFrame(found, columns=["predicted", "asked", "low", "high", "n"])
