"""Figures show what they say: pictures in cells, dots at the rates, n where it is promised."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from whitebear import stats
from whitebear.book.figures import galleries, presence as figures
from whitebear.errors import UserError
from whitebear.prompts import NAMES, prompt_grid

CONDITIONS = ["affirm", "omit", "negate", "forget_then_request", "repeat"]


def png(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def fake_scores(world, concepts, conditions=CONDITIONS, seeds=3):
    table = prompt_grid(concepts, conditions, seeds, world=world, free=True)
    rng = np.random.default_rng(0)
    p = rng.random(len(table))
    pictures = [png(i % 250) if seed < 2 else None for i, seed in enumerate(table.seed)]
    return table.assign(p_asked=p, present=p > 0.3, clip_score=p, png=pictures, model="fake")


@pytest.fixture
def scores(world):
    return fake_scores(world, ["bear", "owl", "garbage truck"])


def drawn(figure):
    """Every figure must survive being drawn and saved."""
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return buffer.getvalue()


def test_gallery_shows_each_picture_in_its_cell(scores):
    wordings = ["affirm-request", "forget-paper", "never-run"]
    figure = galleries.gallery(scores, "owl", wordings)
    assert drawn(figure)
    axes = np.array(figure.axes).reshape(2, 2)
    for wording, line in zip(wordings, axes, strict=False):
        for seed, cell in enumerate(line):
            pick = (scores.concept == "owl") & (scores.wording == wording) & (scores.seed == seed)
            row = scores[pick].iloc[0]
            shown = np.asarray(cell.images[0].get_array())
            assert np.array_equal(shown, np.asarray(Image.open(io.BytesIO(row.png))))
            assert f"{row.p_asked:.2f}" in [text.get_text() for text in cell.texts]
    with pytest.raises(UserError, match="no pictures of 'cat'"):
        galleries.gallery(scores, "cat", wordings)


def test_rates_put_dots_at_the_rates(scores):
    figure = figures.rates(scores)
    assert drawn(figure)
    assert len(figure.axes) == len(CONDITIONS)
    table = stats.by_concept(scores).set_index(["condition", "concept"])
    order = [name for name in NAMES if name in CONDITIONS]
    for condition, axes in zip(order, figure.axes, strict=True):
        dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() not in ("None", "")]
        concepts = [table.rate[(condition, name)] for name in ("bear", "owl", "garbage truck")]
        mean = scores.present[scores.condition == condition].mean()
        assert np.allclose(dots, [mean, *concepts])
        assert f"({table.n[(condition, 'owl')]} a concept)" in axes.get_xlabel()


def test_suppression_and_controls(scores):
    figure = figures.suppression(scores)
    assert drawn(figure)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [figures.name_of(c) for c in figures.in_order(scores.condition)][1:]
    figure = figures.beside_controls(stats.by_wording(scores))
    assert drawn(figure)
    wordings = set(stats.add_control(scores).wording)
    assert len(figure.axes[0].get_yticklabels()) == len(wordings)
    assert "n = 9 pairs a row" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize("conditions", [["affirm"], ["omit"], ["negate"]])
def test_figures_of_a_part_of_the_conditions(world, conditions):
    """One concept, few conditions: no intervals and empty rows, but no crash and no warning."""
    scores = fake_scores(world, ["bear"], conditions, seeds=1)
    for figure in (figures.rates, figures.suppression, figures.conditions):
        assert drawn(figure(scores))
    assert drawn(figures.beside_controls(stats.by_wording(scores)))


def test_a_new_condition_needs_no_code(scores):
    scores = pd.concat([scores, scores[scores.condition == "omit"].assign(condition="my_own")])
    assert drawn(figures.rates(scores))
    assert figures.name_of("my_own") == "my own"
    assert set(figures.look_of("my_own")) == {"color", "marker"}
