"""The prompt grid: every row can be traced, controls come along, and nonsense is refused early."""

import re

import pandas as pd
import pytest
from transformers import CLIPTokenizer

from whitebear.errors import UserError
from whitebear.files import MODELS
from whitebear.prompts import (
    about_objects,
    caption_of,
    check_concepts,
    check_seeds,
    fill,
    load_wordings,
    partner,
    prompt_grid,
    web_concepts,
)
from whitebear.prompts.wordings import COLUMNS


def wordings_file(folder, *rows):
    path = folder / "wordings.csv"
    pd.DataFrame(rows, columns=COLUMNS).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (("affirm", "object", "0", "0", "a picture", ""), "never names the concept"),
        (("omit", "object", "0", "0", "a picture of a {c}", ""), "omit must leave {c} and {d} out"),
        (("omit", "object", "0", "0", "a picture of {d}", ""), "omit must leave {c} and {d} out"),
        (("affirm", "object", "0", "0", "a {c} at {place}", ""), "placeholder {place}"),
        (("affirm", "object", "0", "0", "a {c} at {}", ""), "placeholder {}"),
        (("affirm", "object", "0", "0", "a {c", ""), "unbalanced braces"),
        (("affirm", "object", "0", "1", "a {c}", ""), "pair is 1 exactly where"),
        (("affirm", "object", "0", "yes", "a {c} and a {o}", ""), "pair is 1 exactly where"),
        (("affirm", "animal", "0", "0", "a {c}", ""), "kind 'animal'; use object, colour, style"),
        (("affirm", "", "0", "0", "a {c}", ""), "kind ''; use object, colour, style"),
        (("affirm", "object", "no", "0", "a {c}", ""), "heldout='no'; use 1 or 0"),
        (("negate", "object", "0", "0", "no {c}", "affrm"), "unknown control affrm; valid: w"),
    ],
)
def test_bad_wordings_are_refused(tmp_path, row, line):
    with pytest.raises(UserError, match=re.escape(line)):
        load_wordings(wordings_file(tmp_path, ("w", *row)))


def test_bad_wording_files_are_refused(tmp_path):
    row = ("w", "affirm", "object", "0", "0", "a {c}", "")
    with pytest.raises(UserError, match="id w twice"):
        load_wordings(wordings_file(tmp_path, row, row))
    with pytest.raises(UserError, match="cannot be read"):
        load_wordings(tmp_path / "nothing.csv")
    (tmp_path / "odd.csv").write_text("id,text\na,b\n")
    with pytest.raises(UserError, match="expected id,condition,kind,heldout,pair"):
        load_wordings(tmp_path / "odd.csv")
    other = ("v", "negate", "colour", "0", "0", "not {c}", "w")
    with pytest.raises(UserError, match="v is for colour, but not its control w"):
        load_wordings(wordings_file(tmp_path, row, other))


def test_shipped_wordings_have_order_matched_controls():
    table = load_wordings().set_index("id")
    instructions = [
        "negate", "forget_then_request", "forget_only", "reinforced", "implicit", "role",
    ]  # fmt: skip
    instructed = table[table.condition.isin(instructions)]
    assert set(instructions) <= set(instructed.condition)
    assert (instructed.control != "").all()
    holes = table.text.map(lambda text: re.findall(r"{(\w)}", text))
    for wording in instructed.itertuples():
        assert holes[wording.Index] == holes[wording.control]
    assert (table[table.kind == "object"].groupby("condition").size() >= 3).all()


def test_controls_have_the_length_of_their_instructions():
    tokenizer = CLIPTokenizer.from_pretrained(MODELS / "pocket" / "tokenizer")
    table = load_wordings().set_index("id")
    values = {"c": "bear", "o": "owl", "b": "a beach", "d": "a big animal"}
    length = {row.Index: len(tokenizer(fill(row.text, **values)[0]).input_ids)
              for row in table.itertuples()}  # fmt: skip
    for row in table[table.control != ""].itertuples():
        assert abs(length[row.Index] - length[row.control]) <= 1, row.Index
    assert max(length.values()) < tokenizer.model_max_length


def test_articles_and_spans():
    texts = [fill("a {c}", c=noun)[0] for noun in ("owl", "bear", "unicorn")]
    assert texts == ["an owl", "a bear", "a unicorn"]
    prompt, spans = fill("A {c}, a {o} and the {c} on {b}", c="owl", o="umbrella", b="a beach")
    assert prompt == "An owl, an umbrella and the owl on a beach"
    assert [prompt[start:end] for start, end in spans] == ["owl", "owl"]
    assert fill("a {c} and a {o}", c="Pikachu", o="owl")[0] == "Pikachu and an owl"
    assert fill("a {c} {o}", c="orange", o="cup")[0] == "an orange cup"
    assert fill("no {d}", d="a sea animal") == ("no a sea animal", [[3, 15]])


def test_each_kind_of_concept_has_wordings_of_its_own(world):
    grid = prompt_grid(["bear", "red", "pencil"], ["affirm", "negate"], 1, world=world)
    texts = {c: list(rows.prompt) for c, rows in grid.groupby("concept")}
    assert any(re.fullmatch(r"a picture of a red \w+", text) for text in texts["red"])
    assert any(text.endswith(", not in pencil style") for text in texts["pencil"])
    assert dict(zip(grid.concept, grid.kind, strict=True)) == {
        "bear": "object", "red": "colour", "pencil": "style",
    }  # fmt: skip
    with pytest.raises(UserError, match="no wording of role is for a colour; valid: omit, affirm"):
        prompt_grid(["red"], ["role"], 1, world=world)


