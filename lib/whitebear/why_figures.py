"""Figures of the taught cells, in the style of `figures`: suppression, from none to all."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whitebear import why
from whitebear.figures import FAINT, INK, MARKERS, MUTED, PALETTE, STYLE, closed, dot
from whitebear.why import Pick, Result, instructions

GROUPS: dict[str, Pick] = {
    "trained wordings": instructions(heldout=False, taught=True),
    "held-out wordings": instructions(heldout=True, taught=True),
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
            seeds = len(why.runs_of(results, *cell))
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
    """Suppression of taught objects against the rate at which both parts saw negated captions."""
    rates = sorted({e for e, d in (result.rates for result in results.values()) if e == d})
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.0, 3.2))
        for i, (name, pick) in enumerate(GROUPS.items()):
            found = [why.suppression(why.runs_of(results, r, r), pick) for r in rates]
            at = [x + 0.09 * (i - 1) for x in range(len(rates))]
            axes.vlines(at, [e.low for e in found], [e.high for e in found], color=PALETTE[i])
            axes.plot(at, [e.value for e in found], color=PALETTE[i], marker=MARKERS[i], label=name)
        labels = [percent(r) + (f"\n{NATURAL[r]}" if r in NATURAL else "") for r in rates]
        axes.set_xticks(range(len(rates)), labels)
        axes.set_xlabel("share of training captions that negate")
        suppression_axis(axes)
        axes.legend(frameon=False, loc="upper left")
    return closed(figure)


def cells(results: dict[str, Result], order: Sequence[tuple[float, float]], groups=None) -> Figure:
    """A panel a group of prompts, a row a cell (encoder rate, denoiser rate); small marks: single
    training seeds. Dashed: from where a model is said to obey."""
    groups = groups or GROUPS
    with plt.rc_context(STYLE):
        size = (2.2 + 2.0 * len(groups), 1.0 + 0.36 * len(order))
        figure, panels = plt.subplots(1, len(groups), figsize=size, sharey=True, squeeze=False)
        for axes, (title, pick) in zip(panels[0], groups.items(), strict=True):
            for y, cell in enumerate(order):
                runs = why.runs_of(results, *cell)
                found = why.suppression(runs, pick)
                dot(axes, y, found.value, found.low, found.high, color=PALETTE[0], marker="o")
                for run in runs if len(runs) > 1 else ():
                    axes.plot(why.suppression([run], pick).value, y + 0.25, "|", color=INK)
            axes.axvline(why.OBEYS, color=MUTED, linewidth=0.8, linestyle="--")
            axes.set_title(title)
            axes.set_xlim(-0.15, 1.04)
            axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
            axes.set_xlabel("suppression, %")
            axes.grid(axis="x", color=FAINT, linewidth=0.6)
        names = [f"encoder {percent(e)}, denoiser {percent(d)}" for e, d in order]
        panels[0][0].set_yticks(range(len(order)), names)
        panels[0][0].set_ylim(len(order) - 0.5, -0.5)
    return closed(figure)


def repairs(results: dict[str, Result]) -> Figure:
    """Left: suppression by trained wordings after some steps of training one part only. Right: what
    that costs, the share of pictures that show an object that was plainly asked for."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0))
        for i, (part, name) in enumerate(PARTS.items()):
            look = {"color": PALETTE[i], "marker": MARKERS[i], "label": name}
            table = repair_table(results, part)
            left.vlines(table.steps, table.low, table.high, color=PALETTE[i])
            left.plot(table.steps, table.value, **look)
            right.plot(table.steps, table.asked, **look)
        for axes in (left, right):
            axes.set_xscale("log")
            steps = sorted({r.record["cell"]["steps"] for r in results.values()})
            axes.set_xticks(steps, [str(s) for s in steps])
            axes.minorticks_off()
            axes.set_xlabel("training steps")
        suppression_axis(left)
        right.set_ylim(0, 1.04)
        right.set_yticks([0, 0.5, 1], ["0", "50", "100"])
        right.set_ylabel("asked object present, %")
        right.legend(frameon=False, loc="lower left")
    return closed(figure)


def repair_table(results: dict[str, Result], part: str) -> pd.DataFrame:
    """One row a repair of a part with the most examples: steps, value, low, high, asked."""
    mine = {k: r for k, r in results.items() if r.record["cell"]["part"] == part}
    most = max((r.record["cell"]["examples"] for r in mine.values()), default=0)
    rows = []
    for result in mine.values():
        if result.record["cell"]["examples"] == most:
            found = why.suppression([result], GROUPS["trained wordings"])
            rows.append((result.record["cell"]["steps"], found.value, found.low, found.high,
                         why.quality(result)))  # fmt: skip
    return pd.DataFrame(rows, columns=["steps", "value", "low", "high", "asked"]).sort_values(
        "steps"
    )


def suppression_axis(axes: Axes) -> None:
    """A vertical axis of suppression, with the line from which a model obeys."""
    axes.axhline(why.OBEYS, color=MUTED, linewidth=0.8, linestyle="--")
    axes.set_ylim(-0.15, 1.04)
    axes.set_yticks([0, 0.5, 1], ["0", "50", "100"])
    axes.set_ylabel("suppression, %")
    axes.grid(axis="y", color=FAINT, linewidth=0.6)


def percent(rate: float) -> str:
    """A rate as the book writes it: "0.58 %"."""
    return f"{100 * rate:.3g} %"
