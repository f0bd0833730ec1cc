"""Figure of where a clause wins: what a verb changes, stage by stage."""

import pandas as pd
from matplotlib.figure import Figure

from whitebear.book.figures.forest import beside, change_axis, forest, guide
from whitebear.book.figures.style import MARKERS, MUTED, PALETTE, in_style

LOOKS = {
    "elsewhere": {"color": PALETTE[4], "marker": MARKERS[0], "label": "a place is asked for"},
    "asked": {"color": MUTED, "marker": MARKERS[1], "markerfacecolor": "white",
              "label": "the concept is asked for"},
}  # fmt: skip


@in_style
def winning(panels: dict[str, pd.DataFrame]) -> Figure:
    """A panel a model, a row a verb and stage: the change against the neutral verbs where a place
    is asked for (filled) and where the concept is (hollow). On the right what is to be seen there.

    panels: of `what_captions_said.winning.panels`.
    """
    marks = {model: table[list(LOOKS)] for model, table in panels.items()}
    look = lambda _, mark: LOOKS[mark] | {"markersize": 5}  # noqa: E731
    figure = forest(marks, look, lambda row: f"{row[0]}: {row[1]}", 6.4, 0.3, down=True)
    for axes, table in zip(figure.axes, panels.values(), strict=True):
        guide(axes, 0)
        beside(axes, table.word, fontsize=7)
    change_axis(figure.axes[-1], "change, points or %", -1.05, 0.2)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
