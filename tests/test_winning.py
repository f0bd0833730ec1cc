"""Where a clause wins: each stage by the rule that was declared, whatever the stages do."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from conftest import artist_of
from whitebear.book.chapters.what_captions_said import winning as where_it_wins
from whitebear.book.figures import winning as figures
from whitebear.errors import UserError
from whitebear.measures import winning as measures
from whitebear.models.load import load_pipeline
from whitebear.pocket.experiments import members, winning
from whitebear.prompts import fill
from whitebear.stats import Estimate
from whitebear.tables import WINNING, check

TWO = ["bear", "owl"]


def test_a_mention_belongs_to_the_clause_that_makes_it():
    table = winning.grid(["bear"])
    told, asked = (measures.mention(table, which) for which in ("told", "asked"))
    for row, a, b in zip(table.itertuples(), told, asked, strict=True):
        assert sorted(a + b) == sorted(map(list, row.spans))
        clause = row.text.split(". ")[0 if row.order == "first" else -1]
        for start, end in a:
            assert row.prompt[start:end] == "bear" and row.prompt.index(clause[:4]) < start
            assert all((start < other) == (row.order == "first") for other, _ in b)
    assert (told.map(len) == (table.verb != "")).all()
    assert (asked.map(len) == table.request.isin(measures.BY)).all()


def test_states_and_attention_of_clauses(tiny_pipeline_dir, tmp_path):
    artist = artist_of(load_pipeline(str(tiny_pipeline_dir)), steps=2)
    table = winning.grid(TWO)
    table = table[(table.frame == "must")]
    found = check(winning.measure(artist, table, tmp_path), WINNING)
    rows = found.merge(table, on=measures.KEYS)
    assert len(rows) == len(found) == (table.verb != "").sum()
    assert (found.asked.isna() == ~rows.request.isin(measures.BY)).all()
    watched = rows.order.eq("first") & rows.request.ne("other")
    assert (found.attention.notna() == watched).all() and 0 < watched.sum() < len(rows)
    halves = (found.first_half + found.second_half) / 2
    assert np.allclose(halves, found.attention, equal_nan=True)
    # The encoder is causal: what comes first does not know what follows, and vice versa.
    by = ["concept", "verb", "request"]
    first = rows[rows.order == "first"]
    told = first[first.request.isin(["name", "place", "other"])].groupby(["concept", "verb"]).told
    assert (told.max() - told.min() < 1e-5).all()
    last = rows[(rows.order == "last") & rows.request.isin(measures.BY)].set_index(by)
    assert np.allclose(last.asked, 1, atol=1e-5)


def stage(elsewhere=0.0, asked=0.0, noise=0.02, verb="forget"):
    """Rows of clauses of 12 concepts in which a verb changes a stage by so much."""
    names = [f"c{i}" for i in range(12)]
    rows = winning.grid(TWO).query("concept == 'bear'").drop(columns="concept")
    rows = pd.concat([rows.assign(concept=name) for name in names], ignore_index=True)
    told = (rows.verb == verb) & rows.order.eq("first")
    moved = np.where(rows.request.isin(measures.BY), asked, elsewhere)
    noise = np.random.default_rng(0).normal(0, noise, len(rows))
    return rows.assign(eos=0.8 + np.where(told, moved, 0) + noise)


@pytest.mark.parametrize(
    ("elsewhere", "asked", "word"),
    [
        (-0.4, 0.0, "shows here"),
        (-0.4, -0.2, "shows here"),
        (-0.4, -0.4, "as low where it is asked for"),
        (-0.4, -0.7, "as low where it is asked for"),
        (0.0, 0.0, "not to be seen"),
        (0.0, -0.4, "not to be seen"),
        (0.4, 0.0, "open"),
    ],
)
def test_each_stage_is_judged_as_declared(elsewhere, asked, word):
    found = measures.change(stage(elsewhere, asked), "forget", "eos")
    assert found.elsewhere.value == pytest.approx(elsewhere, abs=0.03)
    assert found.gain.value == pytest.approx(asked - elsewhere, abs=0.03)
    assert (found.elsewhere.wordings, found.gain.wordings) == (3, 6)
    assert where_it_wins.word(found) == word
    assert where_it_wins.word(measures.change(stage(elsewhere, asked), "leave out", "eos")) == (
        "not to be seen"
    )


def test_attention_is_a_part_of_that_under_neutral_verbs_in_its_own_place():
    rows = stage(noise=0).rename(columns={"eos": "attention"})
    asked = rows.request.isin(measures.BY)
    rows["attention"] = np.where(asked, 0.1, 0.02) * np.where(rows.verb == "forget", 0.5, 1)
    found = measures.change(rows, "forget", "attention")
    assert [found.elsewhere.value, found.asked.value, found.gain.value] == pytest.approx(
        [-0.5, -0.5, 0.0]
    )


@pytest.fixture
def places(monkeypatch, tmp_path, tiny_pipeline_dir):
    monkeypatch.setattr(winning, "INSIDE", tmp_path / "results")
    monkeypatch.setattr(winning, "OUT", tmp_path / "out")
    monkeypatch.setattr(winning.population, "OUT", tmp_path / "members")
    (tmp_path / "members" / "web-1").mkdir(parents=True)
    (tmp_path / "members" / "web-1" / "pocket").symlink_to(tiny_pipeline_dir)
    return tmp_path


def test_a_model_is_measured_once_and_read_with_its_weights(places, monkeypatch, capsys):
    made = []

    def measure(artist, table, folder):
        made.append(artist.model)
        return table[measures.KEYS]

    monkeypatch.setattr(winning, "measure", measure)
    for _ in range(2):
        winning.main(["web-1"])
    assert len(made) == 1 and capsys.readouterr().out.count("web-1.json") == 2
    record = json.loads((places / "results" / "web-1.json").read_text())
    assert record["steps"] == winning.STEPS and record["model"]
    found = {"web-1": SimpleNamespace(record=record), "none-1": SimpleNamespace(record=record)}
    assert set(members.load_inside(found, places / "results")) == {"web-1"}
    found["web-1"] = SimpleNamespace(record=record | {"model": "another"})
    with pytest.raises(UserError, match="measured on other weights of web-1; measure it anew"):
        members.load_inside(found, places / "results")


def test_models_that_are_not_here_are_named(places, capsys):
    assert list(winning.folders()) == ["shipped", "web-1"]
    with pytest.raises(SystemExit):
        winning.main(["none-1"])
    assert "weights of none-1 are not in members; there are shipped, web-1" in (
        capsys.readouterr().err
    )


def test_what_is_asked_by_description_never_holds_the_noun(world):
    """Attention is watched on the noun, so there it is that of the verb's clause alone."""
    for name in world.objects:
        concept = world.concept(name)
        assert f" {concept.noun} " not in f" {fill('{d}', d=concept.description)[0]} "


