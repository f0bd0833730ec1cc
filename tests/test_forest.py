"""Every row of dots shows the estimates it was given, no others, and says of how many pictures."""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from test_figures import CONDITIONS, drawn, fake_scores
from test_why_answers import cells, negating
from whitebear import stats
from whitebear.book.figures import attention, inside, presence, taught, text_states
from whitebear.book.figures.forest import dot, forest, point
from whitebear.book.figures.style import MARKERS, PALETTE, with_holes
from whitebear.measures.text_states import FINAL, PLACE_NAMES, PLACES, SPLITS
from whitebear.pocket.experiments import results as why
from whitebear.prompts import NAMES, in_order, name_of
from whitebear.stats import Estimate

LOOKS = {"a": {"color": PALETTE[0], "marker": "o"}, "b": {"color": PALETTE[4], "marker": "v"}}
rng = np.random.default_rng(0)


def estimate(low=0.1, high=0.9):
    value = rng.uniform(low, high)
    return Estimate(value, value - 0.05, value + 0.07, int(rng.integers(10, 900)), 9)


def estimates(rows, marks):
    rows = list(rows)
    return pd.DataFrame({mark: {row: estimate() for row in rows} for mark in marks})


def shown(axes):
    """(dots, intervals): for each row of a panel, the sorted values and ends that are drawn."""
    dots, bars = ([[] for _ in axes.get_yticks()] for _ in range(2))
    for line in axes.lines:
        x, y = list(map(float, line.get_xdata())), round(float(line.get_ydata()[0]))
        if line.get_transform() != axes.transData or np.isnan(x).any():
            continue  # a line across the panel, or nothing to see
        if line.get_marker() in MARKERS:
            dots[y] += x
        elif line.get_marker() == "None" and line.get_alpha() is None:
            bars[y].append(tuple(x))
    return [sorted(row) for row in dots], [sorted(row) for row in bars]


def assert_shows(figure, *panels):
    """Each panel holds a dot for each value of its table and a bar for each interval."""
    assert drawn(figure) and len(figure.axes) == len(panels)
    for axes, table in zip(figure.axes, panels, strict=True):
        rows = [list(row) for row in table.itertuples(index=False)]
        dots, bars = shown(axes)
        low, high = axes.get_xlim()
        drawn_at = [x for row in [*dots, *map(np.ravel, bars)] for x in row]
        assert all(low < x < high for x in drawn_at)  # nothing is cut off
        assert dots == [sorted(e.value for e in row if not np.isnan(e.value)) for row in rows]
        assert bars == [sorted((e.low, e.high) for e in row if not np.isnan(e.low)) for row in rows]
    plt.close("all")


def texts(axes):
    return [text.get_text() for text in axes.texts]


def rows_of(axes):
    return [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]


@pytest.mark.parametrize(("down", "linked"), list(product([False, True], repeat=2)))
def test_a_forest_shows_what_it_is_given(down, linked):
    panels = {"first": estimates("xyz", "ab"), "second": estimates("xyz", "ab")}
    panels["first"].loc["y", "a"] = point(0.5)
    panels["second"].loc["z", "b"] = point(np.nan)
    figure = forest(panels, lambda _, mark: LOOKS[mark], down=down, linked=linked)
    assert_shows(figure, *panels.values())
    titles = [axes.get_title("left" if down else "center") for axes in figure.axes]
    assert titles == list(panels)
    assert rows_of(figure.axes[0]) == list("xyz")
    dots = [line for line in figure.axes[0].lines if line.get_marker() in MARKERS]
    looks = [(line.get_color(), line.get_marker()) for line in dots]
    assert looks == [tuple(LOOKS[mark].values()) for mark in "ababab"]


def test_no_value_is_no_dot_and_no_interval_no_bar():
    axes = plt.figure().add_subplot()
    dot(axes, 0, Estimate(np.nan, np.nan, np.nan, 0, 0), **LOOKS["a"])
    dot(axes, 1, point(0.5), **LOOKS["a"])
    axes.set_yticks([0, 1])
    assert shown(axes) == ([[], [0.5]], [[], []])
    plt.close("all")


# --- each figure that is a forest ----------------------------------------------------------------


@pytest.fixture(scope="module")
def scores(world):
    return fake_scores(world, ["bear", "owl", "cat"])


