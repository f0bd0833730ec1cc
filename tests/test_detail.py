"""Attention in detail, patches, and the words for them, on random pipelines and planted numbers."""

import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from conftest import artist_of, tiny_pipeline
from whitebear.book.chapters import (
    attention_and_pictures,
    watching_the_words,
    where_the_word_travels,
)
from whitebear.book.figures import attention as attention_figures, inside as mechanism_figures
from whitebear.book.report import rules
from whitebear.draw.artist import Artist
from whitebear.hooks import patch_text
from whitebear.measures import heads as attention_detail, swaps as patching
from whitebear.measures.attention import of_rows, watch
from whitebear.prompts import prompt_grid
from whitebear.scoring.calibration import calibrate
from whitebear.stats import Estimate
from whitebear.tables import MEASURED, check


@pytest.fixture(scope="module")
def artist():
    return artist_of(tiny_pipeline(positions=256), 2)


@pytest.fixture(scope="module")
def table(world):
    return prompt_grid(["bear", "owl"], ["forget_then_request", "negate"], 1, world=world)


@pytest.fixture(scope="module")
def watched(artist, table):
    return attention_detail.watch_heads(artist, table)


def test_heads_average_to_what_the_other_chapter_watches(artist, table, watched):
    rows, data = watched
    images, mean = watch(artist, table)
    pd.testing.assert_frame_equal(rows, artist.judged(table, images))
    np.testing.assert_allclose(data.mass.mean("head"), mean.mass, atol=1e-6)
    assert data.sizes["head"] == 4


def test_shares_leave_out_what_their_name_says(watched):
    mass = watched[1].mass.mean(("step", "layer", "head")).to_pandas()
    tokens = attention_detail.kept(watched[1])["tokens"]
    whole = attention_detail.as_share(tokens, "all tokens").auc
    np.testing.assert_allclose(whole, mass["concept"], rtol=1e-5)
    words = attention_detail.as_share(tokens, "words only").auc
    np.testing.assert_allclose(words, mass["concept"] / (mass["concept"] + mass["<other>"]),
                               rtol=1e-4)  # fmt: skip


def test_what_is_published_of_a_grid_gives_its_shares_and_its_layers_again(table, watched):
    kept = {name: check(rows, MEASURED[name]) for name, rows in
            attention_detail.kept(watched[1]).items()}  # fmt: skip
    rows = attention_detail.as_share(kept["tokens"], "without the start token")
    assert rows[["concept", "wording"]].equals(table[["concept", "wording"]])
    mass = watched[1].mass.mean(("step", "layer", "head"))
    share = mass.sel(token="concept") / (1 - mass.sel(token="<bos>"))
    np.testing.assert_allclose(rows.auc, share, rtol=1e-4)
    auc = attention_detail.aucs(watched[1])
    np.testing.assert_allclose(kept["heads"].mass.to_numpy(), auc.values.ravel())
    assert list(kept["heads"].layer.unique()) == list(watched[1].layer.values)


def test_tables_by_denominator_layer_and_head(table, watched):
    data = watched[1]
    kept = attention_detail.kept(data)
    shares = attention_detail.by_denominator(kept["tokens"])
    assert len(shares) == 4 * 2
    layers = attention_detail.by_layer(kept["heads"])
    assert len(layers) == 2 * data.sizes["layer"]
    heads = attention_detail.by_head(kept["heads"], "negate")
    name = data.layer.values[3]
    mean = layers.difference[name, "negate"].value
    assert heads.loc[name].mean() == pytest.approx(mean, abs=1e-6)
    names = attention_detail.short_layers(data.layer.values)
    assert len(set(names.values())) == len(names) and "mid 0.0" in names.values()
    for figure in (
        attention_figures.relative_changes({"a": shares, "b": layers}, names),
        attention_figures.heads(heads),
    ):
        assert figure.axes


