"""Figures of the chapter on the text encoder, in the style of `figures`."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from whitebear import stats
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
)
from whitebear.measures.text_states import FINAL, PLACE_NAMES, SPLITS
from whitebear.prompts import in_order, name_of

REPORTED = -0.045  # change of text similarity, secondary source on arXiv 2604.01514


def ladder(changes: pd.DataFrame, baselines: pd.DataFrame, places=("concept", "eos", "pad")):
    """Standardised similarity to the plain request: instruction (filled) and its control (hollow).

    A panel a place; lines mark the four yardsticks. changes, baselines: of `encoder`.
    """
    order = in_order(changes.index.get_level_values("condition"))
    with plt.rc_context(STYLE):
        size = (2.0 + 1.85 * len(places), 1.1 + 0.34 * len(order))
        figure, panels = plt.subplots(1, len(places), figsize=size, sharey=True, squeeze=False)
        for place, axes in zip(places, panels[0], strict=True):
            for y, condition in enumerate(order):
                row, look = changes.loc[condition, FINAL, place], look_of(condition)
                twin = row.value - row.difference.value
                axes.plot([twin, row.value], [y, y], color=look["color"], alpha=0.4, linewidth=2.5)
                axes.plot(twin, y, linestyle="", markerfacecolor="white", markersize=6, **look)
                axes.plot(row.value, y, linestyle="", markersize=6, **look)
            for value, letter in _yardsticks(baselines.loc[FINAL, place]):
                axes.axvline(value, color=MUTED, linewidth=0.8, linestyle=":", zorder=0)
                axes.annotate(letter, (value, -0.68), ha="center", fontsize=7, color=MUTED,
                              annotation_clip=False)  # fmt: skip
            axes.set_title(PLACE_NAMES[place], pad=14)
            axes.set_xlim(min(-0.3, axes.get_xlim()[0]), 1.12)
            axes.tick_params(axis="y", length=0)
        panels[0][0].set_yticks(range(len(order)), [name_of(name) for name in order])
        panels[0][0].set_ylim(len(order) - 0.5, -0.6)
        figure.supxlabel("similarity to the plain request (U another concept, P paraphrase,"
                         " R repetition, I itself)", fontsize=8)  # fmt: skip
    return closed(figure)


def _yardsticks(row: pd.Series) -> list[tuple[float, str]]:
    """Where the yardsticks stand, those that would overlap under one label."""
    marks = sorted((row[n], n[0].upper()) for n in ("unrelated", "repetition", "paraphrase",
                                                    "identical"))  # fmt: skip
    merged: list[tuple[float, str]] = []
    for value, letter in marks:
        if merged and value - merged[-1][0] < 0.12:
            merged[-1] = (merged[-1][0], merged[-1][1] + letter)
        else:
            merged.append((value, letter))
    return merged


def choices(changes: pd.DataFrame, condition: str) -> Figure:
    """How the change of raw cosine depends on which state is compared: place by layer.

    changes: of `encoder.changes(..., "cosine")`. A dashed line marks the reported value.
    """
    some = changes.loc[condition]
    layers = list(dict.fromkeys(some.index.get_level_values("layer")))
    places = list(dict.fromkeys(some.index.get_level_values("place")))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.8, 0.9 + 0.16 * len(layers) * len(places)))
        ticks, y = [], 0.0
        for i, place in enumerate(places):
            ticks.append(y + (len(layers) - 1) / 2)
            for j, layer in enumerate(layers):
                found = some.difference[layer, place]
                look = {"color": PALETTE[i % 6], "marker": MARKERS[i % 6]}
                face = {} if layer == FINAL else {"markerfacecolor": "white"}
                dot(axes, y, found.value, found.low, found.high, markersize=4.5, **look, **face)
                label = "after the last norm" if layer == FINAL else f"layer {layer}"
                if j in (0, len(layers) - 1):
                    axes.annotate(label, (1.01, y), xycoords=axes.get_yaxis_transform(),
                                  fontsize=6.5, va="center", color=MUTED)  # fmt: skip
                y += 1
            y += 0.8
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.axvline(REPORTED, color=INK, linewidth=0.9, linestyle="--")
        axes.annotate("reported", (REPORTED, -1.3), ha="center", fontsize=7, annotation_clip=False)
        axes.set_yticks(ticks, [PLACE_NAMES[p] for p in places])
        axes.set_ylim(y - 0.8, -1.0)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("change of the cosine to the plain request, against the control")
    return closed(figure)


def probes(found: pd.DataFrame) -> Figure:
    """Accuracy of the probes by what they were tested on: `found` of `encoder.probe`."""
    places = list(dict.fromkeys(found.place))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 0.8 + 0.62 * len(places)))
        for i, split in enumerate(SPLITS):
            look = {"color": PALETTE[(0, 4, 2)[i]], "marker": MARKERS[i]}
            for y, place in enumerate(places):
                rows = found[(found.split == split) & (found.place == place)]
                rate = stats.rate(rows)
                dot(axes, y + 0.22 * (i - 1), rate.value, rate.low, rate.high, **look,
                    label=split if y == 0 else None)  # fmt: skip
        axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=":")
        axes.set_xlim(0.3, 1.02)
        axes.set_xticks([0.5, 0.75, 1.0], ["50", "75", "100"])
        axes.set_yticks(range(len(places)), [PLACE_NAMES[p] for p in places])
        axes.set_ylim(len(places) - 0.5, -0.5)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("probe right, % (dotted: chance)")
        axes.legend(title="tested on", frameon=False, fontsize=8, loc="center left",
                    bbox_to_anchor=(1.0, 0.5))  # fmt: skip
    return closed(figure)


def words(found: pd.DataFrame) -> Figure:
    """How much each word of a wording moves the end token: `found` of `encoder.without_each_word`.

    Dots: concepts; bars: their mean.
    """
    order = list(dict.fromkeys(found.word))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 0.6 + 0.26 * len(order)))
        for y, word in enumerate(order):
            moved = found[found.word == word].moved.to_numpy()
            named = "[concept]" in word
            axes.barh(y, moved.mean(), color=PALETTE[0] if named else FAINT, height=0.66,
                      edgecolor=MUTED, linewidth=0.5, hatch="//" if named else "")  # fmt: skip
            axes.plot(moved, np.full(len(moved), y), ".", color=INK, alpha=0.45, markersize=3.5)
        axes.set_yticks(range(len(order)), [w.partition(" ")[2] for w in order])
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"1 − cosine when the word is left out (n = {found.concept.nunique()}"
                        " concepts)")  # fmt: skip
    return closed(figure)