def test_conditions_and_suppression(scores):
    summary = stats.summary(scores).set_index("condition")
    order = in_order(scores.condition)
    control = stats.add_control(scores).groupby("condition").control_value.mean().reindex(order)
    figure = presence.conditions(scores)
    table = pd.DataFrame({"control": control.map(point), "rate": summary.rate[order]})
    assert_shows(figure, table)
    assert rows_of(figure.axes[0]) == [NAMES[name] for name in order]
    assert [str(n) for n in summary.n[order]] == texts(figure.axes[0])[-len(order) - 1 : -1]
    figure = presence.suppression(scores)
    rest = summary.suppression[order[1:]]
    assert_shows(figure, rest.to_frame())
    assert texts(figure.axes[0]) == [f"n = {e.n}" for e in rest]
    small = [line for line in figure.axes[0].lines if line.get_marker() == "."]
    wordings = scores[scores.condition != "affirm"].groupby("condition").wording.nunique()
    assert [len(line.get_xdata()) for line in small] == list(wordings[order[1:]])


def test_rates_with_all_concepts_on_top(scores):
    by = stats.by_concept(scores).set_index(["condition", "concept"])
    panels = []
    for name in in_order(CONDITIONS):
        rows = [Estimate(r.rate, r.low, r.high, r.n, 1) for r in by.loc[name].itertuples()]
        total = stats.rate(scores[scores.condition == name], over=stats.KIND)
        panels.append(pd.DataFrame({name: [total, *rows]}))
    figure = presence.rates(scores)
    assert_shows(figure, *panels)
    assert rows_of(figure.axes[0]) == ["all", "bear", "owl", "cat"]


def test_wordings_controls_and_differences(scores):
    table = stats.by_wording(scores)
    labels = {row.Index: with_holes(row.text, 999) for row in table.itertuples()}
    figure = presence.beside_controls(table)
    order = [w for w in labels if w in table.index]
    pairs = pd.DataFrame({"rate": table.rate.map(lambda e: point(e.value)),
                          "control_value": table.control_value.map(point)})  # fmt: skip
    assert_shows(figure, pairs.loc[order])
    assert rows_of(figure.axes[0]) == [labels[w] for w in order]
    figure = presence.wordings(table)
    order = [w for c in in_order(table.condition) for w in table.index[table.condition == c]]
    assert_shows(figure, table.loc[order, ["difference"]])
    assert rows_of(figure.axes[0]) == [labels[w] for w in order]
    told = [text.replace(" %", "") for text in table.difference[order].map(Estimate.percent)]
    assert texts(figure.axes[0]) == told


def test_places_and_layers_of_the_text_encoder():
    conditions, layers = ["forget_then_request", "negate"], ["0", "1", FINAL]
    keys = list(product(conditions, layers, PLACES))
    index = pd.MultiIndex.from_tuples(keys, names=["condition", "layer", "place"])
    changes = pd.DataFrame({"difference": [estimate() for _ in keys]}, index=index)
    changes = changes.assign(value=rng.random(len(keys)))
    yardsticks = ["unrelated", "repetition", "paraphrase", "identical"]
    places = pd.MultiIndex.from_product([[FINAL], PLACES])
    marks = pd.DataFrame(rng.random((len(PLACES), 4)), index=places, columns=yardsticks)
    final = changes.xs(FINAL, level="layer")
    panels = []
    for place in text_states.SHOWN:
        rows = final.xs(place, level="place").loc[conditions]
        control = [point(r.value - r.difference.value) for r in rows.itertuples()]
        panels.append(
            pd.DataFrame({"control_value": control, "value": list(map(point, rows.value))})
        )
    assert_shows(text_states.ladder(changes, marks), *panels)
    figure = text_states.choices(changes, "negate")
    panels = [
        changes.xs(("negate", p), level=("condition", "place"))[["difference"]] for p in PLACES
    ]
    assert_shows(figure, *panels)
    assert rows_of(figure.axes[0]) == ["layer 0", "layer 1", "after the last norm"]


def test_probes_by_split_and_by_model():
    index = pd.MultiIndex.from_product(
        [PLACES, SPLITS, list("abcd"), ["w1", "w2", "w3"]],
        names=["place", "split", "concept", "wording"],
    )
    found = pd.DataFrame({"present": rng.random(len(index)) > 0.3}, index=index).reset_index()
    rate = lambda rows, place, split: stats.rate(  # noqa: E731
        rows[(rows.place == place) & (rows.split == split)], over=stats.KIND
    )
    table = pd.DataFrame([[rate(found, p, s) for s in SPLITS] for p in PLACES])
    figure = text_states.probes(found)
    assert_shows(figure, table)
    assert rows_of(figure.axes[0]) == list(PLACE_NAMES.values())
    assert figure.axes[0].get_legend_handles_labels()[1] == list(SPLITS)
    other = found.assign(present=~found.present)
    table = pd.DataFrame([[rate(rows, p, SPLITS[-1]) for rows in (found, other)] for p in PLACES])
    assert_shows(inside.probes({"shipped": found, "taught": other}), table)


