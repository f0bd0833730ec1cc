"""What is done by words alone: the name left out, and the instruction put before the prompt."""

import numpy as np
import pandas as pd
import pytest

from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.interventions import instruct, swap_states, words
from whitebear.interventions.words import rewritten
from whitebear.prompts import load_wordings, prompt_grid


@pytest.fixture(scope="module")
def artist():
    return Artist("pocket", 1, 4.0, "cpu")


def grid(texts, concept="owl", **more):
    """A row for each text, seed 0."""
    lines = [
        {"id": f"w{i}", "condition": "affirm" if "{c}" in text or "{d}" in text else "omit",
         "kind": "object", "heldout": False, "pair": "{o}" in text, "text": text, "control": ""}
        for i, text in enumerate(texts)
    ]  # fmt: skip
    table = pd.DataFrame(lines)
    return prompt_grid([concept], list(table.condition.unique()), 1, table, **more)


@pytest.mark.parametrize(
    ("text", "thing", "description"),
    [
        ("a picture of a {c}", "a picture of a thing", "a picture of a night bird with huge eyes"),
        ("A {c} sits", "A thing sits", "A night bird with huge eyes sits"),
        ("Forget the {c}. Draw a {c}.", "Forget the thing. Draw a thing.",
         "Forget the night bird with huge eyes. Draw a night bird with huge eyes."),
        ("no {c}", "no thing", "no night bird with huge eyes"),
        ("a picture of {d}", "a picture of a thing", "a picture of a night bird with huge eyes"),
        ("a picture of a beach", "a picture of a beach", "a picture of a beach"),
    ],
)  # fmt: skip
def test_the_name_is_said_in_other_words(artist, text, thing, description):
    rows = grid([text])
    assert rewritten(artist, rows, "thing") == [thing]
    assert rewritten(artist, rows, "description") == [description]


def test_a_proper_name_leaves_its_place_with_an_article(artist):
    rows = grid(["a picture of a {c}"], "Totoro", free=True)
    assert rows.prompt[0] == "a picture of Totoro"
    assert rewritten(artist, rows, "thing") == ["a picture of a thing"]
    with pytest.raises(UserError, match='Totoro has no description; use by="thing" or by="omit"'):
        rewritten(artist, rows, "description")


def test_what_is_left_out_is_a_prompt_for_the_same_seed(artist):
    rows = grid(["a picture of a {c}", "a {o} and a {c}", "a picture of {b}"])
    place, pair, silent = rewritten(artist, rows, "omit")
    omitted = prompt_grid(["owl"], ["omit"], 1)
    assert place == silent == omitted.prompt[0]
    assert pair == omitted.prompt[omitted.pair].iloc[0]


def test_a_colour_can_only_be_left_out(artist):
    rows = prompt_grid(["red"], ["affirm"], 1)
    with pytest.raises(UserError, match='red is a colour, which has no other words; use by="omit"'):
        words(artist, rows).__enter__()
    assert not any("red" in prompt for prompt in rewritten(artist, rows, "omit"))
    with pytest.raises(UserError, match="by is 'thnig'; did you mean thing?"):
        rewritten(artist, rows, "thnig")


@pytest.mark.parametrize("by", ["thing", "description", "omit"])
def test_the_other_words_are_drawn_in_the_noise_of_the_row(artist, by):
    rows = grid(["a picture of a {c}", "a {c}"])
    wanted = artist.draw(rows.assign(prompt=rewritten(artist, rows, by)), progress=False)
    with words(artist, rows, by=by):
        parts = list(artist.batches(rows, progress=False))
    assert np.array_equal(np.concatenate([images for _, images in parts]), wanted)
    assert list(parts[0][0].prompt) == list(rows.prompt)  # the rows are still those that were given
    assert artist.prompts is None


def test_the_instruction_stands_before_the_prompt(artist):
    rows = grid(["a picture of a {c}"])
    said = "Please forget anything about an owl. a picture of an owl"
    with instruct(artist, rows):
        assert artist.prompts == [said]
        images = artist.draw(rows, progress=False)
    assert np.array_equal(images, artist.draw(rows.assign(prompt=said), progress=False))
    with instruct(artist, rows, text="Please remember anything about a {c}."):
        assert artist.prompts == ["Please remember anything about an owl. a picture of an owl"]
    for concept, line in (("red", "anything red."), ("pencil", "anything in pencil style.")):
        some = prompt_grid([concept], ["affirm"], 1)[:1]
        with instruct(artist, some):
            assert artist.prompts[0] == f"Please forget {line} {some.prompt[0]}"


def test_other_rows_than_those_that_were_given_are_refused(artist):
    rows = grid(["a picture of a {c}", "a {c}"])
    with pytest.raises(UserError, match="2 prompts but 1 rows; draw the rows"), words(artist, rows):
        artist.draw(rows[:1], progress=False)
    assert artist.prompts is None


@pytest.mark.parametrize("method", [words, swap_states])
def test_what_is_cached_follows_from_the_lists_of_wordings(method, monkeypatch):
    """The sentence that leaves the concept out is one of them."""
    before = method.state()
    assert before == method.state()
    other = load_wordings().assign(text=lambda table: table.text.str.replace("beach", "shore"))
    other.loc[other.condition == "omit", "text"] += "!"
    monkeypatch.setattr("whitebear.interventions._silent.load_wordings", lambda: other)
    assert method.state() != before
