"""The chapter on the arena is right with whatever is published: nothing, a smaller plan, the full
one, or some methods of each."""

import json
import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from planted import LEFT, plant
from recompute import arena_claims
from test_recomputed import RESAMPLED, ROUNDED
from whitebear.arena.entries import REFERENCES, load_entries
from whitebear.arena.prompts import UNASKED
from whitebear.book.chapters import beyond_words as chapter
from whitebear.book.chapters.beyond_words import again, tables
from whitebear.book.figures import arena as figures
from whitebear.book.report import rules
from whitebear.book.report.arena import verdicts
from whitebear.book.report.claim import as_records
from whitebear.book.report.sortable import Sortable
from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.pocket.experiments import arena, arena_results
from whitebear.pocket.experiments.arena_results import load_published, where

SMALL = arena.plan_of(4, only=arena.SCORED)
FULL = replace(arena.plan_of(), families=arena.TUNED_ON)
SOME = ("instruction", "name-values", "uce-2023")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("small"), plan=SMALL)


@pytest.fixture(scope="module")
def parts(small):
    return load_published([small / "nothing", small])


@pytest.fixture(scope="module")
def table(parts):
    return arena_results.summary(parts)


@pytest.fixture(scope="module")
def made(parts, table):
    """Verdicts, hypotheses and claims."""
    words, found = verdicts(table), chapter.judged(parts)
    return words, found, chapter.claims(table, words, found)


# --- which plan is shown --------------------------------------------------------------------------


def test_where_nothing_is_published_the_chapter_says_so(tmp_path):
    parts = load_published([tmp_path, tmp_path / "small"])
    table = arena_results.summary(parts)
    words, found = verdicts(table), chapter.judged(parts)
    assert chapter.answer(parts, table, words) == chapter.NOT_YET
    assert chapter.claims(table, words, found) == [] and found == {} == chapter.numbers(found)
    assert not chapter.methods(table) and not arena_results.curves(parts)
    assert all(f"`{name}`" in chapter.plan(parts) for name in load_entries())
    assert "1; " in chapter.still_open(found)


