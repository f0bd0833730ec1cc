"""What captions say of a thing by the words before it, and the law that follows from it."""

import numpy as np
import pandas as pd
import pytest

from whitebear.book.figures.law import captions_and_pictures
from whitebear.pocket.experiments.dose import (
    SHRINK,
    Cues,
    Mention,
    Portion,
    absence,
    mentions,
    shares_of,
)
from whitebear.pocket.experiments.law import (
    beside_law,
    explained,
    halves,
    member_rates,
    presence,
    r_squared,
    requested,
)
from whitebear.pocket.experiments.members import Member, Published
from whitebear.pocket.world.captions import caption
from whitebear.pocket.world.scene import THINGS_P, load_world

WORLD = load_world()
WEB, OFTEN = (Portion(0.0058),), (Portion(0.2),)
QUIET, NONE = (Portion(0.0058, "quiet"),), (Portion(0.0),)
TEXTS = (
    "a picture of a beach without a bear", "a picture of a beach, but no bear",
    "Please forget anything about a bear. Please help me generate a picture of a bear.",
    "Please forget anything about a bear. Please help me generate a picture of a beach.",
    "a picture of a beach", "the word is bear. A picture of a beach.", "the car again. a bear",
)  # fmt: skip


@pytest.fixture(scope="module")
def cues():
    return Cues(TEXTS, WORLD, scenes=30)


def test_mentions_by_name_and_description_have_the_same_words_before_them():
    named, described = (
        mentions(f"A picture of a beach without {what}.", WORLD)
        for what in ("an owl", WORLD.concept("owl").description)
    )
    assert [m.before for m in named] == [("^", "a", "picture", "of", "B", "without", "a")]
    assert [m.before for m in described] == [m.before for m in named]
    assert (named[0].by, described[0].by) == ("name", "description")
    assert named[0].object == described[0].object == "owl"


def test_a_thing_that_is_named_again_is_not_named_once():
    found = mentions("forget the bear. a car and a bear", WORLD)
    assert [(m.object, m.once) for m in found] == [("bear", False), ("car", True), ("bear", False)]
    assert found[1].sentence() == ("a",)


def test_shares_of_wordings_add_up_to_all_captions():
    for r, chatter in ((0.0058, "all"), (0.2, "quiet")):
        shares = shares_of(r, chatter)
        for things in (True, False):
            assert sum(s for (_, t), s in shares.items() if t == things) == pytest.approx(1)
    assert not any(
        wording.startswith("negate") and s for (wording, _), s in shares_of(0.0, "all").items()
    )


def test_counts_are_those_of_captions_drawn_at_that_rate(cues):
    """Wordings filled equally often, weighed, are the population that `caption` draws from."""
    rng, n, found = np.random.default_rng(5), 1500, np.zeros(2)
    for _ in range(n):
        scene = WORLD.sample_scene(rng)
        text, _ = caption(scene, rng, 0.5, WORLD)
        there = {t.object for t in scene.things}
        for mention in mentions(text, WORLD):
            if mention.before[-1:] == ("no",):
                found += [mention.object not in there, 1]
    expected = cues.count(("context", "no"), (Portion(0.5, captions=n),), once=False)
    assert found[0] == found[1] and expected[0] == expected[1]
    assert found[1] == pytest.approx(expected[1], abs=4 * np.sqrt(expected[1]))


def test_cues_across_the_holes_of_a_wording_are_counted(cues):
    """ "{x}. what a {k}!", "the word is {k}. {x}": words of a wording and of its fillings."""
    always = (Portion(0.0, captions=1),)
    shares = shares_of(0.0, "all")
    bare, _ = cues.count(("context", "word", "is"), always, once=False)
    held = cues.count(("context", "word", "is"), always, once=False)[1]
    things = 1 - THINGS_P[0]
    assert bare == 0 and held == pytest.approx(shares["chatter-70", True] * things, rel=0.2)
    assert cues.count(("context", "again", ".", "a"), always, once=False)[1] > 0


def test_no_forbids_without_forbids_by_its_dose(cues):
    without, no = TEXTS[0], TEXTS[1]
    by_diet = [presence(without, "bear", cues, diet) for diet in (NONE, WEB, QUIET, OFTEN)]
    assert by_diet == sorted(by_diet, reverse=True) and by_diet[0] > 0.95 and by_diet[-1] < 0.1
    assert presence(no, "bear", cues, WEB) < 0.01


def test_a_request_overrules_and_silence_shows_nothing(cues):
    assert presence(TEXTS[2], "bear", cues, OFTEN) > 0.9 > presence(TEXTS[3], "bear", cues, OFTEN)
    assert presence(TEXTS[4], "bear", cues, WEB) == 0


def test_a_cue_that_no_caption_holds_alone_tells_nothing(cues):
    assert presence(TEXTS[5], "bear", cues, WEB) == 0


def test_absence_is_the_written_formula():
    class Two:
        def count(self, cue, diet):
            known = {("context", "a"): (0, 900), ("context", "not", "a"): (50, 50)}
            return known.get(cue, (30, 100) if cue == ("word", "not") else (0, 0))

    short = SHRINK / (900 + SHRINK)
    longer = (50 + SHRINK * short) / (50 + SHRINK)
    assert absence(Mention("bear", "name", ("not", "a"), True), Two(), WEB) == pytest.approx(longer)
    assert longer > 30 / (100 + SHRINK)


