"""The figures of the book in one style: dots with intervals, readable in print and colour-blind.

Every function takes the tidy scores of `run.run_grid` and returns a matplotlib Figure.
"""

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
from whitebear.errors import UserError
from whitebear.prompts import fill, load_wordings

INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
PALETTE = ("#0072b2", "#6b6b6b", "#009e73", "#cc79a7", "#d55e00", "#e69f00")  # Okabe and Ito 2008
MARKERS = ("o", "s", "^", "D", "v", "P")
NAMES = {
    "affirm": "asked for",
    "omit": "not mentioned",
    "repeat": "named as often",
    "forget_then_request": "forget it, then draw it",
    "negate": "asked to leave it out",
    "mention": "named in passing",
    "forget_only": "forget it, draw the place",
    "reinforced": "forget it, insistently",
    "role": "forbidden by a role",
    "describe": "described, not named",
    "implicit": "described, to be forgotten",
}
STYLE = {
    "figure.dpi": 144,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.axisbelow": True,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.3,
}


def name_of(condition: str) -> str:
    """How a condition is called in figures and sentences."""
    return NAMES.get(condition, condition.replace("_", " "))


def look_of(condition: str) -> dict:
    """Colour and marker of a condition, the same in every figure."""
    order = list(dict.fromkeys([*NAMES, *load_wordings().condition]))
    i = order.index(condition) if condition in order else len(order)
    return {
        "color": PALETTE[i % len(PALETTE)],
        "marker": MARKERS[(i + i // len(PALETTE)) % len(MARKERS)],
    }


def in_order(conditions: Sequence[str]) -> list[str]:
    """Different conditions, in the order that the book shows them."""
    known = [name for name in NAMES if name in set(conditions)]
    return known + [name for name in dict.fromkeys(conditions) if name not in NAMES]


def dot(axes: Axes, y: float, value: float, low: float, high: float, **look) -> None:
    """A dot with its interval; no interval where there is none, nothing where there is no value."""
    axes.plot([low, high], [y, y], color=look["color"], zorder=2, solid_capstyle="butt")
    axes.plot(value, y, linestyle="", markersize=look.pop("markersize", 5), zorder=3, **look)


def share_axis(axes: Axes, label: str, low: float = -0.04) -> None:
    """A horizontal axis of shares from 0 to 100 %."""
    axes.set_xlim(low, 1.04)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
    axes.set_xlabel(label)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.tick_params(axis="y", length=0)


def signed_percent(value: float, _=None) -> str:
    """A tick label for a change: "+10", "0", "−10"."""
    return f"{100 * value:+.0f}".replace("+0", "0").replace("-", "−") if value else "0"


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


def with_holes(text: str, concept: str = "[concept]") -> str:
    """A wording as a figure shows it, its holes in brackets."""
    return fill(text, concept, "[object]", "[place]", "[description]")[0]


def closed(figure: Figure) -> Figure:
    """Out of pyplot's hands, so that a notebook shows it once."""
    plt.close(figure)
    return figure
