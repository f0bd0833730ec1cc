"""The two pictures of the README: `python tests/bench/readme_pictures.py` (`make book` first).

`first.png` is the picture table of the opening page; `live.webp` is the page that draws while it
draws one sentence beside its control, in headless Chromium, from the folder.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from conftest import BROWSERS, HTML  # noqa: E402

OUT = ROOT / "book" / "_static"
TABLE, LIVE = "book/intro.html", "book/draw.html#p=a+picture+of+a+beach+without+a+bear"
DRAWN = "n => document.querySelectorAll('.wb-cells button:enabled').length >= n"
PICTURES, WIDTH, MOMENT = 24, 760, 700  # drawn on the live page; pixels; milliseconds a frame


def table(page: Page) -> None:
    page.set_viewport_size({"width": WIDTH, "height": 1200})
    page.goto(f"{HTML.as_uri()}/{TABLE}", wait_until="networkidle")
    page.locator("div:has(> .wb-stored)").first.screenshot(path=OUT / "first.png")


def live(page: Page) -> None:
    page.set_viewport_size({"width": WIDTH, "height": 640})
    page.goto(f"{HTML.as_uri()}/{LIVE}", wait_until="networkidle")
    page.click(".wb-main")
    frames = []
    for drawn in range(0, PICTURES + 1, 2):
        page.wait_for_function(DRAWN, arg=drawn, timeout=120_000)
        page.locator(".wb-lane").first.evaluate("e => e.scrollIntoView({ block: 'start' })")
        frames.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    last = {"duration": [MOMENT] * (len(frames) - 1) + [4 * MOMENT], "loop": 0}
    how = {"save_all": True, "append_images": frames[1:], "quality": 60, "method": 6}
    frames[0].save(OUT / "live.webp", **how, **last)


def main() -> None:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for take in (table, live):
            page = browser.new_page()
            take(page)
            page.close()


if __name__ == "__main__":
    main()