def test_concepts_for_web_models(world):
    concepts = web_concepts()
    assert len(concepts) >= 20
    assert {"pink elephant", "white bear", "Van Gogh", "Pikachu", "tench"} <= set(concepts.name)
    grid = prompt_grid([], ["affirm", "implicit"], 1, world=world, free=True)
    assert set(grid.concept) == set(concepts.name)
    assert "a picture of Pikachu" in set(grid.prompt)
    with pytest.raises(UserError, match="garden gnome has no description; leave out"):
        prompt_grid(["garden gnome"], ["implicit"], 1, world=world, free=True)
    captions = [caption_of(c) for c in ("owl", "red", "Van Gogh", "garden gnome")]
    assert captions == [
        "a picture of an owl", "a picture of something red", "a picture in Van Gogh style",
        "a picture of a garden gnome",
    ]  # fmt: skip


def test_described_concepts_are_never_named(world):
    grid = prompt_grid([], ["implicit"], 1, world=world)
    for row in grid.itertuples():
        assert row.concept not in re.findall(r"[a-z]+", row.prompt.lower())
        assert {row.prompt[start:end] for start, end in row.spans} == {
            world.concept(row.concept).description
        }


def test_grid_brings_controls_and_pairs_them(world):
    grid = prompt_grid(["bear", "owl"], ["negate"], 3, world=world)
    assert set(grid.condition) == {"negate", "affirm"}
    keys = ["concept", "wording", "seed"]
    assert not grid.duplicated(keys).any()
    by_key = grid.set_index(keys)
    for row in grid[grid.condition == "negate"].itertuples():
        control = by_key.loc[(row.concept, row.control, row.seed)]
        assert (control.other, control.background) == (row.other, row.background)
        assert control.condition == "affirm"
    for row in grid.itertuples():
        assert all(row.prompt[start:end] == row.concept for start, end in row.spans)
        assert (row.other != "") == row.pair
        assert row.other != row.concept
        assert "{" not in row.prompt
        assert not re.search(r"\ba [aeiou]", row.prompt)


def test_grid_is_reproducible_and_omit_leaves_the_concept_out(world):
    grid = prompt_grid([], ["omit"], [7, 3], world=world)
    assert grid.equals(prompt_grid([], ["omit"], [7, 3], world=world))
    assert len(grid) == len(world.objects) * 4 * 2
    for row in grid.itertuples():
        assert not row.spans
        assert row.concept not in row.prompt.split()


def test_partners_are_balanced(world):
    partners = [partner("bear", seed, world) for seed in range(23 * 8)]
    others, places = (pd.Series(column).value_counts() for column in zip(*partners, strict=True))
    assert set(others.index) == set(world.objects) - {"bear"}
    assert set(places.index) == set(world.backgrounds)
    assert others.nunique() == places.nunique() == 1
    assert len(set(partners)) == 23 * 8


@pytest.mark.parametrize(
    "name",
    ["", " bear", "bear ", "it's", 'the "bear"', "a/b", "..", "a\\b", "<script>", "a\nb", "a\tb",
     "a\x00b", "b" * 61, "{c}", "a  b", "-bear"],
)  # fmt: skip
def test_unusable_concept_names_are_refused(world, name):
    for free in (False, True):
        with pytest.raises(UserError, match="cannot be used") as error:
            check_concepts([name], world, free)
        assert "\n" not in str(error.value)


def test_concepts_are_checked(world):
    with pytest.raises(UserError, match="unknown concept 'baer'; did you mean bear"):
        check_concepts(["baer"], world)
    with pytest.raises(UserError, match="unknown concept 'zzz'; valid: bear, cat"):
        check_concepts(["zzz"], world)
    with pytest.raises(UserError, match="give a list of names"):
        check_concepts("bear", world)
    with pytest.raises(UserError, match="give a list of names"):
        check_concepts([3], world)
    with pytest.raises(UserError, match="twice"):
        check_concepts(["bear", "bear"], world)
    free = ["garbage truck", "R2-D2", "Müller"]
    assert check_concepts(free, world, free=True) == free
    assert check_concepts([], world) == list(world.objects)


@pytest.mark.parametrize("seeds", [0, -1, True, 2.0, "3", [], [-1], [1, 1], [0.5], None])
def test_bad_seeds_are_refused(seeds):
    with pytest.raises(UserError, match="give a whole number of seeds"):
        check_seeds(seeds)


def test_bad_conditions_are_refused(world):
    with pytest.raises(UserError, match="unknown condition 'negated'; did you mean negate"):
        prompt_grid(["bear"], ["negated"], 1, world=world)
    for conditions in ([], "negate"):
        with pytest.raises(UserError, match="give a list such as"):
            prompt_grid(["bear"], conditions, 1, world=world)


def test_a_chapter_about_objects_says_when_there_are_too_few(world):
    table = prompt_grid(["white", "bear", "pencil"], ["affirm"], 1, world=world)
    assert set(about_objects(table).concept) == {"bear"}
    with pytest.raises(UserError, match="give at least 2 objects"):
        about_objects(table, least=2)
