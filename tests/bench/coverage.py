"""How often do 95 % intervals over crossed factors hold the truth? `python tests/bench/coverage.py`

A grid of designs and worlds: concepts, wordings and training runs that differ not at all, a little
or a lot, alone and together; rates, differences and suppressions. Prints the share of worlds in
which 93 to 97 % are covered, and the extremes. About twenty minutes on one core.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))
from studies import CONCEPT, RUN, WORDING, coverage, simulate

STUDIES = 300
DESIGNS = tuple(product((1, 2, 3, 5), (4, 8, 26), (12, 24)))  # runs, wordings, concepts
WORLDS = {"logit": ((0.0, -1.0), (1.5, -1.0), (3.0, -1.0)), "clipped": ((0.5, -0.3), (0.8, -0.3))}
SCALE = {"logit": 1.0, "clipped": 0.25}  # of the standard deviations


def spreads():
    """Standard deviations of concepts, wordings, runs, and of what they have in common."""
    for concept, wording, run, common in product((0.3, 1.2), (0, 0.3, 1.2), (0, 0.3, 1), (0, 0.6)):
        yield {(CONCEPT,): concept, (WORDING,): wording, (RUN,): run, (WORDING, CONCEPT): common,
               (RUN, CONCEPT): common / 2, (RUN, WORDING): common / 2}  # fmt: skip


def main() -> None:
    rng, rows = np.random.default_rng(1), []
    for (runs, wordings, concepts), spread, link in product(DESIGNS, spreads(), WORLDS):
        if runs == 1 and spread[RUN,]:
            continue
        scaled = {factors: SCALE[link] * sd for factors, sd in spread.items()}
        for start, change in WORLDS[link]:
            levels = runs, wordings, concepts
            sums, truth = simulate(rng, STUDIES, levels, scaled, start, change, link)
            for what in truth:
                rows.append((runs, wordings, what, link, start, coverage(sums, truth, what)))
    table = pd.DataFrame(rows, columns=["runs", "wordings", "statistic", "link", "start", "share"])
    for by in (["runs", "wordings"], ["statistic", "link", "start"]):
        found = table.groupby(by).share.describe(percentiles=[0.05, 0.5, 0.95]).drop(columns="std")
        found["93 to 97 %"] = table.groupby(by).share.apply(lambda x: x.between(0.93, 0.97).mean())
        print(found.round(3).to_string(), "\n")


if __name__ == "__main__":
    main()
