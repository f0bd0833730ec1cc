"""How fast is the page that draws? `python tests/bench/live.py [--rounds 3]`

Opens the built page (`make book` first) in headless Chromium, from a server on this machine and
from the folder, each time in a fresh browser; draws one sentence as a reader does and prints, as
medians over the rounds: seconds from the click to the first picture, seconds a picture after that,
seconds to look inside one, the longest time in which the page answered nothing, and the bytes that
are loaded before and after the click. Run it on a machine that has nothing else to do.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

import pandas as pd
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/site")]
from pages import watched  # noqa: E402

from conftest import BROWSERS, HTML, served  # noqa: E402

PAGE = "book/draw.html"
SENTENCE = "#p=a+picture+of+a+beach+without+a+bear"
ANSWERS = """() => {
    window.blocked = [0];
    const note = list => list.getEntries().forEach(entry => window.blocked.push(entry.duration));
    new PerformanceObserver(note).observe({ type: "longtask" });
}"""
DRAWN = "n => document.querySelectorAll('.wb-cells button:enabled').length >= n"
MARKS = {"first picture, s": 8, "a picture, s": 1.5, "blocked, ms": 100, "after the click, MB": 30}


def measure(browser: Browser, start: str) -> dict[str, float]:
    """One reader: opens, draws 24 pictures, looks inside the first."""
    page, _, asked = watched(browser)
    page.goto(f"{start}/{PAGE}{SENTENCE}", wait_until="networkidle")
    page.evaluate(ANSWERS)
    before = len(asked)
    begun = time.perf_counter()
    page.click(".wb-main")
    first = seconds(page, 1, begun)
    every = seconds(page, 24, begun)
    begun = time.perf_counter()
    page.locator(".wb-cells button").first.click()
    page.locator(".wb-inside polyline").first.wait_for()
    found = {
        "first picture, s": first,
        "a picture, s": (every - first) / 23,
        "looked inside, s": time.perf_counter() - begun,
        "blocked, ms": max(page.evaluate("window.blocked")),
        "before the click, MB": size(asked[:before], start),
        "after the click, MB": size(asked[before:], start),
    }
    page.context.close()
    return found


def seconds(page: Page, pictures: int, begun: float) -> float:
    page.wait_for_function(DRAWN, arg=pictures)
    return time.perf_counter() - begun


def size(addresses: list[str], start: str) -> float:
    """Megabytes of files of the site, each counted once."""
    paths = {address.removeprefix(start).split("?")[0].split("#")[0] for address in addresses}
    files = [HTML / path.lstrip("/") for path in paths if not path.startswith(("data:", "blob:"))]
    return sum(path.stat().st_size for path in files) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    found, rows = next(filter(None, map(shutil.which, BROWSERS)), None), []
    with sync_playwright() as playwright, served() as site:
        for start in [site, HTML.as_uri()] * rounds:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            where = "server" if start == site else "folder"
            rows.append({"from": where} | measure(browser, start))
            browser.close()
    table = pd.DataFrame(rows).groupby("from").median().T
    table["mark"] = pd.Series(MARKS)
    print(table.round(2).to_string(na_rep=""))


if __name__ == "__main__":
    main()
