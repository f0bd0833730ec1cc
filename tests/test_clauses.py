"""Every verb stands in every place in the same words, and is held against the neutral verbs."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import CLIPTokenizer

from conftest import artist_of, tiny_pipeline
from test_forest import assert_shows
from whitebear.book.figures.clauses import clauses
from whitebear.book.figures.forest import point
from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.files import MODELS, PROMPTS
from whitebear.measures.clauses import against_neutral, effects
from whitebear.pocket.experiments import clauses as scoring
from whitebear.prompts import fill, load_clauses, prompt_grid
from whitebear.prompts.clauses import ALONE, COLUMNS, PLACE
from whitebear.tables import CLAUSES, check

TABLE = load_clauses()
VERBS = TABLE[TABLE.verb != ""]


def sentences(text: str) -> list[str]:
    return re.findall(r"[^.]+\.", text.replace(". ", "."))


def test_the_factorial_is_whole():
    """Every verb in every frame, with every request, first and last; as many requests alone."""
    assert {"forget", "leave out"} == set(VERBS.verb[~VERBS.neutral])
    assert VERBS.verb[VERBS.neutral].nunique() >= 3 and VERBS.frame.nunique() >= 3
    about = VERBS[VERBS.subject == "concept"]
    sizes = about.groupby(["verb", "frame", "request", "order"]).size()
    assert len(sizes) == np.prod([about[name].nunique() for name in sizes.index.names])
    other = VERBS[VERBS.subject == "other"]
    assert set(zip(other.verb, other.frame, strict=True)) == {key[:2] for key in sizes.index}
    assert (other.request == "name").all()
    alone = TABLE[TABLE.verb == ""]
    assert set(zip(alone.frame, alone.request, strict=True)) == {key[1:3] for key in sizes.index}


def test_verbs_of_one_place_differ_by_the_verb_alone():
    for _, rows in VERBS.groupby(PLACE):
        blanked = {
            re.sub(rf"\b{verb}\b", "_", text, flags=re.IGNORECASE)
            for verb, text in zip(rows.verb, rows.text, strict=True)
        }
        assert len(blanked) == 1, blanked


def test_orders_and_requests_are_the_same_sentences():
    alone = TABLE[TABLE.verb == ""].set_index(["frame", "request"]).text
    subject = {"concept": "{c}", "other": "{o}"}
    for row in VERBS.itertuples():
        told, asked = sentences(row.text)[:: 1 if row.order == "first" else -1]
        assert asked == alone[row.frame, row.request]
        assert re.findall(r"{.}", told) == [subject[row.subject]]


def test_requests_ask_for_what_they_say():
    holes = {"name": "{c}", "description": "{d}", "place": "{b}", "other": "{o}"}
    for row in TABLE[TABLE.verb == ""].itertuples():
        assert re.findall(r"{.}", row.text) == [holes[row.request]]
        assert row.condition == ALONE[row.request]


def test_verbs_of_one_place_have_the_same_length():
    tokenizer = CLIPTokenizer.from_pretrained(MODELS / "pocket" / "tokenizer")
    values = {"c": "bear", "o": "owl", "b": "a beach", "d": "a big animal"}
    count = lambda text: len(tokenizer(fill(text, **values)[0]).input_ids)  # noqa: E731
    lengths = VERBS.assign(length=VERBS.text.map(count)).groupby(PLACE).length
    assert (lengths.max() - lengths.min() <= 1).all()
    for verb in set(VERBS.verb):  # each word is one that the model has met, not pieces of one
        assert len(tokenizer.tokenize(verb)) == len(verb.split())


def spoiled(folder, change):
    table = pd.read_csv(PROMPTS / "clauses.csv", dtype=str, keep_default_na=False)
    path = folder / "clauses.csv"
    change(table).to_csv(path, index=False)
    return path


def setting(clause, **values):
    def change(table):
        table.loc[table.id == clause, list(values)] = list(values.values())
        return table

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda t: t[t.id != "see-must-place-last"],
         "the verb 'see' 0 times with frame must, request place, order last, subject concept"),
        (setting("see-must-place-last", order="first"), "the verb 'see' 2 times with frame must"),
        (setting("see-must-place-last", order="middle"), "has order='middle'; use first, last"),
        (setting("see-must-place-last", neutral="0"), "the verb 'see' have neutral=0 and 1"),
        (setting("see-must-place-last", request="animal"), "request='animal'; use name, descr"),
        (setting("see-must-place-last", text="See the {x}."), "placeholder {x}"),
        (setting("request-must-place", text="Draw a {c}."), "omit must leave {c} and {d} out"),
        (setting("see-must-place-last", id="see-must-place-first"), "-first twice"),
        (lambda t: t[~t.verb.isin(["see", "find"])], "fewer than two neutral verbs"),
        (lambda t: t.drop(columns="verb"), f"expected {','.join(COLUMNS)}"),
    ],
)  # fmt: skip
def test_unusable_clauses_are_refused(tmp_path, change, line):
    with pytest.raises(UserError, match=re.escape(line)):
        load_clauses(spoiled(tmp_path, change))


@pytest.fixture
def scores():
    """Clauses of four objects and two seeds; presence follows from verb, request and seed."""
    grid = prompt_grid(["bear", "owl", "cat", "car"], sorted(set(TABLE.condition)), 2, TABLE)
    table = grid.join(TABLE.set_index("id")[scoring.FACTORS], on="wording")
    shown = {"forget": 0, "leave out": 1, "see": 1, "find": 1, "look at": 0}
    present = [
        r.verb != "forget" if r.request == "name" else shown.get(r.verb, 1) > r.seed
        for r in table.itertuples()
    ]
    return table.assign(present=present)


def test_a_verb_is_held_against_the_mean_of_the_neutral_ones(scores):
    rows = against_neutral(scores)
    assert set(rows.verb) == set(VERBS.verb)
    rows = rows[rows.seed == 0]
    named, rest = rows[rows.request == "name"], rows[rows.request != "name"]
    means = lambda rows: rows.groupby("verb").difference.mean().round(4).to_dict()  # noqa: E731
    assert means(named) == {"forget": -1, "leave out": 0, "see": 0, "find": 0, "look at": 0}
    # at this seed see and find show the concept, look at does not
    assert means(rest) == {"forget": -0.6667, "leave out": 0.3333, "see": 0.5, "find": 0.5,
                           "look at": -1}  # fmt: skip
    assert means(against_neutral(scores.assign(score=0.5), "score")) == dict.fromkeys(
        means(named), 0
    )


def test_controls_are_of_the_same_concept_noise_and_place(scores):
    """What is drawn elsewhere never enters a row's control."""
    spoil = (scores.concept == "bear") & (scores.seed == 1) & (scores.frame == "must")
    changed = scores.assign(present=scores.present ^ spoil)
    keys = ["concept", "seed", "wording"]
    before, after = (against_neutral(t).set_index(keys).control_value for t in (scores, changed))
    moved = (before != after).rename("moved").reset_index().query("moved")
    assert set(moved.concept) == {"bear"} and set(moved.seed) == {1}
    assert moved.wording.str.contains("-must-").all()


