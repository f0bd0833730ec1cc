"""What the grid is said to show follows from planted numbers, whichever way they turn out."""

import pandas as pd
import pytest

from whitebear import stats
from whitebear.book.chapters import every_wording as grid_answers
from whitebear.book.figures import presence as figures
from whitebear.book.figures.style import look_of, signed_percent
from whitebear.book.report import phrases
from whitebear.prompts import load_wordings, name_of, prompt_grid

CONDITIONS = ["affirm", "omit", "mention", "repeat", "describe", "negate", "forget_only",
              "forget_then_request", "reinforced", "role", "implicit"]  # fmt: skip


def scores(world, gone: dict[str, float]) -> pd.DataFrame:
    """Every picture has the concept, but for omit and a share `gone` of some conditions.

    With 16 concepts the smallest p of sign flips, about 1 / 5000, survives an adjustment for many
    wordings."""
    table = prompt_grid(list(world.objects[:16]), CONDITIONS, 10, world=world)
    shares = {"omit": 1.0, **gone}
    present = [row.seed / 10 >= shares.get(row.condition, 0.0) for row in table.itertuples()]
    return table.assign(present=present, model="pocket")


@pytest.fixture(scope="module")
def obeyed(world):
    return scores(world, {"negate": 0.7})


def test_wordings_that_suppress_are_counted(obeyed):
    table = stats.by_wording(obeyed)
    instructions = obeyed[obeyed.control != ""].drop_duplicates("wording").set_index("wording")
    assert table.heldout.to_dict() == instructions.heldout.to_dict()
    negations = list(instructions.index[instructions.condition == "negate"])
    assert list(grid_answers.suppressing(table).index) == negations
    assert list(grid_answers.lowering(table).index) == list(grid_answers.suppressing(table).index)
    answer = grid_answers.answer(obeyed, table)
    count, kinds = len(negations), instructions.condition.nunique()
    assert answer.startswith(
        f"Of {len(table)} wordings in {kinds} kinds of instruction, {count} lower the rate"
    )
    assert f"{count} take away at least half" in answer and "None raise it." in answer


def test_nothing_suppresses(world):
    drawn = scores(world, {})
    table = stats.by_wording(drawn)
    assert "none lower" in grid_answers.answer(drawn, table)
    verdicts = {claim.verdict for claim in grid_answers.claims(drawn, table)}
    assert verdicts == {"drawn anyway", "no change"}


def test_a_model_that_cannot_be_asked_says_nothing(world):
    blind = scores(world, {"affirm": 1.0})
    assert grid_answers.answer(blind, stats.by_wording(blind)).startswith("Nothing can be said")


def test_a_wording_that_goes_the_other_way_is_named_and_judged_by_itself(world):
    """As “Erase every X ... then draw B” did, inside a mean of −3 points that said nothing."""
    other = scores(world, {"forget_only": 0.4, "mention": 0.4})
    up = other.wording.isin(["forget-only-memory", "mention-look"])
    down = other.wording.isin(["forget-only-look", "mention-memory"])
    other.loc[up, "present"], other.loc[down, "present"] = True, other[down].seed >= 7
    table = stats.by_wording(other)
    assert list(grid_answers.raising(table).index) == ["forget-only-memory"]
    answer = grid_answers.answer(other, table)
    assert "1 raises it: “Erase every X from your memory, then generate a picture of B.”" in answer
    claims = {claim.claim: claim for claim in grid_answers.claims(other, table)}
    kind = claims["“Forget it, draw the place” suppresses the concept"]
    assert kind.verdict == "undecided" and "by wording −70 to +70" in kind.estimate
    words = {name: claim.verdict for name, claim in claims.items() if " changes how " in name}
    assert len(words) == len(table)
    verdict = "“Erase every X from your memory, then generate a picture of B.” changes how often"
    assert words[f"{verdict} X is drawn"] == "raises it"
    assert words["“Forget the X. Now draw a picture of B.” changes how often X is drawn"] == (
        "takes away half or more"
    )


def test_a_control_that_never_shows_it_leaves_no_room(world):
    table = stats.by_wording(scores(world, {"forget_only": 1.0, "mention": 1.0}))
    words = phrases.changes(table)
    assert set(words[table.condition == "forget_only"]) == {"no room"}
    assert "forget-only" in phrases.obeyed(table)["open"]


def test_a_name_under_negation_is_held_against_the_same_name(obeyed):
    table = grid_answers.unasked(stats.by_wording(obeyed))
    assert set(table.condition) == {"negate", "forget_only"}
    assert table.control_value.eq(1).all()


def test_conclusions_are_one_word_each(obeyed):
    table = stats.by_wording(obeyed)
    found = grid_answers.conclusions(obeyed, table)
    assert found["asking makes a difference"] == "yes"
    assert found["obeyed"] == ", ".join(table.index[table.condition == "negate"])


def test_figures_of_the_grid(obeyed):
    table = stats.by_wording(obeyed)
    axes = figures.conditions(obeyed).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [name_of(c) for c in (
        "affirm", "omit", "repeat", "forget_then_request", "negate", "mention", "forget_only",
        "reinforced", "role", "describe", "implicit")]  # fmt: skip
    assert len(figures.wordings(table).axes[0].get_yticks()) == len(table)
    assert figures.beside_controls(grid_answers.unasked(table)).axes


def test_every_condition_has_a_look_of_its_own():
    looks = [tuple(look_of(c).values()) for c in dict.fromkeys(load_wordings().condition)]
    assert len(set(looks)) == len(looks)


def test_signed_ticks():
    assert [signed_percent(v) for v in (-0.1, 0.0, 0.25)] == ["−10", "0", "+25"]
