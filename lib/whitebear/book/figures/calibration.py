"""How CLIP's zero-shot judgement was calibrated, to look at."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whitebear.book.figures.style import FAINT, INK, MUTED, in_style, look_of
from whitebear.errors import UserError
from whitebear.prompts import name_of
from whitebear.scoring import calibration


@in_style
def calibrated(table: pd.DataFrame) -> Figure:
    """Left: raw scores of pictures that were asked for and not, and where they were parted.
    Right: of pictures with about the same probability, the share that had been asked for.

    table: of `calibration.calibrate`. Raises `UserError` where nothing was calibrated.
    """
    if reason := calibration.why_not(table):
        raise UserError(f"there is no calibration to show: {reason}")
    rows = table[calibration.anchors(table)]
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 2.9), width_ratios=(3, 2))
    _raw_scores(left, rows)
    _reliability(right, calibration.reliability(table))
    left.set_title(f"balanced accuracy {calibration.accuracy(table).percent()}", loc="left")
    right.set_title("reliability", loc="left")
    return figure


def _raw_scores(axes: Axes, rows: pd.DataFrame) -> None:
    bins = np.histogram_bin_edges(rows.logit, bins=30)
    top = 0.0
    for condition, some in rows.groupby("condition"):
        weights = np.full(len(some), 1 / len(some))
        heights, _, _ = axes.hist(some.logit, bins, weights=weights, alpha=0.55,
                                  color=look_of(condition)["color"],
                                  label=f"{name_of(condition)} (n = {len(some)})")  # fmt: skip
        top = max(top, heights.max())
    cuts = rows.groupby(["concept", calibration.halves(rows)]).threshold.first()
    axes.plot(cuts, np.full(len(cuts), 1.06 * top), "|", color=INK, markersize=7)
    axes.axvline(cuts.mean(), ymax=0.78, color=INK, linewidth=0.9)
    axes.axvline(calibration.NEUTRAL, ymax=0.82, color=MUTED, linewidth=0.9, linestyle="--")
    axes.annotate("thresholds", (cuts.mean(), 1.12 * top), ha="center", fontsize=7)
    axes.annotate("“something”", (calibration.NEUTRAL, 0.8), ha="right", va="top", fontsize=7,
                  rotation=90, color=MUTED, xycoords=("data", "axes fraction"))  # fmt: skip
    axes.set_ylim(0, 1.4 * top)
    axes.set(xlabel="raw score: fits the concept better than “something” by",
             ylabel="share of the pictures")  # fmt: skip
    axes.legend(fontsize=7, loc="upper right", ncols=2)


def _reliability(axes: Axes, bins: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, zorder=1)
    axes.vlines(bins.predicted, bins.low, bins.high, color=INK, zorder=2)
    axes.plot(bins.predicted, bins.asked, "o", color=INK, markersize=4, zorder=3)
    ticks = [0, 0.5, 1], ["0", "50", "100"]
    axes.set_xticks(*ticks)
    axes.set_yticks(*ticks)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal",
             xlabel="calibrated probability, %", ylabel="asked for, %")  # fmt: skip
