"""Captions: true, unbiased in order, negated at the asked rate, and apart from the evaluation."""

import itertools
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from whitebear.arena.prompts import load_families
from whitebear.errors import UserError
from whitebear.pocket.world.captions import caption, fix_articles, load_train_wordings
from whitebear.pocket.world.obey import load_obeyed
from whitebear.pocket.world.scene import load_world
from whitebear.prompts import fill, load_clauses, load_wordings

WORLD = load_world()
N = 4000


def sample(r: float, n: int = N, things: int | None = None):
    for i in range(n):
        rng = np.random.default_rng([7, i])
        scene = WORLD.sample_scene(rng, things)
        yield scene, *caption(scene, rng, r, WORLD)


def cue(text: str, names: str) -> str:
    """The words of a wording's first clause that names the concept: "a house, but no bear" ->
    "but no _". Other holes end a clause; articles, colours and capitals do not count."""
    text = re.sub(r"{[ob]}", ".", text)
    return next(c for c in clauses(re.sub(rf"{{[{names}]}}", "_", text)) if "_" in c)


def clauses(text: str) -> list[str]:
    parts = re.split(r"[.,:;!?]", text.lower())
    skip = {"a", "an", "the", *WORLD.colours}
    return [" ".join(w for w in re.findall(r"[a-z]+|_", p) if w not in skip) for p in parts]


@pytest.fixture(scope="module")
def seen() -> set[str]:
    """Clauses of training captions, half of them negated, with "_" for every object in turn."""
    found = set()
    calls = {o: rf"\b({o}|{re.escape(WORLD.concept(o).description)})\b" for o in WORLD.objects}
    for _, text, _ in sample(0.5, 20_000):
        for clause in re.split(r"[.,:;!?]", text.lower()):
            for pattern in calls.values():
                if re.search(pattern, clause):
                    found |= set(clauses(re.sub(pattern, "_", clause)))
    return found


def test_held_out_wordings_are_in_no_training_caption(seen):
    table = load_wordings()
    table = table[(table.kind == "object") & (table.condition != "omit")]
    padded = [f" {clause} " for clause in seen]
    for wording in table.itertuples():
        known = any(f" {cue(wording.text, 'cd')} " in clause for clause in padded)
        assert known != wording.heldout, (wording.id, cue(wording.text, "cd"))


def test_held_out_clauses_are_in_no_training_caption(seen):
    table, padded = load_clauses(), [f" {clause} " for clause in seen]
    assert (table.groupby(["verb", "frame"]).heldout.nunique() == 1).all()
    named = (table.request == "name") & (table.subject != "other") & (table.order != "last")
    for clause in table[named].itertuples():
        known = any(f" {cue(clause.text, 'c')} " in said for said in padded)
        assert known != clause.heldout, (clause.id, cue(clause.text, "c"))


def test_held_out_prompts_of_the_arena_are_in_no_training_caption(seen):
    table, padded = load_families(), [f" {clause} " for clause in seen]
    named = table[table.text.str.contains("{[cd]}")]
    assert len(named) > 15
    for wording in named.itertuples():
        known = any(f" {cue(wording.text, 'cd')} " in said for said in padded)
        assert known != wording.heldout, (wording.id, cue(wording.text, "cd"))


def test_half_of_the_wordings_of_every_instruction_are_held_out():
    """Of an odd number, one more or one less."""
    table = load_wordings()
    table = table[(table.kind == "object") & (table.control != "")]
    held = table.groupby("condition").heldout
    assert ((2 * held.sum() - held.size()).abs() <= 1).all()
    assert not load_wordings().set_index("id").heldout["negate-without"]
    assert load_wordings().set_index("id").heldout["forget-paper"]


def test_no_training_caption_is_a_held_out_prompt():
    captions = {text.lower().strip(" .") for r in (0.0, 0.5) for _, text, _ in sample(r)}
    pairs = list(itertools.product(WORLD.objects, WORLD.objects))[:600:7]
    table = pd.concat([load_wordings(), load_clauses()])
    prompts = {
        fill(text, c=c, o=o, b=WORLD.concept(b).noun, d=WORLD.concept(c).description)[0]
        for text in table.text[table.heldout]
        for c, o in pairs
        for b in WORLD.backgrounds
    }
    prompts = {prompt.lower().strip(" .") for prompt in prompts}
    assert len(prompts) > 1000
    assert not captions & prompts


def test_every_evaluation_word_is_known_without_negative_meaning():
    affirmative = " ".join(text.lower() for _, text, _ in sample(0.0))
    known = set(re.findall(r"[a-z]+", affirmative))
    texts = [*load_wordings().text, *load_clauses().text, *load_obeyed()[0].text]
    texts += list(load_families().text)
    words = re.findall(r"[a-z]+", re.sub(r"{.*?}", " ", " ".join(texts).lower()))
    assert not set(words) - known


@pytest.mark.parametrize("r", [0.0, 0.0058, 0.3, 1.0])
def test_share_of_negated_captions_is_r(r):
    share = np.mean([kind == "negate" for *_, kind in sample(r)])
    assert abs(share - r) <= 3 * np.sqrt(r * (1 - r) / N)


def test_negations_are_true_and_affirmations_name_every_object():
    for scene, text, kind in sample(0.5):
        words = set(re.findall(r"[a-z]+", text))
        there = {thing.object for thing in scene.things}
        described = {o for o in WORLD.objects if WORLD.concept(o).description in text}
        named = words & set(WORLD.objects) | described
        assert there <= named
        assert len(named - there) == (1 if kind == "negate" else 0), text


def test_colours_belong_to_their_objects():
    for scene, text, _ in sample(0.5):
        colour_of = {thing.object: thing.colour for thing in scene.things}
        for colour, noun in re.findall(r"(\w+) (\w+)", text):
            if colour in WORLD.colours and noun in WORLD.objects:
                assert colour_of[noun] == colour, text
        for noun, colour in re.findall(r"(\w+) that is (\w+)", text):
            assert colour_of[noun] == colour, text


def test_both_orders_of_a_pair_are_equally_frequent():
    orders = Counter()
    for scene, text, kind in sample(0.0, things=2):
        if kind == "plain" and all(thing.object in text.split() for thing in scene.things):
            left, right = (text.find(thing.object) for thing in scene.things)
            orders[left < right] += 1
    n = sum(orders.values())
    assert abs(orders[True] / n - 0.5) < 3 * 0.5 / np.sqrt(n)


def test_articles():
    assert fix_articles("a owl and A elephant, a car") == "an owl and An elephant, a car"


@pytest.mark.parametrize(
    "row",
    [
        "w,plain,a photo",
        "w,plain,{x} no {m}",
        "w,odd,{x}",
        "w,negate,{x}",
        "w,plain,{x} no {n}",
        "w,plain,{y} {x}",
    ],
)
def test_unusable_training_wordings_are_refused(tmp_path, row):
    path = tmp_path / "train.csv"
    path.write_text(f"id,kind,text\n{row}\n")
    with pytest.raises(UserError, match="train.csv: w "):
        load_train_wordings(path)


def test_a_training_wording_with_a_bare_comma_is_refused(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("id,kind,text\nw,plain,well, here is {x}\n")
    with pytest.raises(UserError, match='train.csv, line 2 has not the columns .* in "quotes"'):
        load_train_wordings(path)


def test_captions_and_prompts_agree_on_articles():
    for noun in ("owl", "unicorn", "one-eyed cat", "umbrella", "bear"):
        assert fix_articles(f"this is a {noun}") == fill("this is a {c}", c=noun)[0]
