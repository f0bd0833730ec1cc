"""Published numbers: kept whole, compared with a run honestly, and never with another model's."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from whitebear.book.build.staging import published_numbers
from whitebear.book.report import published
from whitebear.book.report.claim import Claim, as_records
from whitebear.errors import UserError
from whitebear.files import MODELS, ROOT
from whitebear.models.load import fingerprint
from whitebear.stats import Estimate

SHIPPED = fingerprint(MODELS / "pocket")


def claim(name: str, value: float, low: float, high: float) -> Claim:
    return Claim(name, Estimate(value, low, high, 9, 3), f"{value}", "9", "control", "yes", "fig-a")


def record(*claims: Claim, model: str = SHIPPED) -> dict:
    origin = {"model": model}
    return {"03_x": {"origin": origin, "numbers": {}, "claims": as_records(list(claims))}}


THEIRS = record(claim("a", 0.5, 0.4, 0.6), claim("b", 0.5, 0.4, 0.6), claim("c", 1, np.nan, np.nan))


def test_a_value_is_inside_or_not_and_intervals_are_apart_or_not():
    mine = [claim("a", 0.55, 0.2, 0.9), claim("b", 0.8, 0.7, 0.9), claim("c", 1, 0.9, 1)]
    table = published.beside("03_x", "pocket", mine, THEIRS)
    assert list(table.inside) == ["yes", "no", ""] and list(table.apart) == ["no", "yes", ""]
    assert published.apart(table) == ["b"]
    assert published.verdict(table) == (
        "1 of 2 numbers lie inside the published intervals; in 1 the two intervals have no value in"
        " common, as may happen where a run takes few concepts: b."
    )


def test_without_an_interval_of_its_own_a_run_is_only_inside_or_not():
    table = published.beside("03_x", "pocket", [claim("a", 0.7, np.nan, np.nan)], THEIRS)
    assert list(table.inside) == ["no"] and list(table.apart) == [""]
    assert published.verdict(table).endswith("no two intervals are apart.")


@pytest.mark.parametrize(
    ("chapter", "records"),
    [("04_y", THEIRS), ("03_x", record(claim("a", 0.5, 0.4, 0.6), model="other")), ("03_x", {})],
)
def test_numbers_of_another_chapter_or_other_weights_are_not_set_beside(chapter, records):
    table = published.beside(chapter, "pocket", [claim("a", 0.5, 0.4, 0.6)], records)
    assert not len(table) and not published.apart(table)
    assert published.verdict(table) == published.NOTHING


@pytest.mark.parametrize("text", ["{", "[]", '{"03_x": {"origin": {}}}', '{"03_x": 1}'])
def test_a_broken_record_is_refused(tmp_path, text):
    path = tmp_path / "published.json"
    path.write_text(text)
    with pytest.raises(UserError, match="published.json is no record"):
        published.read_published(path)


def test_what_is_published_belongs_to_the_shipped_model():
    for chapter, record in published.read_published().items():
        assert record["origin"]["model"] == SHIPPED, f"run make full again: {chapter}"
        assert {"versions", "parameters", "machine", "date"} <= set(record["origin"])


def test_another_model_is_set_beside_by_its_verdicts():
    other = [replace(claim("a", 0.1, 0, 0.2), verdict="no"), claim("b", 0.5, 0.4, 0.6)]
    table = published.other_weights("03_x", other, THEIRS)
    assert list(table.index) == ["a", "b"] and list(table.same) == ["no", "yes"]
    assert list(table.shipped) == ["0.5", "0.5"] and list(table.other) == ["0.1", "0.5"]
    assert not len(published.other_weights("04_y", other, THEIRS))


def test_claims_are_numbers_in_the_record():
    (made,) = as_records([claim("a", 0.5, np.nan, 0.6)])
    assert made["value"] == 0.5 and made["low"] is None
    json.dumps(made, allow_nan=False)


def test_every_published_number_that_a_page_quotes_is_there():
    pages = (ROOT / "book").glob("*.md")
    quoted = {
        name for page in pages for name in re.findall(r"{{ *(published_\w+) *}}", page.read_text())
    }
    assert quoted and quoted <= set(published_numbers(ROOT))
