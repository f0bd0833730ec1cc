"""Figure of obedience that was shown in captions: how much of it is obeyed at which dose."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from whitebear.book.figures.style import (
    FAINT,
    MARKERS,
    MUTED,
    PALETTE,
    in_style,
    legend_beside,
    plt,
)
from whitebear.book.report.rules import HALF

COLOURS = (PALETTE[0], PALETTE[4], PALETTE[2], PALETTE[3])


@in_style
def learned(panels: dict[str, pd.DataFrame]) -> Figure:
    """A panel a member: across, the share of captions that showed obedience; up, how much of the
    object “forget” takes away, against neutral verbs, with its interval; a line for each of what
    was asked. From the dotted line on, half is gone.

    panels: of `what_captions_said.learning.curves`; doses of NaN are marked as missing.
    """
    figure, grid = plt.subplots(
        1, len(panels), figsize=(1.6 + 2.7 * len(panels), 3.2), sharey=True, squeeze=False
    )
    for axes, (member, table) in zip(grid.flat, panels.items(), strict=True):
        axes.set_title(member)
        axes.axhline(HALF, color=MUTED, linewidth=0.8, linestyle=":")
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        for i, asked in enumerate(table.columns):
            _line(axes, table[asked], i, len(table.columns))
        _missing(axes, table)
        axes.set_xticks(range(len(table)), [f"{100 * d:g}" for d in table.index])
        axes.set(xlim=(-0.5, len(table) - 0.5), ylim=(-0.35, 1.05),
                 xlabel="captions that show it, %")  # fmt: skip
    grid.flat[0].set_ylabel("taken away by “forget”")
    grid.flat[0].yaxis.set_major_formatter(PercentFormatter(1))
    legend_beside(grid.flat[-1])
    return figure


def _line(axes: Axes, found: pd.Series, i: int, n: int) -> None:
    x = np.arange(len(found)) + 0.17 * (i - (n - 1) / 2)
    colour = COLOURS[i % len(COLOURS)]
    values = np.array([e.value for e in found], float)
    axes.plot(x, values, color=colour, marker=MARKERS[i], markersize=4.5, label=found.name)
    axes.vlines(x, [e.low for e in found], [e.high for e in found], color=colour, linewidth=1.2)


def _missing(axes: Axes, table: pd.DataFrame) -> None:
    """Doses of which no model is there (no picture was counted), by name; or the whole panel."""
    empty = [not any(e.n for e in row) for _, row in table.iterrows()]
    about = {"ha": "center", "va": "center", "color": MUTED, "fontsize": 8}
    if all(empty):
        axes.text(0.5, 0.3, "not trained yet", transform=axes.transAxes, **about)
        return
    for x in np.flatnonzero(empty):
        axes.text(x, -0.2, "missing", rotation=90, **about)
