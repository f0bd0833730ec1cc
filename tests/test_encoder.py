"""Measures of text states against what they are by definition, on a random encoder."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from conftest import tiny_pipeline
from whitebear.book.chapters import text_encoder
from whitebear.book.figures import text_states as encoder_figures
from whitebear.book.report import rules
from whitebear.hooks import text_states
from whitebear.measures import text_states as encoder
from whitebear.measures.text_states import FINAL
from whitebear.prompts import prompt_grid

CONDITIONS = ["affirm", "repeat", "negate", "forget_then_request"]


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline(positions=256)


@pytest.fixture(scope="module")
def table(world):
    return prompt_grid(["bear", "owl", "car", "key"], CONDITIONS, 1, world=world)


@pytest.fixture(scope="module")
def states(pipe, table):
    return encoder.vectors(pipe, table)


def test_places_are_means_over_the_right_tokens(pipe, table, states):
    """One token is one letter here, so positions can be counted in the prompt."""
    row = table[table.wording == "negate-without"].index[0]
    prompt, (span,) = table.prompt[row], table.spans[row]
    last = text_states(pipe, [prompt])["text_encoder"]["last"].values[0]
    letters = [i for i, letter in enumerate(prompt) if letter != " "]
    named = [1 + k for k, i in enumerate(letters) if span[0] <= i < span[1]]
    end = 1 + len(letters)
    expected = {"concept": last[named], "eos": last[[end]], "pad": last[end + 1 :],
                "words": last[1:end], "all": last}  # fmt: skip
    for place, vectors in expected.items():
        found = states[row].sel(layer=FINAL, place=place).values
        np.testing.assert_allclose(found, vectors.mean(0), atol=1e-5)


def test_a_silent_prompt_has_no_concept(pipe, world):
    silent = prompt_grid(["bear"], ["omit"], 1, world=world)
    vectors = encoder.vectors(pipe, silent)
    assert np.isnan(vectors.sel(place="concept")).all()
    assert not np.isnan(vectors.sel(place="eos")).any()


def test_the_scale_has_the_request_at_one_and_other_concepts_at_zero(table, states):
    similar = encoder.similarity(table, states)
    scaled = (similar.cosine - similar.unrelated) / (1 - similar.unrelated)
    assert np.allclose(scaled, similar.standardised, equal_nan=True)
    plain = similar[similar.wording == encoder.ANCHOR]
    assert np.allclose(plain.cosine, 1) and np.allclose(plain.standardised.dropna(), 1)
    anchors = states[table.index[table.wording == encoder.ANCHOR]].sel(layer=FINAL, place="eos")
    v = anchors.values / np.linalg.norm(anchors.values, axis=1, keepdims=True)
    other = (v @ v.T)[~np.eye(len(v), dtype=bool)].mean()
    row = similar[(similar.layer == FINAL) & (similar.place == "eos")].iloc[5]
    assert row.standardised == pytest.approx((row.cosine - other) / (1 - other), rel=1e-3)
    lines = encoder.baselines(similar).loc[FINAL, "eos"]
    assert lines.identical == 1 and lines.unrelated == 0


def test_changes_are_paired_with_the_control(table, states):
    similar = encoder.similarity(table, states)
    found = encoder.changes(similar, "cosine").loc["forget_then_request", FINAL, "eos"]
    some = similar[(similar.layer == FINAL) & (similar.place == "eos")]
    told = some[some.condition == "forget_then_request"].cosine.mean()
    control = some[some.wording.isin(["repeat-paper", "repeat-look", "repeat-memory",
                                   "repeat-about"])].cosine.mean()  # fmt: skip
    assert found.difference.value == pytest.approx(told - control, abs=1e-6)


def test_a_ridge_probe_is_the_textbook_solution():
    rng = np.random.default_rng(0)
    x, y, train = rng.normal(size=(40, 3)), rng.random(40) < 0.5, np.arange(40) < 30
    z = (x - x[train].mean(0)) / (x[train].std(0) + 1e-6)
    z = np.c_[z, np.ones(40)]
    t = np.where(y, 1.0, -1.0)
    # The penalty as extra rows of an ordinary least-squares problem.
    rows = np.r_[z[train], np.sqrt(0.1 * 30) * np.eye(4)]
    w = np.linalg.lstsq(rows, np.r_[t[train], np.zeros(4)], rcond=None)[0]
    np.testing.assert_allclose(encoder.ridge_probe(x, y, train), z @ w, atol=1e-8)


def planted(table, signal: float) -> xr.DataArray:
    """Random states in which instructions, and they alone, are marked."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(len(table), 1, len(encoder.PLACES), 8))
    values[..., 0] += signal * (table.control != "").to_numpy()[:, None, None]
    return xr.DataArray(values, dims=("row", "layer", "place", "feature"),
                        coords={"layer": [FINAL], "place": list(encoder.PLACES)})  # fmt: skip


