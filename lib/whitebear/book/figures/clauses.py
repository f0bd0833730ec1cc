"""Which clause wins: each verb beside the neutral ones, in every frame and with every request."""

import pandas as pd
from matplotlib.figure import Figure

from whitebear.book.figures.forest import beside, forest, point, share_axis, singles
from whitebear.book.figures.style import MARKERS, MUTED, PALETTE, in_style

REQUESTS = {"name": "it by name", "description": "it by description", "place": "a place",
            "other": "another object"}  # fmt: skip
LOOKS = {
    "neutral verbs": {"color": MUTED, "marker": MARKERS[1], "markerfacecolor": "white"},
    "first": {"color": PALETTE[0], "marker": MARKERS[0]},
    "last": {"color": PALETTE[4], "marker": MARKERS[3]},
}


@in_style
def clauses(table: pd.DataFrame, order: str = "first") -> Figure:
    """How often the concept is drawn: a panel a verb that forbids, a row a frame and what is asked
    for. Filled: the verb with its interval; hollow: the mean of the neutral verbs; ticks: each of
    them. On the right the change with its interval, in points, bold where that excludes 0.

    table: of `measures.clauses.effects`; order: whether the verb comes first or last.
    """
    table = table.xs(order, level="order")
    verbs, neutral = table[~table.neutral], table[table.neutral]
    each = neutral.rate.map(lambda rate: rate.value).groupby(["frame", "request", "subject"])
    panels = {}
    for verb, rows in verbs.groupby("verb", sort=False):
        rows = rows.droplevel("verb").sort_index(level="frame", sort_remaining=False)
        panels[verb] = rows[["control_value", "rate", "difference"]]
    marks = {
        verb: pd.DataFrame({"neutral verbs": rows.control_value.map(point), order: rows.rate})
        for verb, rows in panels.items()
    }
    look = lambda _, mark: LOOKS[mark] | {"markersize": 5}  # noqa: E731
    figure = forest(marks, look, _row, 2.6 + 3.2 * len(panels), 0.3, linked=True)
    for axes, rows in zip(figure.axes, panels.values(), strict=True):
        for y, place in enumerate(rows.index):
            singles(axes, y, each.get_group(place), color=MUTED, markersize=5)
        changes = [e.percent().replace(" %", "") for e in rows.difference]
        bold = {y for y, e in enumerate(rows.difference) if e.low > 0 or e.high < 0}
        beside(axes, changes, "change [95 %]", bold=bold, fontsize=7)
        share_axis(axes, "pictures with it, %")
    return figure


def _row(place: tuple[str, str, str]) -> str:
    frame, request, subject = place
    asked = REQUESTS[request]
    return f"{frame}: {asked}" + (", verb about another" if subject == "other" else "")
