"""How often a concept is drawn: by condition, by wording, and against controls."""

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whitebear import stats
from whitebear.book.figures.forest import (
    beside,
    change_axis,
    forest,
    guide,
    point,
    share_axis,
    singles,
)
from whitebear.book.figures.style import FAINT, MUTED, in_style, look_of, pair_look, with_holes
from whitebear.prompts import in_order, name_of
from whitebear.stats import Estimate


def _large(condition: str, _=None) -> dict:
    return look_of(condition) | {"markersize": 7}


def _points(change: Estimate) -> str:
    return change.percent().replace(" %", "")


@in_style
def rates(scores: pd.DataFrame) -> Figure:
    """How often the concept is there: a panel a condition, a row a concept, all concepts on top.

    Rows have Wilson intervals; that of the top row speaks about other concepts and wordings.
    """
    table = stats.by_concept(scores).set_index(["condition", "concept"])
    concepts, panels = list(dict.fromkeys(scores.concept)), {}
    for condition in in_order(scores.condition):
        rows = {"all": stats.rate(scores[scores.condition == condition], over=stats.KIND)}
        for row in table.loc[condition].loc[concepts].itertuples():
            rows[row.Index] = Estimate(row.rate, row.low, row.high, row.n, 1)
        panels[textwrap.fill(name_of(condition), 14)] = pd.DataFrame({condition: rows})
    size = {"all": 7}
    look = lambda row, mark: look_of(mark) | {"markersize": size.get(row, 5)}  # noqa: E731
    figure = forest(panels, look, width=1.2 + 1.45 * len(panels), row=0.17)
    for axes, panel in zip(figure.axes, panels.values(), strict=True):
        (condition,) = panel
        axes.title.set_color(look_of(condition)["color"])
        axes.axhline(0.5, color=FAINT, linewidth=0.6)
        share_axis(axes, f"pictures with it, %\n({panel[condition].iloc[-1].n} a concept)")
    return figure


@in_style
def suppression(scores: pd.DataFrame) -> Figure:
    """What each condition removes of what a plain request gives: 0 nothing, 100 everything.

    Large dots: the condition with its interval; small dots: each of its wordings.
    """
    rows = stats.add_affirm(scores)
    chosen = {c: rows[rows.condition == c] for c in in_order(scores.condition) if c != "affirm"}
    found = {name: stats.suppression(some, over=stats.KIND) for name, some in chosen.items()}
    figure = forest({"": pd.DataFrame({"": found})}, _large, name_of, 6.2, 0.45)
    (axes,) = figure.axes
    for y, (condition, some) in enumerate(chosen.items()):
        values = [stats.suppression(wording).value for _, wording in some.groupby("wording")]
        singles(axes, y, values, marker=".", alpha=0.6, color=look_of(condition)["color"])
    guide(axes, 0)
    beside(axes, [f"n = {total.n}" for total in found.values()], color=MUTED)
    low = min(-0.1, axes.get_xlim()[0])
    share_axis(axes, "suppression relative to a plain request, %", low)
    return figure


@in_style
def beside_controls(table: pd.DataFrame) -> Figure:
    """Each instruction (filled) against its control (hollow): same words, order and noise.

    table: of `stats.by_wording`. On the right the paired difference with its interval, in points.
    """
    marks = {"control": {}, "instruction": {}}
    for row in table.itertuples():
        marks["control"][row.Index] = point(row.control_value)
        marks["instruction"][row.Index] = point(row.rate.value)
    look = lambda row, mark: pair_look(table.condition[row], mark)  # noqa: E731
    name = lambda row: with_holes(table.text[row], 52)  # noqa: E731
    figure = forest({"": pd.DataFrame(marks)}, look, name, 7.4, linked=True)
    (axes,) = figure.axes
    axes.tick_params(axis="y", labelsize=7)
    beside(axes, [_points(row.difference) for row in table.itertuples()], "change [95 %]", 1.01)
    n = max((row.n for row in table.itertuples()), default=0)
    share_axis(axes, f"pictures with the concept, % (n = {n} pairs a row)")
    return figure


@in_style
def conditions(scores: pd.DataFrame) -> Figure:
    """The rate of the concept under every condition, between the floor and the ceiling.

    Filled: the condition with its interval; hollow: the controls of its wordings; ticks below: each
    of its wordings. On the right the paired difference to the controls, in points.
    """
    table = stats.summary(scores).set_index("condition")
    table = table.loc[in_order(table.index)]
    controls = (
        stats.add_control(scores).groupby("condition").control_value.mean().reindex(table.index)
    )
    marks = pd.DataFrame({"control": controls.map(point), "condition": table.rate})
    figure = forest({"": marks}, _condition, name_of, 7.4, 0.42, linked=True)
    (axes,) = figure.axes
    each = scores.groupby(["condition", "wording"]).present.mean()
    for y, condition in enumerate(table.index):
        singles(axes, y, each[condition], color=look_of(condition)["color"])
    for condition in {"affirm", "omit"} & set(table.index):
        guide(axes, table.rate[condition].value, ":")
    _changes_and_n(axes, table)
    share_axis(axes, "pictures with the concept, %")
    return figure


def _condition(condition: str, mark: str) -> dict:
    return pair_look(condition, mark) if mark == "control" else _large(condition)


def _changes_and_n(axes: Axes, table: pd.DataFrame) -> None:
    beside(axes, [_points(e) if e.n else "" for e in table.difference], "change [95 %]")
    beside(axes, ["" if e.n else "its own control" for e in table.difference], color=MUTED)
    beside(axes, map(str, table.n), "n", 1.41, color=MUTED, ha="right")


@in_style
def wordings(table: pd.DataFrame) -> Figure:
    """What each instruction changes against its own control, in points, sorted by condition.

    table: of `stats.by_wording`. Filled: held-out wordings; hollow: wordings with words that a few
    training captions use to negate. Bold: p < 0.05 after Holm's adjustment for all of them.
    """
    table = pd.concat([table[table.condition == c] for c in in_order(table.condition)])
    faces = {True: {}, False: {"markerfacecolor": "white"}}
    look = lambda row, _: look_of(table.condition[row]) | faces[table.heldout[row]]  # noqa: E731
    figure = forest(
        {"": table[["difference"]]}, look, lambda row: with_holes(table.text[row], 64), 7.4, 0.33
    )
    (axes,) = figure.axes
    axes.tick_params(axis="y", labelsize=6.5)
    bold = {y for y, p in enumerate(table.p_holm) if p < 0.05}
    beside(axes, map(_points, table.difference), x=1.02, bold=bold, fontsize=7)
    guide(axes, 0)
    change_axis(axes, "change against its control, points")
    return figure
