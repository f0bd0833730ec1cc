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
from whitebear.stats import Estimate
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
    rows = attention.add_auc(table, watched[1])
    found = attention.changes(rows)
    assert found.index.tolist() == ["forget_then_request"]
    mass = rows.set_index(["wording", "concept", "seed"]).auc
    pairs = [("forget-paper", "repeat-paper"), ("forget-look", "repeat-look"),
             ("forget-memory", "repeat-memory"), ("forget-about", "repeat-about")]  # fmt: skip
    by_hand = np.mean([(mass[a] - mass[b]).mean() for a, b in pairs])
    assert found.difference.iloc[0].value == pytest.approx(by_hand, abs=1e-7)
    assert found.difference.iloc[0].n == 16
    assert found.difference.iloc[0].beyond() == ("concepts", "wordings")
    wordings = attention.changes(rows, by="wording")
    assert wordings.difference.iloc[0].beyond() == ("concepts",)
    assert wordings.index.tolist() == [pair[0] for pair in pairs]
    assert wordings.difference.iloc[0].value == pytest.approx(
        (mass["forget-paper"] - mass["repeat-paper"]).mean(), abs=1e-7
    )
    far, near, wide = (Estimate((a + b) / 2, a, b, 4, 2) for a, b in
                       ((-0.5, -0.3), (-0.05, 0.05), (-0.4, 0.1)))  # fmt: skip
    told = wordings.assign(relative=[near, far, wide, near])
    sentence = watching_the_words.answer(found, told)
    assert "falls by 10 % or more under 1 (“Forget the X. Now draw a picture of X.”)" in sentence
    assert "changes by less under 2; under 1 it cannot be told" in sentence
    assert "“forget it, then draw it” changes it by" in sentence
    words = [claim.verdict for claim in watching_the_words.claims(found, told)]
    assert words[1:] == ["stays", "falls", "undecided", "stays"]


def test_shares_add_up(watched):
    rows = attention.shares(watched[1])
    assert rows.index.tolist() == ["affirm", "repeat", "forget_then_request"]
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)


def curves_of(falls: dict[str, np.ndarray]) -> pd.DataFrame:
    """Made-up curves: by how much attention falls at each step, a little apart by concept."""
    rows = [
        ("negate", wording, "", concept, step, what, 1 - (what == "instruction") * (f + 0.002 * c))
        for wording, fall in falls.items()
        for step, f in enumerate(fall)
        for c, concept in enumerate(("bear", "owl", "car", "key"))
        for what in ("instruction", "control")
    ]
    columns = ["condition", "wording", "text", "concept", "step", "what", "mass"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize(
    ("fallen", "word"),
    [(4, "no sustained drop"), (5, "sustained drop"), (10, "sustained drop")],
)
def test_a_drop_is_sustained_when_it_lasts_half_of_the_steps(fallen, word):
    fall = np.where(np.arange(10) < fallen, 0.15, 0.05)
    lines = curves_of(dict.fromkeys(("negate-no", "negate-without", "negate-not-draw"), fall))
    for by in ("condition", "wording"):
        lasting = attention.lasting(lines, by)
        assert set(watching_the_words.sustained(lasting)) == {word}
        assert set(lasting.steps) == {10} and set(round(10 * lasting.below)) == {fallen}


def test_wordings_that_disagree_leave_their_kind_undecided():
    """The mean falls by 20 % at every step, and no other wording is known to."""
    falls = {"negate-no": 0.6, "negate-without": 0.0, "negate-not-draw": 0.0}
    lines = curves_of({name: np.full(10, fall) for name, fall in falls.items()})
    words = watching_the_words.sustained(attention.lasting(lines, "wording"))
    assert list(words) == ["sustained drop", "no sustained drop", "no sustained drop"]
    (claim,) = watching_the_words.lasting_claims(attention.lasting(lines))
    assert claim.verdict == "undecided" and "at 0 of 10 steps, by less at 0" in claim.estimate


def test_one_concept_says_nothing_of_how_long_it_lasts():
    lines = curves_of({"negate-no": np.full(4, 0.5)}).query("concept == 'bear'")
    assert list(watching_the_words.sustained(attention.lasting(lines))) == ["undecided"]


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
