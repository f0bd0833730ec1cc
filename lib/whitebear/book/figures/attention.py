"""Figures of the chapter on cross-attention, in the style of `figures`."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import xarray as xr
from matplotlib.figure import Figure

from whitebear.book.figures.style import (
    FAINT,
    INK,
    MUTED,
    PALETTE,
    STYLE,
    closed,
    dot,
    look_of,
    with_holes,
)
from whitebear.prompts import load_wordings, name_of

ROLE_NAMES = {
    "<bos>": "start token", "concept": "concept", "<other>": "other words", "<eos>": "end token",
    "<pad>": "padding",
}  # fmt: skip
HATCHES = ("", "//", "", "..", "xx")
FILLS = (FAINT, PALETTE[0], "#9a9a9a", PALETTE[5], PALETTE[2])


def shares(table: pd.DataFrame) -> Figure:
    """Where attention goes: a bar a condition, split into concept, other words and special tokens.

    table: of `attention.shares`.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 1.0 + 0.42 * len(table)))
        left = np.zeros(len(table))
        for (role, label), fill, hatch in zip(ROLE_NAMES.items(), FILLS, HATCHES, strict=True):
            width = 100 * table[role].to_numpy()
            axes.barh(range(len(table)), width, left=left, color=fill, hatch=hatch, label=label,
                      edgecolor="white", linewidth=0.6, height=0.62)  # fmt: skip
            for y, (start, size) in enumerate(zip(left, width, strict=True)):
                if size >= 4:
                    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
                    axes.text(start + size / 2, y, f"{size:.0f}", ha="center", va="center",
                              fontsize=8, color=INK, bbox=box)  # fmt: skip
            left += width
        axes.set_yticks(range(len(table)), [name_of(name) for name in table.index])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the attention of all image positions, %")
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    return closed(figure)


def curves(lines: pd.DataFrame) -> Figure:
    """Attention to the concept over the steps: a panel a wording, instruction against twin.

    lines: of `attention.curves`. Bands: 95 % intervals from resampling concepts.
    """
    texts = load_wordings().set_index("id").text
    wordings = list(dict.fromkeys(lines.wording))
    columns = min(3, len(wordings))
    with plt.rc_context(STYLE):
        rows = -(-len(wordings) // columns)
        figure, grid = plt.subplots(rows, columns, figsize=(2.55 * columns, 0.4 + 1.9 * rows),
                                    sharex=True, sharey=True, squeeze=False)  # fmt: skip
        for axes in grid.flat[len(wordings) :]:
            axes.set_visible(False)
        for wording, axes in zip(wordings, grid.flat, strict=False):
            some = lines[lines.wording == wording]
            look = look_of(some.condition.iloc[0])["color"]
            sns.lineplot(
                some, x="step", y="mass", hue="what", style="what", ax=axes, legend=False,
                palette={"twin": MUTED, "instruction": look}, errorbar=("ci", 95),
                dashes={"twin": (3, 2), "instruction": ""}, n_boot=1000, seed=0,
            )  # fmt: skip
            axes.set_title(
                textwrap.fill(with_holes(texts[wording]), 34), fontsize=7, weight="normal"
            )
            axes.set(xlabel="denoising step", ylabel="attention to the word")
            axes.grid(color=FAINT, linewidth=0.6)
        axes.set_ylim(bottom=0)
    return closed(figure)


def maps(images: np.ndarray, data: xr.Dataset, rows: dict[str, int], steps: list[int]) -> Figure:
    """Where on the picture attention to the concept falls: a row a prompt, a column a step.

    rows: label -> sample; the last column is the finished picture. Each column has a scale of its
    own, from 0 (dark) to its highest value (bright), which stands above it.
    """
    mass = data["map"].sel(token="concept").mean("layer")
    tops = [float(mass.isel(sample=list(rows.values()), step=step).max()) for step in steps]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(rows), len(steps) + 1, squeeze=False,
            figsize=(2.2 + 1.05 * (len(steps) + 1), 0.35 + 1.08 * len(rows)),
        )  # fmt: skip
        for (label, sample), line in zip(rows.items(), grid, strict=True):
            for step, top, axes in zip(steps, tops, line[:-1], strict=True):
                axes.imshow(mass[sample, step], cmap="viridis", vmin=0, vmax=top)
            line[-1].imshow(images[sample], interpolation="nearest")
            line[0].text(-0.12, 0.5, textwrap.fill(label, 28), ha="right", va="center", fontsize=7,
                         transform=line[0].transAxes)  # fmt: skip
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
        titles = [f"step {step}\nhighest {top:.2f}" for step, top in zip(steps, tops, strict=True)]
        for axes, title in zip(grid[0], [*titles, "picture"], strict=True):
            axes.set_title(title, fontsize=8, weight="normal")
    return closed(figure)


def controls(table: pd.DataFrame) -> Figure:
    """The positive controls: AUC of every picture under each intervention, means with intervals.

    table: columns what, concept, auc; 95 % intervals of the mean from resampling concepts.
    """
    names = list(dict.fromkeys(table.what))
    means = table.groupby(["what", "concept"], sort=False).auc.mean().reset_index()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.6, 0.8 + 0.45 * len(names)))
        sns.stripplot(means, x="auc", y="what", order=names, ax=axes, color=MUTED, size=3.5,
                      alpha=0.6, jitter=0.12)  # fmt: skip
        sns.pointplot(means, x="auc", y="what", order=names, ax=axes, color=PALETTE[0],
                      linestyle="none", errorbar=("ci", 95), seed=0, n_boot=1000,
                      markersize=6)  # fmt: skip
        axes.set(xlabel="attention to the concept's word, mean over the steps (AUC)", ylabel="")
        axes.set_xlim(left=-0.002)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.tick_params(axis="y", length=0)
    return closed(figure)


def costs(table: pd.DataFrame) -> Figure:
    """Time against the bare pipeline: a panel a shape, a row a contender, medians and intervals.

    table: of `stats.overheads`. Ours are filled, the others hollow.
    """
    shapes = list(dict.fromkeys(table.index.get_level_values("shape")))
    with plt.rc_context(STYLE):
        heights = [len(table.loc[shape]) for shape in shapes]
        size = (6.4, 0.7 * len(shapes) + 0.24 * sum(heights))
        figure, panels = plt.subplots(
            len(shapes), figsize=size, squeeze=False, height_ratios=heights
        )
        for shape, axes in zip(shapes, panels[:, 0], strict=True):
            rows = table.loc[shape]
            for y, (name, row) in enumerate(rows.iterrows()):
                mine = name.startswith("ours")
                look = {"color": PALETTE[0] if mine else MUTED, "marker": "o"}
                look["markerfacecolor"] = look["color"] if mine else "white"
                dot(axes, y, row.ratio, row.low, row.high, **look)
                axes.annotate(f"{row.ratio:.2f}", (1.02, y), xycoords=("axes fraction", "data"),
                              va="center", fontsize=8, annotation_clip=False)  # fmt: skip
            axes.axvline(1, color=MUTED, linewidth=0.8)
            axes.set_yticks(range(len(rows)), rows.index)
            axes.set(title=shape, xlabel="time, bare pipeline = 1", ylim=(len(rows) - 0.5, -0.5))
            axes.grid(axis="x", color=FAINT, linewidth=0.6)
            axes.tick_params(axis="y", length=0)
    return closed(figure)
