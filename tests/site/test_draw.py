"""The page that draws, opened from the disk and from a server: it draws what the book draws."""

import re

import numpy as np
import pandas as pd
import pytest
from pages import watched
from PIL import Image

from conftest import HTML
from whitebear.book.live import examples, scripts
from whitebear.book.live.graphs import taught
from whitebear.draw.artist import Artist
from whitebear.files import ROOT
from whitebear.hooks import capture_attention
from whitebear.interventions import negative_prompt, weigh
from whitebear.prompts import prompt_grid

PAGE = "book/draw.html"
LIMIT = 2  # of 255, in any pixel
FROZEN = 100  # ms that nothing answers: what a reader notices
LOAD = """async names => {
    window.model = new whiteBear.Model();
    await window.model.load(names);
}"""
ASK = """async asked => {
    const made = await window.model.ask("draw", asked);
    return { ...made, pixels: [...made.pixels], mass: [...made.mass], maps: [...made.maps] };
}"""
WATCH = """() => {
    window.frozen = [];
    const note = list => list.getEntries().forEach(entry => window.frozen.push(entry.duration));
    new PerformanceObserver(note).observe({ type: "longtask" });
}"""


@pytest.fixture(scope="module")
def artist():
    return Artist("pocket", device="cpu")


@pytest.fixture(scope="module", params=["disk", "server"])
def drawing(request, browser, site):
    """The model of a page, loaded; a function that draws in it."""
    start = site if request.param == "server" else HTML.as_uri()
    page, wrong, asked = watched(browser)
    page.goto(f"{start}/{PAGE}")
    page.evaluate(WATCH)
    page.evaluate(LOAD, [*scripts.FIRST, *scripts.TAUGHT])
    draw = lambda **asked: page.evaluate(  # noqa: E731
        ASK, {"model": "shipped", "steps": 20, "guidance": 4, **asked}
    )
    draw.few = request.param == "server"
    draw.spans = lambda sentence: page.evaluate(
        "sentence => window.model.ask('spans', { sentence })", sentence
    )
    frozen = page.evaluate("window.frozen")  # what follows copies pictures out, as no reader does
    yield draw
    assert not wrong and max(frozen, default=0) < FROZEN
    assert not [u for u in asked if not u.startswith((start, "data:", "blob:"))]
    page.context.close()


def rows() -> pd.DataFrame:
    """Twenty prompts of the book, with a seed each."""
    conditions = ["affirm", "negate", "forget_then_request", "omit"]
    grid = prompt_grid(["bear", "owl", "key"], conditions, seeds=[2, 9])
    return grid.drop_duplicates("prompt").iloc[::4].head(20).reset_index(drop=True)


def test_pictures_and_verdicts_are_those_of_the_book(drawing, artist):
    table = rows()[: 2 if drawing.few else None]
    assert drawing.few or len(table) == 20
    images = artist.draw(table, progress=False)
    judged = artist.judged(table, images)
    for row, image in zip(judged.itertuples(), images, strict=True):
        made = drawing(prompt=row.prompt, concept=row.concept, seed=row.seed)
        assert difference(made, image) <= LIMIT, row.prompt
        found = {name: (p, present) for name, p, present in made["found"]}[row.concept]
        assert found[1] == row.present and abs(found[0] - row.p_asked) < 0.01


def difference(made: dict, image: np.ndarray) -> int:
    pixels = np.array(made["pixels"]).reshape(*image.shape[:2], 4)[..., :3]
    return np.abs(pixels - image.astype(int)).max()


def test_the_taught_model_and_a_negative_prompt_draw_the_same(drawing, artist):
    row = prompt_grid(["bear"], ["negate"], seeds=[5]).query("wording == 'negate-without'")
    asked = {"prompt": row.prompt.item(), "concept": "bear", "seed": 5}
    want = taught(artist).draw(row, progress=False)[0]
    assert difference(drawing(**asked, model="taught"), want) <= LIMIT
    with negative_prompt(artist, row):
        want = artist.draw(row, progress=False)[0]
    assert difference(drawing(**asked, negative="bear"), want) <= LIMIT


def told(wording: str, condition: str) -> tuple[pd.DataFrame, dict]:
    """A prompt about a bear, as a row of a grid and as the page is asked for it."""
    row = prompt_grid(["bear"], [condition], seeds=[1]).query("wording == @wording")
    return row, {"prompt": row.prompt.item(), "concept": "bear", "seed": 1}


