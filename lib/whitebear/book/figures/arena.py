"""Figures of the arena: what each method removes against what it leaves, in pictures, wording by
wording, and with intervals."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whitebear.arena.entries import PLACES
from whitebear.arena.prompts import UNASKED
from whitebear.book.figures.forest import change_axis, forest, guide, point, share_axis
from whitebear.book.figures.galleries import show_picture
from whitebear.book.figures.style import (
    FAINT,
    INK,
    MARKERS,
    MUTED,
    PALETTE,
    in_style,
    signed_percent,
)
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
def same_noise(
    tables: Mapping[str, pd.DataFrame], concepts: Sequence[str], families: Sequence[str]
) -> Figure:
    """Pictures of the same prompts from the same noise: a row a method, a column a prompt.

    tables: table `arena` of each method at one strength, by what its row is called; families: next
    to each other, each with the concepts whose pictures were kept of all methods. A thick frame
    where the concept counts as present.
    """
    kept = {name: table[table.png.notna()] for name, table in tables.items()}
    kept = {name: rows.set_index(["family", "concept"]) for name, rows in kept.items()}
    columns = [(f, c) for f in families for c in concepts]
    columns = [at for at in columns if all(at in rows.index for rows in kept.values())]
    if not columns or not kept:
        of = ", ".join(families)
        raise UserError(f"no pictures of the families {of} were kept of all these methods")
    gaps = [i for i, (a, b) in enumerate(pairwise(columns), 1) if a[0] != b[0]]
    widths = [w for i in range(len(columns)) for w in ([0.25, 1] if i in gaps else [1])]
    size = (1.7 + 0.62 * sum(widths), 0.62 * len(kept) + 0.7)
    figure, grid = plt.subplots(
        len(kept), len(widths), figsize=size, squeeze=False, width_ratios=widths
    )
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    for (name, rows), line in zip(kept.items(), grid, strict=True):
        places = [axes for axes, width in zip(line, widths, strict=True) if width == 1]
        for axes in line:
            axes.set_axis_off()
        for at, axes in zip(columns, places, strict=True):
            row = rows.loc[[at]].iloc[0]  # of several trainings the first
            axes.set_axis_on()
            show_picture(axes, row)
            axes.texts[0].remove()  # small pictures; the frame says it
            if line[0] is grid[0, 0]:
                axes.set_title(_asked(row, *at), weight="normal", fontsize=7)
        places[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7.5)
    return figure


def _asked(row: pd.Series, family: str, concept: str) -> str:
    """What a prompt asks for, in two short lines."""
    if family in UNASKED:
        return f"{row.other or row.background}\n(no {concept})"
    return f"{concept}\n+ {row.other}" if row.other else f"{concept}\n"


@in_style
def heat(rates: pd.DataFrame) -> Figure:
    """Rates in squares, in %: a row a method, a column a wording or concept, in groups.

    rates: shares from 0 to 1, columns (group, name); NaN is left blank.
    """
    groups = list(dict.fromkeys(rates.columns.get_level_values(0)))
    counts = [rates[group].shape[1] for group in groups]
    longest = max(map(len, rates.columns.get_level_values(1)))
    size = (1.2 + 0.26 * sum(counts), 0.7 + 0.045 * longest + 0.2 * len(rates))
    figure, grid = plt.subplots(
        1, len(groups), figsize=size, squeeze=False, sharey=True, width_ratios=counts
    )
    colours = plt.get_cmap("Blues").with_extremes(bad="white")
    for group, axes in zip(groups, grid[0], strict=True):
        table = rates[group]
        axes.imshow(table.to_numpy(float), cmap=colours, vmin=0, vmax=1, aspect="auto")
        axes.set_title(group, fontsize=8)
        axes.set_xticks(range(table.shape[1]), table.columns, rotation=90, fontsize=6.5)
        axes.set_yticks(range(len(table)), table.index, fontsize=7)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for (y, x), value in np.ndenumerate(table.to_numpy(float)):
            if np.isfinite(value):
                axes.text(x, y, f"{100 * value:.0f}", ha="center", va="center", fontsize=5.5,
                          color="white" if value > 0.55 else INK)  # fmt: skip
    return figure


REMOVED = {"suppression": "concept, held-out wordings", "placebo": "placebo"}
STAYS = {
    "pair_change": "second object, same prompt", "others_change": "other objects",
    "near_change": "nearest object",
}  # fmt: skip


@in_style
def intervals(summary: pd.DataFrame) -> Figure:
    """What each method removes, beside its placebo, and what it changes where it should change
    nothing, with intervals. summary: of `arena.measures`, a row a method."""
    marks = {what: (MARKERS[i], PALETTE[i]) for i, what in enumerate((*STAYS, *REMOVED))}
    names = REMOVED | STAYS

    def look(_, what):
        marker, color = marks[what]
        face = {"markerfacecolor": "white"} if what == "placebo" else {}
        return {"marker": marker, "color": color, "label": names[what], "markersize": 4.5} | face

    panels = {
        title: summary.reindex(columns=list(columns)).map(
            lambda found: found if isinstance(found, Estimate) else point(np.nan)
        )
        for title, columns in (("What is gone", REMOVED), ("What should stay", STAYS))
    }
    figure = forest(panels, look, width=7.0, row=0.36)
    left, right = figure.axes
    share_axis(left, "suppression, %", low=-0.3)
    change_axis(right, "change against untouched, points", -0.2, 0.2)
    for edge in (-0.05, 0.05):
        guide(right, edge, ":")
    guide(right, 0)
    guide(left, 0)
    left.set_ylabel("")
    right.tick_params(labelleft=False)
    handles = [axes.get_legend_handles_labels()[0] for axes in (left, right)]
    figure.legend(handles=sum(handles, []), loc="outside lower center", ncols=3, fontsize=7.5)
    return figure


@in_style
def numbers(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """The numbers that hypotheses rest on: a panel each, a row a number, with its interval.

    panels: a table with one column of `Estimate`s, by the panel's title.
    """
    figure = forest(panels, down=True, width=6.4)
    for axes in figure.axes:
        axes.set_xlim(-1.04, 1.04)
        axes.xaxis.set_major_formatter(signed_percent)
        guide(axes, 0)
    figure.axes[-1].set_xlabel("suppression, %, or change, points")
    return figure
