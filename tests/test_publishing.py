"""What is found of a model is kept with where it comes from, and is not made twice."""

import json

import pandas as pd
import pytest

from whitebear.errors import UserError
from whitebear.files import MODELS
from whitebear.models.load import fingerprint
from whitebear.pocket.experiments import population, publishing
from whitebear.pocket.experiments.members import Member


@pytest.fixture
def stand_in(tmp_path):
    """Places of a model, and what makes it: the shipped one stands in; calls are counted."""
    places = publishing.Places(*(tmp_path / name for name in ("run", "out", "results")))
    calls = []

    def make(run, out):
        calls.append((run, out))
        run.mkdir(parents=True, exist_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        (run / "clip.csv").write_text("step,loss,seconds\n")
        if not (out / "pocket").exists():
            (out / "pocket").symlink_to(MODELS / "pocket")
        return {"clip": 2.0}

    return places, make, calls


def table(**columns):
    return pd.DataFrame({name: [value] for name, value in columns.items()})


def test_results_are_kept_and_made_again_only_for_another_origin(stand_in):
    places, make, calls = stand_in
    score = lambda out: ({"": table(a=1), "-b": table(b=2)}, {"asked": 0.123456, "worst": "cup"})  # noqa: E731
    publish = lambda **origin: publishing.publish("x", places, origin, make, score)  # noqa: E731
    record = publish(seed=1)
    assert {path.name for path in places.results.iterdir()} == {
        "x.json", "x.parquet", "x-b.parquet", "x-clip.csv"
    }  # fmt: skip
    told = json.loads(record.read_text())
    assert told["seed"] == 1 and told["model"] == fingerprint(MODELS / "pocket")
    assert told["quality"] == {"asked": 0.1235, "worst": "cup"} and told["seconds"] == {"clip": 2}
    assert publish(seed=1) == record and len(calls) == 1
    publish(seed=2)
    assert len(calls) == 2 and json.loads(record.read_text())["seed"] == 2


def test_a_member_is_kept_with_scores_and_clauses(stand_in, tmp_path, monkeypatch):
    _, make, calls = stand_in
    learn = lambda member, run, out, deadline: make(run, out)  # noqa: E731
    for name, value in {
        "FOLDER": tmp_path / "results", "OUT": tmp_path / "out", "learn": learn,
        "cache_folder": lambda: tmp_path / "cache",
        "score_member": lambda out: (table(a=1), table(b=2)),
        "quality": lambda out: {"asked": 0.9},
    }.items():  # fmt: skip
        monkeypatch.setattr(population, name, value)
    member = Member("web-1", 0.0058, "all", 1)
    records = [population.publish(member) for _ in range(2)]
    assert len(calls) == 1 and calls[0][1] == tmp_path / "out" / "web-1"
    assert calls[0][0].parent == tmp_path / "cache" / "population"
    told = json.loads(records[1].read_text())
    assert told["member"]["id"] == "web-1" and told["quality"] == {"asked": 0.9}
    read = lambda end: list(pd.read_parquet(tmp_path / "results" / f"web-1{end}.parquet"))  # noqa: E731
    assert read("") == ["a"] and read("-clauses") == ["b"]


def test_all_cells_or_those_that_are_named(tmp_path):
    cells, path = {"a": 1, "b": 2}, tmp_path / "cells.csv"
    assert publishing.named([], cells, path) == ["a", "b"]
    assert publishing.named(["b"], cells, path) == ["b"]
    with pytest.raises(UserError, match="cells.csv has no c; it has a, b"):
        publishing.named(["b", "c"], cells, path)
