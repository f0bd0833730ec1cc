"""Figures of the taught cells, in the style of `figures`: suppression, from none to all."""

from collections.abc import Callable, Sequence
from functools import partial

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from whitebear.book.figures.style import (
    FAINT,
    INK,
    MARKERS,
    MUTED,
    PALETTE,
    STYLE,
    closed,
    dot,
    share_axis,
)
from whitebear.pocket.experiments import results as why
from whitebear.pocket.experiments.results import (
    HELD_OUT,
    PLAIN,
    TRAINED,
    Pick,
    Result,
    instructions,
)
from whitebear.prompts import name_of
from whitebear.stats import Estimate

Measure = Callable[[list[Result]], Estimate]
GROUPS: dict[str, Pick] = {
    "trained wordings": TRAINED,
    "held-out wordings": HELD_OUT,
    "the paper's wording": instructions(wording=why.PAPER, taught=True),
}
NATURAL = {0.0058: "LAION-400M", 0.0253: "CC12M"}  # where captions of the web negate as often
PARTS = {"kv": "keys and values of cross-attention", "text": "text encoder"}


def design(results: dict[str, Result]) -> Figure:
    """Which models there are: a square a cell, and in it the number of its training seeds."""
    rates = sorted({rate for result in results.values() for rate in result.rates})
    place = {rate: i for i, rate in enumerate(rates)}
    with plt.rc_context(STYLE):
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
    return closed(figure)


def dose(results: dict[str, Result]) -> Figure:
    """Suppression of denied objects against the rate at which both parts saw negated captions: by
    instructions to forget, and by a plain “without”."""
    rates = sorted({e for e, d in (result.rates for result in results.values()) if e == d})
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.0, 3.2))
        groups = {f"to forget, {name}": pick for name, pick in GROUPS.items()}
        for i, (name, pick) in enumerate((groups | {"a plain “without”": PLAIN}).items()):
            found = [why.suppression(why.runs_of(results, r, r), pick) for r in rates]
            at = [x + 0.07 * (i - 1.5) for x in range(len(rates))]
            axes.vlines(at, [e.low for e in found], [e.high for e in found], color=PALETTE[i])
            axes.plot(at, [e.value for e in found], color=PALETTE[i], marker=MARKERS[i], label=name)
        labels = [percent(r) + (f"\n{NATURAL[r]}" if r in NATURAL else "") for r in rates]
        axes.set_xticks(range(len(rates)), labels)
        axes.set_xlabel("share of training captions that negate")
        suppression_axis(axes)
        axes.legend(frameon=False, loc="upper left")
    return closed(figure)


def suppressions() -> dict[str, Measure]:
    """Suppression in the declared groups of prompts, as measures for `cells`."""
    return {name: partial(why.suppression, pick=pick) for name, pick in GROUPS.items()}


def effects(*conditions: str) -> dict[str, Measure]:
    """What kinds of instruction change against their controls, as measures for `cells`."""
    picks = {name_of(c): instructions(c, heldout=False, taught=True) for c in conditions}
    return {name: partial(why.effect, pick=pick) for name, pick in picks.items()}


def cells(
    results: dict[str, Result],
    order: Sequence[tuple[float, float]],
    measures: dict[str, Measure],
    label: str = "suppression, %",
    line: float = why.OBEYS,
) -> Figure:
    """A panel a measure, a row a cell (encoder rate, denoiser rate); bars: single training seeds.

    line: dashed, from where a model is said to obey.
    """
    with plt.rc_context(STYLE):
        size = (2.2 + 2.0 * len(measures), 1.0 + 0.36 * len(order))
        figure, panels = plt.subplots(1, len(measures), figsize=size, sharey=True, squeeze=False)
        for axes, (title, measure) in zip(panels[0], measures.items(), strict=True):
            for y, cell in enumerate(order):
                runs = why.runs_of(results, *cell)
                found = measure(runs)
                dot(axes, y, found.value, found.low, found.high, color=PALETTE[0], marker="o")
                for run in runs if len(runs) > 1 else ():
                    axes.plot(measure([run]).value, y + 0.25, "|", color=INK)
            axes.axvline(line, color=MUTED, linewidth=0.8, linestyle="--")
            axes.set_title(title)
            axes.set_xlim(*((-0.25, 1.04) if line > 0 else (-1.04, 0.15)))
            axes.set_xticks([0, 0.5, 1] if line > 0 else [-1, -0.5, 0])
            axes.xaxis.set_major_formatter(FuncFormatter(plain_percent))
            axes.set_xlabel(label)
            axes.grid(axis="x", color=FAINT, linewidth=0.6)
        names = [f"encoder {percent(e)}, denoiser {percent(d)}" for e, d in order]
        panels[0][0].set_yticks(range(len(order)), names)
        panels[0][0].set_ylim(len(order) - 0.5, -0.5)
    return closed(figure)


