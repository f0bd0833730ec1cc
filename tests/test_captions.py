"""Captions: true, unbiased in order, negated at the asked rate, and apart from the evaluation."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest

from whitebear.errors import UserError
from whitebear.pocket.captions import caption, fix_articles, load_train_wordings
from whitebear.pocket.world import load_world
from whitebear.prompts import fill, load_wordings

WORLD = load_world()
N = 4000


def sample(r: float, n: int = N, things: int | None = None):
    for i in range(n):
        rng = np.random.default_rng([7, i])
        scene = WORLD.sample_scene(rng, things)
        yield scene, *caption(scene, rng, r, WORLD)


def skeleton(text: str) -> str:
    """A wording without articles, punctuation and the names of its placeholders."""
    text = re.sub(r"{.*?}", "_", text.lower())
    return " ".join(w for w in re.findall(r"[a-z]+|_", text) if w not in ("a", "an", "the"))


def test_training_and_evaluation_wordings_do_not_overlap():
    train = {skeleton(w.text) for ws in load_train_wordings().values() for w in ws}
    evaluation = {skeleton(text) for text in load_wordings().text}
    assert len(train) > 80 and len(evaluation) >= 18
    assert not train & evaluation


def test_no_training_caption_is_an_evaluation_prompt():
    captions = {text.lower().strip(" .") for r in (0.0, 0.5) for _, text, _ in sample(r)}
    pairs = list(itertools.product(WORLD.objects, WORLD.objects))[:600:7]
    prompts = {
        fill(text, c=c, o=o, b=WORLD.concept(b).noun)[0].lower().strip(" .")
        for text in load_wordings().text
        for c, o in pairs
        for b in WORLD.backgrounds
    }
    assert len(prompts) > 1000
    assert not captions & prompts


def test_every_evaluation_word_is_known_without_negative_meaning():
    affirmative = " ".join(text.lower() for _, text, _ in sample(0.0))
    known = set(re.findall(r"[a-z]+", affirmative))
    words = re.findall(r"[a-z]+", re.sub(r"{.*?}", " ", " ".join(load_wordings().text).lower()))
    assert not set(words) - known


@pytest.mark.parametrize("r", [0.0, 0.0058, 0.3, 1.0])
def test_share_of_negated_captions_is_r(r):
    share = np.mean([kind == "negate" for *_, kind in sample(r)])
    assert abs(share - r) <= 3 * np.sqrt(r * (1 - r) / N)


def test_negations_are_true_and_affirmations_name_every_object():
    for scene, text, kind in sample(0.5):
        words = set(re.findall(r"[a-z]+", text))
        there = {thing.object for thing in scene.things}
        named = words & set(WORLD.objects)
        assert there <= named
        assert len(named - there) == (1 if kind == "negate" else 0), text


def test_colours_belong_to_their_objects():
    for scene, text, _ in sample(0.5):
        colour_of = {thing.object: thing.colour for thing in scene.things}
        for colour, noun in re.findall(r"(\w+) (\w+)", text):
            if colour in WORLD.colours and noun in WORLD.objects:
                assert colour_of[noun] == colour, text


def test_both_orders_of_a_pair_are_equally_frequent():
    orders = Counter()
    for scene, text, kind in sample(0.0, things=2):
        if kind == "plain":
            left, right = (text.find(thing.object) for thing in scene.things)
            orders[left < right] += 1
    n = sum(orders.values())
    assert abs(orders[True] / n - 0.5) < 3 * 0.5 / np.sqrt(n)


def test_articles():
    assert fix_articles("a owl and A elephant, a car") == "an owl and An elephant, a car"


@pytest.mark.parametrize(
    "row", ["w,plain,a photo", "w,odd,{x}", "w,negate,{x}", "w,plain,{x} no {n}", "w,plain,{y} {x}"]
)
def test_unusable_training_wordings_are_refused(tmp_path, row):
    path = tmp_path / "train.csv"
    path.write_text(f"id,kind,text\n{row}\n")
    with pytest.raises(UserError, match="train.csv: w "):
        load_train_wordings(path)
