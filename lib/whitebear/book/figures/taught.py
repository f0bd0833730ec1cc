"""What taught models do: suppression and effects by cell, dose and repair."""

from collections.abc import Callable, Sequence
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whitebear.book.figures.forest import change_axis, forest, guide, share_axis, singles
from whitebear.book.figures.style import FAINT, INK, MARKERS, MUTED, PALETTE, in_style
from whitebear.book.report import rules
from whitebear.pocket.experiments import results as why
from whitebear.pocket.experiments.results import Pick, Result, instructions
from whitebear.prompts import name_of
from whitebear.stats import Estimate

Measure = Callable[[list[Result]], Estimate]
GROUPS: dict[str, Pick] = {
    "trained wordings": why.TRAINED,
    "held-out wordings": why.HELD_OUT,
    "the paper's wording": instructions(wording=why.PAPER, taught=True),
}
NATURAL = {0.0058: "LAION-400M", 0.0253: "CC12M"}  # where captions of the web negate as often
DENIED = {True: 0, False: 4}  # whether captions denied an object -> its place in the palette
PARTS = {"kv": "keys and values of cross-attention", "text": "text encoder"}


@in_style
def design(results: dict[str, Result]) -> Figure:
    """Which models there are: a square a cell, and in it the number of its training seeds."""
    rates = sorted({rate for result in results.values() for rate in result.rates})
    place = {rate: i for i, rate in enumerate(rates)}
    figure, axes = plt.subplots(figsize=(4.6, 3.4))
    for cell in dict.fromkeys(result.rates for result in results.values()):
        x, y = (place[rate] for rate in cell)
        if not (seeds := len(why.runs_of(results, *cell))):
            continue
        axes.plot(x, y, "s", color=PALETTE[0], markersize=30, alpha=0.25 + 0.25 * seeds)
        axes.annotate(f"{seeds}", (x, y), ha="center", va="center", weight="bold")
    labels = [percent(rate) for rate in rates]
    axes.set_xticks(range(len(rates)), labels)
    axes.set_yticks(range(len(rates)), labels)
    axes.set(xlim=(-0.6, len(rates) - 0.4), ylim=(-0.6, len(rates) - 0.4))
    axes.set_xlabel("negated captions for the text encoder")
    axes.set_ylabel("negated captions for the denoiser")
    axes.grid(color=FAINT, linewidth=0.6)
    return figure


@in_style
def dose(results: dict[str, Result]) -> Figure:
    """Suppression of denied objects against the rate at which both parts saw negated captions: by
    instructions to forget, and by a plain “without”."""
    rates = sorted({e for e, d in (result.rates for result in results.values()) if e == d})
    figure, axes = plt.subplots(figsize=(6.0, 3.2))
    groups = {f"to forget, {name}": pick for name, pick in GROUPS.items()}
    for i, (name, pick) in enumerate((groups | {"a plain “without”": why.PLAIN}).items()):
        found = [why.suppression(why.runs_of(results, r, r), pick) for r in rates]
        at = [x + 0.07 * (i - 1.5) for x in range(len(rates))]
        axes.vlines(at, [e.low for e in found], [e.high for e in found], color=PALETTE[i])
        axes.plot(at, [e.value for e in found], color=PALETTE[i], marker=MARKERS[i], label=name)
    labels = [percent(r) + (f"\n{NATURAL[r]}" if r in NATURAL else "") for r in rates]
    axes.set_xticks(range(len(rates)), labels)
    axes.set_xlabel("share of training captions that negate")
    suppression_axis(axes)
    axes.legend(loc="upper left")
    return figure


@in_style
def suppressions(results: dict[str, Result], order: Sequence[tuple[float, float]]) -> Figure:
    """Suppression in the declared groups of prompts: a panel a group, a row a cell (encoder rate,
    denoiser rate); bars: single training seeds; dashed: from where a model is said to obey."""
    measures = {name: partial(why.suppression, pick=pick) for name, pick in GROUPS.items()}
    return _up_to_obedience(_cells(results, order, measures))


@in_style
def effects(
    results: dict[str, Result], order: Sequence[tuple[float, float]], conditions: Sequence[str]
) -> Figure:
    """What kinds of instruction change against their controls: a panel a condition, a row a cell
    (encoder rate, denoiser rate); bars: single training seeds; dashed: half of the pictures."""
    picks = {name_of(c): instructions(c, heldout=False, taught=True) for c in conditions}
    measures = {name: partial(why.effect, pick=pick) for name, pick in picks.items()}
    figure = _cells(results, order, measures)
    for axes in figure.axes:
        guide(axes, -rules.HALF, "--")
        axes.set_xticks([-1, -0.5, 0])
        change_axis(axes, "change, points", -1.04, 0.15)
    return figure


