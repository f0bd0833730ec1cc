"""Hypotheses are judged by the rules that were declared, and figures show what they are given."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from test_why import DENIED, result
from whitebear.book.chapters import why_it_fails as why_answers
from whitebear.book.figures import taught as why_figures
from whitebear.book.report.claim import verdicts
from whitebear.book.report.declared import declaration
from whitebear.pocket.experiments import results as why
from whitebear.pocket.experiments.results import Result
from whitebear.stats import Estimate

CELLS = {(0.0, 0.0): 0.0, (0.2, 0.0): 0.05, (0.0, 0.2): 0.8, (0.2, 0.2): 0.9}


def cells(natural=0.05, held_out=0.3, never=0.9, **other):
    found = {}
    for (e, d), share in (CELLS | other.get("cells", {})).items():
        heldout = held_out if (e, d) == (0.2, 0.2) else 0.0
        rare = never if (e, d) == (0.2, 0.2) else None
        shares = {"trained": share, "heldout": heldout, "never": rare}
        found |= {f"{e}-{d}-{seed}": result(e, d, seed, **shares) for seed in (1, 2)}
    return found | {"n": result(0.0058, 0.0058, trained=natural)}


def repaired(part, steps, share, present=0.93):
    made = result(0.0, 0.0, trained=share, present=present)
    made.record["cell"] = {"part": part, "steps": steps, "examples": 9, "seed": 1}
    made.record["quality"]["pair, both present"] = 0.7
    return made


@pytest.mark.parametrize(
    ("judge", "given", "verdict"),
    [
        ("dose", {}, "holds"),
        ("dose", {"natural": 0.4}, "refuted"),
        ("dose", {"cells": {(0.2, 0.2): 0.3}}, "refuted"),
        ("habit", {}, "holds"),
        ("habit", {"held_out": 0.9}, "refuted"),
        ("where", {}, "holds"),
        ("where", {"cells": {(0.0, 0.2): 0.2}}, "refuted"),
        ("where", {"cells": {(0.2, 0.0): 0.4}}, "refuted"),
        ("rule", {}, "holds"),
        ("rule", {"never": 0.3}, "refuted"),
    ],
)
def test_each_hypothesis_by_its_own_rule(judge, given, verdict):
    assert getattr(why_answers, judge)(cells(**given)).verdict == verdict


def test_a_repair_needs_obedience_and_may_not_cost_much():
    judge = lambda *made: why_answers.repair({str(i): m for i, m in enumerate(made)}, 0.94)  # noqa: E731
    assert judge(repaired("kv", 50, 0.6), repaired("kv", 200, 0.9)).verdict == "holds"
    assert judge(repaired("kv", 50, 0.6), repaired("kv", 200, 0.9)).estimate.startswith("0: ")
    assert judge(repaired("kv", 50, 0.6, present=0.8)).verdict == "refuted"
    assert judge(repaired("kv", 50, 0.2)).verdict == "refuted"
    few, many = (repaired("kv", 50, 0.6) for _ in range(2))
    few.record["cell"] = few.record["cell"] | {"examples": 3}
    assert judge(many, few).estimate.startswith("1: ")  # as many steps, fewer examples
    every = why.instructions(heldout=True)
    assert why_answers.repair({"a": few}, 0.94, every, "all words").verdict == "refuted"
    assert judge().verdict == "open"


def test_nothing_is_judged_without_models_or_by_models_that_forgot_to_draw():
    assert {c.verdict for c in why_answers.claims({}, {}, 0.94)} == {"open"}
    weak = {k: result(*r.rates, present=0.5, trained=0.9) for k, r in cells().items()}
    assert {c.verdict for c in why_answers.claims(weak, {}, 0.94)} == {"open"}


def test_figures_show_every_cell_and_every_repair():
    results = cells()
    assert "0.58 %\nLAION-400M" in ticks(why_figures.dose(results).axes[0].get_xticklabels())
    rows = why_figures.suppressions(results, list(CELLS)).axes[0].get_yticklabels()
    assert ticks(rows)[1] == "encoder 20 %, denoiser 0 %" and len(rows) == 4
    assert sorted(t.get_text() for t in why_figures.design(results).axes[0].texts) == list("12222")
    made = {s: repaired(*s, 0.5) for s in (("kv", 50), ("kv", 200), ("text", 50))}
    assert ticks(why_figures.repairs(made).axes[0].get_xticklabels()) == ["50", "200"]
    plt.close("all")


def ticks(labels):
    return [label.get_text() for label in labels]


def test_tables_have_a_row_a_model_and_the_declaration_has_no_headings():
    results = cells()
    for made in results.values():
        made.record["quality"] |= {"pair, both present": 0.7, "omit, object not asked for": 0.01}
        made.record["seconds"] = {"clip": 60, "denoiser": 120}
    table = why_answers.cells(results, asked=0.98)
    assert len(table) == len(results) and set(table.minutes) == {3}
    assert table["asked for, drawn"].iloc[0] == "95 %" and set(table["quality kept"]) == {"yes"}
    assert set(why_answers.cells(results, asked=1.01)["quality kept"]) == {"no"}
    rates = why_answers.rates(results, ["affirm", "forget_then_request"])
    assert list(rates.columns)[1] == ("0 %", "20 %") and rates.shape == (2, 5)
    assert rates.loc["forget it, then draw it", ("20 %", "20 %")].startswith("10 %")
    words = why_answers.wordings(results, "forget_then_request")
    assert words.loc["Forget the {c}. Now draw a picture of a {c}.", ("0 %", "20 %")][:4] == "20 %"
    assert list(words.index.str.endswith("(held out)")) == [True, False]  # none that nobody asked
    made = {"kv-50": repaired("kv", 50, 0.5)}
    row = why_answers.repairs_table(made).loc["kv-50"]
    assert (row.trained, row["steps"]) == ("keys and values", 50)
    assert row["instructions suppressed"].startswith("50 %") and row["both of a pair"] == "70 %"
    judged = why_answers.claims(results, made, 0.94)
    assert list(verdicts(judged).verdict) == [claim.verdict for claim in judged]


@pytest.mark.parametrize(("part", "first"), [(1, 1), (2, 7), (3, 13)])
def test_what_was_declared_is_shown_part_by_part(part, first):
    text = declaration(part)
    assert "**Hypotheses, and what would refute them**" in text and "\n#" not in "\n" + text
    assert f"\n{first}. **" in text and f"\n{first + 6}. **" not in text


def test_a_cell_that_was_trained_again_is_held_against_its_published_interval():
    published = {"a": result(0.2, 0.0, trained=0.5, heldout=0.1)}
    same = why_answers.again(published, {"a": result(0.2, 0.0, trained=0.5, heldout=0.1)})
    other = why_answers.again(published, {"a": result(0.2, 0.0, trained=0.8, heldout=0.1)})
    within = lambda table: table.loc["a"].within.to_dict()  # noqa: E731
    assert within(same)["asked for, drawn"] and within(same)["instructions suppressed"]
    assert not within(other)["instructions suppressed"]
    assert within(other)["held-out instructions suppressed"]
    assert other.loc["a", "instructions suppressed"].again == "80.0 %"
    assert not len(why_answers.again(published, {}))
    assert not len(why_answers.again({}, published))


def test_a_probe_has_to_beat_the_shipped_encoder_and_three_quarters():
    estimate = lambda value: Estimate(value, value - 0.02, value + 0.02, 100, 24)  # noqa: E731
    verdict = lambda *values: why_answers.reads(*map(estimate, values)).verdict  # noqa: E731
    assert verdict(0.55, 0.80) == "holds"
    assert verdict(0.55, 0.70) == "refuted"
    assert verdict(0.85, 0.80) == "refuted"


def test_denied_and_never_denied_objects_stand_apart_in_the_figure():
    runs = why.runs_of(cells(), 0.2, 0.2)
    axes = why_figures.generalises(runs).axes[0]
    assert ticks(axes.get_yticklabels())[::3] == [
        "denied, trained words", "never denied, new words"
    ]  # fmt: skip
    plt.close("all")


def negating(cell, left):
    """A model that still draws this share under "without", and nine tenths under "with"."""
    made, rows = result(*cell), []
    for concept in DENIED:
        for wording, control, share in (
            ("negate-without", "affirm-with", left), ("affirm-with", "", 0.9)
        ):  # fmt: skip
            rows += [{
                "concept": concept, "wording": wording, "seed": s, "pair": 0, "heldout": 0,
                "condition": wording.partition("-")[0], "control": control,
                "present": s < 20 * share, "denied": True,
            } for s in range(20)]  # fmt: skip
    return Result(made.record, pd.DataFrame(rows))


def test_a_plain_negation_is_judged_by_what_it_changes():
    assert [claim.verdict for claim in why_answers.plain({})] == ["open"] * 5
    taught = {
        (0.0058, 0.0058): 0.8,
        (0.0253, 0.0253): 0.3,
        (0.2, 0.2): 0.0,
        (0.2, 0.0): 0.1,
        (0.0, 0.2): 0.6,
    }
    found = why_answers.plain({str(cell): negating(cell, left) for cell, left in taught.items()})
    assert [claim.verdict for claim in found] == ["no", "yes", "yes", "yes", "no"]
    assert found[2].estimate.startswith("−90 points")


def test_the_answer_says_how_little_it_rests_on():
    taught = {(0.0, 0.0): 0.8, (0.2, 0.2): 0.0, (0.2, 0.0): 0.1, (0.0, 0.2): 0.6}
    models = {str(cell): negating(cell, left) for cell, left in taught.items()}
    told = result(0.2, 0.2, trained=0.05).scores
    both = models["(0.2, 0.2)"]
    models["(0.2, 0.2)"] = Result(both.record, pd.concat([both.scores, told]))
    text = why_answers.answer(models)
    rests = f"1 wording, {len(DENIED)} objects and 1 training run of each kind"
    assert "the text encoder alone is enough" in text and rests in text
    assert "found by exploring" in text and "very words" not in text
