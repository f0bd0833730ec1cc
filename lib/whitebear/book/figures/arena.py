"""Figures of the arena: what each method removes against what it leaves, and its pictures."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whitebear.arena.entries import PLACES
from whitebear.book.figures.galleries import _show
from whitebear.book.figures.style import FAINT, INK, MARKERS, MUTED, PALETTE, in_style
from whitebear.errors import UserError
from whitebear.stats import Estimate

KEPT = {
    "pair": "second object, % of untouched",
    "others": "other objects, % of untouched",
}
COLUMNS = 3  # of the legend
MORE_MARKERS = (*MARKERS, "*", "X", "<", ">")  # a place may have many methods


def looks(places: Mapping[str, str]) -> dict[str, dict]:
    """Colour and marker of each method: a colour a place, a marker a method of it. places: by id.

    >>> looks({"a": "words", "b": "words"})["b"]["marker"]
    's'
    """
    colours = [*PALETTE, INK]
    order = [place for place in PLACES if place in places.values()]
    found, seen = {}, {}
    for name, place in places.items():
        seen[place] = seen.get(place, -1) + 1
        colour = colours[order.index(place) % len(colours)]
        found[name] = {"color": colour, "marker": MORE_MARKERS[seen[place] % len(MORE_MARKERS)]}
    return found


@in_style
def frontier(
    curves: Mapping[str, pd.DataFrame],
    tuned: Mapping[str, float],
    places: Mapping[str, str],
    kept: str = "pair",
) -> Figure:
    """What each method removes (across) against what it leaves of other objects (up): a curve a
    method, a dot a strength, the tuned one large, with its intervals. Up and right is better.

    curves: of `arena.tuning.curve`, by id; tuned: strengths; places: of methods.csv; kept: which
    column is up, "pair" or "others".
    """
    if kept not in KEPT:
        raise UserError(f"kept is {kept!r}; use {' or '.join(KEPT)}")
    if not curves:
        raise UserError("there is no curve to show; run the arena first")
    figure, axes = plt.subplots(figsize=(6.4, 4.2 + 0.18 * -(-len(curves) // COLUMNS)))
    axes.grid(color=FAINT, linewidth=0.6)
    axes.axhline(1, color=MUTED, linewidth=0.8)
    for name, look in looks({name: places[name] for name in curves}).items():
        _curve(axes, name, curves[name], kept, tuned.get(name), look)
    values = [found.value for table in curves.values() for found in table[kept]]
    values = [value for value in values if np.isfinite(value)]
    axes.set(xlim=(-0.06, 1.06), ylim=(min(0.5, *values) - 0.04, max(1.1, *values) + 0.04),
             xlabel="suppression of the concept, %", ylabel=KEPT[kept])  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{100 * value:.0f}".replace("-", "−"))
    figure.legend(loc="outside lower center", ncols=COLUMNS, fontsize=8, columnspacing=1.2)
    return figure


def _curve(axes: Axes, name: str, table: pd.DataFrame, kept: str, tuned, look: dict) -> None:
    x = [found.value for found in table.suppression]
    y = [found.value for found in table[kept]]
    small = {"markersize": 4, "markerfacecolor": "white"}
    axes.plot(x, y, linewidth=1, alpha=0.9, zorder=2, clip_on=False, **look | small)
    if tuned in table.index:
        row = table.loc[tuned]
        _cross(axes, row.suppression, row[kept], look["color"])
        strength = f"{tuned:g}".replace("-", "−")
        axes.plot(row.suppression.value, row[kept].value, linestyle="", markersize=8, zorder=4,
                  label=f"{name} ({strength})", clip_on=False, **look)  # fmt: skip
    else:
        axes.plot([], [], label=name, **look | small)


def _cross(axes: Axes, across: Estimate, up: Estimate, color: str) -> None:
    """The intervals of a dot, faint: they are wide."""
    look = {"color": color, "linewidth": 0.9, "alpha": 0.35, "zorder": 1}
    axes.plot([max(across.low, -0.06), across.high], [up.value] * 2, **look)
    axes.plot([across.value] * 2, [up.low, up.high], **look)


@in_style
def same_noise(tables: Mapping[str, pd.DataFrame], concepts: Sequence[str], family: str) -> Figure:
    """Pictures of the same prompts from the same noise: a row a method, a column a concept.

    tables: table `arena` of each method at one strength, by what its row is called. On each
    picture the probability that the concept is in it; a thick frame where it counts as present.
    """
    kept = {
        name: table[(table.family == family) & table.png.notna()].set_index("concept")
        for name, table in tables.items()
    }
    concepts = [c for c in concepts if all(c in rows.index for rows in kept.values())]
    if not concepts or not kept:
        raise UserError(f"no pictures of the family {family} were kept of all these methods")
    size = (1.5 + 0.82 * len(concepts), 0.86 * len(kept) + 0.35)
    figure, grid = plt.subplots(len(kept), len(concepts), figsize=size, squeeze=False)
    for (name, rows), line in zip(kept.items(), grid, strict=True):
        for concept, axes in zip(concepts, line, strict=True):
            _show(axes, rows.loc[concept])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    first = next(iter(kept.values()))
    for concept, axes in zip(concepts, grid[0], strict=True):
        other = first.loc[concept].other
        axes.set_title(concept + (f"\n+ {other}" if other else ""), weight="normal", fontsize=8)
    return figure