def changed(elsewhere, gain, half=0.05):
    """A stage with these changes, and what the second leaves where the concept is asked for."""
    of = lambda value: Estimate(value, value - half, value + half, 72, 24, 3)  # noqa: E731
    return measures.Change(of(elsewhere), of(elsewhere + gain), of(gain))


WINS, AS_LOW, UNSEEN = changed(-0.5, 0.4), changed(-0.5, 0.0), changed(0.0, 0.0, 0.02)
BLURRED = changed(-0.5, 0.2, 0.4)


@pytest.mark.parametrize(
    ("eos", "pad", "attention", "present", "word"),
    [
        (WINS, AS_LOW, AS_LOW, WINS, "in text states"),
        (UNSEEN, WINS, BLURRED, WINS, "in text states"),
        (WINS, WINS, WINS, WINS, "in text states and attention"),
        (AS_LOW, UNSEEN, WINS, WINS, "in attention"),
        (AS_LOW, UNSEEN, AS_LOW, WINS, "only in the picture"),
        (AS_LOW, AS_LOW, BLURRED, WINS, "open"),
        (WINS, WINS, WINS, UNSEEN, "not judged"),
        (WINS, WINS, WINS, AS_LOW, "not judged"),
    ],
)
def test_where_it_shows_follows_from_the_stages(eos, pad, attention, present, word):
    stages = {"eos": eos, "pad": pad, "attention": attention, "present": present}
    found = where_it_wins.Stages("web-1", "forget", stages)
    assert where_it_wins.verdict(found) == word
    (claim,) = where_it_wins.claims([found])
    assert claim.verdict == word and claim.found is present.gain
    assert f"web-1, “forget”: {word}" in where_it_wins.answer([found])


def test_the_page_shows_the_models_that_were_looked_into_and_names_the_others():
    rows = stage(-0.4, 0.0).assign(present=True)
    rows = rows.assign(pad=rows.eos, attention=rows.eos)
    inside = {"web-1": rows[[*measures.KEYS, "eos", "pad", "attention"]]}
    clauses = {"web-1": rows.drop(columns=["eos", "pad", "attention"]), "none-1": rows}
    found = where_it_wins.stages(inside, clauses)
    assert [(some.model, some.verb) for some in found] == [
        ("web-1", "forget"), ("web-1", "leave out")
    ]  # fmt: skip
    assert found[0].words["eos"] == "shows here" and where_it_wins.verdict(found[0]) == "not judged"
    assert where_it_wins.lacking(inside, clauses).endswith("none-1.")
    assert where_it_wins.lacking(inside, ["web-1"]).startswith("All models")
    panels = where_it_wins.panels(found)
    figure = figures.winning(panels)
    (axes,) = figure.axes
    assert len(axes.get_yticks()) == 2 * len(measures.STAGES)
    assert [text.get_text() for text in axes.texts].count("not to be seen") == 5
    plt.close(figure)
    assert where_it_wins.stages({"shipped": rows}, {}) == []
    assert where_it_wins.answer([]) == "No model was looked into yet."
