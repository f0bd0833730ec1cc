"""Simulated studies in which concepts, wordings and training runs really differ."""

import numpy as np
from scipy.special import expit

from whitebear.stats import half_width, ratio

RUN, WORDING, CONCEPT = "run", "wording", "concept"
NAMES = RUN, WORDING, CONCEPT
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
LINKS = {"logit": expit, "clipped": lambda x: np.clip(x, 0, 1)}
STATISTICS = {  # of totals: present, present in the control, pictures
    "rate": lambda totals: ratio(totals[..., [0, 2]]),
    "difference": lambda totals: ratio(totals[..., [0, 2]]) - ratio(totals[..., [1, 2]]),
    "suppression": lambda totals: 1 - ratio(totals[..., [0, 1]]),
}


def effects(rng, studies, levels, spread):
    """(studies, runs, wordings, concepts): normal effects; spread: their sd by factors."""
    total = np.zeros((studies, *levels))
    for factors, sd in spread.items():
        shape = [n if name in factors else 1 for name, n in zip(NAMES, levels, strict=True)]
        total = total + sd * rng.normal(size=(studies, *shape))
    return total


def simulate(rng, studies, levels, spread, start=1.0, change=-1.0, link="logit", pictures=2):
    """Sums (studies, runs, wordings, concepts, 3) of that many studies, and the truth by statistic.

    start: what controls have on average on the scale of the link; change: what instructions add to
    it, to each concept, wording and run a little more or less.
    """
    spread = {factors: sd for factors, sd in spread.items() if levels[0] > 1 or RUN not in factors}
    control = start + effects(rng, studies, levels, spread)
    weaker = {factors: 0.7 * sd for factors, sd in spread.items()}
    told = control + change + effects(rng, studies, levels, weaker)
    drawn = [rng.binomial(pictures, LINKS[link](x)) for x in (told, control)]
    sums = np.stack([*drawn, np.full(drawn[0].shape, pictures)], axis=-1).astype(float)
    sd = np.sqrt(sum(sd**2 for sd in spread.values()))
    first, second = (
        float(LINKS[link](mean + wide * NODES) @ WEIGHTS / WEIGHTS.sum())
        for mean, wide in ((start + change, sd * np.sqrt(1.49)), (start, sd))
    )
    return sums, {"rate": first, "difference": first - second, "suppression": 1 - first / second}


def coverage(sums, truth, statistic):
    """Share of the studies whose 95 % interval holds the truth; rates on the logit scale."""
    value, half = half_width(sums, STATISTICS[statistic])
    off = value - truth[statistic]
    if statistic == "rate":
        with np.errstate(divide="ignore", invalid="ignore"):
            half = half / (value * (1 - value))
            off = np.log(value / (1 - value)) - np.log(truth["rate"] / (1 - truth["rate"]))
    return float(np.mean(np.abs(off) <= half))
