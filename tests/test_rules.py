"""One table of rules gives every verdict of the book, those that are published included."""

import ast
import math
import re

import pytest

from remake import NEED_WEIGHTS, REMADE
from whitebear.book.report import claim, rules
from whitebear.book.report.published import read_published
from whitebear.files import ROOT
from whitebear.stats import Estimate

PUBLISHED = read_published()


@pytest.mark.parametrize("chapter", REMADE)
def test_published_claims_come_out_of_the_published_pictures(chapter):
    """Every number and word, but for numbers that need a model's weights."""
    claims, numbers = REMADE[chapter]()
    assert numbers.items() <= PUBLISHED[chapter]["numbers"].items()
    theirs = {record["claim"]: record for record in PUBLISHED[chapter]["claims"]}
    mine = {one.claim for one in claims}
    stay = {name for name in theirs if name.startswith(NEED_WEIGHTS.get(chapter, "none"))} - mine
    assert mine == set(theirs) - stay
    for mine in claim.as_records(claims):
        his = theirs[mine["claim"]]
        assert {k: v for k, v in mine.items() if isinstance(v, str)} == {
            k: v for k, v in his.items() if isinstance(v, str)
        }
        numbers = [mine[k] for k in ("value", "low", "high")]
        assert numbers == pytest.approx([his[k] for k in ("value", "low", "high")], abs=2e-6)


@pytest.mark.parametrize(
    ("chapter", "words", "rule"),
    [
        ("05_text_encoder", "moves the end token", rules.MOVES),
        ("05_text_encoder", "can be read", rules.READ),
        ("06_watching_the_words", "weight", rules.CONTROL),
        ("07_attention_and_pictures", r"word \(", rules.MOVES),
        ("07_attention_and_pictures", "lower its presence", rules.TOGETHER),
        ("09_why_it_fails", "fall of attention", rules.NO_FALL),
    ],
)
def test_published_verdicts_follow_from_the_published_estimates(chapter, words, rule):
    found = [c for c in PUBLISHED[chapter]["claims"] if re.search(words, c["claim"].lower())]
    assert found
    for record in found:
        ends = [math.nan if record[k] is None else record[k] for k in ("value", "low", "high")]
        assert rule(Estimate(*ends, 9, 9)) == record["verdict"], record["claim"]


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.judged)
def test_what_cannot_be_told_gets_no_verdict_but_the_last(rule):
    nan = Estimate(math.nan, math.nan, math.nan, 0, 0)
    ends = {f"{name}_{end}" for name in ("none", "natural", "much", "encoder", "denoiser", "way")
            for end in ("low", "high")}  # fmt: skip
    names = ends | {"p", "taken", "control", "good", "failed", "tried",
                    "gained", "judged", "obeyed", "gain", "gain_low", "gain_high",
                    "learned", "refused", "whole", "picture", "text", "attention",
                    "blind", "bare", "tail", "carrier", "name", "everything", "turned", "kept",
                    "helper", "gone", "spared",
                    "below", "above", "layers", "falls", "stays", "rises",
                    "shipped_low", "shipped_high", "rival_low", "rival_high"}  # fmt: skip
    assert rule(nan, nan, **dict.fromkeys(names, math.nan)) == rule.otherwise


def test_the_hypothesis_of_the_two_parts():
    def judge(denoiser, encoder):
        ends = {"denoiser": denoiser, "encoder": encoder}
        return rules.WHERE(**{f"{n}_{end}": x for n, e in ends.items()
                              for end, x in zip(("low", "high"), e, strict=True)})  # fmt: skip

    assert judge((0.5, 0.7), (0.0, 0.09)) == "holds"
    assert judge((0.5, 0.7), (0.1, 0.2)) == judge((0.3, 0.49), (0.0, 0.3)) == "refuted"
    assert judge((0.4, 0.7), (0.0, 0.09)) == judge((0.5, 0.7), (0.0, 0.2)) == "open"
    nan = math.nan, math.nan
    assert judge(nan, (0.2, 0.3)) == judge((0.9, 1.0), nan) == "open"


@pytest.mark.parametrize(
    ("rule", "low", "high", "word"),
    [
        (rules.OBEYS, 0.25, 0.91, "open"), (rules.OBEYS, 0.5, 0.9, "obeys"),
        (rules.OBEYS, -0.1, 0.49, "does not obey"),
        (rules.PLAIN, -0.63, 0.38, "open"), (rules.PLAIN, -1.0, -0.5, "yes"),
        (rules.PLAIN, -0.46, -0.02, "no"),
        (rules.MOVES, -0.21, -0.1, "falls"), (rules.MOVES, -0.42, -0.098, "undecided"),
        (rules.MOVES, -0.414, 0.025, "undecided"), (rules.MOVES, -0.09, 0.09, "stays"),
        (rules.MOVES, 0.1, 0.3, "rises"), (rules.MOVES, 0.02, 0.3, "undecided"),
        (rules.CARRIES, 0.5, 0.9, "carries it"), (rules.CARRIES, 0.3, 0.9, "undecided"),
        (rules.CARRIES, 0.0, 0.49, "does not carry it"),
    ],
)  # fmt: skip
def test_a_wide_interval_leaves_it_open_wherever_its_middle_lies(rule, low, high, word):
    assert rule(Estimate((low + high) / 2, low, high, 9, 9)) == word


