"""The scripts of the page that draws, room by room, against what they mirror in Python."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from pages import watched
from transformers import CLIPTokenizer

from whitebear import stats
from whitebear.book.live import scripts
from whitebear.draw.generate import noise_seed
from whitebear.files import MODELS, ROOT
from whitebear.prompts import load_wordings, prompt_grid

POCKET = MODELS / "pocket"
ROOMS = ("noise", "schedule", "tokenise", "judge", "words", "tally", "watch", "save")
# What nobody writes on purpose: the tokenizer of the page splits it as that of the model does.
ODD = (
    "", " ", "a  bear", "\tbear\n", "BEAR", "Bär", "ours blanc, s’il vous plaît", "don't", "don’t",
    "it's we're I'd they'll you've I'm", "2 bears", "2023", "bear2bear", "bear-boat", "bear_boat",
    "熊", "белый медведь", "🐻 bear", "e\u0301", "ﬁsh", "<|endoftext|>", "a <|startoftext|> b",
    "!?...", "“bear”", "bear's", "unicorn", "a" * 60, "bear\u00a0boat", "İstanbul", "straße",
)  # fmt: skip


@pytest.fixture(scope="module")
def rooms(browser):
    """An empty page with the rooms' functions; returns a function that evaluates in it."""
    page, wrong, _ = watched(browser)
    page.add_script_tag(path=ROOT / "book/_static/vendor/tokenizers.js")
    book = {"world": scripts.world(), "wordings": scripts.wordings()}
    code = scripts.joined(ROOT / "book/live", ROOMS)
    page.add_script_tag(content=f"const BOOK = {json.dumps(book)};\n{code}")
    yield page.evaluate
    assert not wrong
    page.context.close()


def test_they_stay_small():
    lines = [len(p.read_text().splitlines()) for p in (ROOT / "book/live").glob("*.js")]
    assert sum(lines) < 1200 and max(lines) < 300


@pytest.mark.parametrize(("concept", "seed"), [("bear", 0), ("bear", 63), ("owl", 7), ("key", 31)])
def test_noise_is_that_of_torch(rooms, concept, seed):
    number = noise_seed(concept, seed)
    want = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(number)).flatten()
    made = rooms("s => [...normals(s, 1024)]", number % 2**32)
    assert np.abs(np.array(made) - want.numpy()).max() < 2e-6


def test_the_schedule_is_that_of_diffusers(rooms):
    scheduler = DDIMScheduler.from_pretrained(POCKET / "scheduler")
    assert np.abs(np.array(rooms("alphas()")) - scheduler.alphas_cumprod.numpy()).max() < 1e-6
    for steps in range(1, 51):  # as many as the page offers
        scheduler.set_timesteps(steps)
        assert rooms("s => timesteps(s)", steps) == scheduler.timesteps.tolist(), steps


@pytest.mark.parametrize("steps", [1, 4, 16, 20, 30, 50])
def test_a_step_is_that_of_diffusers(rooms, steps):
    """From the same latents and predictions, at every step."""
    scheduler = DDIMScheduler.from_pretrained(POCKET / "scheduler")
    scheduler.set_timesteps(steps)
    draw = torch.Generator().manual_seed(steps)
    for t in scheduler.timesteps.tolist():
        latents, predicted = torch.randn(2, 32, generator=draw)
        want = scheduler.step(predicted, t, latents)
        made = rooms(
            "([x, v, t, n]) => step(x, v, t, n, alphas())",
            [latents.tolist(), predicted.tolist(), t, steps],
        )
        assert np.abs(np.array(made["latents"]) - want.prev_sample.numpy()).max() < 1e-5
        assert np.abs(np.array(made["picture"]) - want.pred_original_sample.numpy()).max() < 1e-5


def test_guidance_is_that_of_the_pipeline(rooms):
    run = "([v, g]) => [...guided(Float32Array.from(v), g)]"
    assert rooms(run, [[1, 2, 3, 5], 4]) == [1 + 4 * 2, 2 + 4 * 3]
    assert rooms(run, [[1, 2, 3, 5], 1]) == rooms(run, [[1, 2, 3, 5], 0]) == [3, 5]


@pytest.fixture(scope="module")
def grid():
    conditions = load_wordings().query("kind == 'object'").condition.unique()
    return prompt_grid([], list(conditions), 2)


