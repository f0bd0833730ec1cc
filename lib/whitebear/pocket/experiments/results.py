"""What the taught cells say: suppression and its contrasts between models that differ in what
their captions denied, by the measures declared in data/why/declared.md.

Every number here is a weighted sum of suppressions, 1 - rate / affirm rate, each over some rows of
some models. Concepts, wordings and training runs are crossed, and an interval speaks about others
of each that has levels here; with two runs of a cell it can say little about more runs.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from whitebear import stats
from whitebear.errors import UserError
from whitebear.files import RESULTS, read_parquet
from whitebear.pocket.training.card import ASKED
from whitebear.stats import FACTORS, Estimate

FOLDER = RESULTS / "why"
INSTRUCTIONS = ("forget_then_request", "reinforced", "role")
PAPER = "forget-paper"
KEPT = 0.05  # asked objects may be missing in this share of pictures more
USABLE = 0.80  # no hypothesis is judged by a model that shows fewer of the asked objects
Pick = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Result:
    """One trained model: its record (cell, recipe, denied, quality, seconds) and a row for each
    picture, whose column denied says whether the model's captions denied the object."""

    record: dict
    scores: pd.DataFrame

    @property
    def rates(self) -> tuple[float, float]:
        """Share of negated captions that the encoder and the denoiser were trained on."""
        return self.record["cell"]["encoder_r"], self.record["cell"]["denoiser_r"]

    @property
    def denied(self) -> list[str]:
        """The objects that negated captions of its training deny; the others they never deny."""
        return self.record["denied"]

    @property
    def times(self) -> int:
        """How many times as long as the others its denoiser was trained."""
        return self.record["cell"]["times"]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The scores with `affirm`, the rate of plain requests at the same concept and seed."""
        return stats.add_affirm(self.scores)


def load_results(names: Sequence[str], folder: Path = FOLDER) -> dict[str, Result]:
    """The published cells or repairs among `names`, by id; those never run are left out.

    Raises `UserError` where one was made from other base weights than the rest.
    """
    found = {}
    for name in names:
        path = folder / f"{name}.json"
        if path.is_file():
            record = json.loads(path.read_text(encoding="utf-8"))
            scores = read_parquet(folder / f"{name}.parquet")
            denied = scores.concept.isin(record["denied"])
            found[name] = Result(record, scores.assign(denied=denied))
    if len(bases := {result.record["base"] for result in found.values()}) > 1:
        raise UserError(
            f"{folder.name} holds models trained from {len(bases)} different base models;"
            " train all of them again"
        )
    return found


def runs_of(results: dict[str, Result], encoder_r: float, denoiser_r: float) -> list[Result]:
    """The models trained at these rates, one a training seed, in the order of their seeds.

    A model that was trained longer than the others is none of them."""
    same = [r for r in results.values() if r.rates == (encoder_r, denoiser_r) and r.times == 1]
    return sorted(same, key=lambda r: r.record["cell"]["seed"])


def instructions(
    *conditions: str,
    heldout: bool | None = None,
    taught: bool | None = None,
    wording: str | None = None,
) -> Pick:
    """Which prompts with one object to look at: of these conditions (default: the instructions to
    forget what is then asked for), in held-out or trained wordings, about objects that training
    captions denied or never did, in one wording only. None is all."""

    def pick(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows[rows.condition.isin(conditions or INSTRUCTIONS) & ~rows.pair.astype(bool)]
        if heldout is not None:
            rows = rows[rows.heldout.astype(bool) == heldout]
        if taught is not None:
            rows = rows[rows.denied == taught]
        return rows if wording is None else rows[rows.wording == wording]

    return pick


# About objects that captions denied: what the hypotheses are judged by, and a plain "without".
TRAINED = instructions(heldout=False, taught=True)
HELD_OUT = instructions(heldout=True, taught=True)
PLAIN = instructions("negate", heldout=False, taught=True)


def contrast(*terms: tuple[float, list[Result], Pick], level: float = stats.LEVEL) -> Estimate:
    """Sum of weight x suppression over terms (weight, models, rows).

    Each term names one model a training seed, the same seeds in every term. What is common to two
    models of one seed, or to a concept or a wording in all terms, cancels.

    >>> contrast((1, taught, instructions(heldout=False)), (-1, untaught, ...))  # doctest: +SKIP
    """
    weights = np.array([weight for weight, _, _ in terms])
    tables = [[pick(run.rows) for run in runs] for _, runs, pick in terms]
    if not tables or not all(tables) or len({len(runs) for runs in tables}) > 1:
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    tables = [_with_runs(runs) for runs in tables]
    levels = _levels(pd.concat(tables))
    columns = ["present", "affirm"]
    sums = np.concatenate([
        stats.crossed_sums(rows[rows.affirm.notna()], columns, levels) for rows in tables
    ], axis=-1)  # fmt: skip

    def statistic(totals):
        return (1 - stats.ratio(totals.reshape(*totals.shape[:-1], len(terms), 2))) @ weights

    found = stats.crossed_interval(sums, statistic, level)
    return Estimate(*found, sum(map(len, tables)), *reversed(sums.shape[:3]))


def _with_runs(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of the models of one cell, with the column run."""
    return pd.concat([rows.assign(run=run) for run, rows in enumerate(tables)])


