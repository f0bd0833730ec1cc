"""What captions, parts, text encoders and swapped states do: figures of chapters 08, 09 and 11."""

import textwrap
from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from whitebear.book.figures.forest import beside, change_axis, forest, guide, share_axis
from whitebear.book.figures.style import INK, MARKERS, PALETTE, in_style, legend_beside
from whitebear.book.figures.text_states import right_axis
from whitebear.book.report import rules
from whitebear.measures.text_states import PLACE_NAMES, PLACES, accuracy
from whitebear.prompts import name_of

TITLES = {False: "named once", True: "named again after it was denied"}
PAIRS = {
    ("negate-no", "affirm-and"): "“but no” drawn with states of “and a”",
    ("affirm-and", "negate-no"): "“and a” drawn with states of “but no”",
    ("omit-picture", "affirm-and"): "silence drawn with states of “and a”",
}


def _in_turn(table: pd.DataFrame, suffix: str = "") -> Callable[..., dict]:
    """Colours and markers for the columns of a table in their order, with their names."""
    looks = {
        mark: {"color": color, "marker": marker, "markersize": 4, "label": f"{mark}{suffix}"}
        for mark, color, marker in zip(table, PALETTE, MARKERS, strict=False)
    }
    return lambda _, mark: looks[mark]


@in_style
def captions(rates: pd.DataFrame, texts: dict[str, str]) -> Figure:
    """Rate of the denied concept for each negated training caption, a mark a model; captions that
    name it once above, those that name it again below.

    rates: of `mechanism.by_caption`; texts: of `mechanism.caption_texts`.
    """
    panels = {title: rates.loc[n] for n, title in TITLES.items() if n in rates.index}
    figure = forest(panels, _in_turn(rates), texts.get, row=0.2, down=True)
    for axes in figure.axes:
        axes.tick_params(axis="y", labelsize=7)
    share_axis(axes, "pictures with what the caption denies, %")
    figure.axes[0].legend(ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    return figure


@in_style
def parts(table: pd.DataFrame) -> Figure:
    """A panel a kind of instruction, a row a combination of text encoder and denoiser: what the
    instruction changes, in points against its control. table: of `mechanism.by_part`."""
    panels = {name_of(condition): table[[condition]] for condition in table}
    name = lambda row: "encoder {}, denoiser {}".format(*row)  # noqa: E731
    figure = forest(panels, name=name, width=1.9 + 1.9 * len(panels), row=0.32)
    for axes in figure.axes:
        guide(axes, 0)
        axes.set_xticks([-1, -0.5, 0])
        change_axis(axes, "change, points", -1.04, 0.3)
    return figure


@in_style
def probes(found: dict[str, pd.DataFrame]) -> Figure:
    """A row a place in the prompt, a mark a model: how often a probe tells instruction from control
    on new concepts and new wordings. found: model -> table of `encoder.probe`."""
    table = pd.DataFrame(
        {name: {place: accuracy(rows, place) for place in PLACES}
         for name, rows in found.items()}
    )  # fmt: skip
    figure = forest({"": table}, _in_turn(table), PLACE_NAMES.get, 5.6, 0.34)
    (axes,) = figure.axes
    guide(axes, 0.5, "--")
    right_axis(axes, "probe right, % (dashed: chance)")
    legend_beside(axes)
    return figure


@in_style
def encoders(table: pd.DataFrame) -> Figure:
    """A row a condition, a mark an encoder: how often the concept is drawn.

    table: of `other_encoder.changes`."""
    table = table[["own", "other"]]
    figure = forest({"": table}, _in_turn(table, " encoder"), name_of, 6.0, 0.34)
    (axes,) = figure.axes
    share_axis(axes, "pictures with the concept, %")
    legend_beside(axes)
    return figure


@in_style
def exchanged_wordings(table: pd.DataFrame) -> Figure:
    """A row a wording, a mark an encoder: how much of what its control shows a wording takes away.

    table: of `another_encoder.by_wording`; wordings whose control shows too little have no row.
    """
    table = table[table.room >= rules.ROOM].set_index("text")[["own", "other"]]
    figure = forest({"": table}, _in_turn(table, " encoder"), _wrapped, 7.2, 0.36)
    (axes,) = figure.axes
    axes.set_xlim(right=1.04)
    guide(axes, rules.HALF, ":", "obeyed")
    guide(axes, 0.0)
    axes.set_xlabel("taken away, share of what the control shows")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    legend_beside(axes)
    return figure


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 46)


@in_style
def swaps(table: pd.DataFrame) -> Figure:
    """Rates after swapping text states: a panel a pair of prompts, a row a part.

    table: of `patching.shares`. Dotted lines: the base (B) and the source (S) of the states.
    """
    groups = {pair: some.droplevel(["base", "source"])
              for pair, some in table.groupby(["base", "source"], sort=False)}  # fmt: skip
    panels, looks = {}, {}
    for i, (pair, rows) in enumerate(groups.items()):
        panels[PAIRS.get(pair, "{} ← {}".format(*pair))] = rows.rate.to_frame(pair)
        looks[pair] = {"color": PALETTE[(4, 0, 2)[i % 3]], "marker": MARKERS[i % 3]}
    figure = forest(panels, lambda _, pair: looks[pair], width=6.6, row=0.46, down=True)
    for axes, rows in zip(figure.axes, groups.values(), strict=True):
        beside(axes, [share.percent() for share in rows.share], "share of the way")
        guide(axes, rows.base_rate.iloc[0], ":", "B", INK)
        guide(axes, rows.source_rate.iloc[0], ":", "S", INK)
    share_axis(axes, "pictures with the concept, %")
    return figure