def _up_to_obedience(figure: Figure) -> Figure:
    """Panels of suppression on one scale, with the line from which a model obeys."""
    low = min(-0.25, *(axes.dataLim.x0 - 0.02 for axes in figure.axes))
    for axes in figure.axes:
        guide(axes, rules.HALF, "--")
        share_axis(axes, "suppression, %", low)
    return figure


def _cells(results: dict[str, Result], order, measures: dict[str, Measure]) -> Figure:
    runs = {cell: why.runs_of(results, *cell) for cell in order}
    panels = {
        title: pd.DataFrame({title: {cell: measure(some) for cell, some in runs.items()}})
        for title, measure in measures.items()
    }
    name = lambda cell: "encoder {}, denoiser {}".format(*map(percent, cell))  # noqa: E731
    figure = forest(panels, name=name, width=2.2 + 2.0 * len(panels))
    for axes, measure in zip(figure.axes, measures.values(), strict=True):
        for y, some in enumerate(runs.values()):
            if len(some) > 1:
                singles(axes, y, [measure([run]).value for run in some], color=INK)
    return figure


@in_style
def generalises(runs: list[Result]) -> Figure:
    """A panel a kind of prompt; rows: objects that captions denied or never did, in wordings of
    training or held-out ones."""
    kinds = {"instructions to forget": (), "plain negation": ("negate",)}
    rows = [(True, False), (True, True), (False, False), (False, True)]
    panels = {
        title: pd.DataFrame({"": {
            row: why.suppression(runs, instructions(*conditions, taught=row[0], heldout=row[1]))
            for row in rows
        }})
        for title, conditions in kinds.items()
    }  # fmt: skip
    looks = {taught: {"color": PALETTE[i], "marker": MARKERS[i]} for taught, i in DENIED.items()}
    return _up_to_obedience(forest(panels, lambda row, _: looks[row[0]], _kind_of, 6.6))


def _kind_of(row: tuple[bool, bool]) -> str:
    taught, heldout = row
    return f"{'denied' if taught else 'never denied'}, {'new' if heldout else 'trained'} words"


@in_style
def repairs(results: dict[str, Result]) -> Figure:
    """Suppression by instructions and by “without” after some steps of training one part only,
    and what that costs: the share of pictures that show an object that was plainly asked for."""
    figure, panels = plt.subplots(1, 3, figsize=(8.4, 2.8))
    for i, (part, name) in enumerate(PARTS.items()):
        look = {"color": PALETTE[i], "marker": MARKERS[i], "label": name}
        mine = _with_most_examples(results, part)
        steps = [result.record["cell"]["steps"] for result in mine]
        for axes, pick in zip(panels, (why.TRAINED, why.PLAIN), strict=False):
            found = [why.suppression([result], pick) for result in mine]
            axes.vlines(steps, [e.low for e in found], [e.high for e in found], color=PALETTE[i])
            axes.plot(steps, [e.value for e in found], **look)
        panels[2].plot(steps, [why.quality(result) for result in mine], **look)
    for axes in panels:
        axes.set_xscale("log")
        steps = sorted({r.record["cell"]["steps"] for r in results.values()})
        axes.set_xticks(steps, [str(s) for s in steps])
        axes.minorticks_off()
        axes.set_xlabel("training steps")
    for axes, title in zip(panels, ("instructions to forget", "a plain “without”"), strict=False):
        suppression_axis(axes)
        axes.set_title(title)
    panels[2].set_ylim(0, 1.04)
    panels[2].set_yticks([0, 0.5, 1], ["0", "50", "100"])
    panels[2].set_ylabel("asked object present, %")
    panels[2].set_title("cost")
    panels[2].legend(loc="lower left")
    return figure


def _with_most_examples(results: dict[str, Result], part: str) -> list[Result]:
    """The repairs of a part that had the most scenes to learn from, by their steps."""
    mine = [r for r in results.values() if r.record["cell"]["part"] == part]
    most = max((r.record["cell"]["examples"] for r in mine), default=0)
    chosen = [r for r in mine if r.record["cell"]["examples"] == most]
    return sorted(chosen, key=lambda r: r.record["cell"]["steps"])


def suppression_axis(axes: Axes) -> None:
    """A vertical axis of suppression, with the line from which a model obeys."""
    axes.axhline(rules.HALF, color=MUTED, linewidth=0.8, linestyle="--")
    axes.set_ylim(-0.25, 1.04)
    axes.set_yticks([0, 0.5, 1], ["0", "50", "100"])
    axes.set_ylabel("suppression, %")
    axes.grid(axis="y", color=FAINT, linewidth=0.6)


def percent(rate: float) -> str:
    """A rate as the book writes it: "0.58 %"."""
    return f"{100 * rate:.3g} %"
