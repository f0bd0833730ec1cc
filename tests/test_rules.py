"""One table of rules gives every verdict of the book, those that are published included."""

import ast
import math
import re

import pandas as pd
import pytest

from whitebear import stats
from whitebear.book.chapters import (
    another_encoder,
    every_wording,
    told_to_forget,
    where_the_word_travels,
    why_it_fails,
)
from whitebear.book.report import claim, rules
from whitebear.book.report.published import read_published
from whitebear.files import RESULTS, ROOT
from whitebear.measures import swaps
from whitebear.pocket.experiments import results as why
from whitebear.pocket.experiments.repair import REPAIRS, Repair
from whitebear.pocket.experiments.teach import load_cells
from whitebear.stats import Estimate

PUBLISHED = read_published()


def scores(chapter: str) -> pd.DataFrame:
    return pd.read_parquet(RESULTS / f"{chapter}.parquet")


def of_told_to_forget():
    return told_to_forget.claims(scores("03_told_to_forget"))


def of_every_wording():
    table = scores("04_every_wording")
    attributes = ("red", "pencil")  # colours and styles stand in the same file
    objects = table[table.groupby("concept").condition.transform("nunique") > 5]
    assert not set(attributes) & set(objects.concept)
    return every_wording.claims(objects, stats.by_wording(objects))


def of_where_the_word_travels():
    return where_the_word_travels.claims(swaps.shares(scores("08_where_the_word_travels")))


def of_why_it_fails():
    results = why.load_results(load_cells())
    repairs = why.load_results(load_cells(REPAIRS, Repair))
    asked = why.quality(results["shipped"])
    again = why_it_fails.repair(repairs, asked, why.PLAIN, "a plain “without”")
    return [*why_it_fails.claims(results, repairs, asked), *why_it_fails.plain(results), again]


def of_another_encoder():
    drawn = scores("11_another_encoder")
    own, other = (drawn[drawn.encoder == name].reset_index(drop=True) for name in ("own", "other"))
    return another_encoder.predictions(another_encoder.by_wording(own, other))


@pytest.mark.parametrize(
    ("chapter", "remake"),
    [
        ("03_told_to_forget", of_told_to_forget),
        ("04_every_wording", of_every_wording),
        ("08_where_the_word_travels", of_where_the_word_travels),
        ("09_why_it_fails", of_why_it_fails),
        ("11_another_encoder", of_another_encoder),
    ],
)
def test_published_claims_come_out_of_the_published_pictures(chapter, remake):
    """Every number and word, but for numbers that need a model's weights."""
    theirs = {record["claim"]: record for record in PUBLISHED[chapter]["claims"]}
    for mine in claim.as_records(remake()):
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
    names = {"p", "suppression", "steps", "none", "natural", "much", "encoder", "denoiser",
             "shipped", "good", "tried", "way", "gained", "judged", "obeyed", "rival"}  # fmt: skip
    assert rule(nan, nan, **dict.fromkeys(names, math.nan)) == rule.otherwise


def test_the_hypothesis_of_the_two_parts():
    judge = lambda denoiser, encoder: rules.WHERE(denoiser=denoiser, encoder=encoder)  # noqa: E731
    assert judge(0.5, 0.09) == "holds"
    assert judge(0.5, 0.1) == judge(0.49, 0.0) == judge(-0.1, 0.2) == "refuted"
    assert judge(math.nan, 0.2) == judge(0.9, math.nan) == "open"


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
