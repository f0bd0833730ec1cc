"""The explorer without a person: what is drawn, and a panel whose buttons a test presses."""

import threading

import numpy as np
import pytest

from families import build
from whitebear.book.explorer import (
    drawing as explorer,
    panel as explorer_panel,
    view as explorer_view,
)
from whitebear.book.explorer.drawing import YOURS, comparisons, draw, prompt_of, words_of
from whitebear.book.explorer.panel import Explorer
from whitebear.draw.artist import Artist
from whitebear.errors import UserError

STEPS, GUIDANCE = 3, 4.0
PROMPT = "a red house without a bear"


@pytest.fixture(scope="module")
def artist(tiny_pipeline_dir):
    return Artist(str(tiny_pipeline_dir), STEPS, GUIDANCE)


def drawn(artist, prompt=PROMPT, **options):
    return draw(artist, "bear", prompt, **options)


@pytest.fixture(scope="module")
def plain(artist):
    return drawn(artist)


@pytest.fixture(scope="module")
def without(artist):
    return drawn(artist, weights={"bear": 0.0})


def hooks_of(pipe) -> int:
    parts = [m for part in (pipe.unet, pipe.text_encoder) for m in part.modules()]
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in parts)


# --- drawing -------------------------------------------------------------------------------------


def test_a_picture_comes_with_its_comparisons_and_everything_seen_on_the_way(artist, plain):
    assert list(plain.pictures) == list(plain.scores.index) == [YOURS, "affirm", "omit"]
    assert {p.shape for p in plain.pictures.values()} == {(64, 64, 3)}
    assert plain.mass.shape == (STEPS, 5) and plain.mass.columns.tolist() == words_of(PROMPT)
    assert plain.maps.shape == (STEPS, 5, explorer.GRID, explorer.GRID)
    assert plain.states.shape == (STEPS, 64, 64, 3) and plain.states.dtype == np.uint8
    np.testing.assert_allclose(plain.maps.mean((2, 3)), plain.mass, atol=2e-3)
    assert plain.word == "bear" and not hooks_of(artist.pipe)


def test_watching_a_picture_does_not_change_it(artist, plain):
    again = drawn(artist, plain.prompts["affirm"])
    difference = again.pictures[YOURS].astype(int) - plain.pictures["affirm"]
    assert np.abs(difference).max() <= 1  # another batch rounds otherwise


def test_a_word_of_weight_0_gets_nothing_and_the_picture_changes(plain, without):
    assert without.mass["bear"].max() < 1e-6 < plain.mass["bear"].min()
    assert (without.pictures[YOURS] != plain.pictures[YOURS]).any()
    as_it_was = without.pictures["unweighted"].astype(int) - plain.pictures[YOURS]
    assert np.abs(as_it_was).max() <= 1
    assert (without.pictures["omit"].astype(int) - plain.pictures["omit"]).max() <= 1


def test_comparisons_are_the_control_or_the_plainest_wording_of_the_same_kind():
    assert comparisons("bear", 0, "negate-without") == {
        "affirm": "a picture of a beach with a bear", "omit": "a picture of a beach",
    }  # fmt: skip
    assert comparisons("bear", 0, "negate-pair-without")["omit"] == "a picture of a cat"
    assert comparisons("bear", 0)["affirm"] == "a picture of a bear"
    assert (
        "white" in comparisons("white", 0)["affirm"]
        and "white" not in comparisons("white", 0)["omit"]
    )


def test_a_wording_that_does_not_belong_is_refused():
    assert prompt_of("owl", "negate", "negate-without", 0).endswith("without an owl")
    with pytest.raises(UserError, match="unknown wording 'forget-paper' here; "):
        prompt_of("bear", "negate", "forget-paper", 0)
    with pytest.raises(UserError, match="unknown wording 'negate-withot' here; did you mean"):
        comparisons("bear", 0, "negate-withot")