@pytest.mark.parametrize(
    ("wording", "condition", "places"),
    [("affirm-picture", "affirm", 1), ("forget-paper", "forget_then_request", 2)],
)
def test_attention_is_what_the_hooks_see(drawing, artist, wording, condition, places):
    """Mass in every layer, maps over the picture; all places of the word together."""
    row, asked = told(wording, condition)
    with capture_attention(artist.pipe, tokens=["bear"], reduce=("mass", "map"), grid=8) as capture:
        artist.draw(row, progress=False)
    seen, made = capture.dataset().isel(sample=0, token=0), drawing(**asked)
    spans = drawing.spans(asked["prompt"])
    at = [i for text, first, after in spans if text == "bear" for i in range(first, after)]
    assert len(at) == places
    mass = np.array(made["mass"]).reshape(20, -1, 77)[..., at].sum(-1)
    maps = np.array(made["maps"]).reshape(20, 77, 8, 8)[:, at].sum(1)
    assert np.abs(mass - seen["mass"].to_numpy()).max() < 1e-3
    assert np.abs(maps - seen["map"].mean("layer").to_numpy()).max() < 1e-3


@pytest.mark.parametrize(
    ("factor", "roles", "also"),
    [(0.0, (), {}), (4.0, (), {}), (0.0, ("eos", "pad"), {"<end>": 0, "<padding>": 0})],
)
def test_words_count_as_the_intervention_weighs_them(drawing, artist, factor, roles, also):
    row, asked = told("forget-paper", "forget_then_request")
    plain = artist.draw(row, progress=False)[0]
    with weigh(artist, row, factor, roles=roles):
        want = artist.draw(row, progress=False)[0]
    made = drawing(**asked, weigh={"bear": factor, **also})
    assert difference(made, want) <= LIMIT < difference(made, plain)


def opened(browser, fragment: str = "", **context):
    page, wrong, asked = watched(browser, **context)
    page.goto(f"{(HTML / PAGE).as_uri()}{fragment}")
    return page, wrong, asked


def test_a_reader_draws_a_sentence(browser):
    """Told what is loaded, asked for a guess; every picture described, counted and compared."""
    page, wrong, asked = opened(browser, "#s=4", reduced_motion="reduce")
    assert not [u for u in asked if "_static/live/" in u and not u.endswith(("page.js", ".webp"))]
    assert re.search(r"loads 2\d MB", page.inner_text("[data-live=loads]"))
    page.evaluate(WATCH)
    page.fill("#wb-p", "a picture of a beach, but no bear, no unicorn")
    page.check("input[value=none]")
    page.press("#wb-p", "Enter")
    done = "document.querySelector('[data-live=status]').textContent.startsWith('8 of 8 drawn')"
    page.wait_for_function(done)
    page.wait_for_selector("[data-live=stop]", state="hidden")
    lanes = page.locator(".wb-lane")
    assert lanes.count() == 3 and "“unicorn”" in page.inner_text("[data-live=unknown]")
    for count in lanes.locator(".wb-foot").all_inner_texts():
        assert re.match(r"bear in \d of 8\s+\d+ % \[\d+, \d+\]", count)
    labels = lanes.locator("canvas").evaluate_all("all => all.map(c => c.ariaLabel)")
    assert len(labels) == 24 and all(label.startswith("seed ") for label in labels)
    assert "bear" in labels[8] and page.inner_text("[data-live=result]").startswith("You guessed")
    assert page.locator("[data-live=tries] li").count() == 1 and not wrong
    assert max(page.evaluate("window.frozen"), default=0) < FROZEN
    assert page.is_hidden("[data-live=loads]")
    page.context.close()


