"""Figures of `mechanism`, in the style of `figures`."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from whitebear.book.figures.style import (
    FAINT,
    INK,
    MARKERS,
    MUTED,
    PALETTE,
    STYLE,
    closed,
    dot,
    share_axis,
    signed_percent,
)
from whitebear.measures.text_states import PLACE_NAMES, PLACES
from whitebear.pocket.experiments import inside as mechanism
from whitebear.prompts import name_of

TITLES = {False: "named once", True: "named again after it was denied"}


def marks(axes: Axes, table: pd.DataFrame, **label) -> None:
    """A row an index entry, a colour and marker a column, each an `Estimate` with its interval."""
    for i, (name, column) in enumerate(table.items()):
        look = {"color": PALETTE[i], "marker": MARKERS[i], "markersize": 4}
        for y, e in enumerate(column):
            known = {"label": name} if y == 0 else {}
            dot(axes, y + 0.3 * (i - 0.5), e.value, e.low, e.high, **look, **known)
    axes.set_yticks(range(len(table)), list(table.index), **label)
    axes.set_ylim(len(table) - 0.5, -0.5)


def captions(rates: pd.DataFrame, texts: dict[str, str]) -> Figure:
    """Rate of the denied concept for each negated training caption, a mark a model; captions that
    name it once above, those that name it again below.

    rates: of `mechanism.by_caption`; texts: of `mechanism.caption_texts`.
    """
    parts = [rates.loc[twice] for twice in (False, True) if twice in rates.index]
    with plt.rc_context(STYLE):
        heights = [len(part) + 1.2 for part in parts]
        figure, panels = plt.subplots(
            len(parts), 1, figsize=(6.4, 0.2 * sum(heights) + 0.6), sharex=True, squeeze=False,
            height_ratios=heights,
        )  # fmt: skip
        for axes, part, title in zip(panels[:, 0], parts, TITLES.values(), strict=False):
            marks(axes, part.rename(index=texts), fontsize=7)
            axes.set_title(title, loc="left")
            share_axis(axes, "pictures with what the caption denies, %" if axes is panels[-1, 0]
                       else "")  # fmt: skip
        panels[0, 0].legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    return closed(figure)


def parts(table: pd.DataFrame) -> Figure:
    """A panel a kind of instruction, a row a combination of text encoder and denoiser: what the
    instruction changes, in points against its control. table: of `mechanism.by_part`."""
    with plt.rc_context(STYLE):
        size = (1.9 + 1.9 * table.shape[1], 0.8 + 0.32 * len(table))
        figure, panels = plt.subplots(1, table.shape[1], figsize=size, sharey=True, squeeze=False)
        for axes, condition in zip(panels[0], table.columns, strict=True):
            for y, e in enumerate(table[condition]):
                dot(axes, y, e.value, e.low, e.high, color=PALETTE[0], marker="o")
            axes.axvline(0, color=MUTED, linewidth=0.8)
            axes.set_title(name_of(condition), color=INK)
            axes.set_xlim(-1.04, 0.3)
            axes.set_xticks([-1, -0.5, 0])
            axes.xaxis.set_major_formatter(FuncFormatter(signed_percent))
            axes.set_xlabel("change, points")
            axes.grid(axis="x", color=FAINT, linewidth=0.6)
        names = [f"encoder {e}, denoiser {d}" for e, d in table.index]
        panels[0][0].set_yticks(range(len(table)), names)
        panels[0][0].set_ylim(len(table) - 0.5, -0.5)
    return closed(figure)


def probes(found: dict[str, pd.DataFrame]) -> Figure:
    """A row a place in the prompt, a mark a model: how often a probe tells instruction from control
    on new concepts and new wordings. found: model -> table of `encoder.probe`."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.6, 0.5 + 0.34 * len(PLACES)))
        marks(axes, pd.DataFrame(
            {name: {PLACE_NAMES[place]: mechanism.accuracy(table, place) for place in PLACES}
             for name, table in found.items()}
        ))  # fmt: skip
        axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle="--")
        axes.set_xlim(0.3, 1.02)
        axes.set_xticks([0.5, 0.75, 1.0], ["50", "75", "100"])
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_xlabel("probe right, % (dashed: chance)")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return closed(figure)


def encoders(table: pd.DataFrame) -> Figure:
    """A row a condition, a mark an encoder: how often the concept is drawn.

    table: of `other_encoder.changes`."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.0, 0.6 + 0.34 * len(table)))
        both = {name: f"{name} encoder" for name in ("own", "other")}
        marks(axes, table[list(both)].rename(columns=both, index=name_of))
        share_axis(axes, "pictures with the concept, %")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return closed(figure)
