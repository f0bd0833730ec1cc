"""Figure of the law: what captions said against what pictures show."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from whitebear.book.figures.style import MUTED, in_style, legend_beside, look_of, plt
from whitebear.prompts import in_order, name_of


@in_style
def captions_and_pictures(table: pd.DataFrame, said: str = "predicted") -> Figure:
    """What captions said of a prompt (across) and how many pictures show the concept (up): a dot a
    wording and model. On the line the law is right.

    table: columns condition, rate and `said`, as of `law.beside_law`.
    """
    figure, axes = plt.subplots(figsize=(5.6, 3.8))
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8)
    for condition in in_order(table.condition):
        rows = table[table.condition == condition]
        axes.plot(rows[said], rows.rate, linestyle="", markersize=5, alpha=0.6, clip_on=False,
                  label=name_of(condition), **look_of(condition))  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="what captions said: likely to be in the picture",
             ylabel="pictures that show it")  # fmt: skip
    legend_beside(axes)
    return figure