def test_words_come_once_in_lower_case():
    assert words_of("Don't draw a bear. Draw a white-bear!") == [
        "don't", "draw", "a", "bear", "white",
    ]  # fmt: skip
    assert words_of(" ... ") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": " . "}, "has no words"),
        ({"prompt": "bear " * 300}, "tokens, but the text encoder reads"),
        ({"seed": -1}, "seeds is"),
        ({"weights": {"owl": 0.0}}, "'owl' is not in the prompt"),
        ({"weights": {"bear": -1.0}}, "the weight of 'bear'"),
        ({"concept": "b" * 99}, "cannot be used"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(artist, change, said):
    settings = {"concept": "bear", "prompt": PROMPT} | change
    with pytest.raises(UserError, match=said) as error:
        draw(artist, **settings)
    assert "\n" not in str(error.value) and not hooks_of(artist.pipe)


def test_an_interrupted_drawing_leaves_no_hook_behind(artist, plain):
    calls = []

    def tell(total):
        calls.append(total)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drawn(artist, weights={"bear": 0.0}, on_call=tell)
    assert calls == [2 * STEPS] * 2 and not hooks_of(artist.pipe)
    assert (drawn(artist).pictures[YOURS] == plain.pictures[YOURS]).all()


def test_large_latents_are_not_decoded_step_by_step(artist, monkeypatch):
    monkeypatch.setattr(explorer, "LATENT", {"cpu": 4})
    drawing = drawn(artist)
    assert drawing.states is None
    assert len(explorer_view.frames(drawing, "bear")) == STEPS


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
def test_every_family_can_be_explored(artist, family):
    other = artist.using(build(family))
    drawing = drawn(other, "a bear", weights={"bear": 0.5})
    assert len(drawing.pictures) == 4 and drawing.mass.shape == (STEPS, 2)
    assert len(explorer_view.frames(drawing, "bear")) == STEPS


def test_the_answer_says_what_was_found(plain, without):
    said = explorer.answer(plain, without)
    assert PROMPT in said and "“bear” taken out" in said and said.count("found") == 2


# --- showing -------------------------------------------------------------------------------------


def test_a_frame_a_step_and_each_differs(plain):
    frames = explorer_view.frames(plain, "bear")
    assert len(frames) == STEPS and len({f.tobytes() for f in frames}) == STEPS


def test_a_large_picture_travels_smaller():
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    assert len(explorer_view.png_url(noise)) < noise.size / 2


def test_a_prompt_is_text_and_never_markup(artist):
    shown = explorer_view.gallery(drawn(artist, "a bear <script>alert(1)</script> 'x' \"y\""))
    assert "<script" not in shown and "&lt;script&gt;" in shown and "&quot;y&quot;" in shown
    assert shown.count("<img") == 3 == shown.count("alt=")


def test_the_player_needs_no_python(plain):
    box = explorer_view.player(plain)
    step, stack = box.children
    assert step.max == STEPS - 1 and len(stack.children) == STEPS and stack.selected_index == 0
    assert all("<img" in child.value and "alt=" in child.value for child in stack.children)


def test_another_word_replaces_the_frames_in_place(plain):
    player = explorer_view.Player()
    player.show(plain, "bear")
    player.step.value = 2
    first = [child.value for child in player.stack.children]
    children = player.stack.children
    player.show(plain, "red")
    assert player.stack.children == children and player.stack.selected_index == 2
    assert not set(first) & {child.value for child in children}


# --- the panel -----------------------------------------------------------------------------------


@pytest.fixture
def panel(artist):
    made = Explorer(artist.model, "bear", artist)
    made.steps.value = STEPS
    return made


def test_choices_fill_the_prompt_and_its_words(panel):
    assert panel.prompt.value.startswith("Please forget anything about a bear.")
    panel.condition.value = "negate"
    panel.wording.value = "negate-pair-no"
    panel.concept.value = "owl"
    assert "no owl" in panel.prompt.value and panel.wording.value == "negate-pair-no"
    assert list(panel.words) == words_of(panel.prompt.value)
    panel.words["owl"].value = True
    panel.prompt.value = "an owl"
    assert list(panel.words) == ["an", "owl"] and panel.words["owl"].value


def test_draw_look_tick_and_draw_again(panel):
    panel.draw_button.click()
    first = panel.wait(60)
    assert "done" in panel.status.value and panel.progress.value == panel.progress.max
    assert first.prompts[YOURS] == panel.prompt.value and panel.word.value == "bear"
    assert not panel.draw_button.disabled and panel.stop_button.disabled
    panel.words["forget"].value, panel.weight.value = True, 2.0
    panel.draw()
    second = panel.wait(60)
    assert second.weights == {"forget": 2.0} and "unweighted" in second.pictures
    before = panel.player.stack.children[0].value
    panel.word.value = "forget"
    assert panel.player.stack.children[0].value != before


def test_a_prompt_of_ones_own_is_drawn_beside_the_plain_comparisons(panel):
    panel.prompt.value = "a bear, please"
    panel.draw()
    prompts = panel.wait(60).prompts
    assert prompts[YOURS] == "a bear, please" and prompts["affirm"] == "a picture of a bear"


@pytest.mark.parametrize(
    ("control", "value", "said"),
    [
        ("model", "<b>pocke</b>", "&lt;b&gt;pocke"),
        ("concept", "a<i>bear", "cannot be used"),
        ("seed", -3, "seeds is [-3]"),
        ("condition", "describe", None),
    ],
)
def test_a_wrong_choice_is_one_line_and_no_markup(panel, control, value, said):
    getattr(panel, control).value = value
    if said is not None:
        assert said in panel.status.value
    assert panel.status.value.count("<") == 2 and "\n" not in panel.status.value


@pytest.mark.parametrize(
    ("control", "value", "said"),
    [
        ("guidance", -1.0, "guidance is -1.0"),
        ("steps", 0, "steps is 0"),
        ("prompt", "", "no words"),
    ],
)
def test_a_wrong_drawing_is_one_line_and_the_panel_goes_on(panel, control, value, said):
    kept = getattr(panel, control).value
    getattr(panel, control).value = value
    panel.draw()
    assert panel.wait(60) is None and said in panel.status.value
    getattr(panel, control).value = kept
    panel.draw()
    assert panel.wait(60) is not None


def test_stop_ends_a_drawing_before_its_next_step_and_keeps_the_last(panel, artist, monkeypatch):
    panel.draw()
    last = panel.wait(60)
    reached, real = threading.Event(), panel._tick

    def tick(total):
        if panel.progress.value == 2:
            reached.set()
            assert panel._stop.wait(60)
        real(total)

    monkeypatch.setattr(panel, "_tick", tick)
    panel.draw()
    assert reached.wait(60) and not panel.stop_button.disabled
    panel.draw()  # one at a time
    assert "still drawing" in panel.status.value
    panel.stop_button.click()
    assert panel.wait(60) is last and "stopped" in panel.status.value
    assert panel.progress.value == 2 and not hooks_of(artist.pipe)
    monkeypatch.undo()
    panel.draw()
    assert panel.wait(60) is not last and "done" in panel.status.value


def test_anything_else_that_goes_wrong_is_one_line_too(panel, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("out of <memory>\nand a long trace")

    monkeypatch.setattr(explorer_panel, "draw", broken)
    panel.draw()
    assert panel.wait(60) is None
    assert "RuntimeError: out of &lt;memory&gt;</span>" in panel.status.value
    assert not panel.draw_button.disabled
