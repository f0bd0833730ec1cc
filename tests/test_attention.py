"""What the chapter on cross-attention counts, on a small pipeline and on made-up curves."""

import numpy as np
import pandas as pd
import pytest

from conftest import artist_of
from families import build
from whitebear.book.chapters import watching_the_words
from whitebear.book.figures import attention as attention_figures
from whitebear.errors import UserError
from whitebear.measures import attention
from whitebear.prompts import prompt_grid
from whitebear.tables import ATTENTION, check

STEPS = 3


@pytest.fixture(scope="module")
def artist():
    return artist_of(build("sd"), STEPS)


@pytest.fixture(scope="module")
def table():
    return prompt_grid(["bear", "owl"], ["affirm", "forget_then_request"], [0, 1])


@pytest.fixture(scope="module")
def watched(artist, table):
    return attention.watch(artist, table)


def test_every_picture_of_the_grid_is_watched(watched, table):
    images, data = watched
    assert len(images) == data.sizes["sample"] == len(table)
    assert data.prompt.values.tolist() == table.prompt.tolist()
    np.testing.assert_allclose(check(data, ATTENTION).mass.sum("token"), 1, atol=1e-5)


def test_the_word_is_watched_wherever_it_is_named(table):
    words = attention.nouns(table)
    assert set(words) == {"bear", "owl"}
    assert all(word in prompt for word, prompt in zip(words, table.prompt, strict=True))


def test_a_condition_without_the_word_is_refused(artist):
    silent = prompt_grid(["bear"], ["omit"], 1)
    with pytest.raises(UserError, match="omit-picture does not name the concept"):
        attention.watch(artist, silent)


def test_changes_hold_each_instruction_against_its_control(watched, table):
    _, data = watched
    found = attention.changes(table, data)
    assert found.index.tolist() == ["forget_then_request"]
    mass = attention.add_auc(table, data).set_index(["wording", "concept", "seed"]).auc
    pairs = [("forget-paper", "repeat-paper"), ("forget-look", "repeat-look"),
             ("forget-memory", "repeat-memory"), ("forget-about", "repeat-about")]  # fmt: skip
    by_hand = np.mean([(mass[a] - mass[b]).mean() for a, b in pairs])
    assert found.difference.iloc[0].value == pytest.approx(by_hand, abs=1e-7)
    assert found.difference.iloc[0].n == 16
    wordings = attention.changes(table, data, by="wording")
    assert wordings.index.tolist() == [pair[0] for pair in pairs]
    assert wordings.difference.iloc[0].value == pytest.approx(
        (mass["forget-paper"] - mass["repeat-paper"]).mean(), abs=1e-7
    )
    sentence = watching_the_words.answer(
        found, wordings.assign(sustained=[False, True, False, False])
    )
    assert sentence.startswith("It drops in a sustained way under 1 of 4 wordings (`forget-look`).")
    assert "“forget it, then draw it” changes" in sentence
    none = watching_the_words.answer(found, wordings.assign(sustained=False))
    assert none.startswith("It drops in a sustained way under none of 4 wordings.")


def test_shares_add_up(watched):
    rows = attention.shares(watched[1])
    assert rows.index.tolist() == ["affirm", "repeat", "forget_then_request"]
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("fallen", "sustained"), [(4, False), (5, True), (10, True)])
def test_a_drop_is_sustained_when_it_lasts_half_of_the_steps(fallen, sustained):
    mass = np.where(np.arange(10) < fallen, 0.85, 0.95)
    rows = [(s, "control", 1.0) for s in range(10)] + [
        (s, "instruction", m) for s, m in enumerate(mass)
    ]
    lines = pd.DataFrame(rows, columns=["step", "what", "mass"])
    assert attention.sustained_drop(lines) is sustained


def test_forced_drops_are_seen(artist, table, watched):
    plain = table[table.wording == "affirm-request"]
    data = watched[1].isel(sample=plain.index.to_numpy())
    found = attention.positive_controls(artist, plain)
    means = found.groupby("what").auc.mean()
    assert means["weight 0"] == 0
    assert 0.4 < means["weight 1/2"] / attention.add_auc(plain, data).auc.mean() < 0.7
    assert len(found) == 3 * len(plain)


def test_figures_are_drawn(watched, table):
    images, data = watched
    lines = attention.curves(table, data)
    plain = attention.add_auc(table, data).assign(what="as it is")
    for figure in (
        attention_figures.shares(attention.shares(data)),
        attention_figures.curves(lines),
        attention_figures.maps(images, data, {"a": 0, "b": 1}, [0, STEPS - 1]),
        attention_figures.controls(plain),
    ):
        assert figure.axes
    panels = attention_figures.curves(lines).axes
    assert len([axes for axes in panels if axes.get_visible()]) == lines.wording.nunique()


def test_costs_show_every_contender_of_every_shape():
    rows = [("a", "bare", 1.0), ("a", "ours, mass", 1.01), ("b", "bare", 1.0)]
    table = pd.DataFrame(rows, columns=["shape", "contender", "ratio"]).assign(low=0.9, high=1.1)
    figure = attention_figures.costs(table.set_index(["shape", "contender"]))
    labels = [[tick.get_text() for tick in axes.get_yticklabels()] for axes in figure.axes]
    assert labels == [["bare", "ours, mass"], ["bare"]]
    assert [axes.get_title("left") for axes in figure.axes] == ["a", "b"]
