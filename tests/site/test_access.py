"""Nobody is kept out: axe-core finds nothing, nothing is lost on a phone, paper is whole."""

import pytest
from pages import watched
from test_site import PAGES, each

from conftest import HTML
from whitebear.files import ROOT

AXE = ROOT / "tests/vendor/axe.min.js"
FIND = """() => axe.run(document, { resultTypes: ["violations"], preload: false }).then(
    found => found.violations.map(v => [v.id,
    v.nodes.map(node => [node.target.join(" "), node.html.slice(0, 200)])]))"""
SCROLLERS = """() => [...document.querySelectorAll("article *")].filter(e =>
    ["auto", "scroll"].includes(getComputedStyle(e).overflowX) && e.clientWidth
    && e.scrollWidth > e.clientWidth + 1
    && !e.querySelector("button, input, a[href], [tabindex='0']")
).map(e => ({ html: e.outerHTML.slice(0, 120), focus: e.tabIndex, name: e.ariaLabel,
    code: e.tagName == "PRE" }))"""
SETTINGS = {
    "desk": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "phone, at night": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
}


@pytest.mark.parametrize("setting", SETTINGS)
@each
def test_axe_finds_nothing(browser, name, setting):
    page, wrong, _ = watched(browser, **SETTINGS[setting])
    page.goto((HTML / name).as_uri(), wait_until="load")
    page.add_script_tag(path=AXE)
    assert page.evaluate(FIND) == [] and not wrong
    page.context.close()


@each
def test_what_scrolls_on_a_phone_can_be_reached_and_has_a_name(browser, name):
    page, *_ = watched(browser, **SETTINGS["phone, at night"])
    page.goto((HTML / name).as_uri(), wait_until="load")
    page.wait_for_timeout(300)  # the theme looks at its boxes after the page has been laid out
    boxes = page.evaluate(SCROLLERS)
    assert not [box for box in boxes if box["focus"] < 0 or not (box["name"] or box["code"])]
    page.context.close()


def test_axe_would_find_something(browser):
    """The check itself: a picture without words."""
    page, *_ = watched(browser)
    page.goto((HTML / PAGES[0]).as_uri())
    page.evaluate("document.querySelector('article').append(new Image(8, 8))")
    page.add_script_tag(path=AXE)
    assert "image-alt" in dict(page.evaluate(FIND))
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_is_light_and_shows_the_text_alone(browser, scheme):
    page, *_ = watched(browser, color_scheme=scheme)
    page.goto((HTML / "notebooks/03_told_to_forget.html").as_uri())
    page.emulate_media(media="print", color_scheme=scheme)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    colour = "e => getComputedStyle(e).color"
    assert page.locator("article h2").first.evaluate(colour) == "rgb(0, 0, 0)"
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.locator("article figure img").first.is_visible()
    assert page.locator(".wb-in-full p").first.is_visible()  # the answer, with its intervals
    for unwanted in ("button", "summary", ".bd-sidebar-primary", "#jb-print-toc", ".cell_input"):
        assert not [e for e in page.locator(unwanted).all() if e.is_visible()], unwanted
    assert page.locator("h1").evaluate_all(
        "all => all.filter(e => e.checkVisibility()).map(e => e.textContent.slice(0, 14))"
    ) == ["Told to forget"]
    page.set_viewport_size({"width": 680, "height": 900})  # the text of an A4 page
    assert page.evaluate("document.documentElement.scrollWidth") <= 680
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.context.close()
