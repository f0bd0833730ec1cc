"""Figures of the population: wordings and clauses, a group of models a row or a panel."""

import textwrap

import pandas as pd
from matplotlib.figure import Figure

from whitebear.book.figures.clauses import REQUESTS
from whitebear.book.figures.forest import forest, share_axis
from whitebear.book.figures.style import (
    MARKERS,
    MUTED,
    PALETTE,
    in_style,
    legend_beside,
    with_holes,
)

HOLLOW = {"color": MUTED, "marker": MARKERS[1], "markerfacecolor": "white"}
CONTROLLED = {"its control": HOLLOW, "told": {"color": PALETTE[0], "marker": MARKERS[0]}}
VERBS = {
    "neutral verbs": HOLLOW,
    "forget": {"color": PALETTE[0], "marker": MARKERS[0]},
    "leave out": {"color": PALETTE[4], "marker": MARKERS[3]},
}


@in_style
def wordings(panels: dict[str, pd.DataFrame]) -> Figure:
    """A panel a wording, a row a group of models: pictures that show the concept, under the wording
    and under its control, joined by a line.

    panels: of `what_captions_said.wordings`.
    """
    panels = {with_holes(text, 60): table for text, table in panels.items()}
    figure = forest(panels, _look(CONTROLLED), width=6.4, down=True, linked=True)
    for axes in figure.axes:
        share_axis(axes, "pictures with it, %" if axes is figure.axes[-1] else "")
    legend_beside(figure.axes[0])
    return figure


@in_style
def winners(panels: dict[str, pd.DataFrame]) -> Figure:
    """A panel a group of models, a row what is asked for and which clause comes first: pictures
    that show the concept, under the neutral verbs and under each that forbids.

    panels: of `what_captions_said.winners`.
    """
    panels = {textwrap.fill(group, 16): table for group, table in panels.items()}
    figure = forest(panels, _look(VERBS), _place, 2.4 + 2.0 * len(panels), 0.3)
    for axes in figure.axes:
        share_axis(axes, "pictures, %")
    legend_beside(figure.axes[-1])
    return figure


def _look(looks: dict[str, dict]):
    return lambda _, mark: looks[mark] | {"markersize": 5, "label": mark}


def _place(place: tuple[str, str]) -> str:
    request, order = place
    return f"{REQUESTS[request]}, verb {order}"