def planted(slope: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [(f"w{w}", "negate", f"c{c}", -w / 10, slope * w / 10 + 0.01 * rng.normal())
            for w in range(8) for c in range(5)]  # fmt: skip
    return pd.DataFrame(rows, columns=["wording", "condition", "concept", "attention", "presence"])


@pytest.mark.parametrize(
    ("slope", "word"), [(-1, "rise and fall together"), (1, "go against each other")]
)
def test_rank_correlation_finds_a_planted_relation(slope, word):
    rho = attention_detail.rank_correlation(planted(slope))
    assert rho.value == pytest.approx(-slope, abs=0.01)
    assert rho.low <= rho.value <= rho.high
    shares = pd.DataFrame({"relative": {("all tokens", "negate"): Estimate(0, 0, 0, 1, 1)}})
    each = pd.DataFrame(
        {
            "relative": {
                ("all tokens", "negate-no"): Estimate(-0.5, -0.6, -0.4, 1, 1),
                ("all tokens", "negate-without"): Estimate(0, 0, 0, 1, 1),
            }
        }
    )
    text = attention_and_pictures.answer(shares, each, planted(slope))
    assert word in text and "falls by 10 % or more under 1 (“a picture of B, but no X”)" in text
    assert "changes by less under 1" in text and "(wording by wording −50 to 0 %)" in text
    assert f"“asked to leave it out” {-slope:+.2f}".replace("-", "−") in text
    assert attention_figures.attention_and_presence(planted(slope)).axes


def test_shares_that_agree_are_said_once():
    by = {"negate": (-0.21, -0.211), "role": (-0.01, 0.02)}
    rows = {(f"by {i}", condition): Estimate(v, v, v, 1, 1)
            for condition, values in by.items() for i, v in enumerate(values)}  # fmt: skip
    each = {("all tokens", w): Estimate(0, 0, 0, 1, 1) for w in ("negate-no", "role-rule")}
    tables = (pd.DataFrame({"relative": found}) for found in (rows, each))
    text = attention_and_pictures.answer(*tables, planted(0.0))
    assert "by −21 % (wording" in text and "by −1 to +2 %" in text


def test_no_relation_is_said_to_be_none():
    rows = planted(0).assign(presence=np.random.default_rng(3).normal(size=40))
    rho = attention_detail.rank_correlation(rows)
    assert rho.low < 0 < rho.high


def test_a_relation_that_hangs_on_few_wordings_is_not_sure_of_others():
    """Two wordings that fall, among others without order: resampled, they may be missing."""
    rng = np.random.default_rng(4)
    rows = []
    for w in range(12):
        far = -1.0 if w < 2 else 0.0
        both = far + 0.02 * rng.normal(size=2)
        rows += [(f"w{w}", "negate", f"c{c}", *(both + 0.001 * rng.normal(size=2)))
                 for c in range(24)]  # fmt: skip
    columns = ["wording", "condition", "concept", "attention", "presence"]
    rho = attention_detail.rank_correlation(pd.DataFrame(rows, columns=columns))
    assert rho.beyond() == ("concepts", "wordings")
    assert rho.high - rho.low > 0.5  # concepts alone: hardly anything
    few = pd.DataFrame(rows[:48], columns=columns)
    assert np.isnan(attention_detail.rank_correlation(few).low)


def test_separation_is_the_share_of_rightly_ordered_pairs():
    table = pd.DataFrame({"condition": ["a"] * 4 + ["b"] * 2,
                          "present": [True, True, False, False, True, True]})  # fmt: skip
    mass = np.array([0.4, 0.1, 0.2, 0.05, 0.3, 0.3])
    dims = ("sample", "step", "layer", "head", "token")
    data = xr.Dataset({"mass": (dims, mass[:, None, None, None, None])}, {"token": ["concept"]})
    table = table.assign(concept="bear", wording="w", control="", seed=range(6))
    heads = attention_detail.kept(of_rows(data, table))["heads"]
    found = attention_detail.separation(table, heads)
    assert found["a"] == 3 / 4 and np.isnan(found["b"])


# --- patching ------------------------------------------------------------------------------------


def test_patching_draws_what_patch_text_draws(tiny_pipeline_dir):
    artist = Artist(str(tiny_pipeline_dir), 2, 4.0, "cpu")
    table = patching.grid(["bear", "owl"], 1, artist)
    assert set(table.wording) == {"omit-picture", "affirm-and", "negate-no"}
    found = calibrate(patching.draw(artist, table))
    per_part = 2 * (6 + 6 + 5)
    assert len(found) == 6 + per_part + 4
    assert found.groupby("part").size()["concept"] == 4
    shares = patching.shares(found)
    assert len(shares) == 17
    assert mechanism_figures.swaps(shares).axes
    assert len(where_the_word_travels.claims(shares)) == 17
    assert "“and a”" in where_the_word_travels.answer(shares)


def test_swapping_everything_at_every_step_is_drawing_the_source(tiny_pipeline_dir):
    artist = Artist(str(tiny_pipeline_dir), 2, 4.0, "cpu")
    table = patching.grid(["bear"], 2, artist)
    base, source = (table[table.wording == w] for w in ("omit-picture", "affirm-and"))
    with patch_text(artist.pipe, list(base.prompt), list(source.prompt), "all"):
        swapped = artist.draw(base)
    assert np.abs(swapped.astype(int) - artist.draw(source)).max() <= 1


def test_halves_of_the_steps():
    assert patching.steps_of("concept", 20) == "all"
    assert patching.steps_of("everything, first half", 5) == [0, 1]
    assert patching.steps_of("everything, second half", 5) == [2, 3, 4]


def swapped(base: int, patched: int, source: int, n: int = 20) -> pd.DataFrame:
    """Planted pictures: so many of n with the concept under base, swap and source."""
    rows = []
    for concept in range(4):
        for seed in range(n):
            key = (f"c{concept}", seed)
            rows += [(*key, "negate-no", "", "", seed < base),
                     (*key, "affirm-and", "", "", seed < source),
                     (*key, "omit-picture", "", "", False)]  # fmt: skip
            for swap in patching.SWAPS:
                rows += [(*key, swap.base, swap.source, part, seed < patched)
                         for part in swap.parts]  # fmt: skip
    columns = ["concept", "seed", "wording", "source", "part", "present"]
    return pd.DataFrame(rows, columns=columns)


def test_the_share_of_the_way():
    shares = patching.shares(swapped(base=4, patched=12, source=20)).share
    there = shares["negate-no", "affirm-and", "concept"]
    assert there.value == pytest.approx(0.5)
    assert there.low < 0.5 < there.high  # never narrower than that of independent pictures
    assert np.isnan(patching.shares(swapped(5, 5, 5)).share["negate-no", "affirm-and",
                                                             "padding"].value)  # fmt: skip


@pytest.mark.parametrize(
    ("ends", "word"),
    [((-0.05, 0.0, 0.05), "stays"), ((-0.4, -0.3, -0.2), "falls"), ((0.1, 0.3, 0.5), "rises"),
     ((-0.3, 0.0, 0.3), "undecided"), ((-0.12, -0.07, -0.02), "undecided")],
)  # fmt: skip
def test_words_for_changes(ends, word):
    low, value, high = ends
    assert rules.MOVES(Estimate(value, low, high, 9, 3)) == word


@pytest.mark.parametrize(
    ("ends", "word"), [((0.6, 1.0), "carries it"), ((0.0, 0.4), "does not carry it"),
                       ((0.3, 0.8), "undecided")],
)  # fmt: skip
def test_words_for_swaps(ends, word):
    assert rules.CARRIES(Estimate(sum(ends) / 2, *ends, 9, 3)) == word


def test_without_an_interval_nothing_is_said():
    assert rules.CARRIES(Estimate(math.nan, math.nan, math.nan, 0, 0)) == "undecided"


@pytest.mark.parametrize(
    ("change", "word"), [(-0.02, "lowers it"), (0.02, "raises it"), (0.0, "no change")]
)
def test_positive_controls_are_judged_in_both_directions(change, word):
    rng = np.random.default_rng(0)
    rows = []
    for concept in ("bear", "owl", "car", "house"):
        for seed in range(4):
            plain = 0.1 + 0.001 * rng.normal()
            rows.append((concept, seed, "as it is", plain))
            rows.append((concept, seed, "weight 1/2", plain + change + 0.001 * rng.normal()))
    controls = pd.DataFrame(rows, columns=["concept", "seed", "what", "auc"])
    (claim,) = watching_the_words.control_claims(controls)
    assert claim.verdict == word
