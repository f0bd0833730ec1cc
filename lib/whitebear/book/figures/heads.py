"""Figures of the chapters on attention in detail and on patching, in the style of `figures`."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whitebear.book.figures.style import (
    FAINT,
    INK,
    MARKERS,
    MUTED,
    PALETTE,
    STYLE,
    closed,
    dot,
    look_of,
    share_axis,
    signed_percent,
)
from whitebear.measures.heads import short_layers
from whitebear.prompts import name_of


def relative_changes(parts: dict[str, pd.DataFrame], names: dict[str, str] | None = None) -> Figure:
    """Relative change of attention per condition: a panel a table of `attention_detail`.

    parts: title -> table with index (what, condition) and the column relative (`Estimate`s); names:
    what -> how the axis calls it.
    """
    rows = {title: list(dict.fromkeys(t.index.get_level_values(0))) for title, t in parts.items()}
    with plt.rc_context(STYLE):
        heights = [len(r) for r in rows.values()]
        figure, panels = plt.subplots(
            len(parts), 1, figsize=(6.4, 1.0 + 0.46 * sum(heights)), sharex=True, squeeze=False,
            height_ratios=heights,
        )  # fmt: skip
        for (title, table), axes in zip(parts.items(), panels[:, 0], strict=True):
            conditions = list(dict.fromkeys(table.index.get_level_values(1)))
            for y, what in enumerate(rows[title]):
                for i, condition in enumerate(conditions):
                    found = table.relative[what, condition]
                    shifted = y + 0.8 * ((i + 0.5) / len(conditions) - 0.5)
                    dot(axes, shifted, found.value, found.low, found.high, markersize=4,
                        label=name_of(condition) if y == 0 else None,
                        **look_of(condition))  # fmt: skip
            labels = [(names or {}).get(what, what) for what in rows[title]]
            axes.set_yticks(range(len(labels)), labels)
            axes.set_ylim(len(labels) - 0.5, -0.5)
            axes.set_title(title, loc="left")
            axes.axvline(0, color=MUTED, linewidth=0.8)
            axes.grid(axis="x", color=FAINT, linewidth=0.6)
            axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter(signed_percent)
        axes.set_xlabel("change of the attention to the concept's word, % of its control")
        panels[0][0].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return closed(figure)


def heads(table: pd.DataFrame) -> Figure:
    """Change of the AUC for each layer and head: `table` of `attention_detail.by_head`."""
    names = short_layers(table.index)
    limit = float(np.abs(table.to_numpy()).max()) or 1.0
    numbers = table.map(lambda change: f"{100 * change:+.1f}".replace("-", "−"))
    with plt.rc_context(STYLE):
        size = (1.6 + 0.62 * table.shape[1], 0.9 + 0.32 * len(table))
        figure, axes = plt.subplots(figsize=size)
        sns.heatmap(100 * table, ax=axes, cmap="PuOr_r", center=0, vmin=-100 * limit,
                    vmax=100 * limit, annot=numbers, fmt="", annot_kws={"fontsize": 7},
                    cbar=False, linewidths=0.5)  # fmt: skip
        axes.set_yticklabels([names[n] for n in table.index], rotation=0)
        axes.set_xticklabels([f"head {h}" for h in table.columns], rotation=0)
        axes.tick_params(length=0)
    return closed(figure)


def attention_and_presence(rows: pd.DataFrame) -> Figure:
    """Each wording: what it does to attention (across) and to presence (up).

    rows: of `attention_detail.by_wording`; a point is a wording, its concepts averaged.
    """
    keys = ["wording", "condition"]
    points = rows.groupby(keys, sort=False)[["attention", "presence"]].mean().reset_index()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.6, 3.6))
        for condition, some in points.groupby("condition", sort=False):
            axes.plot(100 * np.expm1(some.attention), 100 * some.presence, linestyle="",
                      markersize=6, label=name_of(condition), **look_of(condition))  # fmt: skip
        for line in (axes.axhline, axes.axvline):
            line(0, color=MUTED, linewidth=0.8)
        axes.set_xlabel("change of attention to the word, %")
        axes.set_ylabel("change of presence, points")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return closed(figure)


TITLES = {
    ("negate-no", "affirm-and"): "“but no” drawn with states of “and a”",
    ("affirm-and", "negate-no"): "“and a” drawn with states of “but no”",
    ("omit-picture", "affirm-and"): "silence drawn with states of “and a”",
}


def swaps(table: pd.DataFrame) -> Figure:
    """Rates after swapping text states: a panel a pair of prompts, a row a part.

    table: of `patching.shares`. Dotted lines: the base (B) and the source (S) of the states.
    """
    groups = list(table.groupby(["base", "source"], sort=False))
    with plt.rc_context(STYLE):
        heights = [len(some) for _, some in groups]
        figure, panels = plt.subplots(
            len(groups), 1, figsize=(6.6, 1.0 + 0.46 * sum(heights)), sharex=True, squeeze=False,
            height_ratios=heights,
        )  # fmt: skip
        for i, (((base, source), some), axes) in enumerate(zip(groups, panels[:, 0], strict=True)):
            _panel(axes, some.droplevel(["base", "source"]), i)
            axes.set_title(TITLES.get((base, source), f"{base} ← {source}"), loc="left", pad=14)
        share_axis(axes, "pictures with the concept, %")
    return closed(figure)


def _panel(axes: Axes, rows: pd.DataFrame, i: int) -> None:
    look = {"color": PALETTE[(4, 0, 2)[i % 3]], "marker": MARKERS[i % 3]}
    for y, row in enumerate(rows.itertuples()):
        dot(axes, y, row.rate.value, row.rate.low, row.rate.high, **look)
        axes.annotate(row.share.percent(), (1.06, y), va="center", fontsize=8,
                      annotation_clip=False)  # fmt: skip
    axes.annotate("share of the way", (1.06, -0.78), va="center", fontsize=7, weight="bold",
                  annotation_clip=False)  # fmt: skip
    for value, letter in ((rows.base_rate.iloc[0], "B"), (rows.source_rate.iloc[0], "S")):
        axes.axvline(value, color=INK, linewidth=0.8, linestyle=":", zorder=0)
        axes.annotate(letter, (value, -0.58), ha="center", fontsize=7, annotation_clip=False)
    axes.set_yticks(range(len(rows)), rows.index)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.tick_params(axis="y", length=0)
