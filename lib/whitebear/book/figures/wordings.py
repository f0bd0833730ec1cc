"""Figures of the whole prompt grid, in the style of `figures`."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whitebear import stats
from whitebear.book.figures.style import (
    FAINT,
    MUTED,
    STYLE,
    closed,
    dot,
    look_of,
    share_axis,
    signed_percent,
    with_holes,
)
from whitebear.prompts import in_order, load_wordings, name_of


def conditions(scores: pd.DataFrame) -> Figure:
    """The rate of the concept under every condition, between the floor and the ceiling.

    Filled: the condition with its interval; hollow: the controls of its wordings; ticks below: each
    of its wordings. On the right the paired difference to the controls, in points.
    """
    table = stats.summary(scores).set_index("condition")
    twins = stats.add_twin(scores).groupby("condition").twin.mean()
    order = in_order(table.index)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.4, 0.9 + 0.42 * len(order)))
        for y, condition in enumerate(order):
            look, rate = look_of(condition), table.rate[condition]
            for value in scores[scores.condition == condition].groupby("wording").present.mean():
                axes.plot(value, y + 0.28, "|", color=look["color"], markersize=6)
            if condition in twins:
                axes.plot([twins[condition], rate.value], [y, y], color=look["color"], alpha=0.35,
                          linewidth=2.5, zorder=1)  # fmt: skip
                axes.plot(twins[condition], y, linestyle="", markerfacecolor="white", markersize=6,
                          **look)  # fmt: skip
            dot(axes, y, rate.value, rate.low, rate.high, markersize=7, **look)
            _beside(axes, y, table.loc[condition])
        for condition in {"affirm", "omit"} & set(table.index):
            axes.axvline(table.rate[condition].value, color=MUTED, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(order)), [name_of(name) for name in order])
        axes.set_ylim(len(order) - 0.4, -1.0)
        _heading(axes, -0.85)
        share_axis(axes, "pictures with the concept, %")
    return closed(figure)


def _beside(axes: Axes, y: float, row: pd.Series) -> None:
    change = row.difference.percent().replace(" %", "") if row.difference.n else "its own control"
    colour = {} if row.difference.n else {"color": MUTED}
    axes.annotate(change, (1.06, y), va="center", fontsize=8, annotation_clip=False, **colour)
    axes.annotate(f"{row.n}", (1.44, y), va="center", ha="right", fontsize=8, color=MUTED,
                  annotation_clip=False)  # fmt: skip


def _heading(axes: Axes, y: float) -> None:
    for x, text, align in ((1.06, "change [95 %]", "left"), (1.44, "n", "right")):
        axes.annotate(text, (x, y), va="center", ha=align, fontsize=8, weight="bold",
                      annotation_clip=False)  # fmt: skip


def wordings(table: pd.DataFrame) -> Figure:
    """What each instruction changes against its own control, in points, sorted by condition.

    table: of `stats.by_wording`. Filled: held-out wordings; hollow: wordings with words that a few
    training captions use to negate. Bold: p < 0.05 after Holm's adjustment for all of them.
    """
    texts = load_wordings().set_index("id").text
    order = [w for c in in_order(table.condition) for w in table.index[table.condition == c]]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.4, 0.8 + 0.33 * len(order)))
        for y, (_, row) in enumerate(table.loc[order].iterrows()):
            look, found = look_of(row.condition), row.difference
            face = {} if row.heldout else {"markerfacecolor": "white"}
            dot(axes, y, found.value, found.low, found.high, **look, **face)
            weight = "bold" if row.p_holm < 0.05 else "normal"
            axes.annotate(found.percent().replace(" %", ""), (1.02, y), va="center", fontsize=7,
                          weight=weight, annotation_clip=False,
                          xycoords=axes.get_yaxis_transform())  # fmt: skip
        labels = [textwrap.fill(with_holes(texts[w]), 64) for w in order]
        axes.set_yticks(range(len(order)), labels, fontsize=6.5, linespacing=0.95)
        axes.set_ylim(len(order) - 0.4, -0.6)
        _points_axis(axes, "change against its control, points")
    return closed(figure)


def _points_axis(axes: Axes, label: str) -> None:
    axes.axvline(0, color=MUTED, linewidth=0.8)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -0.25), max(high, 0.25))
    axes.xaxis.set_major_formatter(signed_percent)
    axes.set_xlabel(label)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.tick_params(axis="y", length=0)


def differences(table: pd.DataFrame, label: str, names: Sequence[str]) -> Figure:
    """Differences (column `difference`, `stats.Estimate`s; index condition) as dots, in points."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.8, 0.9 + 0.42 * len(table)))
        for y, (condition, found) in enumerate(table.difference.items()):
            dot(axes, y, found.value, found.low, found.high, markersize=7, **look_of(condition))
            text = f"{found.percent().replace(' %', '')}   n = {found.n}"
            axes.annotate(text, (1.03, y), va="center", fontsize=8, annotation_clip=False,
                          xycoords=axes.get_yaxis_transform())  # fmt: skip
        axes.set_yticks(range(len(table)), list(names))
        axes.set_ylim(len(table) - 0.5, -0.5)
        _points_axis(axes, label)
    return closed(figure)
