"""Rows of dots with their intervals: the one figure that most chapters show.

`forest` draws the panels, their rows and the marks in them; the functions below it add to a panel
what only some figures have: single values, text beside the rows, lines, and the scale of the axis.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whitebear.book.figures.style import FAINT, MARKERS, MUTED, PALETTE, signed_percent
from whitebear.stats import Estimate

Look = Callable[[Hashable, Hashable], dict]


def forest(
    panels: Mapping[str, pd.DataFrame],
    look: Look = lambda *_: {"color": PALETTE[0], "marker": MARKERS[0]},
    name: Callable[[Hashable], str] = str,
    width: float = 6.4,
    row: float = 0.36,
    down: bool = False,
    own_scales: bool = False,
    linked: bool = False,
) -> Figure:
    """A panel a table of `Estimate`s: its index are the rows, its columns the marks in each row.

    look(row, mark): colour, marker and what else a dot is to have; its label goes to the legend.
    name: what the axis calls a row; width of the figure and height of a row in inches.
    down: panels below each other, on one scale or each on its own; else side by side, with the
    same rows.
    linked: the marks of a row are joined, as an instruction with its control, not set apart.
    """
    rows = [max(1, len(table)) for table in panels.values()]
    height = 0.5 + 0.3 * len(rows) + row * sum(rows) if down else 0.8 + row * max(rows)
    figure, grid = plt.subplots(
        *((len(rows), 1) if down else (1, len(rows))), figsize=(width, height), squeeze=False,
        sharex=down and not own_scales, sharey=not down, height_ratios=rows if down else None,
    )  # fmt: skip
    for axes, (title, table), n in zip(grid.flat, panels.items(), rows, strict=True):
        axes.set_title(title, loc="left" if down else "center")
        _marks(axes, table, look, linked)
        axes.set_yticks(range(len(table)), [name(row) for row in table.index])
        axes.set_ylim(n - 0.5, -0.5)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.tick_params(axis="y", length=0)
    return figure


def _marks(axes: Axes, table: pd.DataFrame, look: Look, linked: bool) -> None:
    for y, (row, estimates) in enumerate(table.iterrows()):
        shifts = 0.7 * ((np.arange(len(estimates)) + 0.5) / len(estimates) - 0.5)
        for (mark, estimate), shift in zip(estimates.items(), shifts, strict=True):
            once = {} if y == 0 else {"label": None}
            dot(axes, y if linked else y + shift, estimate, **look(row, mark) | once)
        if linked:
            ends = [estimate.value for estimate in estimates]
            axes.plot(ends, [y] * len(ends), color=look(row, estimates.index[-1])["color"],
                      linewidth=2.5, alpha=0.4, zorder=1)  # fmt: skip


def dot(axes: Axes, y: float, estimate: Estimate, **look) -> None:
    """A dot with its interval; no interval where there is none, nothing where there is no value."""
    ends = [estimate.low, estimate.high]
    axes.plot(ends, [y, y], color=look["color"], zorder=2, solid_capstyle="butt")
    axes.plot(estimate.value, y, linestyle="", zorder=3, **{"markersize": 5} | look)


def point(value: float) -> Estimate:
    """A value to show without an interval."""
    return Estimate(float(value), np.nan, np.nan, 0, 0)


def singles(axes: Axes, y: float, values: Iterable[float], **look) -> None:
    """The values that a row sums up, as small marks below its dot."""
    values = list(values)
    axes.plot(values, [y + 0.27] * len(values), linestyle="",
              **{"marker": "|", "markersize": 6} | look)  # fmt: skip


def beside(
    axes: Axes, texts: Iterable[str], heading: str = "", x: float = 1.03,
    bold: Collection[int] = (), **look,
) -> None:  # fmt: skip
    """A text at the right of each row, those of the rows in `bold` in bold, and one above them."""
    look = {"va": "center", "fontsize": 8, "annotation_clip": False} | look
    where = axes.get_yaxis_transform()
    for y, text in enumerate(texts):
        weight = "bold" if y in bold else "normal"
        axes.annotate(text, (x, y), xycoords=where, weight=weight, **look)
    if heading:
        _head_room(axes)
        look |= {"weight": "bold", "color": axes.title.get_color()}
        axes.annotate(heading, (x, -0.75), xycoords=where, **look)


def guide(axes: Axes, value: float, style: str = "-", text: str = "", color: str = MUTED) -> None:
    """A value to hold the dots against, and what it is."""
    axes.axvline(value, color=color, linewidth=0.8, linestyle=style, zorder=1)
    if text:
        _head_room(axes)
        axes.annotate(text, (value, -0.75), ha="center", va="center", fontsize=7, color=color,
                      annotation_clip=False, zorder=2,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip


def _head_room(axes: Axes) -> None:
    axes.set_ylim(top=-1.05)


def share_axis(axes: Axes, label: str, low: float = -0.04) -> None:
    """A scale of shares from 0 to 100 %, or from `low`."""
    axes.set_xlim(low, 1.04)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
    axes.set_xlabel(label)


def change_axis(axes: Axes, label: str, low: float = -0.25, high: float = 0.25) -> None:
    """A scale of changes in points, at least from `low` to `high`."""
    left, right = axes.get_xlim()
    axes.set_xlim(min(left, low), max(right, high))
    axes.xaxis.set_major_formatter(signed_percent)
    axes.set_xlabel(label)
