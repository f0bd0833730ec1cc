"""What pages quote of published tables: found, as the tables have it, and true in words too."""

import json
import re
import shutil

import pandas as pd
import pytest

from whitebear.book.report import from_tables
from whitebear.errors import UserError
from whitebear.files import MODELS, RESULTS, ROOT

WRONG = (ROOT / "book" / "how_we_were_wrong.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def numbers():
    return from_tables.numbers()


@pytest.fixture(scope="module")
def shipped():
    scores = pd.read_parquet(RESULTS / "04_every_wording.parquet")
    return scores[scores.kind == "object"]


def share(scores, **where):
    for column, value in where.items():
        scores = scores[scores[column] == value]
    return scores.present.mean()


def test_pages_quote_what_is_computed_and_nothing_is_computed_for_nobody(numbers):
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "book").glob("*.md")]
    assert {n for text in pages for n in re.findall(r"{{ *(table_\w+) *}}", text)} == set(numbers)
    assert not [name for name, text in numbers.items() if "nan" in text or text == "undefined"]


def test_rates_are_those_of_the_tables(numbers, shipped):
    second = pd.read_parquet(RESULTS / "retrained" / "seed-1.parquet")
    for name, scores in (("shipped", shipped), ("second", second)):
        for wording in ("affirm-with", "negate-without", "forget-paper"):
            found = numbers[f"table_{name}_{wording.replace('-', '_')}_rate"]
            assert found == f"{round(100 * share(scores, wording=wording))} %"


def test_taught_models_are_counted_on_what_their_captions_denied(numbers):
    shown = pictures = 0
    for cell in ("e20-d0-s1", "e20-d0-s2", "e20-d20-s1", "e20-d20-s2"):
        denied = json.loads((RESULTS / "why" / f"{cell}.json").read_text())["denied"]
        rows = pd.read_parquet(RESULTS / "why" / f"{cell}.parquet")
        rows = rows[(rows.wording == "forget-only-paper") & rows.concept.isin(denied)]
        shown, pictures = shown + rows.present.sum(), pictures + len(rows)
    assert numbers["table_taught_models"] == "4" and numbers["table_taught_n"] == str(pictures)
    assert numbers["table_taught_forget_only_paper_rate"] == f"{round(100 * shown / pictures)} %"


def test_what_the_pages_say_in_words_is_so(numbers, shipped):
    rate = shipped.groupby("wording").present.mean()
    of = shipped[shipped.control != ""].groupby(["condition", "wording"]).control.first()
    change = {(c, w): rate[w] - rate[control] for (c, w), control in of.items()}
    negate = {w: value for (c, w), value in change.items() if c == "negate"}
    assert len(negate) == 6 and "The six wordings" in WRONG
    assert (min(negate, key=negate.get), max(negate, key=negate.get)) == (
        "negate-no", "negate-not-draw"
    )  # fmt: skip
    assert change["forget_only", "forget-only-memory"] > 0.2, "a rise"
    assert share(shipped, condition="omit") == 0, "what is not named is never drawn"
    assert share(shipped, condition="mention") > share(shipped, condition="negate")
    assert rate["negate-no"] < 0.05, "obeys"
    for wording in ("negate-without", "negate-not-draw"):
        assert -0.15 < change["negate", wording] < 0 and rate[wording] > 0.8, "hardly"
    assert numbers["table_hypotheses_held"] == "none"
    ends = [int(numbers[f"table_hypotheses_{end}"]) for end in ("refuted", "open", "split")]
    assert sum(ends) == int(numbers["table_hypotheses"]) == 6
    assert numbers["table_shipped_unchanged"] == "12 of 12"


def test_the_card_says_how_the_second_model_differs(numbers):
    card = (MODELS / "pocket" / "README.md").read_text(encoding="utf-8")
    assert numbers["table_second_negate_without_rate"] == "0 %" and "in every picture" in card
    assert f"leaves it in {numbers['table_shipped_negate_without_rate']}" in card


def test_nothing_published_is_nothing_and_a_missing_part_is_named(tmp_path):
    assert from_tables.numbers(tmp_path) == {}
    with pytest.raises(UserError, match="'negate-never', which the tables lack"):
        from_tables.rate(from_tables.models()["second"], "negate-never")
    shutil.copy(RESULTS / "published.json", tmp_path)
    chapters = json.loads((tmp_path / "published.json").read_text(encoding="utf-8"))
    chapters["05_text_encoder"]["claims"] = []
    (tmp_path / "published.json").write_text(json.dumps(chapters), encoding="utf-8")
    with pytest.raises(UserError, match="moves the end token.*05_text_encoder did not publish"):
        from_tables.claimed(tmp_path)
