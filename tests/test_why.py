"""Contrasts between taught models, on tables whose truth is known."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from whitebear.book.report import rules
from whitebear.errors import UserError
from whitebear.files import WORLD
from whitebear.pocket.experiments import results as why
from whitebear.pocket.experiments.results import Result, contrast, instructions
from whitebear.pocket.world.captions import deniable
from whitebear.pocket.world.scene import load_world

OBJECTS = load_world().objects
DENIED = load_world().denied


def table(trained=0.0, heldout=0.0, never=None, seed=0):
    """Scores in which instructions remove exactly these shares (of twenty pictures a concept)."""
    rows = []
    for concept in OBJECTS:
        denied = concept in DENIED
        shares = {"affirm-picture": 0.0, "forget-look": trained, "forget-paper": heldout}
        if never is not None and not denied:
            shares |= {"forget-look": never, "forget-paper": never}
        for wording, share in shares.items():
            for s in range(20):
                rows.append({
                    "concept": concept, "wording": wording, "seed": s, "pair": 0, "control": "",
                    "condition": "affirm" if wording[0] == "a" else "forget_then_request",
                    "heldout": wording == "forget-paper", "present": s >= round(20 * share),
                    "denied": denied,
                })  # fmt: skip
    return pd.DataFrame(rows)


def result(encoder_r, denoiser_r, seed=1, present=0.95, times=1, **shares):
    cell = {"encoder_r": encoder_r, "denoiser_r": denoiser_r, "seed": seed, "times": times}
    record = {"cell": cell, "base": "b", "denied": list(DENIED),
              "quality": {"affirm, object present": present}}  # fmt: skip
    return Result(record, table(**shares))


def test_suppression_by_wording_and_by_object():
    runs = [result(0.2, 0.2, trained=0.8, heldout=0.4, never=0.1)]
    of = lambda **which: why.suppression(runs, instructions(**which)).value  # noqa: E731
    assert of(heldout=False, taught=True) == pytest.approx(0.8)
    assert of(heldout=True, taught=True) == pytest.approx(0.4)
    assert of(wording=why.PAPER, taught=False) == pytest.approx(0.1)
    assert of(heldout=False) == pytest.approx(0.45)


def test_the_factorial_finds_main_effects_and_interaction():
    truth = {(0.0, 0.0): 0.0, (0.2, 0.0): 0.1, (0.0, 0.2): 0.3, (0.2, 0.2): 0.9}
    results = {f"{c}{s}": result(*c, seed=s, trained=x) for c, x in truth.items() for s in (1, 2)}
    found = why.factorial(results, instructions(heldout=False))
    assert {k: round(e.value, 6) for k, e in found.items()} == {
        "encoder": 0.35, "denoiser": 0.55, "interaction": 0.5
    }  # fmt: skip
    assert found["denoiser"].concepts == len(OBJECTS)


def test_a_missing_cell_leaves_a_contrast_undefined():
    results = {"a": result(0.2, 0.2)}
    assert np.isnan(why.factorial(results, instructions())["interaction"].value)
    uneven = [result(0.2, 0.2), result(0.2, 0.2, seed=2)], [result(0.0, 0.0)]
    assert np.isnan(contrast(*((1, runs, instructions()) for runs in uneven)).value)


def test_concepts_are_resampled_together_in_all_terms():
    """Two models that agree picture by picture do not differ at all."""
    same = [result(0.2, 0.2, trained=0.5, never=0.0)]
    pick = instructions(heldout=False)
    found = contrast((1, same, pick), (-1, same, pick))
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert contrast((1, same, pick)).low < 0.2


def test_equivalence_needs_an_interval_inside_the_margin():
    one, other = [result(0.2, 0.2, trained=0.5)], [result(0.0, 0.2, trained=0.5)]
    far, pick = [result(0.0, 0.0, trained=0.3)], instructions(heldout=False)
    same = lambda *terms: rules.SAME(near=contrast(*terms, level=0.90))  # noqa: E731
    assert same((1, one, pick), (-1, other, pick)) == "yes"
    assert same((1, one, pick), (-1, far, pick)) == "no"


def test_runs_concepts_and_wordings_are_crossed_in_a_contrast():
    """Two runs that differ say little about others, and one run says nothing about them."""
    pick = instructions(heldout=False)
    runs = [result(0.2, 0.2, seed=s, trained=x, never=0.1) for s, x in ((1, 0.4), (2, 0.8))]
    one, two = contrast((1, runs[:1], pick)), contrast((1, runs, pick))
    assert (one.wordings, one.runs, two.runs) == (1, 1, 2)
    assert one.beyond() == ("concepts",) and two.beyond() == ("concepts", "runs")
    assert two.value == pytest.approx(0.35)
    assert two.high - two.low > 2 * (one.high - one.low)
    same = contrast((1, runs, pick), (-1, [replace(r) for r in runs], pick))
    assert same.low == pytest.approx(0, abs=1e-9) == same.high  # what is common cancels
    assert why.suppression(runs, pick).high <= 1


def test_wordings_widen_the_interval_where_they_disagree():
    runs = [result(0.2, 0.2, trained=0.8, heldout=0.0, never=None)]
    alone, both = (
        contrast((1, runs, pick)) for pick in (instructions(heldout=False), instructions())
    )
    assert (alone.wordings, both.wordings) == (1, 2)
    assert both.low < 0.1 and both.high > 0.7


def test_results_are_read_with_their_records_and_bases_must_agree(tmp_path):
    for name, base in {"a": "x", "b": "x", "c": "y"}.items():
        record = {**result(0.0, 0.2).record, "base": base}
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
        shutil.copy(why.FOLDER / "shipped.parquet", tmp_path / f"{name}.parquet")
    found = why.load_results(["a", "b", "none"], tmp_path)
    assert list(found) == ["a", "b"] and found["a"].rates == (0.0, 0.2)
    scores = found["a"].scores
    assert set(scores.concept[scores.denied]) == set(found["a"].denied) == set(DENIED)
    with pytest.raises(UserError, match="2 different base models"):
        why.load_results(["a", "c"], tmp_path)


def test_models_that_lost_plain_requests_judge_nothing():
    results = {"good": result(0.0, 0.0, present=0.9), "bad": result(0.2, 0.2, present=0.7)}
    assert list(why.usable(results)) == ["good"]


def test_effects_are_held_against_controls_and_longer_training_is_no_repetition():
    rows = []
    for concept in OBJECTS:
        for s in range(10):
            for wording, control, present in (
                ("negate-without", "affirm-with", s < 3), ("affirm-with", "", s < 8)
            ):  # fmt: skip
                rows.append({
                    "concept": concept, "wording": wording, "seed": s, "pair": 0, "heldout": 0,
                    "condition": wording.partition("-")[0], "control": control, "present": present,
                    "denied": concept in DENIED,
                })  # fmt: skip
    run = Result(result(0.2, 0.2).record, pd.DataFrame(rows))
    found = why.effect([run], instructions("negate", taught=True))
    assert (found.value, found.n) == (pytest.approx(-0.5), 120)
    assert found.low < -0.5 < found.high
    assert np.isnan(why.effect([], instructions("negate")).value)
    alone = Result(run.record, run.scores[run.scores.wording == "negate-without"])
    assert np.isnan(why.effect([alone], instructions("negate")).value)  # its control was not drawn
    longer = result(0.2, 0.2, times=4)
    assert why.runs_of({"a": run, "b": longer}, 0.2, 0.2) == [run]


def test_a_new_object_in_the_middle_changes_nothing_for_published_cells(tmp_path, monkeypatch):
    def judged():
        cells = list(why.load_results(["e20-d20-s1"]).values())
        return why.suppression(cells, why.TRAINED), deniable(load_world(), "half")

    before = judged()
    folder = shutil.copytree(WORLD, tmp_path / "world")
    shutil.copy(folder / "objects" / "bear.svg", folder / "objects" / "wolf.svg")
    lines = (folder / "concepts.csv").read_text().splitlines()
    wolf = ["object", "wolf", "wolf", "", "", "a grey dog", "0"]
    lines.insert(6, ",".join(wolf[: len(lines[0].split(","))]))
    (folder / "concepts.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(load_world, "__defaults__", (folder,))
    assert "wolf" in load_world().objects
    assert judged() == before