def test_captions_parts_encoders_and_swaps():
    texts_of = {"once": "no {n}", "twice": "no {n}, a {n}", "thrice": "a {n}, no {n}"}
    rates = estimates([(False, "once"), (True, "twice"), (True, "thrice")], ["shipped", "taught"])
    figure = inside.captions(rates, texts_of)
    assert_shows(figure, rates.loc[False], rates.loc[True])
    assert rows_of(figure.axes[1]) == [texts_of["twice"], texts_of["thrice"]]
    parts = estimates(product(["shipped", "taught"], repeat=2), ["negate", "forget_only"])
    assert_shows(inside.parts(parts), parts[["negate"]], parts[["forget_only"]])
    encoders = estimates(["affirm", "negate"], ["own", "other", "change"])
    figure = inside.encoders(encoders)
    assert_shows(figure, encoders[["own", "other"]])
    assert rows_of(figure.axes[0]) == [name_of("affirm"), name_of("negate")]
    rows = [("b", "s", "end token"), ("b", "s", "padding"), ("s", "b", "padding")]
    table = estimates(rows, ["rate", "share"]).assign(base_rate=0.1, source_rate=0.8)
    table = table.rename_axis(["base", "source", "part"])
    figure = inside.swaps(table)
    assert_shows(figure, table.loc[("b", "s"), ["rate"]], table.loc[("s", "b"), ["rate"]])
    assert [e.percent() for e in table.loc[("b", "s")].share] == texts(figure.axes[0])[:2]
    assert {"B", "S"} <= set(texts(figure.axes[0]))


def test_relative_changes_and_costs():
    tables = {
        "by layer": estimates(product(["l1", "l0"], ["role", "negate"]), ["relative"]),
        "by denominator": estimates(product(["words"], ["role", "negate"]), ["relative"]),
    }
    wide = [table.relative.unstack()[["role", "negate"]] for table in tables.values()]
    figure = attention.relative_changes(tables, {"l0": "down 0"})
    assert_shows(figure, wide[0].loc[["l1", "l0"]], wide[1])
    assert rows_of(figure.axes[0]) == ["l1", "down 0"]
    rows = [
        ("b", "bare", 1.0, 0.9, 1.1),
        ("b", "ours", 1.2, 1.1, 1.3),
        ("a", "bare", 1.0, 0.8, 1.3),
    ]
    table = pd.DataFrame(rows, columns=["shape", "contender", "ratio", "low", "high"])
    figure = attention.costs(table.set_index(["shape", "contender"]))
    panels = [pd.DataFrame({"": [Estimate(*row[2:], 0, 0) for row in rows if row[0] == shape]})
              for shape in "ba"]  # fmt: skip
    assert_shows(figure, *panels)
    assert texts(figure.axes[0]) == ["1.00", "1.20"]


def test_taught_cells_with_their_seeds():
    results = cells()
    order = [(0.0, 0.0), (0.2, 0.2)]
    runs = [why.runs_of(results, *cell) for cell in order]
    figure = taught.suppressions(results, order)
    panels = [pd.DataFrame({"": [why.suppression(some, pick) for some in runs]})
              for pick in taught.GROUPS.values()]  # fmt: skip
    assert_shows(figure, *panels)
    ticks = [list(line.get_xdata()) for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert ticks == [[why.suppression([run], why.TRAINED).value for run in some] for some in runs]
    pick = why.instructions("negate", heldout=False, taught=True)
    negated = {
        str(cell): negating(cell, left) for cell, left in zip(order, (0.8, 0.1), strict=True)
    }
    found = [why.effect([run], pick) for run in negated.values()]
    figure = taught.effects(negated, order, ["negate"])
    assert [e.value for e in found] == pytest.approx([-0.1, -0.8])
    assert_shows(figure, pd.DataFrame({"": found}))
    kinds = [
        why.instructions(*names, taught=denied, heldout=new)
        for names, denied, new in product([(), ("negate",)], [True, False], [False, True])
    ]
    found = [why.suppression(runs[1], pick) for pick in kinds]
    assert_shows(taught.generalises(runs[1]),
                 pd.DataFrame({"": found[:4]}), pd.DataFrame({"": found[4:]}))  # fmt: skip


def test_suppressions_far_below_zero_are_shown_in_full():
    weak = {str(cell): negating(cell, 0.9) for cell in ((0.0, 0.0), (0.2, 0.2))}
    for run in weak.values():  # plain requests show it less often than instructions
        run.scores.loc[run.scores.condition == "affirm", "present"] = run.scores.seed < 12
        run.scores.loc[run.scores.condition == "negate", "condition"] = "role"
    found = [why.suppression([run], why.TRAINED) for run in weak.values()]
    assert found[0].value == pytest.approx(-0.5)
    low, high = taught.suppressions(weak, [run.rates for run in weak.values()]).axes[0].get_xlim()
    assert low < min(e.low for e in found)
    plt.close("all")
