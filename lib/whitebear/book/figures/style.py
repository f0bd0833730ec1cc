"""The figures of the book in one style: dots with intervals, readable in print and colour-blind.

Every function takes the tidy scores of `run.run_grid` and returns a matplotlib Figure.
"""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whitebear.prompts import NAMES, fill, load_wordings

INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
PALETTE = ("#0072b2", "#6b6b6b", "#009e73", "#cc79a7", "#d55e00", "#e69f00")  # Okabe and Ito 2008
MARKERS = ("o", "s", "^", "D", "v", "P")
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


def look_of(condition: str) -> dict:
    """Colour and marker of a condition, the same in every figure."""
    order = list(dict.fromkeys([*NAMES, *load_wordings().condition]))
    i = order.index(condition) if condition in order else len(order)
    return {
        "color": PALETTE[i % len(PALETTE)],
        "marker": MARKERS[(i + i // len(PALETTE)) % len(MARKERS)],
    }


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


def with_holes(text: str, concept: str = "[concept]") -> str:
    """A wording as a figure shows it, its holes in brackets."""
    return fill(text, concept, "[object]", "[place]", "[description]")[0]


def closed(figure: Figure) -> Figure:
    """Out of pyplot's hands, so that a notebook shows it once."""
    plt.close(figure)
    return figure