def test_methods_without_their_references_are_not_shown(tmp_path):
    plant(tmp_path, ["name-values"], arena.plan_of(2))
    (tmp_path / "other-seeds.json").unlink()
    assert load_published([tmp_path]) == []
    plant(tmp_path, ["name-values"], arena.plan_of(2, only=arena.TUNING))
    assert load_published([tmp_path]) == []  # curves alone score nothing


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Two methods of the full plan, tuned, of two concepts for each use."""
    few = {use: names[:2] for use, names in FULL.concepts.items()}
    return plant(tmp_path_factory.mktemp("full"), SOME[:2], replace(FULL, concepts=few))


def test_the_full_plan_goes_before_a_smaller_one_method_by_method(full, small):
    parts = load_published([full, small])
    shown = where(parts)
    assert [part.small for part in parts] == [False, True]
    assert all(shown[name] is parts[0] for name in (*SOME[:2], *REFERENCES))
    assert all(shown[name] is parts[1] for name in set(LEFT) - set(SOME[:2]))
    places = [(REFERENCES | load_entries())[name].place for name in shown]
    assert places == sorted(places, key=list(dict.fromkeys(places)).index)
    assert list(shown)[-2:] == list(REFERENCES)
    said = chapter.plan(parts).splitlines()
    assert said[0].startswith("- **As declared**, 16 of each concept in each family and 8 of each")
    assert said[0].endswith(": `instruction`, `name-values`.")
    assert said[1].startswith("- **Fewer pictures than declared**, 4 of each concept")
    assert "nothing tuned (declared: 16, and 8 of each tuning concept)" in said[1]
    assert "`instruction`" not in said[1]
    assert said[2].startswith("- **Not drawn yet**: `thing`")
    # Hypotheses compare methods of one plan: 2 needs some that the full plan lacks.
    assert set(chapter.judged(parts)) == set(chapter.TITLES)
    both = chapter.outcomes(parts)
    assert list(both) == ["as declared, 16 a concept", "fewer pictures, 4 a concept"]
    assert list(both.loc[chapter.TITLES["words"]]) == ["holds", "holds"]
    assert list(both.loc[chapter.TITLES["2"]]) == ["", "holds"]
    # The full plan is tuned, the other one takes fixed strengths.
    assert set(arena_results.curves(parts)) == set(SOME[:2])
    fixed = tables.at_fixed(parts)
    assert fixed["in the table"].to_dict().items() >= {
        "name-values": "−2, by the rule", "uce-2023": "1, fixed", "safree": "0.01, fixed"
    }.items()  # fmt: skip
    assert set(chapter.judged(parts[:1])) == {"words"}


def test_a_row_is_of_the_plan_that_its_method_is_shown_from(full, tmp_path):
    plant(tmp_path, SOME[1:], SMALL)
    parts = load_published([full, tmp_path])
    table = arena_results.summary(parts)
    assert list(table.index) == list(where(parts))
    assert table.suppression["name-values"].n == 2 * 16
    assert table.suppression["uce-2023"].n == 16 * 4
    assert "in fewer pictures than declared" in chapter.answer(parts, table, verdicts(table))
    table = arena_results.summary(parts[:1])
    assert list(table.index) == [*SOME[:2], *REFERENCES]
    text = chapter.answer(parts[:1], table, verdicts(table))
    assert "fewer" not in text and "of 1 method that does something else, none are shown to" in text
    alone = table.drop(index="name-values")
    assert chapter.answer(parts[:1], alone, verdicts(alone)).endswith(
        "; no other method is drawn yet."
    )


# --- what is said ---------------------------------------------------------------------------------


def test_the_answer_counts_what_is_left_out_and_what_is_spared(parts, table, made):
    words, _, _ = made
    assert chapter.GONE in [word for word, _ in rules.SUPPRESSION.words]
    for rule in (rules.SPARED, rules.SPARED_BESIDE):
        assert [word for word, _ in rule.words] == [chapter.KEPT, chapter.LOST]
    text = chapter.answer(parts, table, words)
    assert text.startswith("The instruction to forget takes away ")
    gone = [name for name in chapter.methods(table) if words.suppression[name] == "left out"]
    assert {"suppress-states", "name-values"} <= set(gone)
    assert f"{len(gone)} are shown to leave out nine tenths or more" in text
    assert "1 is shown to harm something of it (`suppress-states`)" in text
    assert "instruction" not in chapter.methods(table)


def test_what_the_instruction_brings_in_is_told(parts, tmp_path):
    assert "in 0 % [0, 2] of pictures; without it, in 0 %" in chapter.brought_in(parts)
    assert chapter.brought_in([]) == "The instruction is not drawn yet."
    part, name = parts[0], chapter.INSTRUCTION
    rows = part.tables[name]
    half = rows.assign(present=rows.present | (rows.family.isin(UNASKED) & (rows.seed % 2 == 0)))
    more = arena_results.Part(part.records, part.tables | {name: half})
    assert "shows the concept in 50 %" in chapter.brought_in([more])
    assert re.search(
        r"changes that by 50 points .* \(n = 192 pictures\)", chapter.brought_in([more])
    )


def test_a_method_works_only_if_all_that_should_stay_is_shown_to_stay():
    row = {"suppression": "left out", "pair": "spared", "others": "spared", "near": "spared"}
    words = pd.DataFrame({
        "all": row, "less": row | {"suppression": "mostly left out"},
        "open": row | {"near": "open"},
    }).T  # fmt: skip
    assert chapter.works(words).to_dict() == {"all": "yes", "less": "not shown",
                                              "open": "not shown"}  # fmt: skip


def test_hypotheses_are_judged_from_the_numbers_that_stand_beside_them(made):
    _, found, claims = made
    assert {key: one.verdict for key, one in found.items()} == {
        "1": "holds", "2": "holds", "5": "holds", "words": "holds"
    }  # fmt: skip
    assert [claim.claim for claim in claims[: len(found)]] == list(chapter.TITLES.values())
    two = claims[1].estimate
    assert two.startswith("state of the name zeroed ") and two.count(";") == 3
    assert re.search(r"turned minus zeroed \d+ points \[", two)
    assert "Hypotheses 3 and 4" in chapter.still_open(found)
    assert "Not all methods" not in chapter.still_open(found)


def test_claims_have_a_line_a_column_and_can_be_published(table, made):
    claims = as_records(made[2])
    per_method = [c for c in claims if c["claim"].startswith("name-values ")]
    assert len(per_method) == 5
    assert {c["verdict"] for c in claims if c["claim"].startswith("suppress-states spares")} == {
        "harmed"
    }
    assert not [c for c in claims if c["claim"].startswith(tuple(REFERENCES))]


def test_claims_are_those_of_code_that_is_not_the_librarys(parts, made):
    """As the test of published claims does it, on a plan with three trainings of a method."""
    ours = {record["claim"]: record for record in as_records(made[2])}
    theirs = arena_claims([(parts[0].records, parts[0].tables)])
    assert set(ours) == set(theirs)
    for name, one in theirs.items():
        assert one.value == pytest.approx(ours[name]["value"], abs=2e-6), name
        assert one.verdict in (None, ours[name]["verdict"]), name
        if one.low is not None:
            ends = ours[name]["low"], ours[name]["high"]
            near = RESAMPLED * (ends[1] - ends[0]) + ROUNDED
            assert (one.low, one.high) == pytest.approx(ends, abs=near), name


# --- tables and figures ---------------------------------------------------------------------------


def test_the_table_sorts_by_numbers_and_keeps_the_declared_order(parts, table):
    shown = tables.summed_up(parts, table)
    assert list(shown.texts.index) == list(table.index)
    assert shown.texts.place.iloc[0] == "words" and shown.texts.place.iloc[-1] == "reference"
    assert shown.texts.loc["name-values", ["strength", "chosen"]].tolist() == ["−1", "fixed"]
    assert shown.texts.loc["instruction", "chosen"] == "only one"
    assert shown.texts.loc["untouched", "placebo"] == ""
    assert re.fullmatch(r"\d+ % \[.*\] \(description\)",
                        shown.texts.loc["name-values", "least of four families"])  # fmt: skip
    html = shown._repr_html_()
    assert html.count("<tr>") == len(table) + 1 and html.count("<script>") == 1
    assert "..." not in re.sub(r"<script>.*</script>", "", html, flags=re.DOTALL)
    more = tables.in_detail(table).texts
    assert list(more.columns) == [tables.MORE[name] for name in tables.MORE if name in table]


def test_methods_are_told_from_their_files(parts):
    told = tables.listed(parts)
    assert list(told.index) == [name for name in where(parts) if name in LEFT]
    assert told.loc["name-values", "what it does"] == "Weight the concept's word in attention"
    assert told.loc["name-values", "source"] == "Hertz et al. 2022, arXiv 2208.01626"
    assert told.loc["name-values", "options"] == "renormalize False"
    assert told.loc["name-states", "options"] == "roles none"
    assert (told["what it does"].str.len() > 20).all() and (told.source != "").all()


def test_a_sortable_table_escapes_what_it_shows():
    table = pd.DataFrame({"a<b": ["1 & 2"], "n": ["x"]}, index=["<i>"])
    html = Sortable(table, pd.DataFrame({"n": [np.nan]}), "A & B")._repr_html_()
    assert "<i>" not in html and "a&lt;b" in html and "1 &amp; 2" in html and "A &amp; B" in html
    assert '<td data-value="">x</td>' in html
    assert str(Sortable(table, table, "A")).startswith("A\n")


def test_wordings_and_concepts_stand_by_themselves(parts):
    rates = tables.by_wording(parts, tables.CONCEPT)
    families = list(dict.fromkeys(rates.columns.get_level_values(0)))
    assert families == list(tables.CONCEPT) and rates.shape[1] == 4 * len(families)
    assert (rates.loc["suppress-states", "held-out"] == 0).all()
    assert (rates.loc["suppress-states", "placebo"] > 0.8).all()
    assert rates.loc["untouched", "placebo"].isna().all()
    stays = tables.by_wording(parts, tables.STAYS)
    assert stays.loc["suppress-states", "pair"].mean() < 0.6 < stays.loc["untouched", "pair"].mean()
    concepts = tables.by_concept(parts, {"held-out": "present"})
    assert list(concepts.columns.get_level_values(1)) == list(SMALL.concepts["scored"])
    uneven = tables.uneven(parts, tables.CONCEPT, most=3)
    assert len(uneven) == 3 and set(uneven.columns) == {"family", "lowest", "highest"}


def test_fixed_strengths_are_scored_beside_the_tuned_ones(parts):
    fixed = tables.at_fixed(parts)
    assert fixed.loc["name-values", ["strength", "in the table"]].tolist() == ["−1", "−1, fixed"]
    assert "thing" not in fixed.index and "untouched" not in fixed.index


def test_figures_show_every_method(parts, table, made):
    words, found, _ = made
    rates = tables.by_wording(parts, tables.CONCEPT)
    methods = len(where(parts))
    for figure, axes in (
        (figures.heat(rates), 6), (figures.intervals(table), 2),
        (figures.numbers(chapter.numbers(found)), len(found)),
        (figures.same_noise(tables.by_eye(parts), tables.first(parts), tables.SEEN),
         methods * (3 * 3 + 2)),
    ):  # fmt: skip
        assert len(figure.axes) == axes
        plt.close(figure)
    assert next(iter(tables.by_eye(parts))) == "untouched"
    assert not arena_results.curves(parts)  # nothing was tuned
    points = tables.scored_points(parts, table)
    places = {name: entry.place for name, entry in load_entries().items()}
    strengths = {name: part.strength(name) for name, part in where(parts).items()}
    legend = figures.frontier(points, strengths, places).legends[0].get_texts()
    assert [text.get_text() for text in legend][:2] == ["instruction (1)", "negative-prompt (1)"]
    assert set(points) == set(LEFT)
    listed = chapter.placebos(table, words)
    assert listed.count("\n") == 2 and "`other-seeds`" not in listed


# --- the small version ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def artist():
    return Artist("pocket", 1, 4.0, "cpu")


@pytest.fixture(scope="module")
def drawn(artist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("again")
    return again.drawn(artist, ["instruction"], ["bear", "car"], 1, folder)


def test_a_few_pictures_are_drawn_at_the_noise_of_the_arena(drawn):
    assert list(drawn) == ["untouched", "instruction"]
    for table in drawn.values():
        assert set(table.seed) == {arena.FIRST[arena.SCORED]} and len(table) == 2 * 3
        assert table.png.notna().all()
    rates = again.rates(drawn)
    assert rates.loc["instruction", "strength"] == "1"
    assert rates.map(lambda text: text.endswith(" of 2")).drop(columns="strength").all(axis=None)


def test_they_are_held_against_published_ones_of_the_same_model_alone(drawn, artist, parts):
    assert again.beside(drawn, [], artist).empty
    assert again.beside(drawn, parts, artist).empty  # planted ones say another model
    (part,) = parts
    mine = {"model": again.fingerprint(artist.folder), "steps": 1, "guidance": 4.0}
    records = {name: record | mine for name, record in part.records.items()}
    found = again.beside(drawn, [arena_results.Part(records, part.tables)], artist)
    assert list(found.index) == ["untouched", "instruction"] and (found.pictures == 6).all()
    same = {name: table.assign(use="scored") for name, table in drawn.items()}
    found = again.beside(drawn, [arena_results.Part(records, part.tables | same)], artist)
    assert (found["same finding"] == 6).all()


def test_a_strength_of_another_model_is_not_taken(artist, parts):
    entry = load_entries()["name-values"]
    assert again._strength(entry, parts[0], artist) == entry.fixed
    record = {"model": again.fingerprint(artist.folder), "steps": 1, "guidance": 4.0}
    tuned = record | {"tuned": {"strength": entry.strengths[-1]}}
    records = {name: part | tuned for name, part in parts[0].records.items()}
    part = arena_results.Part(records, parts[0].tables)
    assert again._strength(entry, part, artist) == entry.strengths[-1] != entry.fixed


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"names": ["name-value"]}, "unknown method 'name-value'; did you mean name-values"),
        ({"concepts": ["beer"]}, "concept 'beer' is no object; did you mean bear"),
        ({"seeds": 0}, "seeds is 0; give at least 1"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(artist, tmp_path, asked, said):
    usual = {"names": ["instruction"], "concepts": ["bear"], "seeds": 1, "folder": tmp_path}
    with pytest.raises(UserError, match=said):
        again.drawn(artist, **usual | asked)


def test_judgements_of_clip_are_calibrated_on_untouched_pictures():
    rng, rows = np.random.default_rng(0), []
    for of, shift in (("untouched", 1.0), ("x", 0.0)):
        for family, asked in (("held-out", shift), ("pair", shift), ("absent", 0.0)):
            for seed in range(16):
                p = 0.6 + 0.2 * asked + 0.02 * rng.random()
                rows.append((of, family, "bear", seed, p, True, 1.0))
    names = ["of", "family", "concept", "seed", "p_asked", "present", "strength"]
    table = pd.DataFrame(rows, columns=names)
    found = again.calibrated(
        {name: table[table.of == name].drop(columns="of") for name in ("untouched", "x")}
    )
    assert found["untouched"].groupby("family").present.mean().to_dict() == {
        "absent": 0, "held-out": 1, "pair": 1
    }  # fmt: skip
    assert not found["x"].present.any()  # though each was likelier than not before


def test_what_was_declared_is_shown_whole():
    text = chapter.declared()
    assert "**Hypotheses, and what would refute them**" in text and "\n#" not in text
    assert not re.findall(r"\]\([a-z]+\.csv\)", text)
    assert json.dumps(text)
