"""What the text encoder makes of instructions: similarities, layers, words and probes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whitebear.book.figures.forest import forest, guide, point
from whitebear.book.figures.style import (
    FAINT,
    INK,
    MARKERS,
    MUTED,
    PALETTE,
    in_style,
    legend_beside,
    pair_look,
)
from whitebear.measures.text_states import FINAL, PLACE_NAMES, PLACES, SPLITS, accuracy
from whitebear.prompts import in_order, name_of

SHOWN = ("concept", "eos", "pad")
REPORTED = -0.045  # change of text similarity, secondary source on arXiv 2604.01514


@in_style
def ladder(changes: pd.DataFrame, baselines: pd.DataFrame) -> Figure:
    """Standardised similarity to the plain request: instruction (filled) and its control (hollow).

    A panel a place; lines mark the four yardsticks. changes, baselines: of `encoder`.
    """
    order = in_order(changes.index.get_level_values("condition"))
    panels = {}
    for place in SHOWN:
        rows = changes.xs((FINAL, place), level=("layer", "place")).loc[order]
        control = [row.value - row.difference.value for row in rows.itertuples()]
        marks = {"control": map(point, control), "instruction": map(point, rows.value)}
        panels[PLACE_NAMES[place]] = pd.DataFrame(marks, index=order)
    figure = forest(panels, pair_look, name_of, 2.0 + 1.85 * len(SHOWN), 0.34, linked=True)
    for place, axes in zip(SHOWN, figure.axes, strict=True):
        for value, letter in _yardsticks(baselines.loc[FINAL, place]):
            guide(axes, value, ":", letter)
        axes.set_xlim(min(-0.3, axes.get_xlim()[0]), 1.12)
    figure.supxlabel("similarity to the plain request (U another concept, P paraphrase,"
                     " R repetition, I itself)", fontsize=8)  # fmt: skip
    return figure


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


@in_style
def choices(changes: pd.DataFrame, condition: str) -> Figure:
    """How the change of raw cosine depends on which state is compared: a panel a place, its layers.

    changes: of `encoder.changes(..., "cosine")`. A dashed line marks the reported value.
    """
    some = changes.difference[condition]
    places = list(dict.fromkeys(some.index.get_level_values("place")))
    panels = {PLACE_NAMES[p]: some.xs(p, level="place").to_frame(p) for p in places}

    def look(layer: str, place: str) -> dict:
        i, face = places.index(place) % 6, {} if layer == FINAL else {"markerfacecolor": "white"}
        return {"color": PALETTE[i], "marker": MARKERS[i], "markersize": 4.5} | face

    name = lambda layer: "after the last norm" if layer == FINAL else f"layer {layer}"  # noqa: E731
    figure = forest(panels, look, name, 6.8, 0.16, down=True)
    for axes in figure.axes:
        guide(axes, 0)
        guide(axes, REPORTED, "--", "reported" if axes is figure.axes[0] else "", INK)
        axes.tick_params(axis="y", labelsize=6.5)
    axes.set_xlabel("change of the cosine to the plain request, against the control")
    return figure


@in_style
def probes(found: pd.DataFrame) -> Figure:
    """Accuracy of the probes by what they were tested on: `found` of `encoder.probe`."""
    rates = {split: {place: accuracy(found, place, split) for place in PLACES} for split in SPLITS}
    looks = {
        split: {"color": PALETTE[i], "marker": marker, "label": split}
        for split, i, marker in zip(SPLITS, (0, 4, 2), MARKERS, strict=False)
    }
    figure = forest({"": pd.DataFrame(rates)}, lambda _, split: looks[split], PLACE_NAMES.get,
                    row=0.62)  # fmt: skip
    (axes,) = figure.axes
    guide(axes, 0.5, ":")
    right_axis(axes, "probe right, % (dotted: chance)")
    legend_beside(axes, "tested on")
    return figure


def right_axis(axes: Axes, label: str) -> None:
    """A scale of how often a probe is right, from below chance to always."""
    axes.set_xlim(min(0.3, axes.dataLim.x0 - 0.02), 1.02)
    axes.set_xticks([0.5, 0.75, 1.0], ["50", "75", "100"])
    axes.set_xlabel(label)


@in_style
def words(found: pd.DataFrame) -> Figure:
    """How much each word of a wording moves the end token: `found` of `encoder.without_each_word`.

    Dots: concepts; bars: their mean.
    """
    order = list(dict.fromkeys(found.word))
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
    return figure
