"""Claims reach the page whole, and nothing in them can become markup."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from whitebear.book.report.claim import Claim, as_records, table
from whitebear.book.report.numbers import page_names, save_numbers, save_tables, tables_of
from whitebear.errors import UserError
from whitebear.stats import Estimate

FOUND = Estimate(0.03, 0.01, 0.05, 64, 8)
CLAIM = Claim(
    "“forget” suppresses it", FOUND, "3 % [1, 5]", "64 pictures", "the control", "no", "fig-a"
)


def test_claims_are_saved_with_the_numbers_but_are_no_number(tmp_path):
    path = save_numbers(tmp_path, "04_x", [CLAIM], images=3)
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert saved["claims"] == as_records([CLAIM])
    assert page_names("04_x", saved) == {"x_images": "3"}


def test_tables_are_saved_beside_the_numbers_and_found_by_chapter(tmp_path):
    rows = pd.DataFrame({"concept": ["bear"], "mass": [1 / 3], "seed": [0]})
    (path,) = save_tables(tmp_path, "04_x", heads=rows)
    assert path.name == "04_x_heads.parquet" and rows.mass.dtype == "float64"
    kept = pd.read_parquet(path)
    assert kept.dtypes.astype(str).to_dict() | {"concept": ""} == {
        "concept": "", "mass": "float32", "seed": "int64"
    }  # fmt: skip
    save_tables(tmp_path, "04_xy", heads=rows)
    rows.to_parquet(tmp_path / "04_x.parquet")
    assert [p.name for p in tables_of(tmp_path, "04_x")] == ["04_x.parquet", "04_x_heads.parquet"]
    assert tables_of(tmp_path, "05_z") == []


def test_the_table_has_a_row_a_claim_and_a_link_to_its_figure():
    text = table({"Chapter": as_records([CLAIM, replace(CLAIM, claim="b")]), "Nothing claimed": []})
    lines = text.splitlines()
    assert lines[0] == "**Chapter**" and "Nothing" not in text
    assert len(lines) == 2 + 2 + 2
    assert lines[-1].endswith("| no | {numref}`fig-a` |")
    assert all(line.count("|") == 7 for line in lines[2:])


def test_no_text_can_leave_its_cell():
    nasty = Claim("a | b\n<script>{{ x }}", FOUND, "*1*", "1", "`c`", "$x$", "fig-a")
    row = table({"T": as_records([nasty])}).splitlines()[-1]
    assert "\n" not in row and r"a \| b \<script\>\{\{ x \}\}" in row
    assert r"\*1\*" in row and r"\`c\`" in row and r"\$x\$" in row


def test_claims_without_a_part_or_a_label_are_refused():
    with pytest.raises(UserError, match="has no control"):
        as_records([replace(CLAIM, control=" ")])
    with pytest.raises(UserError, match="is made twice"):
        as_records([CLAIM, CLAIM])
    with pytest.raises(UserError, match="is no label"):
        table({"T": as_records([replace(CLAIM, figure="fig a`<b>")])})