@pytest.mark.parametrize(
    ("below", "above", "word"),
    [(0.5, 0.5, "sustained drop"), (1.0, 0.0, "sustained drop"), (0.45, 0.5, "undecided"),
     (0.45, 0.55, "no sustained drop"), (0.0, 0.0, "undecided")],
)  # fmt: skip
def test_a_drop_is_sustained_by_the_steps_that_are_certain(below, above, word):
    assert rules.SUSTAINED(below=below, above=above) == word


@pytest.mark.parametrize(
    ("falls", "stays", "rises", "word"),
    [(7, 0, 0, "yes"), (6, 1, 0, "no"), (6, 0, 1, "no"), (6, 0, 0, "undecided")],
)
def test_attention_falls_in_every_layer_only_if_each_is_certain(falls, stays, rises, word):
    assert rules.EVERY_LAYER(layers=7, falls=falls, stays=stays, rises=rises) == word
    assert rules.EVERY_LAYER(layers=0, falls=0, stays=0, rises=0) == "undecided"


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.76, 0.9, "holds"), (0.7, 0.9, "open"), (0.59, 0.75, "refuted"), (0.76, 0.79, "open")],
)
def test_a_taught_encoder_is_read_for_certain_and_better_than_the_shipped_one(low, high, word):
    ends = {"shipped_low": 0.5, "shipped_high": 0.6 if word != "open" else 0.78}
    assert rules.TAUGHT_READ(Estimate((low + high) / 2, low, high, 9, 9), **ends) == word
    better = {"shipped_low": 0.95, "shipped_high": 0.99}
    assert rules.TAUGHT_READ(Estimate(0.85, 0.8, 0.9, 9, 9), **better) == "refuted"


@pytest.mark.parametrize(
    ("low", "high", "rival", "word"),
    [(0.6, 0.9, (0.2, 0.5), "holds"), (0.4, 0.9, (0.1, 0.3), "open"),
     (0.6, 0.9, (0.4, 0.7), "open"), (0.1, 0.4, (0.0, 0.1), "refuted"),
     (0.5, 0.7, (0.8, 0.9), "refuted")],
)  # fmt: skip
def test_the_law_is_held_against_half_and_against_its_rival_by_intervals(low, high, rival, word):
    ends = dict(zip(("rival_low", "rival_high"), rival, strict=True))
    assert rules.LAW(Estimate((low + high) / 2, low, high, 9, 9), **ends) == word


def test_an_exchanged_encoder_makes_nothing_obeyed_only_if_no_wording_is_left_open():
    assert rules.EXCHANGED(gained=1, judged=3, spared=2) == "refuted"
    assert rules.EXCHANGED(gained=0, judged=3, spared=3) == "holds"
    assert rules.EXCHANGED(gained=0, judged=3, spared=2) == "open"
    assert rules.EXCHANGED(gained=0, judged=0, spared=0) == "open"


# Declared with a value that has to reach the margin and an interval that excludes none (parts 2 to
# 4 of data/why/declared.md; data/arena/declared.md): they stay as they were declared.
DECLARED = (
    rules.OBEYED, rules.LEARNED, rules.WORD_ALONE, rules.WINNING, rules.SPARED, rules.SPARED_BESIDE,
    rules.SPECIFIC, rules.INSTRUCTED,
)  # fmt: skip


def test_no_rule_decides_by_an_estimate_but_those_that_were_declared_so():
    by_value = [rule for rule in rules.RULES if "value" in rule.in_words()]
    assert set(by_value) <= set(DECLARED), [rule.judged for rule in by_value]


def test_a_repair_that_may_obey_refutes_nothing():
    assert rules.REPAIR(good=0, tried=3, failed=2) == "open"
    assert rules.REPAIR(good=0, tried=3, failed=3) == "refuted"
    assert rules.REPAIR(good=1, tried=3, failed=2) == "holds"


def test_the_table_has_a_row_a_rule_and_stands_on_the_page_of_claims():
    lines = rules.table().splitlines()
    assert len(lines) == 2 + len(rules.RULES)
    assert all(line.count(" | ") == 2 for line in lines[2:])
    assert "{{ rules }}" in (ROOT / "book" / "claims.md").read_text(encoding="utf-8")


def test_no_chapter_has_a_threshold_of_its_own():
    """Numbers that an estimate is compared with stand in the table only."""
    for path in (ROOT / "lib/whitebear/book/chapters").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                ends = {side.attr for side in sides if isinstance(side, ast.Attribute)}
                again = "new.value" in ast.unparse(node)  # is it inside another interval?
                where = f"{path.name}:{node.lineno} {ast.unparse(node)}"
                assert again or not ends & {"value", "low", "high"}, where
