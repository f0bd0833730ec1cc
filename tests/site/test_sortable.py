"""A table that the reader can sort: with the mouse, with the keyboard, and back again."""

import numpy as np
import pandas as pd
import pytest
from pages import watched

from whitebear.book.report.sortable import Sortable

NUMBERS = {"b": 0.5, "c": np.nan, "a": 0.9, "d": -0.1}  # in the order that was declared


@pytest.fixture
def page(browser):
    texts = pd.DataFrame({"gone": ["half", "", "most", "less"], "place": list("yxzw")},
                         index=pd.Index(NUMBERS, name="method"))  # fmt: skip
    values = pd.DataFrame({"gone": list(NUMBERS.values())})
    page, wrong, _ = watched(browser)
    page.set_content(Sortable(texts, values, "Methods")._repr_html_())
    yield page
    assert not wrong
    page.context.close()


def order(page) -> str:
    return "".join(page.locator("tbody th").all_inner_texts())


def sorts(page) -> list[str]:
    heads = page.locator("thead th")
    return [heads.nth(i).get_attribute("aria-sort") for i in range(heads.count())]


def test_a_press_sorts_and_the_third_one_restores(page):
    head = page.get_by_role("button", name="gone")
    assert order(page) == "bcad" and sorts(page) == ["none"] * 3
    for wanted, state in (("abdc", "descending"), ("dbac", "ascending"), ("bcad", "none")):
        head.click()
        assert order(page) == wanted  # what has no value stays last
        assert sorts(page) == ["none", state, "none"]


def test_it_is_sorted_with_the_keyboard_and_by_text(page):
    page.keyboard.press("Tab")  # to the table, which can be scrolled
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert order(page) == "abcd" and sorts(page) == ["none", "none", "descending"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert order(page) == "abdc" and sorts(page) == ["none", "descending", "none"]


def test_its_name_is_read_out(page):
    assert page.get_by_role("region", name="Methods").count() == 1
    assert page.get_by_role("table", name="Methods").count() == 1
