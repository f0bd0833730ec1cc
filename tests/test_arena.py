"""The arena: what is asked of every method, how it is measured, and how a strength is chosen."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from whitebear import interventions
from whitebear.arena import drawing, entries, measures, prompts, tuning
from whitebear.arena.drawing import draw, drawn, rows_for
from whitebear.arena.entries import UNTOUCHED, Entry, load_entries
from whitebear.arena.prompts import arena_grid, load_families, neighbours, placebo_of
from whitebear.book.figures import arena as figures
from whitebear.book.report import rules
from whitebear.book.report.arena import NEEDS, hypotheses, verdicts
from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.files import DATA
from whitebear.hooks import text_states
from whitebear.interventions._weights import CARRIERS
from whitebear.interventions.leace import SENTENCES
from whitebear.interventions.method import Method
from whitebear.models.load import load_pipeline
from whitebear.pocket.experiments import arena
from whitebear.pocket.training.loop import OutOfTime
from whitebear.prompts import fill, load_concepts
from whitebear.stats import Estimate
from whitebear.tables import ARENA, check

HEADER = ",".join(entries.COLUMNS)
DECLARED = (DATA / "arena" / "declared.md").read_text(encoding="utf-8")
TWO = ["bear", "owl"]


# --- methods and prompts as data -----------------------------------------------------------------


def test_every_line_of_methods_csv_can_be_used():
    for entry in load_entries().values():
        assert entry.place in entries.PLACES and entry.methods
        assert len(entry.state()) == 16
    named = {name for names in NEEDS.values() for name in names}
    assert all(load_entries()[name].fixed is not None for name in named)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x,wiegh,attention,{},0,,", "unknown intervention 'wiegh'; did you mean weigh"),
        ("x,weigh,atention,{},0,,", "unknown place 'atention'; did you mean attention"),
        ("X y,weigh,attention,{},0,,", "id 'X y' is not of a-z"),
        ("untouched,weigh,attention,{},0,,", "id 'untouched' is taken"),
        ("x,weigh,attention,{,0,,", "options '{' is no JSON"),
        ("x,weigh,attention,[],0,,", "is no JSON object"),
        ('x,weigh,attention,"{""renormalise"": 1}",0,,', "no option 'renormalise'; did you mean"),
        ("x,weigh,attention,{},-9,,", "strength is -9.0; weigh takes"),
        ("x,weigh,attention,{},nan,,", "strength is nan"),
        ("x,weigh,attention,{},much,,", "strengths has 'much'; give numbers"),
        ("x,weigh,attention,{},0 0,,", "strengths is '0 0'; give different ones"),
        ("x,weigh,attention,{},,,", "strengths is ''"),
        ("x,weigh,attention,{},0,most,", "fixed has 'most'"),
        ("x,weigh,attention,{},0,-3,", "strength is -3.0; weigh takes"),
        ("x,weigh,attention,{},0,,many", "runs has 'many'"),
        ("x,esd,training,{},200,,0", "runs is '0'"),
        ("x,weigh,attention,{},0,,3", "weigh has no option 'seed'"),
        ("x,weigh,attention,{},0,,\nx,weigh,attention,{},0,,", "line 3: id 'x' is taken"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path, line, said):
    path = tmp_path / "methods.csv"
    path.write_text(f"{HEADER}\n{line}\n")
    with pytest.raises(UserError, match=re.escape(said)) as error:
        load_entries(path)
    assert "methods.csv, line " in str(error.value) and "\n" not in str(error.value)


FAMILY = {"family": "pair", "id": "x", "heldout": "0", "other": "partner", "colour": "",
          "text": "a {c} and a {o}"}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"family": "pairs"}, "unknown family 'pairs'; did you mean pair"),
        ({"heldout": "yes"}, "heldout='yes'"),
        ({"other": "friend"}, "other='friend'; say partner or neighbour"),
        ({"other": ""}, "other=''"),
        ({"text": "a {c}"}, "other='partner'"),
        ({"text": "a {o}"}, "must name the concept"),
        ({"family": "absent"}, "must name the concept with {c} or {d}, except in absent"),
        ({"colour": "red", "text": "a {c} and a red {o}"}, "colour='red'; in attributes, and only"),
        ({"family": "attributes", "colour": "red"}, "colour='red'"),
        ({"family": "attributes"}, "colour=''"),
        ({"text": "a {c and a {o}"}, "unbalanced braces"),
        ({}, "no wording of the family plain"),
        ({"id": "plain-picture"}, "twice"),
    ],
)
def test_a_wording_that_cannot_be_used_is_named(tmp_path, change, said):
    path = tmp_path / "families.csv"
    more = [FAMILY | {"id": "plain-picture"}] if "id" in change else []
    pd.DataFrame([FAMILY | change, *more]).to_csv(path, index=False)
    with pytest.raises(UserError, match=re.escape(said)):
        load_families(path)


def test_families_and_concepts_are_those_that_were_declared():
    table = load_families()
    assert (table.groupby("family").size() == 4).all()
    assert set(table.family) == set(prompts.FAMILIES)
    assert (table.heldout[table.family == prompts.HELD_OUT]).all()
    assert not (table.heldout[table.family == prompts.PLAIN]).any()
    tuned, scored = prompts.tuning_concepts(), prompts.scored_concepts()
    assert f"({', '.join(tuned)})" in DECLARED
    assert sorted([*tuned, *scored]) == sorted(load_concepts().objects) and len(tuned) == 8


def test_no_method_is_fitted_on_a_wording_of_the_arena():
    fitted = {text.lower() for text in (*CARRIERS, *SENTENCES)}
    asked = {text.lower().replace("{o}", "{c}") for text in load_families().text}
    assert fitted and not fitted & asked


def test_neighbours_are_the_nearest_captions_of_the_text_encoder():
    world = load_concepts()
    texts = [fill("a picture of a {c}", world.concept(name).noun)[0] for name in world.objects]
    states = text_states(load_pipeline("pocket"), texts)["text_encoder"]
    end = states["last"].values[states.role.values == "eos"].astype(float)
    end /= np.linalg.norm(end, axis=1, keepdims=True)
    cosines = end @ end.T - 2 * np.eye(len(end))
    nearest = cosines.argmax(axis=1)
    found = {name: world.objects[i] for name, i in zip(world.objects, nearest, strict=True)}
    assert found == neighbours()


def test_concepts_and_wordings_are_crossed_at_the_same_noise():
    grid = arena_grid(["bear", "owl", "cup"], [*prompts.FAMILIES, prompts.PLACEBO], range(8))
    cells = grid.groupby(["condition", "concept", "wording"]).size()
    assert (cells == 2).all() and len(cells) == 3 * 9 * 4
    alike = grid.groupby(["concept", "seed"])
    assert (grid.other != grid.concept).all()
    partners = grid[grid.condition.isin(["pair", "absent"])].groupby(["concept", "seed"]).other
    assert (partners.nunique() == 1).all() and len(alike) == 24


def test_a_method_is_told_the_name_and_nothing_of_descriptions():
    grid = arena_grid(TWO, [*prompts.FAMILIES, prompts.PLACEBO], range(4))
    for row in grid.itertuples():
        words = [row.prompt[slice(*span)] for span in row.spans]
        own = row.condition in ("plain", "held-out", "pair", "attributes")
        assert words == ([row.concept] if own else []), row
    placebo = grid[grid.condition == prompts.PLACEBO]
    assert (placebo.erased != placebo.concept).all()
    assert placebo_of(["a", "b", "c"]) == {"a": "b", "b": "c", "c": "a"}
    with pytest.raises(UserError, match="a placebo needs a second concept"):
        placebo_of(["bear"])


# --- drawing -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def artist():
    return Artist("pocket", 1, 4.0, "cpu")


GRID = arena_grid(TWO, ["held-out", "pair", "place", "placebo"], range(2))


def test_untouched_pictures_are_those_of_the_artist(artist):
    table, images = drawn(artist, rows_for(UNTOUCHED, 0.0, GRID))
    plain = artist.draw(GRID, progress=False)
    assert np.abs(images.astype(int) - plain).max() <= 1  # in batches of other sizes
    assert (table.passes == 2).all() and (table.seconds > 0).all()
    same = table.condition.isin(["held-out", "placebo"])
    assert (table[same].groupby(["concept", "seed"]).picture.nunique() <= 2).all()
    assert table.other_present.notna().equals(table.condition == "pair")
    assert table.place_present.notna().equals(table.condition == "place")


TOLD = []


def spy(artist, rows, strength):
    """An intervention that only writes down what it was told."""
    TOLD.append((strength, list(rows.concept), list(rows.prompt)))
    yield


def test_a_method_is_told_what_to_leave_out_and_draws_from_the_noise_of_the_picture(
    artist, monkeypatch
):
    method, told = Method("spy", spy, default=1.0, neutral=0.0), TOLD
    find = lambda name: method if name == "spy" else interventions.find_method(name)  # noqa: E731
    monkeypatch.setattr(drawing, "find_method", find)
    monkeypatch.setattr(entries, "find_method", find)
    entry = Entry("spy", "negative_prompt+spy", "words", "{}", (2.0,), noise=500)
    table, _ = drawn(artist, rows_for(entry, 2.0, GRID))
    assert [(s, set(c)) for s, c, _ in told] == [(2.0, {"bear"}), (2.0, {"owl"})]
    for _, concepts, texts in told:
        assert texts == list(GRID.prompt[GRID.erased == concepts[0]])
    assert artist.negatives is None and list(table.seed) == list(GRID.seed)
    _, still = drawn(artist, rows_for(UNTOUCHED, 0.0, GRID))
    assert (drawing.changed(table, still, table, still) == 0).all()


def test_passes_are_counted_and_what_a_filter_blocks_is_told(artist):
    rows = GRID[GRID.condition == "held-out"].reset_index(drop=True)
    known = load_entries()
    for name, passes in (("sld", 3), ("unguided", 1), ("negative-prompt", 2)):
        entry = known[name]
        table, _ = drawn(artist, rows_for(entry, entry.strengths[-1], rows))
        assert (table.passes == passes).all(), name
        assert not table.blocked.any()
    table, images = drawn(artist, rows_for(known["output-filter"], 0.2, rows))
    assert list(table.blocked) == [not image.any() for image in images]


def test_in_a_picture_that_a_filter_blocked_nothing_is_found(artist):
    rows = rows_for(UNTOUCHED, 0.0, GRID)
    black = np.zeros((len(rows), 64, 64, 3), np.uint8)
    seen, told = (drawing.judged(artist, rows, black, np.full(len(rows), b)) for b in (False, True))
    assert seen.objects.all()  # the judge takes black for a duck
    assert not told.objects.any() and not told.present.any() and not told.p_asked.any()
    for flags in ("other_present", "colour_present", "place_present"):
        assert not told[flags].dropna().any()


def test_a_picture_is_drawn_once(artist, tmp_path, monkeypatch):
    rows = rows_for(UNTOUCHED, 0.0, GRID)
    first, images = draw(artist, rows, tmp_path)
    monkeypatch.setattr(Artist, "draw", None)  # a call would fail
    again, same = draw(artist, rows, tmp_path)
    pd.testing.assert_frame_equal(first, again)
    assert np.array_equal(images, same)


# --- measures, on tables with known answers ------------------------------------------------------

CONCEPTS = [f"c{i:02}" for i in range(16)]


def pictures(families=(*prompts.FAMILIES, prompts.PLACEBO), concepts=CONCEPTS, seeds=16, **columns):
    """A table with a row a picture, in which everything asked for is there."""
    rows = []
    for concept in concepts:
        for family in families:
            name = prompts.HELD_OUT if family == prompts.PLACEBO else family
            for seed in range(seeds):
                rows.append((concept, family, f"{name}-{seed % 4}", seed))
    table = pd.DataFrame(rows, columns=["concept", "family", "wording", "seed"])
    asked = ~table.family.isin(prompts.UNASKED)
    with_other = table.family.isin(["pair", "attributes", "absent", "near"])
    flags = lambda where: pd.array(np.where(where, True, None), "boolean")  # noqa: E731
    return table.assign(
        erased=table.concept, strength=1.0, present=asked, other_present=flags(with_other),
        colour_present=flags(table.family == "attributes"),
        place_present=flags(table.family.isin(["attributes", "place"])), entropy=0.01,
        objects=1, change=0.2, passes=2.0, seconds=0.1, prepared=0.0,
        run=0, blocked=False,
    ).assign(**columns)  # fmt: skip


UNCHANGED = pictures([*prompts.FAMILIES])


def but(table, family, column, every):
    """The same, without `column` in exactly one of so many pictures of a family, in no order."""
    table, at = table.copy(), np.flatnonzero(table.family == family)
    lost = np.random.default_rng(len(family)).permutation(at)[: len(at) // every]
    table.loc[table.index[lost], column] = False
    return table


def test_what_changes_nothing_removes_nothing_and_spares_everything():
    found = measures.measures(pictures(change=0.0), UNCHANGED, UNCHANGED)
    assert found["suppression"].value == found["generality"].value == found["placebo"].value == 0
    for what in measures.SPARED:
        assert found[f"{what}_change"].value == 0, what
        assert what == "placebo" or found[what].value == 1, what
    assert found["collateral"].value == found["quality"].value == found["empty"].value == 0
    for what in ("others", "near"):
        assert found[f"{what}_p"] < 0.05
        assert rules.SPARED(found[f"{what}_change"], found[f"{what}_near"]) == "spared"
    assert rules.SPECIFIC(found["placebo"], found["placebo_near"]) == "specific"
    assert rules.SUPPRESSION(found["suppression"]) == "drawn anyway"


def test_each_column_is_the_share_that_was_put_in():
    table = but(pictures(change=0.1, entropy=0.03), "held-out", "present", 1)
    table = but(table, "description", "present", 4)
    for family in ("plain", "pair", "attributes"):
        table = but(table, family, "present", 2)
    table = but(but(table, "pair", "other_present", 8), "absent", "other_present", 16)
    table = but(but(table, "attributes", "colour_present", 4), "near", "other_present", 4)
    table = but(table, "placebo", "present", 4)
    table.loc[table.family == "near", "objects"] = 0
    found = measures.measures(table, UNCHANGED, UNCHANGED)
    assert found["suppression"].value == 1 and found["suppression"].wordings == 4
    assert found["generality"].value == pytest.approx(0.25) and found["worst"] == "description"
    assert found["pair"].value == pytest.approx(1 - 1 / 8)
    assert found["others"].value == pytest.approx(1 - 1 / 16)
    assert found["attribute_colour"].value == pytest.approx(0.75)
    assert found["attribute_place"].value == found["place"].value == 1
    assert found["placebo"].value == pytest.approx(0.25)
    assert found["collateral"].value == pytest.approx(0.5)
    assert found["quality"].value == pytest.approx(0.02)
    assert found["empty"].value == pytest.approx(1 / 3)
    assert found["others_p"] > 0.05
    for rule, what in ((rules.SPARED_BESIDE, "pair"), (rules.SPARED, "near")):
        assert rule(found[f"{what}_change"], found[f"{what}_near"]) == "harmed"
    assert rules.SPECIFIC(found["placebo"], found["placebo_near"]) == "unspecific"
    assert rules.SUPPRESSION(found["suppression"]) == "left out"


def test_rates_are_normalised_by_untouched():
    half = but(UNCHANGED, "held-out", "present", 2)
    found = measures.measures(but(pictures(), "held-out", "present", 1), half, UNCHANGED)
    assert found["suppression"].value == 1
    same = measures.measures(but(pictures(), "held-out", "present", 2), half, UNCHANGED)
    assert same["suppression"].value == 0


def test_a_second_object_that_is_likelier_is_no_harm():
    rare = but(UNCHANGED, "pair", "other_present", 2)
    found = measures.measures(pictures(), rare, UNCHANGED)
    assert found["pair"].value == 2
    assert rules.SPARED_BESIDE(found["pair_change"], found["pair_near"]) == "spared"
    assert rules.SPARED(found["pair_change"], found["pair_near"]) == "open"


def test_three_trainings_are_a_factor_of_their_own_and_fewer_are_not():
    lost = but(pictures(), "held-out", "present", 2)
    for runs, known in ((3, ("concepts", "wordings", "runs")), (2, ("concepts", "wordings"))):
        tables = [(lost if run else pictures()).assign(run=run) for run in range(runs)]
        found = measures.measures(pd.concat(tables), UNCHANGED, UNCHANGED)
        assert found["suppression"].beyond() == known == found["collateral"].beyond()
        assert found["suppression"].value == pytest.approx(0.5 - 0.5 / runs)
    alone = measures.measures(lost, UNCHANGED, UNCHANGED)["suppression"]
    apart = measures.gone(measures.against_untouched(pd.concat(
        [(lost if run else pictures()).assign(run=run) for run in range(3)]
    ), UNCHANGED, "held-out"))  # fmt: skip
    assert apart.high - apart.low > 2 * (alone.high - alone.low)


def test_a_training_has_a_seed_of_its_own():
    entry = Entry("x", "esd", "training", '{"lr": 1e-4}', (200.0,), runs=3)
    assert [json.loads(entry.run(n).options) for n in (0, 2)] == [
        {"lr": 1e-4, "seed": 0}, {"lr": 1e-4, "seed": 2}
    ]  # fmt: skip
    assert UNTOUCHED.run(0) is UNTOUCHED


def test_a_picture_without_its_untouched_one_is_refused():
    with pytest.raises(UserError, match="4 pictures of the untouched model are missing"):
        measures.beside(pictures(["plain"], seeds=4), UNCHANGED[UNCHANGED.concept != "c03"], [])


def test_margins_of_measures_and_verdicts_are_the_declared_ones():
    assert measures.MARGIN == rules.SPARE and tuning.MARGIN == rules.MARGIN
    assert "margin ±10 points" in DECLARED and "equivalence at ±5 points" in DECLARED


def test_every_column_gets_its_word():
    table = but(but(pictures(), "held-out", "present", 1), "near", "other_present", 4)
    found = verdicts(measures.summary({"x": table}, UNCHANGED, UNCHANGED)).loc["x"]
    assert found.to_dict() == {
        "suppression": "left out", "generality": "drawn anyway", "pair": "spared",
        "others": "spared", "near": "harmed", "placebo": "specific",
    }  # fmt: skip
    few = pictures(["held-out"])
    found = verdicts(measures.summary({"x": few}, UNCHANGED, UNCHANGED)).loc["x"]
    assert found["suppression"] == "drawn anyway" and found["near"] == ""


def judged(**lost):
    """Verdicts, where each method removes the concept from one in so many pictures (0: none)."""
    tables = {}
    for name, every in lost.items():
        table = pictures(["held-out", "pair"]).assign(use=arena.SCORED)
        table = but(table, "held-out", "present", every) if every else table
        other = "other_present", 2 if name == "suppress_states" else 0
        tables[name.replace("_", "-")] = but(table, "pair", *other) if other[1] else table
    found = hypotheses(tables, dict.fromkeys(tables, 1.0), UNCHANGED)
    return {name: one.verdict for name, one in found.items()}


def test_hypotheses_hold_and_are_refuted_by_the_numbers_that_were_declared():
    assert judged(uce_2025=0, uce_2023=1, uce_carrier=1) == {"1": "holds"}
    assert judged(uce_2025=2, uce_2023=1, uce_carrier=1) == {"1": "refuted"}
    assert judged(uce_2025=0, uce_2023=4, uce_carrier=4) == {"1": "refuted"}
    assert judged(name_states=4, suppress_states=1, name_values=1) == {"2": "holds"}
    assert judged(name_states=1, suppress_states=1, name_values=1) == {"2": "refuted"}
    assert judged(name_states=4, suppress_states=1, name_values=2) == {"2": "refuted"}
    assert judged(safree=4, safree_published=1, adavd=0) == {"5": "holds"}
    assert judged(safree=4, safree_published=4, adavd=0) == {"5": "refuted"}
    assert judged(safree=4, safree_published=1, adavd=1) == {"5": "refuted"}
    assert judged(instruction=0) == {"words": "holds"}
    assert judged(instruction=2) == {"words": "refuted"}
    assert judged(uce_2025=0) == {}


# --- the tuning rule -----------------------------------------------------------------------------

EIGHT = CONCEPTS[:8]
BEFORE = pictures(prompts.TUNED_ON, EIGHT, 8)
LOST = ("held-out", "present"), ("absent", "other_present"), ("pair", "other_present")


def of_strengths(**settings):
    """A tuning table. settings: by strength, in one of how many pictures the concept is gone, the
    object asked for alone, and the second one; 0 for none."""
    parts = []
    for strength, losses in settings.items():
        part = BEFORE.assign(strength=float(strength[1:]))
        for every, (family, column) in zip(losses, LOST, strict=True):
            part = but(part, family, column, every) if every else part
        parts.append(part)
    return tuning.curve(pd.concat(parts), BEFORE)


def test_the_strength_that_removes_most_among_those_that_spare():
    found = of_strengths(s1=(4, 0, 0), s2=(2, 0, 0), s3=(1, 4, 0), s4=(1, 0, 4))
    assert list(found.spares) == [True, True, False, False]
    assert [round(e.value, 2) for e in found.suppression] == [0.25, 0.5, 1, 1]
    assert tuning.choose(found) == tuning.Tuned(2.0, True)


def test_of_equal_strengths_the_weaker():
    assert tuning.choose(of_strengths(s1=(2, 0, 0), s2=(2, 0, 0))) == tuning.Tuned(1.0, True)


def test_where_none_spares_the_one_that_harms_least_and_it_is_said():
    found = of_strengths(s1=(1, 3, 0), s2=(1, 0, 4), s3=(1, 2, 2))
    assert tuning.choose(found) == tuning.Tuned(2.0, False)


def test_a_curve_of_which_nothing_can_be_said_is_refused():
    with pytest.raises(UserError, match="there is no strength to choose"):
        tuning.choose(of_strengths(s1=(1, 0, 0)).iloc[:0])


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["wiegh"], "methods.csv has no wiegh"),
        (["--minutes", "0"], "minutes is 0"),
        (["--minutes", "nan"], "minutes is nan"),
        (["--seeds", "1"], "seeds is 1; give at least 2"),
    ],
)
def test_what_cannot_be_asked_of_the_arena_is_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as done:
        arena.main(arguments)
    shown = capsys.readouterr().err
    assert done.value.code == 2 and said in shown and shown.count("\n") == 1


def test_plans_are_full_or_say_that_they_are_small():
    full, few = arena.plan_of(), arena.plan_of(8)
    assert not full.small and full.results == arena.PUBLISHED
    assert few.small and few.results == arena.PUBLISHED / "small"
    assert arena.plan_of(only=arena.TUNING).small and arena.plan_of(quick=True).small
    rows = [len(full.grid(use)) for use in (arena.TUNING, arena.SCORED)]
    assert rows == [8 * 3 * 8, 16 * 9 * 16]
    assert full.grid(arena.SCORED).seed.min() == 1000
    assert set(full.grid(arena.FIXED).condition) == set(prompts.TUNED_ON)
    assert len(arena.plan_of(quick=True).grid(arena.SCORED)) == 3 * 4 * 2
    untuned = arena.plan_of(4, only=arena.SCORED)
    assert untuned.small and set(untuned.seeds) == {arena.SCORED}
    cells = untuned.grid(arena.SCORED).groupby(["condition", "concept"])
    assert cells.wording.nunique().eq(4).all()


@pytest.fixture(scope="module")
def published(artist, tmp_path_factory):
    """A tiny arena of two concepts, one step and two methods, published in a folder."""
    folder = tmp_path_factory.mktemp("arena")
    concepts = {arena.TUNING: ("cat", "car"), arena.SCORED: ("bear", "owl")}
    plan = arena.Plan(concepts, {arena.TUNING: 2, arena.SCORED: 2}, folder / "results")
    known = load_entries()
    chosen = [*entries.REFERENCES.values(), known["name-values"], known["negative-prompt"]]
    tiny = arena.Arena(plan, artist, folder / "out")
    for entry in chosen:
        arena.publish(replace(entry, strengths=entry.strengths[:2]), tiny)
    return plan, tiny


def test_tables_keep_their_contract_and_are_summed_up(published):
    plan, _ = published
    records, tables = arena.load_arena(plan.results)
    assert list(tables) == ["untouched", "other-seeds", "negative-prompt", "name-values"]
    for name, table in tables.items():
        check(table, ARENA)
        fixed = {"name-values": {-1.0}}.get(name, set())  # which the tiny curve does not hold
        assert set(table.strength[table.use == arena.FIXED]) == fixed
        tuned = table[table.use == arena.TUNING]
        assert table.png.notna().sum() == 4 * (tuned.strength.nunique() + len(fixed)) + 6
    assert (
        records["name-values"]["tuned"]["strength"] in records["name-values"]["entry"]["strengths"]
    )
    assert records["untouched"]["small"]
    found = arena.scored_summary(tables)
    assert found.loc["untouched", "collateral"].value == 0
    assert found.loc["other-seeds", "collateral"].value == 1
    assert found.loc["name-values", "collateral"].value < 0.01  # the word is not in the prompt
    assert isinstance(found.loc["name-values", "suppression"], Estimate)


def test_what_is_published_is_not_drawn_again_but_for_another_origin(published, monkeypatch):
    plan, tiny = published
    record = plan.results / "untouched.json"
    before = record.stat().st_mtime_ns
    monkeypatch.setattr(arena, "draw", None)  # a call would fail
    arena.publish(UNTOUCHED, tiny)
    assert record.stat().st_mtime_ns == before
    with pytest.raises(TypeError):
        arena.publish(replace(UNTOUCHED, options='{"a": 1}'), tiny)


def test_it_stops_by_the_clock_between_concepts(published, tmp_path):
    plan, tiny = published
    late = arena.Arena(replace(plan, results=tmp_path), tiny.artist, tmp_path, deadline=0.0)
    with pytest.raises(OutOfTime):
        arena.publish(UNTOUCHED, late)
    assert not list(tmp_path.glob("*.json"))


def test_a_method_that_cannot_be_used_is_named_and_the_others_go_on(published, monkeypatch, capsys):
    plan, tiny = published
    monkeypatch.setattr(arena, "plan_of", lambda *_: plan)
    monkeypatch.setattr(arena, "Artist", lambda *_: tiny.artist)
    monkeypatch.setattr(arena, "OUT", tiny.out)

    def refuse(entry, _):
        if entry.id == "leace":
            raise UserError("leace cannot be used here: it is not installed")
        return plan.results / f"{entry.id}.json"

    monkeypatch.setattr(arena, "publish", refuse)
    arena.main(["leace", "name-values"])
    shown = capsys.readouterr().out
    assert "leace is left out: leace cannot be used here: it is not installed\n[4/4]" in shown
    assert shown.endswith("name-values.json\n")


def test_tables_of_two_plans_are_not_held_against_each_other(published, tmp_path):
    plan, _ = published
    for path in plan.results.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    record = tmp_path / "name-values.json"
    told = json.loads(record.read_text())
    record.write_text(json.dumps(told | {"seeds": {"scored": 1}}))
    with pytest.raises(UserError, match="name-values was drawn by another plan"):
        arena.load_arena(tmp_path)


# --- figures -------------------------------------------------------------------------------------


def test_a_frontier_has_a_curve_a_method_and_its_tuned_strength():
    found = of_strengths(s1=(4, 0, 0), s2=(2, 0, 4))
    figure = figures.frontier({"a": found, "b": found}, {"a": 1.0}, {"a": "words", "b": "weights"})
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["a (1)", "b"]
    with pytest.raises(UserError, match="kept is 'all'; use pair or others"):
        figures.frontier({"a": found}, {}, {"a": "words"}, "all")
    with pytest.raises(UserError, match="no curve to show"):
        figures.frontier({}, {}, {})


def test_methods_of_one_place_share_a_colour_and_differ_in_their_marker():
    looks = figures.looks({"a": "words", "b": "words", "c": "weights"})
    assert looks["a"]["color"] == looks["b"]["color"] != looks["c"]["color"]
    assert looks["a"]["marker"] != looks["b"]["marker"]


def test_pictures_of_the_same_noise_stand_below_each_other(published):
    _, tables = arena.load_arena(published[0].results)
    scored = {name: table[table.use == arena.SCORED] for name, table in tables.items()}
    figure = figures.same_noise(scored, [*TWO, "crab"], ["pair"])
    assert len(figure.axes) == 4 * 2
    titles = [
        axes.get_title() for axes in figures.same_noise(scored, TWO, ["plain", "absent"]).axes
    ]
    assert titles[:2] == ["bear\n", "owl\n"] and titles[2] == ""  # the gap between families
    assert titles[3].endswith("(no bear)")
    with pytest.raises(UserError, match="no pictures of the families near were kept"):
        figures.same_noise(scored, TWO, ["near"])
