"""The table of reports names tests that are there."""

import ast
import re

import pytest

from whitebear.files import ROOT

TESTS = ROOT / "tests"
TEXT = (TESTS / "reports.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and "| test |" not in line]


def functions(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip()[:40] for row in ROWS])
def test_a_report_has_its_test(row):
    named = re.findall(r"`(\w+\.py)::(\w+)`", row)
    assert named and named == re.findall(r"`([^`]+?)::([^`]+)`", row)
    assert all(name.startswith("test_") and name in functions(file) for file, name in named)
