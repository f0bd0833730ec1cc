"""The words follow the numbers, also where these say the opposite of what the book expects."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from whitebear.book.chapters import told_to_forget as answers, where_the_word_travels
from whitebear.book.report import phrases, rules
from whitebear.measures import swaps
from whitebear.prompts import prompt_grid
from whitebear.stats import Estimate, add_control

CONDITIONS = ["affirm", "omit", "negate", "forget_then_request", "repeat"]


def made_up(world, conditions=CONDITIONS, **chances):
    """Scores with given rates per condition, spread evenly over concepts and seeds."""
    chance = {"affirm": 1.0, "omit": 0.0, "repeat": 1.0} | chances
    table = prompt_grid(list(world.objects[:6]), conditions, 10, world=world)
    share = np.random.default_rng(0).permuted(np.linspace(0, 1, len(table), endpoint=False))
    return table.assign(present=share < table.condition.map(chance), model="pocket")


NOTHING = Estimate(math.nan, math.nan, math.nan, 0, 0)


def test_prose_prints_no_nan():
    """As where a judge finds everything, or nothing, or there is one concept."""
    assert phrases.signed(NOTHING) == "undefined"
    assert phrases.signed(Estimate(-0.03, math.nan, math.nan, 4, 1)) == "−0.030"
    assert phrases.signed(Estimate(-0.03, -0.04, 0.01, 4, 2)) == "−0.030 [−0.040, 0.010]"
    keys = [(swap.base, swap.source, part) for swap in swaps.SWAPS for part in swap.parts]
    for known in (NOTHING, Estimate(0.5, 0.4, 0.6, 9, 3)):
        shares = pd.Series({key: known if key[0] != "omit-picture" else NOTHING for key in keys})
        text = where_the_word_travels.answer(pd.DataFrame({"share": shares}))
        assert "nan" not in text and "undefined" not in text
        assert "nowhere that could be told" in text


def test_drawn_anyway(world):
    scores = made_up(world, negate=0.98, forget_then_request=0.97)
    assert answers.answer(scores).startswith("It draws it anyway. “Asked to leave it out”: ")
    instructions = set(scores.wording[scores.control != ""])
    found = answers.conclusions(scores)
    assert found[["asking makes a difference", "obeys", "open"]].to_list() == [
        "yes",
        "none",
        "none",
    ]
    assert set(found["does not obey"].split(", ")) == instructions
    text = phrases.findings(scores)
    assert "“Forget it, then draw it”: drawn anyway." in text
    assert "smaller than 10 points either way (it lowers the rate, but by less than that)" in text


def test_obeyed(world):
    scores = made_up(world, negate=0.01, forget_then_request=0.0)
    assert answers.answer(scores).startswith("It leaves it out, as told.")
    found = answers.conclusions(scores)
    assert found[["does not obey", "open"]].to_list() == ["none", "none"]
    assert "the instruction itself lowers it" in phrases.findings(scores)


def test_mixed(world):
    scores = made_up(world, negate=0.3, forget_then_request=0.7)
    assert answers.answer(scores).startswith("It depends on the words: ")
    kinds = {claim.claim: claim.verdict for claim in answers.claims(scores)}
    assert kinds["“Asked to leave it out” by itself changes how often it is drawn"] == "lowers it"


@pytest.mark.parametrize("chances", [{"affirm": 0.2}, {"omit": 0.9}])
def test_a_useless_instrument_says_nothing(world, chances):
    scores = made_up(world, negate=0.3, forget_then_request=0.7, **chances)
    assert answers.answer(scores).startswith("Nothing can be said about obedience here")
    assert answers.conclusions(scores)["asking makes a difference"] == "no"
    table = phrases.by_condition(scores)
    assert {phrases.outcome(table, c) for c in phrases.instructed(scores)} == {"undecided"}
    assert "says nothing about obedience" in phrases.findings(scores)


def test_without_floor_or_ceiling(world):
    scores = made_up(world, ["negate"], negate=0.3)
    assert "needs both the conditions affirm and omit" in answers.answer(scores)
    assert "needs both" in phrases.findings(scores)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(-0.3, 0.09, "drawn anyway"), (0.0, 0.1, "mostly drawn anyway"),
     (0.2, 0.49, "mostly drawn anyway"), (0.4, 0.5, "undecided"), (0.03, 1.0, "undecided"),
     (0.5, 0.95, "mostly left out"), (0.9, 1.0, "left out"), (math.nan, math.nan, "undecided")],
)  # fmt: skip
def test_outcome_words_need_the_whole_interval(low, high, word):
    assert rules.SUPPRESSION(Estimate((low + high) / 2, low, high, 9, 9)) == word


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
    assert "“a picture of B, but no X” 0 % (" in answers.answer(scores)
    assert "0 % (" in phrases.findings(scores) and "it depends on the wording" in phrases.findings(
        scores
    )
    claims = {claim.claim: claim for claim in answers.claims(scores)}
    kind = claims["“Asked to leave it out” by itself changes how often it is drawn"]
    assert kind.estimate.partition("; by wording ")[2].startswith("−100 to −")
    assert kind.found.wordings == scores[scores.condition == "negate"].wording.nunique()


def test_lowest_and_highest_are_said_once_where_they_are_alike():
    assert phrases.spread([0.5, -0.004, 0.9]) == "0 to 90"
    assert phrases.spread([-0.32, 0.25], "+") == "−32 to +25"
    assert phrases.spread([-0.011, -0.009]) == "−1"


def test_each_wording_stands_beside_its_control_in_every_model(world):
    """A mean over wordings hid that two models do the opposite."""
    obeys = made_up(world, negate=0.0)
    deaf = made_up(world, negate=1.0)
    table = answers.wordings_of({"one": deaf, "other": obeys})
    without = table.loc["a picture of B without X"]
    assert (without.one, without.other) == ("100 % (100 %)", "0 % (100 %)")
    assert len(table) == len(set(deaf.wording[deaf.control != ""]))