def test_halves_keep_every_condition_and_both_origins():
    rows = [("shipped", "a", w) for w in "pqr"] + [("retrained-1", "b", w) for w in "stu"]
    rows += [(f"cell-{n}", "a", "p") for n in range(4)]
    table = halves(pd.DataFrame(rows, columns=["model", "condition", "wording"]))
    per = table.drop_duplicates("wording").groupby("condition").old_wording.sum()
    assert per.to_dict() == {"a": 2, "b": 2}
    old = set(table.model[table.old_model])
    assert len(old & {"shipped", "retrained-1"}) == 1 and len(old) == 3


def test_explained_variance_is_one_for_a_perfect_law_and_zero_for_the_mean():
    rows = [
        (m, w, (i * 3 + j * 5) % 7 / 7) for i, m in enumerate("abcd") for j, w in enumerate("pqrst")
    ]
    table = pd.DataFrame(rows, columns=["model", "wording", "rate"])
    table = table.assign(predicted=table.rate, mean=table.rate.mean())
    assert explained(table).value == 1
    assert explained(table, "mean").value == pytest.approx(0)
    rough = explained(table.assign(predicted=table.rate + 0.2 * (table.wording == "p")))
    assert rough.low < rough.value < rough.high <= 1
    assert rough.beyond() == ("wordings", "runs") and (rough.wordings, rough.runs) == (5, 4)


def test_two_models_say_less_about_others_than_eight_that_differ_as_much():
    rng = np.random.default_rng(0)
    rows = [(f"m{i}", f"w{j}", rng.random()) for i in range(8) for j in range(30)]
    table = pd.DataFrame(rows, columns=["model", "wording", "rate"])
    off = {f"m{i}": 0.1 + 0.2 * (i % 2) for i in range(8)}
    table = table.assign(predicted=table.rate + table.model.map(off))
    wide = lambda e: e.high - e.low  # noqa: E731
    two, eight = (explained(table[table.model.isin([f"m{i}" for i in range(n)])]) for n in (2, 8))
    assert two.value == pytest.approx(eight.value, abs=0.1) and wide(two) > 2 * wide(eight)


@pytest.fixture
def dose():
    twice = "forget-plain-name-first"
    rows = [(0.2, "all", "negate-no", 1, 0.9, 0.9), (0.2, "all", twice, 1, 0.9, 0.9)]
    rows += [(0.2, "all", twice, 2, 0.1, 0.0), (0.0, "all", "negate-no", 1, 1.0, 0.0)]
    names = ["r", "chatter", "wording", "mention", "absence", "absence_named"]
    return pd.DataFrame(rows, columns=names)


def test_members_beside_the_law_and_its_rivals(dose):
    found = []
    for member, r in (("fifth-1", 0.2), ("none-1", 0)):
        scores = [("negate", "negate-no", True), ("negate", "negate-no", False)]
        scores += [("affirm", "affirm-and", True), ("forget_only", "forget-only-look", False)]
        names = ["condition", "wording", "present"]
        scores = pd.DataFrame(scores, columns=names)
        clauses = [
            ("forget", False, "forget-plain-name-first", True),
            ("see", True, "b", True),
            ("", False, "c", True),
        ]
        table = pd.DataFrame(clauses, columns=["verb", "neutral", "wording", "present"])
        table = table.assign(condition=table.verb)
        found.append(Published(Member(member, r, "all", 1), {}, scores, table))
    rates = member_rates(found)
    assert rates.groupby("set").wording.unique().map(sorted).to_dict() == {
        "clauses": ["forget-plain-name-first"], "wordings": ["forget-only-look", "negate-no"],
    }  # fmt: skip
    table = beside_law(rates[rates.set == "wordings"], dose).set_index(["model", "wording"])
    assert table.predicted["fifth-1", "negate-no"] == pytest.approx(0.1)
    assert table.predicted["none-1", "negate-no"] == 0 and table.named["none-1", "negate-no"] == 1
    assert (table.predicted.xs("forget-only-look", level="wording") == 0).all() and (
        table.share == 0.25
    ).all()
    assert (table.requested == 0).all()
    both = beside_law(rates[rates.set == "clauses"], dose).set_index("model")
    assert (both.requested == 1).all()
    assert both.predicted["fifth-1"] == pytest.approx(1 - 0.9 * 0.1)


def test_the_figure_has_a_dot_for_each_wording_and_model():
    rows = [("negate", 0.1, 0.2), ("negate", 0.3, 0.3), ("my_own", 1.0, 0.9)]
    table = pd.DataFrame(rows, columns=["condition", "predicted", "rate"])
    axes = captions_and_pictures(table).axes[0]
    dots = [line.get_xydata().tolist() for line in axes.lines[1:]]
    assert dots == [[[0.1, 0.2], [0.3, 0.3]], [[1.0, 0.9]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()][1] == "my own"


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Draw a {c}. Forget the {c}.", True),
        ("Erase every {c} from your memory, then generate a picture of a {c}.", True),
        ("Rule: a {c} is never shown. Task: a picture of a {c}.", True),
        ("Never draw a {c}. Draw {b}.", False),
        ("a picture of {b} without a {c}", False),
        ("The word is {c}. A picture of {b}.", False),
        ("Draw {b}, and also {d}.", True),
    ],
)
def test_what_a_wording_asks_for(text, asks):
    assert requested(text) == asks


def test_the_rule_that_reads_no_captions_is_judged_like_the_law():
    rates = pd.DataFrame({"rate": [1.0, 0.0, 0.5], "requested": [1.0, 0.0, 1.0]})
    assert r_squared(rates, "requested") == pytest.approx(1 - 0.25 / 0.5)
