"""How often a concept is drawn: galleries, rates, suppression, instructions beside controls."""

import io
import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from whitebear import stats
from whitebear.book.figures.style import (
    FAINT,
    INK,
    MUTED,
    STYLE,
    closed,
    dot,
    look_of,
    share_axis,
    with_holes,
)
from whitebear.errors import UserError
from whitebear.prompts import in_order, load_wordings, name_of


def gallery(scores: pd.DataFrame, concept: str, wordings: Sequence[str]) -> Figure:
    """Pictures of one concept: a row a wording, a column a seed (the same noise all the way down).

    On each picture the probability that the concept is in it; a thick frame where it counts as
    present. Wordings that were not run are left out.
    """
    rows = scores[(scores.concept == concept) & scores.png.notna()].set_index(["wording", "seed"])
    wordings = [wording for wording in wordings if wording in rows.index]
    if not wordings:
        raise UserError(f"no pictures of {concept!r} were kept for these wordings; run them first")
    seeds = sorted(rows.index.get_level_values("seed").unique())
    texts = load_wordings().set_index("id").text
    with plt.rc_context(STYLE):
        size = (2.6 + 1.02 * len(seeds), 1.06 * len(wordings) + 0.2)
        figure, grid = plt.subplots(len(wordings), len(seeds), figsize=size, squeeze=False)
        for wording, line in zip(wordings, grid, strict=True):
            for seed, axes in zip(seeds, line, strict=True):
                _picture(axes, rows.loc[(wording, seed)])
            label = textwrap.fill(with_holes(texts[wording], concept), 30)
            title = name_of(rows.loc[(wording, seeds[0])].condition)
            line[0].text(-0.12, 0.97, title, ha="right", va="top", weight="bold",
                         fontsize=8, transform=line[0].transAxes)  # fmt: skip
            line[0].text(-0.12, 0.78, label, ha="right", va="top", fontsize=7, color=MUTED,
                         transform=line[0].transAxes)  # fmt: skip
        for seed, axes in zip(seeds, grid[0], strict=True):
            axes.set_title(f"seed {seed}", weight="normal", fontsize=8)
    return closed(figure)


def _picture(axes: Axes, row: pd.Series) -> None:
    image = np.asarray(Image.open(io.BytesIO(row.png)))
    axes.imshow(image, interpolation="nearest" if len(image) <= 128 else "antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=INK if row.present else FAINT, linewidth=2.2)
    axes.text(
        0.04, 0.05, f"{row.p_asked:.2f}", transform=axes.transAxes, fontsize=7, color="white",
        bbox={"facecolor": "#000000b0", "edgecolor": "none", "pad": 1.2},
    )  # fmt: skip


def rates(scores: pd.DataFrame) -> Figure:
    """How often the concept is there: a panel a condition, a row a concept, all concepts on top.

    Rows have Wilson intervals; the top row resamples concepts (cluster bootstrap).
    """
    table = stats.by_concept(scores).set_index(["condition", "concept"])
    concepts = list(dict.fromkeys(scores.concept))
    conditions = in_order(scores.condition)
    with plt.rc_context(STYLE):
        size = (1.2 + 1.45 * len(conditions), 1.0 + 0.17 * (len(concepts) + 1))
        figure, panels = plt.subplots(1, len(conditions), figsize=size, sharey=True, squeeze=False)
        for condition, axes in zip(conditions, panels[0], strict=True):
            look = look_of(condition)
            total = stats.rate(scores[scores.condition == condition])
            dot(axes, -1.2, total.value, total.low, total.high, markersize=7, **look)
            for y, concept in enumerate(concepts):
                row = table.loc[(condition, concept)]
                dot(axes, y, row.rate, row.low, row.high, **look)
            axes.set_title(textwrap.fill(f"{name_of(condition)}", 14), color=look["color"])
            share_axis(axes, f"pictures with it, %\n({int(row.n)} a concept)")
        panels[0][0].set_yticks([-1.2, *range(len(concepts))], ["all", *concepts])
        panels[0][0].set_ylim(len(concepts) - 0.3, -1.9)
    return closed(figure)


def suppression(scores: pd.DataFrame) -> Figure:
    """What each condition removes of what a plain request gives: 0 nothing, 100 everything.

    Large dots: the condition with its interval; small dots: each of its wordings.
    """
    rows = stats.add_affirm(scores)
    conditions = [name for name in in_order(scores.condition) if name != "affirm"]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.2, 0.7 + 0.45 * max(1, len(conditions))))
        for y, condition in enumerate(conditions):
            look, chosen = look_of(condition), rows[rows.condition == condition]
            total = stats.suppression(chosen)
            for _, wording in chosen.groupby("wording"):
                value = stats.suppression(wording).value
                axes.plot(value, y + 0.25, ".", color=look["color"], alpha=0.6, markersize=6)
            dot(axes, y, total.value, total.low, total.high, markersize=7, **look)
            axes.annotate(f"n = {total.n}", (1.06, y), va="center", fontsize=8, color=MUTED,
                          annotation_clip=False)  # fmt: skip
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks(range(len(conditions)), [name_of(name) for name in conditions])
        axes.set_ylim(max(1, len(conditions)) - 0.5, -0.5)
        low = min(-0.1, axes.get_xlim()[0])
        share_axis(axes, "suppression relative to a plain request, %", low)
    return closed(figure)


def twins(scores: pd.DataFrame) -> Figure:
    """Each instruction (filled) against its control (hollow): same words, order and noise.

    On the right the paired difference with its interval, in percentage points.
    """
    rows = stats.add_twin(scores)
    texts = load_wordings().set_index("id").text
    wordings = [w for w in texts.index if w in set(rows.wording)]
    n = len(rows) // max(1, len(wordings))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.4, 0.8 + 0.36 * len(wordings)))
        for y, wording in enumerate(wordings):
            pair = rows[rows.wording == wording]
            look, ends = look_of(pair.condition.iloc[0]), (pair.twin.mean(), pair.present.mean())
            axes.plot(ends, [y, y], color=look["color"], linewidth=2.5, alpha=0.45, zorder=1)
            axes.plot(ends[0], y, linestyle="", markerfacecolor="white", markersize=6, **look)
            axes.plot(ends[1], y, linestyle="", markersize=6, **look)
            change = stats.paired_difference(pair).percent().replace(" %", "")
            axes.annotate(change, (1.06, y), va="center", fontsize=8, annotation_clip=False)
        labels = [textwrap.fill(with_holes(texts[w]), 52) for w in wordings]
        axes.set_yticks(range(len(wordings)), labels, fontsize=7)
        axes.set_ylim(len(wordings) - 0.5, -0.9)
        axes.annotate("change [95 %]", (1.06, -0.75), va="center", fontsize=8, weight="bold",
                      annotation_clip=False)  # fmt: skip
        share_axis(axes, f"pictures with the concept, % (n = {n} pairs a row)")
    return closed(figure)