def test_tokens_are_those_of_the_model(rooms, grid):
    tokenizer = CLIPTokenizer.from_pretrained(POCKET / "tokenizer")
    texts = [*ODD, *grid.prompt.unique()]
    want = tokenizer(texts, padding="max_length").input_ids
    read = lambda name: json.loads((POCKET / "tokenizer" / name).read_text())  # noqa: E731
    files = [read("tokenizer.json"), read("tokenizer_config.json")]
    rooms("([words, config]) => { window.words = new Words(words, config); }", files)
    made = rooms("texts => texts.map(text => words.ids(text).ids)", texts)
    assert {t: m for t, m, w in zip(texts, made, want, strict=True) if m != w} == {}
    assert rooms("t => words.unknown(t)", "No unicorn, don't: a bear!") == ["unicorn", "don't"]
    assert rooms("t => words.unknown(t)", "The Boat, without an OWL.") == []
    assert rooms("t => words.spans(t)", "A bear, don't") == [
        ["<start>", 0, 1], ["A", 1, 2], ["bear", 2, 3], [",", 3, 4], ["don't", 4, 8],
        ["<end>", 8, 9], ["<padding>", 9, 77],
    ]  # fmt: skip
    ends = rooms("texts => texts.map(t => words.spans(t).at(-2)[2] - words.ids(t).length)", texts)
    assert {t for t, end in zip(texts, ends, strict=True) if end} == set()
    weights = rooms("([t, w]) => [...words.weights(t, w)]", ["Bear, a bear", {"bear": 0, "a": 2}])
    assert weights == [1, 0, 1, 2, 0] + [1] * 72
    with pytest.raises(Exception, match="nothing left to read"):
        everything = {"<start>": 0, "<end>": 0, "<padding>": 0}
        rooms("w => words.weights('', w)", everything)
    with pytest.raises(Exception, match="reads 77; shorten it"):
        rooms("words.ids('bear '.repeat(90))")


def test_a_wording_of_the_book_is_known_with_its_control(rooms, grid):
    known = {w["text"] for w in scripts.wordings()}
    plain = grid[grid.text.isin(known)]
    controls = plain.set_index(["wording", "concept", "seed"]).prompt
    asked = [row for row in plain.itertuples() if row.control]
    assert len({row.wording for row in asked}) > 10
    want = [[controls[row.control, row.concept, row.seed], row.concept] for row in asked]
    made = rooms("all => all.map(t => [control(t), objectOf(t, 'cup')])", [r.prompt for r in asked])
    assert made == want


@pytest.mark.parametrize(
    ("sentence", "control", "alone"),
    [
        ("Don't think of a white bear.", "Do think of a white bear.", "a picture of a beach"),
        ("a city street, but no owl at all", "a city street, and an owl at all",
         "a picture of a city street"),
        ("Never show a bear in a meadow", "Always show a bear in a meadow",
         "a picture of a meadow"),
        ("a picture of a bear", "", "a picture of a beach"),
    ],
)  # fmt: skip
def test_any_sentence_has_a_control(rooms, sentence, control, alone):
    assert rooms("t => [control(t), placeAlone(t)]", sentence) == [control, alone]


def test_the_interval_is_that_of_the_book(rooms):
    pairs = [(k, n) for n in range(1, 65) for k in range(n + 1)]
    made = np.array(rooms("all => all.map(([k, n]) => wilson(k, n))", pairs))
    assert np.allclose(made, np.array(stats.wilson(*np.array(pairs).T)).T, atol=1e-12)
    assert rooms("tally('bear', 6, 7)") == ["bear in 6 of 7", "86 % [49, 97]"]
    assert rooms("guessed('all', 8, 8)") == "You guessed it: all."
    assert rooms("guessed('none', 7, 8)") == "You guessed none; it was some."


def test_what_a_word_has_of_attention(rooms):
    """Its places together, the mean over layers, from what the denoiser gives out at each step."""
    draw = np.random.default_rng(0)
    mass, maps, at = draw.random((3, 5, 77)), draw.random((3, 77, 8, 8)), [4, 9]
    spans = [["<start>", 0, 1], ["Bear", 4, 5], ["bears", 5, 6], ["bear", 9, 10]]
    assert rooms("([spans, word]) => places(spans, word)", [spans, "bear"]) == at
    made = rooms("([mass, at]) => shares(mass, 3, at)", [mass.ravel().tolist(), at])
    assert np.allclose(made, mass[..., at].sum(-1).mean(1))
    made = rooms(
        "([maps, at]) => [0, 1, 2].map(i => heat(maps, i, at))", [maps.ravel().tolist(), at]
    )
    assert np.allclose(np.reshape(made, (3, 8, 8)), maps[:, at].sum(1))
    one = np.eye(64)[8 * 7 + 3].tolist()
    assert rooms("cells => most(cells)", one) == "most at the bottom centre"
    assert rooms("cells => most(cells)", [0] * 64) == "nowhere"


def test_weights_of_words_are_kept_in_the_address(rooms):
    text = "Bear:0 <end>:0.5 without:1 nothing :2 ::3 x:-1"
    factors = {"bear": 0, "<end>": 0.5, "without": 1, ":": 3}
    assert rooms("t => weighed(t)", text) == factors
    assert rooms("f => written(f)", factors) == "bear:0 <end>:0.5 ::3"
    assert rooms("f => weighed(written(f))", {"bear": 0.5}) == {"bear": 0.5}
    assert rooms("f => named(f, 'Without a bear.')", {"bear": 0, "car": 2}) == ", bear × 0"
    assert rooms("f => named(f, 'a beach')", {"bear": 0, "<end>": 2}) == ", <end> × 2"


def test_counts_are_saved_as_a_table(rooms):
    rows = [{"kind": 'a "b", c', "prompt": "a bear", "seed": 3, "present": 1}]
    head, line, end = rooms("rows => csv(rows)", rows).split("\n")
    assert line == ',"a ""b"", c",a bear,,,,3,,,,1' and end == ""
    assert head.startswith("model,kind,prompt,") and head.endswith(",probability,present")