def test_effects_have_a_row_a_wording(scores):
    table = effects(scores)
    assert len(table) == len(VERBS)
    forget = table.loc[("forget", "plain", "name", "first", "concept")]
    assert forget.difference.value == -1 and forget.rate.value == 0 and forget.alone == 1
    assert forget.control_value == 1 and not forget.neutral
    assert forget.difference.concepts == 4 and forget.difference.high < 0
    place = table.loc[("look at", "paper", "place", "last", "concept")]
    assert place.difference.value == -0.5 and place.neutral


@pytest.fixture
def few(monkeypatch):
    """A few clauses, in one step."""
    keep = (TABLE.frame == "must") & (TABLE.request == "name") & (TABLE.order != "last")
    monkeypatch.setattr(scoring, "load_clauses", lambda: TABLE[keep])
    return TABLE[keep]


def test_clauses_are_drawn_once(few, tmp_path, monkeypatch):
    artist = artist_of(tiny_pipeline(positions=256), 1)
    table = scoring.clause_scores(artist, 2, tmp_path, ["bear", "owl"])
    check(table, CLAUSES)
    assert len(table) == 2 * 2 * len(few) and table.groupby("wording").verb.nunique().eq(1).all()
    assert (table.other_present.notna() == table.pair).all()
    assert (table.p_other.notna() == table.pair).all()
    monkeypatch.setattr(Artist, "draw", None)  # nothing is drawn again
    again = scoring.clause_scores(artist, 2, tmp_path, ["bear", "owl"])
    pd.testing.assert_frame_equal(again, table)


def test_a_member_is_scored_on_wordings_and_clauses(few, tiny_pipeline_dir, tmp_path, monkeypatch):
    assert {"affirm", "repeat", "describe", "forget_only"} <= set(scoring.object_conditions())
    (tmp_path / "pocket").symlink_to(tiny_pipeline_dir)
    monkeypatch.setattr(scoring, "object_conditions", lambda: ["omit"])
    monkeypatch.setattr(scoring, "STEPS", 1)
    monkeypatch.setattr("whitebear.scoring.judge.is_pocket", lambda model: True)
    scores, told = scoring.score_member(tmp_path, 1, 1)
    check(told, CLAUSES)
    assert set(scores.condition) == {"omit"} and set(scores.kind) == {"object"}
    assert set(scores.concept) == set(told.concept)
    assert {path.name for path in Path(tmp_path).iterdir()} == {"pocket", "scores"}


@pytest.mark.parametrize("order", ["first", "last"])
def test_the_figure_shows_each_verb_beside_the_neutral_ones(scores, order):
    table = effects(scores)
    figure = clauses(table, order)
    panels = []
    for verb in ("forget", "leave out"):
        rows = table.loc[verb].xs(order, level="order")
        rows = pd.concat([rows.loc[[frame]] for frame in sorted(set(VERBS.frame))])
        panels.append(rows.assign(control=rows.control_value.map(point))[["control", "rate"]])
    assert [axes.get_title() for axes in figure.axes] == ["forget", "leave out"]
    assert_shows(figure, *panels)
    ticks = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert {len(line.get_xdata()) for line in ticks} == {VERBS.verb[VERBS.neutral].nunique()}
    assert len(ticks) == len(panels[0])
