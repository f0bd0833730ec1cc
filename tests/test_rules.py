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
    stay = {name for name in theirs if name.startswith(NEED_WEIGHTS.get(chapter, "none"))}
    assert {one.claim for one in claims} == set(theirs) - stay
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
        ("07_attention_and_pictures", "every layer", rules.EVERY_LAYER),
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
    names = ends | {"p", "taken", "control", "steps", "shipped", "good", "failed", "tried",
                    "gained", "judged", "obeyed", "rival", "gain", "gain_low", "gain_high",
                    "learned", "refused", "whole", "picture", "text", "attention",
                    "blind", "bare", "tail", "carrier", "name", "everything", "turned", "kept",
                    "helper", "gone", "spared"}  # fmt: skip
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
    ],
)  # fmt: skip
def test_a_wide_interval_leaves_it_open_wherever_its_middle_lies(rule, low, high, word):
    assert rule(Estimate((low + high) / 2, low, high, 9, 9)) == word


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
