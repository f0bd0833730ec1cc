"""The built book as its reader meets it: every page opened in a headless browser."""

import functools
import re
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from pages import watched

from conftest import HTML
from whitebear.book.build.staging import toc_notebooks
from whitebear.files import ROOT

PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("**/*.html"))
PAGES = [name for name in PAGES if not name.startswith("_") and name != "index.html"]
WIDTHS = (1280, 390)  # a desk, a phone

each = pytest.mark.parametrize("name", PAGES)


def test_the_whole_book_was_built():
    assert {f"notebooks/{p.stem}.html" for p in toc_notebooks(ROOT)} <= set(PAGES)
    assert {f"book/{p.stem}.html" for p in (ROOT / "book").glob("*.md")} <= set(PAGES)


@each
def test_a_page_opens_without_error_and_asks_no_other_host(browser, site, name):
    page, wrong, asked = watched(browser)
    page.goto(f"{site}/{name}", wait_until="networkidle")
    assert not [u for u in asked if not u.startswith((site, "data:", "blob:"))] and not wrong
    page.context.close()


@each
def test_a_page_opens_from_the_disk_and_is_whole(browser, name):
    """Nothing asked of any host, every picture there and described, every link leads somewhere."""
    page, wrong, asked = watched(browser)
    page.goto((HTML / name).as_uri(), wait_until="load")
    assert not [u for u in asked if not u.startswith(("file:", "data:", "blob:"))] and not wrong
    page.wait_for_function("[...document.images].every(image => image.complete)")
    pictures = "all => all.map(i => ({src: i.src.slice(-80), width: i.naturalWidth, alt: i.alt}))"
    images = page.eval_on_selector_all("img", pictures)
    assert not [image for image in images if not image["width"] or not image["alt"].strip()]
    links = page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
    assert links and not [u for u in links if u.startswith("file:") and not target_exists(u)]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.context.close()


def target_exists(link: str) -> bool:
    address, anchor = urldefrag(link)
    path = Path(unquote(urlsplit(address).path))
    if path.name == "draw.html" and "=" in anchor:  # a state of the page, no place on it
        return path.is_file()
    return path.is_file() and (not anchor or unquote(anchor) in anchors(path))


@functools.cache
def anchors(path: Path) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', path.read_text(encoding="utf-8")))


def test_the_index_leads_to_the_opening_page(browser, site):
    page, wrong, _ = watched(browser)
    page.goto(f"{site}/index.html")
    page.wait_for_url("**/book/intro.html")
    assert not wrong
    page.context.close()


@pytest.mark.parametrize("path", toc_notebooks(ROOT), ids=lambda p: p.stem)
def test_a_chapter_shows_pictures(browser, path):
    page, *_ = watched(browser)
    page.goto((HTML / f"notebooks/{path.stem}.html").as_uri())
    assert page.locator("article .cell_output img").count() >= 1
    assert "Traceback" not in page.inner_text("article")
    page.context.close()


@each
def test_a_page_shows_what_was_found_in_full(browser, name):
    """No cell of a table and no printed line is cut off, and no folder of this machine is named."""
    page, *_ = watched(browser)
    page.goto((HTML / name).as_uri())
    assert str(ROOT) not in page.inner_text("body")
    assert not [
        text
        for text in page.locator("article :is(td, th)").all_inner_texts()
        if text.endswith("...")
    ]
    page.set_viewport_size({"width": WIDTHS[0], "height": 844})
    lines = page.locator("article .cell_output :is(.stream, .text_plain) pre")
    cut = "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)"
    assert not lines.evaluate_all(cut)
    page.context.close()


def test_the_search_finds_a_word(browser, site):
    page, wrong, _ = watched(browser)
    page.goto(f"{site}/search.html?q=bear", wait_until="networkidle")
    page.wait_for_selector("#search-results li a")
    assert not wrong
    page.context.close()


def test_the_slider_of_the_explorer_moves_the_picture(browser, site):
    """With the keyboard and with the mouse, without a kernel, asking for nothing more."""
    page, wrong, asked = watched(browser)
    page.goto(f"{site}/notebooks/14_explorer.html", wait_until="networkidle")
    handle, frame = page.locator(".noUi-handle"), page.locator(".widget-subarea img")
    readout = page.locator(".widget-readout")
    handle.wait_for()  # a busy machine is idle on the network before its widgets are drawn,
    page.evaluate("document.fonts.ready.then(() => null)")  # and only then asks for their fonts
    before, seen = len(asked), []
    for key in ("Home", "ArrowRight", "ArrowRight", "End"):
        handle.press(key)
        step = int(readout.inner_text())
        page.wait_for_selector(f'.widget-subarea img[alt^="Step {step} of"]')
        seen.append((step, frame.get_attribute("src")))
    assert [step for step, _ in seen[:3]] == [0, 1, 2] and len({src for _, src in seen}) == 4
    track = page.locator(".noUi-base").bounding_box()
    page.mouse.click(track["x"] + track["width"] / 2, track["y"] + track["height"] / 2)
    page.wait_for_selector(f'.widget-subarea img[alt^="Step {readout.inner_text()} of"]')
    assert 2 < int(readout.inner_text()) < seen[-1][0]
    assert frame.count() == 1 and not wrong
    assert not [url for url in asked[before:] if not url.startswith("data:")]
    page.context.close()


def test_the_live_panel_is_not_shown_dead(browser, site):
    page, *_ = watched(browser)
    page.goto(f"{site}/notebooks/14_explorer.html", wait_until="networkidle")
    page.locator(".widget-subarea").first.wait_for()  # drawn after the network has been quiet
    assert page.locator(".widget-subarea").count() == 1
    assert not page.locator("article .jupyter-button, article .widget-text").count()
    page.context.close()


def test_only_pages_with_widgets_load_their_script():
    loading = {name for name in PAGES if "vendor/embed.js" in (HTML / name).read_text("utf-8")}
    assert loading == {"notebooks/14_explorer.html"}
