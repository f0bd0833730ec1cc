"""Galleries: pictures in rows and columns, each with what was found in it."""

import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from whitebear.book.figures.style import FAINT, INK, MUTED, in_style, with_holes
from whitebear.errors import UserError
from whitebear.prompts import name_of


@in_style
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
    size = (2.6 + 1.02 * len(seeds), 1.06 * len(wordings) + 0.2)
    figure, grid = plt.subplots(len(wordings), len(seeds), figsize=size, squeeze=False)
    for wording, line in zip(wordings, grid, strict=True):
        for seed, axes in zip(seeds, line, strict=True):
            show_picture(axes, rows.loc[(wording, seed)])
        first = rows.loc[(wording, seeds[0])]
        label, title = with_holes(first.text, 30, concept), name_of(first.condition)
        line[0].text(-0.12, 0.97, title, ha="right", va="top", weight="bold",
                     fontsize=8, transform=line[0].transAxes)  # fmt: skip
        line[0].text(-0.12, 0.78, label, ha="right", va="top", fontsize=7, color=MUTED,
                     transform=line[0].transAxes)  # fmt: skip
    for seed, axes in zip(seeds, grid[0], strict=True):
        axes.set_title(f"seed {seed}", weight="normal", fontsize=8)
    return figure


def show_picture(axes: Axes, row: pd.Series) -> None:
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
