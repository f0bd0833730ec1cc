"""Where the denoiser looks: shares, curves, maps and heads, what steering does, what it costs."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import xarray as xr
from matplotlib.figure import Figure

from whitebear.book.figures.forest import beside, change_axis, forest, guide
from whitebear.book.figures.style import (
    FAINT,
    INK,
    MUTED,
    PALETTE,
    in_style,
    legend_beside,
    look_of,
    with_holes,
)
from whitebear.measures.heads import short_layers
from whitebear.prompts import name_of
from whitebear.stats import Estimate

ROLE_NAMES = {
    "<bos>": "start token", "concept": "concept", "<other>": "other words", "<eos>": "end token",
    "<pad>": "padding",
}  # fmt: skip
HATCHES = ("", "//", "", "..", "xx")
FILLS = (FAINT, PALETTE[0], "#9a9a9a", PALETTE[5], PALETTE[2])


@in_style
def shares(table: pd.DataFrame) -> Figure:
    """Where attention goes: a bar a condition, split into concept, other words and special tokens.

    table: of `attention.shares`.
    """
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
    figure.legend(loc="outside upper center", ncols=5, fontsize=8)
    return figure


@in_style
def curves(lines: pd.DataFrame) -> Figure:
    """Attention to the concept over the steps: a panel a wording, instruction against control.

    lines: of `attention.curves`. Bands: 95 % intervals from resampling concepts.
    """
    wordings = list(dict.fromkeys(lines.wording))
    columns = min(3, len(wordings))
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
            palette={"control": MUTED, "instruction": look}, errorbar=("ci", 95),
            dashes={"control": (3, 2), "instruction": ""}, n_boot=1000, seed=0,
        )  # fmt: skip
        axes.set_title(with_holes(some.text.iloc[0], 34), fontsize=7, weight="normal")
        axes.set(xlabel="denoising step", ylabel="attention to the word")
        axes.grid(color=FAINT, linewidth=0.6)
    axes.set_ylim(bottom=0)
    return figure


@in_style
def maps(images: np.ndarray, data: xr.Dataset, rows: dict[str, int], steps: list[int]) -> Figure:
    """Where on the picture attention to the concept falls: a row a prompt, a column a step.

    rows: label -> sample; the last column is the finished picture. Each column has a scale of its
    own, from 0 (dark) to its highest value (bright), which stands above it.
    """
    mass = data["map"].sel(token="concept").mean("layer")
    tops = [float(mass.isel(sample=list(rows.values()), step=step).max()) for step in steps]
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
    return figure


@in_style
def controls(table: pd.DataFrame) -> Figure:
    """The positive controls: AUC of every picture under each intervention, means with intervals.

    table: columns what, concept, auc; 95 % intervals of the mean from resampling concepts.
    """
    names = list(dict.fromkeys(table.what))
    means = table.groupby(["what", "concept"], sort=False).auc.mean().reset_index()
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
    return figure


@in_style
def relative_changes(parts: dict[str, pd.DataFrame], names: dict[str, str] | None = None) -> Figure:
    """Relative change of attention per condition: a panel a table of `attention_detail`.

    parts: title -> table with index (what, condition) and the column relative (`Estimate`s); names:
    what -> how the axis calls it.
    """
    panels = {}
    for title, table in parts.items():
        rows, marks = (list(dict.fromkeys(table.index.get_level_values(i))) for i in (0, 1))
        panels[title] = table.relative.unstack().loc[rows, marks]
    look = lambda _, mark: look_of(mark) | {"markersize": 4, "label": name_of(mark)}  # noqa: E731
    figure = forest(panels, look, lambda what: (names or {}).get(what, what), row=0.46, down=True)
    for axes in figure.axes:
        guide(axes, 0)
    change_axis(axes, "change of the attention to the concept's word, % of its control", 0, 0)
    legend_beside(figure.axes[0])
    return figure


@in_style
def heads(table: pd.DataFrame) -> Figure:
    """Change of the AUC for each layer and head: `table` of `attention_detail.by_head`; a head that
    a layer lacks is left white."""
    names = short_layers(table.index)
    limit = float(np.nanmax(np.abs(table.to_numpy(float)))) or 1.0
    numbers = table.map(lambda x: "" if np.isnan(x) else f"{100 * x:+.1f}".replace("-", "−"))
    size = (1.6 + 0.62 * table.shape[1], 0.9 + 0.32 * len(table))
    figure, axes = plt.subplots(figsize=size)
    sns.heatmap(100 * table, ax=axes, cmap="PuOr_r", center=0, vmin=-100 * limit,
                vmax=100 * limit, annot=numbers, fmt="", annot_kws={"fontsize": 7},
                cbar=False, linewidths=0.5)  # fmt: skip
    axes.set_yticklabels([names[n] for n in table.index], rotation=0)
    axes.set_xticklabels([f"head {h}" for h in table.columns], rotation=0)
    axes.tick_params(length=0)
    return figure


@in_style
def attention_and_presence(rows: pd.DataFrame) -> Figure:
    """Each wording: what it does to attention (across) and to presence (up).

    rows: of `attention_detail.by_wording`; a point is a wording, its concepts averaged.
    """
    keys = ["wording", "condition"]
    points = rows.groupby(keys, sort=False)[["attention", "presence"]].mean().reset_index()
    figure, axes = plt.subplots(figsize=(5.6, 3.6))
    for condition, some in points.groupby("condition", sort=False):
        axes.plot(100 * np.expm1(some.attention), 100 * some.presence, linestyle="",
                  markersize=6, label=name_of(condition), **look_of(condition))  # fmt: skip
    for line in (axes.axhline, axes.axvline):
        line(0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("change of attention to the word, %")
    axes.set_ylabel("change of presence, points")
    legend_beside(axes)
    return figure


@in_style
def costs(table: pd.DataFrame) -> Figure:
    """Time against the bare pipeline: a panel a shape, a row a contender, medians and intervals.

    table: of `stats.overheads`. Ours are filled, the others hollow.
    """
    panels = {}
    for shape, rows in table.groupby("shape", sort=False):
        found = {r.Index[1]: Estimate(r.ratio, r.low, r.high, 0, 0) for r in rows.itertuples()}
        panels[shape] = pd.DataFrame({"": found})
    figure = forest(panels, _whose, row=0.24, down=True, own_scales=True)
    for axes, panel in zip(figure.axes, panels.values(), strict=True):
        guide(axes, 1)
        beside(axes, [f"{found.value:.2f}" for found in panel[""]], x=1.02)
        axes.set_xlabel("time, bare pipeline = 1")
    return figure


def _whose(contender: str, _) -> dict:
    mine = contender.startswith("ours")
    face = {} if mine else {"markerfacecolor": "white"}
    return {"color": PALETTE[0] if mine else MUTED, "marker": "o"} | face