def test_probes_find_what_is_there_and_nothing_else(world):
    table = prompt_grid([], CONDITIONS, 1, world=world)
    rows = encoder.probe(table, planted(table, 8.0))
    assert set(rows.wording) == set(table.wording[table.control != ""]) | set(table.control) - {""}
    marked = rows.groupby("split").present.mean()
    assert (marked > 0.97).all()
    nothing = encoder.probe(table, planted(table, 0.0)).groupby("split").present.mean()
    assert nothing.between(0.44, 0.56).all()


def test_leaving_out_each_word(pipe):
    found = encoder.without_each_word(pipe, "affirm-picture", {"bear": "bear", "owl": "owl"})
    assert list(dict.fromkeys(found.word)) == ["1 a", "2 picture", "3 of", "4 a", "5 [concept]"]
    assert (found.groupby("word").size() == 2).all() and (found.moved > 0).all()


class FakeClip:
    """A judge that hears negation, or only the noun."""

    def __init__(self, hears: bool):
        self.hears = hears

    def images(self, images):
        import torch

        there = torch.from_numpy(images.mean((1, 2, 3)) > 100).float()
        return torch.stack([there, 1 - there], 1)

    def text(self, prompts):
        import torch

        said = torch.tensor([0.0 if self.hears and "without" in p else 1.0 for p in prompts])
        return torch.stack([said, 1 - said], 1)


@pytest.mark.parametrize("hears", [True, False])
def test_interaction_tells_who_hears_without(hears):
    white, black = np.full((2, 4, 4, 3), 255, np.uint8), np.zeros((2, 4, 4, 3), np.uint8)
    rows = pd.DataFrame({"concept": ["a", "b"], "affirm": ["x with y"] * 2,
                         "negate": ["x without y"] * 2})  # fmt: skip
    found = encoder.interaction(FakeClip(hears), white, black, rows)
    assert found.present.tolist() == [hears] * 2
    assert found.interaction.tolist() == [1.0 if hears else 0.0] * 2
    assert found.image.tolist() == [0.0 if hears else 1.0] * 2


def test_figures_and_words_for_any_numbers(pipe, table, states):
    similar = encoder.similarity(table, states)
    changes, found = encoder.changes(similar), encoder.probe(table, states)
    assert len(encoder_figures.ladder(changes, encoder.baselines(similar)).axes) == 3
    assert encoder_figures.choices(encoder.changes(similar, "cosine"), "negate").axes
    assert encoder_figures.probes(found).axes
    wordings = encoder.wording_changes(similar)
    answer = text_encoder.answer(changes, wordings, found, "forget_then_request")
    assert "chance is 50 %" in answer and f"wording (of {len(wordings)}, all kinds" in answer
    claims = text_encoder.claims(changes, wordings, found)
    assert len(claims) == 2 + len(wordings) + 3
    assert list(text_encoder.by_wording(wordings).verdict) == [
        claim.verdict for claim in claims[2:-3]
    ]


def test_a_kind_whose_wordings_disagree_is_undecided(table, states):
    """A mean of one wording that moves far and others that stay says nothing of other wordings."""
    similar = encoder.similarity(table, states)
    near = 0.9 + 0.01 * np.random.default_rng(0).random(len(similar))
    far = (similar.wording == "negate-no") & (similar.place == "eos")
    similar = similar.assign(standardised=np.where(far, near - 0.6, near))
    moved = encoder.changes(similar).difference["negate", FINAL, "eos"]
    assert moved.beyond() == ("concepts", "wordings")
    assert moved.value == pytest.approx(-0.1, abs=0.005) and rules.MOVES(moved) == "undecided"
    words = encoder.wording_changes(similar).map(rules.MOVES)
    assert list(words[words != "stays"].items()) == [("negate-no", "falls")]
