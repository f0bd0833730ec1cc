"""What all figures of the book share: one style, readable in print and colour-blind."""

import textwrap
from collections.abc import Callable
from functools import wraps

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
    "legend.frameon": False,
}


def look_of(condition: str) -> dict:
    """Colour and marker of a condition, the same in every figure."""
    order = list(NAMES)
    if condition not in NAMES:
        order = list(dict.fromkeys([*NAMES, *load_wordings().condition]))
    i = order.index(condition) if condition in order else len(order)
    return {
        "color": PALETTE[i % len(PALETTE)],
        "marker": MARKERS[(i + i // len(PALETTE)) % len(MARKERS)],
    }


def pair_look(condition: str, mark: str) -> dict:
    """`look_of` an instruction, filled, or of its control (where the mark is so named), hollow."""
    face = {"markerfacecolor": "white"} if mark == "control" else {}
    return look_of(condition) | face | {"markersize": 6}


def legend_beside(axes: Axes, title: str | None = None) -> None:
    """The legend of a figure at its right."""
    axes.legend(title=title, loc="center left", bbox_to_anchor=(1.0, 0.5))


def signed_percent(value: float, _=None) -> str:
    """A tick label for a change: "+10", "0", "−10"."""
    return f"{100 * value:+.0f}".replace("+0", "0").replace("-", "−") if value else "0"


def with_holes(text: str, width: int, concept: str = "[concept]") -> str:
    """A wording as a figure shows it, its holes in brackets, in lines of `width` characters."""
    return textwrap.fill(fill(text, concept, "[object]", "[place]", "[description]")[0], width)


def in_style(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """The function, drawing in the style of the book; a notebook shows its figure only once."""

    @wraps(draw)
    def styled(*args, **kwargs) -> Figure:
        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
        plt.close(figure)
        return figure

    return styled
