"""The words follow the numbers, also where these say the opposite of what the book expects."""

import json
import math

import numpy as np
import pytest

from whitebear.book.chapters import told_to_forget as answers
from whitebear.book.report import phrases, rules
from whitebear.prompts import prompt_grid
from whitebear.stats import Estimate, add_control

CONDITIONS = ["affirm", "omit", "negate", "forget_then_request", "repeat"]


def made_up(world, conditions=CONDITIONS, **chances):
    """Scores with given rates per condition, spread evenly over concepts and seeds."""
    chance = {"affirm": 1.0, "omit": 0.0, "repeat": 1.0} | chances
    table = prompt_grid(list(world.objects[:6]), conditions, 10, world=world)
    share = np.random.default_rng(0).permuted(np.linspace(0, 1, len(table), endpoint=False))
    return table.assign(present=share < table.condition.map(chance), model="pocket")


def test_drawn_anyway(world):
    scores = made_up(world, negate=0.98, forget_then_request=0.97)
    assert answers.answer(scores).startswith("It draws it anyway: “asked to leave it out”")
    assert answers.conclusions(scores).to_dict() == {
        "asking makes a difference": "yes",
        "asked to leave it out": "drawn anyway",
        "asked to leave it out, above “not mentioned”": "yes",
        "forget it, then draw it": "drawn anyway",
        "forget it, then draw it, above “not mentioned”": "yes",
    }
    text = phrases.findings(scores)
    assert "“Forget it, then draw it”: drawn anyway." in text
    assert "smaller than 10 points either way (it lowers the rate, but by less than that)" in text


def test_obeyed(world):
    scores = made_up(world, negate=0.01, forget_then_request=0.0)
    assert answers.answer(scores).startswith("It leaves it out, as told:")
    assert list(answers.conclusions(scores)) == ["yes", "left out", "no", "left out", "no"]
    assert "the instruction itself lowers it" in phrases.findings(scores)


def test_mixed(world):
    scores = made_up(world, negate=0.3, forget_then_request=0.7)
    assert answers.answer(scores).startswith("It depends on how it is told:")
    found = list(answers.conclusions(scores))
    assert found == ["yes", "mostly left out", "yes", "mostly drawn anyway", "yes"]


@pytest.mark.parametrize("chances", [{"affirm": 0.2}, {"omit": 0.9}])
def test_a_useless_instrument_says_nothing(world, chances):
    scores = made_up(world, negate=0.3, forget_then_request=0.7, **chances)
    assert answers.answer(scores).startswith("Nothing can be said about obedience here")
    assert list(answers.conclusions(scores).iloc[[0, 1, 3]]) == ["no", "undecided", "undecided"]
    assert "says nothing about obedience" in phrases.findings(scores)


def test_without_floor_or_ceiling(world):
    scores = made_up(world, ["negate"], negate=0.3)
    assert "needs both the conditions affirm and omit" in answers.answer(scores)
    assert "needs both" in phrases.findings(scores)


@pytest.mark.parametrize(
    ("value", "word"),
    [(-0.3, "drawn anyway"), (0.0999, "drawn anyway"), (0.1, "mostly drawn anyway"),
     (0.5, "mostly left out"), (0.9, "left out"), (1.0, "left out"), (math.nan, "undecided")],
)  # fmt: skip
def test_outcome_words(value, word):
    assert rules.SUPPRESSION(value=value) == word


def test_effect_words(world):
    scores = made_up(world, negate=0.9, forget_then_request=1.0, affirm=0.7, repeat=0.7)
    rows = add_control(scores)
    pairs = rows[rows.condition == "negate"]
    change = phrases.changed(pairs)
    assert phrases.effect(Estimate(0.2, 0.1, 0.3, 9, 9), change).endswith("itself raises it")
    assert "too few pictures" in phrases.effect(Estimate(0.2, -0.1, 0.3, 9, 9), change)
    assert phrases.points(Estimate(-0.03, -0.06, -0.01, 9, 9)) == "−3 points [−6, −1]"


def test_numbers_are_flat_scalars(world):
    scores = made_up(world, negate=0.98, forget_then_request=0.97)
    numbers = answers.numbers(scores)
    assert json.loads(json.dumps(numbers)) == numbers
    assert all(isinstance(value, (int, str)) for value in numbers.values())
    assert numbers["images"] == len(scores)
    assert numbers["affirm_rate"] == "100 % [99, 100]"
    assert numbers["repeat_change"] == "undefined"


def test_wordings_that_differ_are_not_hidden_in_their_mean(world):
    scores = made_up(world, negate=0.5, forget_then_request=0.97)
    odd = scores.wording == "negate-no"
    scores.loc[odd, "present"] = False
    text = phrases.by_wording(scores, "negate")
    assert text.startswith(" (0 to ") and text.endswith(" % by wording)")
    assert f"of the pictures{text}, and" in answers.answer(scores)
    assert not phrases.by_wording(scores, "repeat")


def test_each_wording_stands_beside_its_control_in_every_model(world):
    """A mean over wordings hid that two models do the opposite."""
    obeys = made_up(world, negate=0.0)
    deaf = made_up(world, negate=1.0)
    table = answers.wordings_of({"one": deaf, "other": obeys})
    without = table.loc["a picture of {b} without a {c}"]
    assert (without.one, without.other) == ("100 % (100 %)", "0 % (100 %)")
    assert len(table) == len(set(deaf.wording[deaf.control != ""]))