def test_a_reader_looks_inside_weighs_a_word_and_saves(browser):
    """With the keyboard: the shares shown are those of the hooks, the counts saved those shown."""
    artist = Artist("pocket", steps=4, device="cpu")
    prompts = ["a beach, but no bear", "a beach, and a bear"]
    rows = pd.DataFrame({"concept": "bear", "seed": 3, "prompt": prompts})
    with capture_attention(artist.pipe, tokens=["bear"]) as capture:
        artist.draw(rows, progress=False)
    want = 100 * capture.dataset().mass[..., 0].mean("layer").to_numpy()
    page, wrong, _ = opened(browser, "#p=a+beach,+but+no+bear&s=4", reduced_motion="reduce")
    page.press("#wb-p", "Enter")
    page.wait_for_function(
        "document.querySelector('[data-live=status]').textContent.startsWith('8 of')"
    )
    page.evaluate(WATCH)
    page.locator(".wb-lane").first.locator("button").nth(3).press("Enter")
    inside = page.locator(".wb-inside")
    inside.locator("polyline").nth(1).wait_for()
    assert inside.locator("[aria-pressed=true]").all_inner_texts() == ["bear", "bear"]
    for key, step in (("Home", 0), ("ArrowRight", 1), ("End", 3)):
        inside.locator("input[type=range]").press(key)
        line = inside.locator(".wb-note").first.inner_text()
        assert line.startswith(f"Step {step + 1} of 4: of the attention, “bear” has ")
        shown = [float(share) for share in re.findall(r"([\d.]+) %", line)]
        assert np.abs(np.array(shown) - want[:, step]).max() < 0.06
    inside.get_by_role("button", name="no", exact=True).press("Enter")
    assert "0.0 % in its control" in inside.locator(".wb-note").first.inner_text()
    inside.get_by_label("not at all").check()
    inside.get_by_text("Your sentence, no × 0").wait_for()
    assert "&w=no%3A0" in page.evaluate("location.hash")
    before = page.locator(".wb-foot b").all_inner_texts()
    with page.expect_download() as saved:
        page.click("[data-live=csv]")
    table = pd.read_csv(saved.value.path())
    counts = table.groupby("kind", sort=False).present.sum()
    assert [f"bear in {k} of 8" for k in counts] == before and not wrong
    with page.expect_download() as saved:
        page.click("[data-live=png]")
    assert Image.open(saved.value.path()).size[0] > 1000
    assert max(page.evaluate("window.frozen"), default=0) < FROZEN  # axe-core takes longer
    page.add_script_tag(path=ROOT / "tests/vendor/axe.min.js")
    found = "axe.run(document, { preload: false }).then(all => all.violations.map(v => v.id))"
    assert page.evaluate(found) == []
    inside.get_by_role("button", name="Draw all").press("Enter")
    page.get_by_text("“a beach, but no bear”: bear in", exact=False).nth(1).wait_for()
    assert page.locator(".wb-kind").first.inner_text() == "Your sentence, no × 0"
    assert inside.is_hidden()
    page.context.close()


def test_escape_stops_and_the_address_keeps_the_state(browser):
    page, wrong, _ = opened(browser)
    page.fill("#wb-p", "a duck without a bear")
    assert (
        page.input_value("[name=k]") == "bear" and page.input_value("#wb-c") == "a duck with a bear"
    )
    page.check("input[value=taught]")
    address = page.evaluate("location.hash")
    page.evaluate("location.hash = 'what-you-see'")  # a heading of the page is no state of it
    page.wait_for_function("location.hash === '#what-you-see'")
    page.wait_for_timeout(100)
    assert page.input_value("#wb-p") == "a duck without a bear"
    page.click(".wb-main")
    page.wait_for_selector("[data-live=stop]")
    page.press("body", "Escape")
    assert page.inner_text("[data-live=status]") == "Stopped."
    page.context.close()
    page, again, _ = opened(browser, address)
    assert page.input_value("#wb-p") == "a duck without a bear"
    assert page.is_checked("input[value=taught]") and not wrong and not again
    page.context.close()


@pytest.mark.parametrize("missing", ["WebAssembly", "DecompressionStream"])
def test_a_browser_that_cannot_says_so_in_a_line(browser, missing):
    page, wrong, _ = watched(browser)
    page.add_init_script(f"delete window.{missing}")
    page.goto((HTML / PAGE).as_uri())
    assert page.is_hidden("#wb-live") and not wrong
    assert page.inner_text("[data-live=cannot]").endswith("show what it draws.")
    page.context.close()


def test_without_scripts_there_are_the_stored_pictures(browser):
    page, *_ = opened(browser, java_script_enabled=False)
    assert page.is_hidden("#wb-live")
    assert page.locator(".wb-stored").count() == len(examples.SENTENCES)
    page.context.close()


def test_little_is_loaded_before_the_click():
    live = HTML / "_static/live"  # pictures of the frames are on other pages
    files = [HTML / PAGE, *live.glob("example-*.webp"), live / "page.js"]
    assert sum(path.stat().st_size for path in files) < 300_000
    first = [HTML / "_static/live" / f"{name}.js" for name in scripts.FIRST]
    assert sum(path.stat().st_size for path in first) < 30e6