def _levels(rows: pd.DataFrame) -> list[list]:
    return [sorted(rows[name].unique()) for name in FACTORS]


def suppression(runs: list[Result], pick: Pick) -> Estimate:
    """Suppression in the models of one cell; where all pictures agree, not narrower than Wilson."""
    found = contrast((1, runs, pick))
    if np.isnan(found.value):
        return found
    rows = pd.concat([pick(run.rows) for run in runs])
    floor = stats.suppression(rows)
    low, high = min(found.low, floor.low), min(max(found.high, floor.high), 1.0)
    return replace(found, low=low, high=high)


def effect(runs: list[Result], pick: Pick) -> Estimate:
    """What instructions change by themselves: the paired difference to their controls, in the
    models of one cell; where all pairs agree, not narrower than independent pairs would be."""
    if not runs:
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    rows = _with_runs([pick(stats.add_control(run.scores)) for run in runs])
    rows = rows.dropna(subset="difference").assign(one=1.0)
    if not len(rows):
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    sums = stats.crossed_sums(rows, ["difference", "one"], _levels(rows))
    value, low, high = stats.crossed_interval(sums, stats.ratio, ends=stats.within(-1, 1))
    floor = stats.agresti_min(rows.difference)
    low, high = float(np.fmin(low, floor[0])), float(np.fmax(high, floor[1]))
    return Estimate(value, low, high, len(rows), *reversed(sums.shape[:3]))


def factorial(results: dict[str, Result], pick: Pick, r: float = 0.2) -> dict[str, Estimate]:
    """The 2x2 of encoder and denoiser: what teaching each adds, averaged over the other, and their
    interaction (both, beyond the sum of either)."""
    cells = {(e, d): runs_of(results, e, d) for e in (0.0, r) for d in (0.0, r)}
    weights = {
        "encoder": {(r, r): 0.5, (r, 0): 0.5, (0, r): -0.5, (0, 0): -0.5},
        "denoiser": {(r, r): 0.5, (0, r): 0.5, (r, 0): -0.5, (0, 0): -0.5},
        "interaction": {(r, r): 1, (r, 0): -1, (0, r): -1, (0, 0): 1},
    }
    return {
        name: contrast(*((w, cells[cell], pick) for cell, w in of.items()))
        for name, of in weights.items()
    }


def quality(result: Result) -> float:
    """How often a model shows an object that it is plainly asked for."""
    return float(result.record["quality"][ASKED])


def keeps_quality(result: Result, asked: float) -> bool:
    """Whether it shows asked objects about as often as the shipped model, which does in `asked`."""
    return quality(result) >= asked - KEPT


def usable(results: dict[str, Result]) -> dict[str, Result]:
    """The models that hypotheses may be judged by."""
    return {name: result for name, result in results.items() if quality(result) >= USABLE}