def generalises(runs: list[Result]) -> Figure:
    """A panel a kind of prompt; rows: objects that captions denied or never did, in wordings of
    training or held-out ones."""
    kinds = {"instructions to forget": (), "plain negation": ("negate",)}
    rows = [(taught, heldout) for taught in (True, False) for heldout in (False, True)]
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(6.6, 2.1), sharey=True)
        for axes, (title, conditions) in zip(panels, kinds.items(), strict=True):
            for y, (taught, heldout) in enumerate(rows):
                pick = instructions(*conditions, taught=taught, heldout=heldout)
                e = why.suppression(runs, pick)
                look = {"color": PALETTE[0 if taught else 4], "marker": MARKERS[0 if taught else 4]}
                dot(axes, y, e.value, e.low, e.high, **look)
            axes.axvline(why.OBEYS, color=MUTED, linewidth=0.8, linestyle="--")
            axes.set_title(title)
            share_axis(axes, "suppression, %", low=-0.25)
        objects, words = {True: "denied", False: "never denied"}, {True: "new", False: "trained"}
        names = [f"{objects[taught]}, {words[heldout]} words" for taught, heldout in rows]
        panels[0].set_yticks(range(len(rows)), names)
        panels[0].set_ylim(len(rows) - 0.5, -0.5)
    return closed(figure)


def repairs(results: dict[str, Result]) -> Figure:
    """Suppression by instructions and by “without” after some steps of training one part only,
    and what that costs: the share of pictures that show an object that was plainly asked for."""
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 3, figsize=(8.4, 2.8))
        for i, (part, name) in enumerate(PARTS.items()):
            look = {"color": PALETTE[i], "marker": MARKERS[i], "label": name}
            mine = _with_most_examples(results, part)
            steps = [result.record["cell"]["steps"] for result in mine]
            for axes, pick in zip(panels, (TRAINED, PLAIN), strict=False):
                found = [why.suppression([result], pick) for result in mine]
                axes.vlines(
                    steps, [e.low for e in found], [e.high for e in found], color=PALETTE[i]
                )
                axes.plot(steps, [e.value for e in found], **look)
            panels[2].plot(steps, [why.quality(result) for result in mine], **look)
        for axes in panels:
            axes.set_xscale("log")
            steps = sorted({r.record["cell"]["steps"] for r in results.values()})
            axes.set_xticks(steps, [str(s) for s in steps])
            axes.minorticks_off()
            axes.set_xlabel("training steps")
        for axes, title in zip(
            panels, ("instructions to forget", "a plain “without”"), strict=False
        ):
            suppression_axis(axes)
            axes.set_title(title)
        panels[2].set_ylim(0, 1.04)
        panels[2].set_yticks([0, 0.5, 1], ["0", "50", "100"])
        panels[2].set_ylabel("asked object present, %")
        panels[2].set_title("cost")
        panels[2].legend(frameon=False, loc="lower left")
    return closed(figure)


def _with_most_examples(results: dict[str, Result], part: str) -> list[Result]:
    """The repairs of a part that had the most scenes to learn from, by their steps."""
    mine = [r for r in results.values() if r.record["cell"]["part"] == part]
    most = max((r.record["cell"]["examples"] for r in mine), default=0)
    chosen = [r for r in mine if r.record["cell"]["examples"] == most]
    return sorted(chosen, key=lambda r: r.record["cell"]["steps"])


def suppression_axis(axes: Axes) -> None:
    """A vertical axis of suppression, with the line from which a model obeys."""
    axes.axhline(why.OBEYS, color=MUTED, linewidth=0.8, linestyle="--")
    axes.set_ylim(-0.25, 1.04)
    axes.set_yticks([0, 0.5, 1], ["0", "50", "100"])
    axes.set_ylabel("suppression, %")
    axes.grid(axis="y", color=FAINT, linewidth=0.6)


def percent(rate: float) -> str:
    """A rate as the book writes it: "0.58 %"."""
    return f"{100 * rate:.3g} %"


def plain_percent(value: float, _=None) -> str:
    """A tick label in per cent without its sign: "50", "−50"."""
    return f"{100 * value:.0f}".replace("-", "−")
