"""Weights of a taught model: combined, drawn with, watched; and the numbers read off all that."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from whitebear import stats
from whitebear.book.chapters import another_encoder as other_encoder, why_it_fails as why_answers
from whitebear.book.figures import inside as mechanism_figures
from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.files import MODELS
from whitebear.measures import heads
from whitebear.measures.attention import of_rows
from whitebear.pocket.experiments import inside as mechanism
from whitebear.prompts import load_concepts, prompt_grid
from whitebear.tables import EXCHANGE, check

TAUGHT = MODELS / "taught"


@pytest.fixture(scope="module")
def artists():
    return mechanism.combinations(TAUGHT, Artist("pocket", 10, 4.0))


def test_each_combination_has_the_parts_that_its_key_says(artists):
    assert len({artist.state() for artist in artists.values()}) == 4
    pipes = {key: artist.pipe for key, artist in artists.items()}
    for part, i in (("text_encoder", 0), ("unet", 1)):
        shipped, taught = getattr(pipes["shipped", "shipped"], part), None
        for key, pipe in pipes.items():
            if key[i] == "shipped":
                assert getattr(pipe, part) is shipped
            taught = getattr(pipe, part) if key[i] == "taught" else taught
        a, b = (next(iter(m.state_dict().values())) for m in (shipped, taught))
        assert a.shape == b.shape and (a != b).any()
    assert len({id(pipe.vae) for pipe in pipes.values()}) == 1


def test_a_folder_without_a_taught_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no folder .*text_encoder"):
        mechanism.combinations(tmp_path, Artist("pocket"))


def test_the_taught_model_leaves_out_what_the_shipped_one_draws(artists):
    """The weights in the repository are those that the chapter speaks of."""
    table = prompt_grid(["umbrella", "fish"], ["negate", "affirm"], 2)
    table = table[table.wording.isin(["negate-without", "affirm-with"])].reset_index(drop=True)
    rate = {
        key: artists[key, key].draw_and_judge(table).groupby("wording").present.mean()
        for key in ("shipped", "taught")
    }
    assert rate["taught"]["negate-without"] <= 0.25 < rate["shipped"]["negate-without"]
    assert rate["taught"]["affirm-with"] >= 0.75


def test_captions_as_prompts_name_what_the_caption_denies():
    table = mechanism.captions(["owl"], 1)
    assert len(table) == len(mechanism.caption_texts()) == table.wording.nunique()
    with pytest.raises(UserError, match="no concept is left that captions denied"):
        mechanism.captions([], 1)
    row = table.set_index("wording").loc["negate-15"]
    assert row.prompt.startswith("forget the owl. ") and row.prompt.endswith(" and an owl")
    assert row.twice and [row.prompt[a:b] for a, b in row.spans] == ["owl", "owl"]
    assert not table.set_index("wording").twice["negate-01"]
    assert not table.prompt.str.contains("{", regex=False).any()
    texts = mechanism.caption_texts()
    assert list(table.twice) == [texts[w].count("{n}") + texts[w].count("{m}") > 1
                                 for w in table.wording]  # fmt: skip


def planted(instructed, control, attention=0.02, concepts=("bear", "owl", "car")):
    """A grid of one pair of wordings with known presence, and attention (0.04 to the control)."""
    rows, mass = [], []
    for concept in concepts:
        for wording, present, m in (
            ("negate-no", instructed, attention), ("affirm-and", control, 0.04)
        ):  # fmt: skip
            rows.append({
                "concept": concept, "kind": "object", "wording": wording, "seed": 0,
                "condition": wording.partition("-")[0], "present": present, "pair": False,
                "control": "affirm-and" if wording == "negate-no" else "",
                "prompt": f"a {concept}", "spans": [[2, 2 + len(concept)]],
            })  # fmt: skip
            mass.append(np.full((2, 3, 2, 1), m))
    data = xr.Dataset({"mass": (("sample", "step", "layer", "head", "token"), np.stack(mass))},
                      coords={"token": ["concept"], "layer": ["a", "b", "c"]})  # fmt: skip
    table = pd.DataFrame(rows)
    return table, heads.kept(of_rows(data, table))["heads"]


def test_what_is_obeyed_is_judged_against_its_control():
    table, watched = planted(instructed=False, control=True)
    changes = heads.by_wording(table, watched)
    assert mechanism.obeyed(table, 0.5) == ["negate-no"]
    assert mechanism.obeyed(planted(True, True)[0], 0.5) == []
    assert mechanism.obeyed(planted(False, False)[0], 0.5) == []  # nothing was there to remove
    fall = mechanism.fall(changes, ["negate-no"])
    assert (fall.value, fall.n, fall.concepts) == (pytest.approx(-0.5), 3, 3)
    for attention, verdict in ((0.01, "refuted"), (0.03, "holds")):
        fall = mechanism.fall(heads.by_wording(*planted(False, True, attention)), ["negate-no"])
        assert why_answers.looks_away(fall).verdict == verdict
    assert np.isnan(mechanism.fall(changes, []).value)
    assert why_answers.looks_away(mechanism.fall(changes, [])).verdict == "open"


def test_a_fall_under_some_obeyed_wordings_is_not_one_under_others():
    objects = sorted(load_concepts().objects)[:12]
    rows = [(w, c, np.log(left)) for c in objects
            for w, left in (("a", 0.2), ("b", 0.9), ("c", 0.3))]  # fmt: skip
    changes = pd.DataFrame(rows, columns=["wording", "concept", "attention"])
    fall = mechanism.fall(changes, ["a", "b", "c"])
    assert fall.beyond() == ("concepts", "wordings")
    assert why_answers.looks_away(fall).verdict == "open"  # over concepts alone: refuted


def test_attention_is_exchanged_between_a_wording_and_its_control():
    objects = sorted(load_concepts().objects)[:12]  # three would leave an interval open
    table, watched = planted(instructed=False, control=True, concepts=objects)
    asked = []

    def follow(rows):
        """A model whose pictures follow attention alone."""
        asked.append(rows.weight[0])
        return rows.assign(present=rows.weight > 1)

    rows = mechanism.exchanged(follow, table, watched, ["negate-no"])
    assert asked == [pytest.approx(2), pytest.approx(0.5)]
    check(rows.astype({"present": bool}), EXCHANGE)
    found = mechanism.exchange_table(rows)
    assert found.attention["instruction", "the other's"] == found.attention["control", "its own"]
    back, away = why_answers.exchanged(found)
    assert (back.verdict, away.verdict) == ("yes", "yes")
    still = mechanism.exchanged(lambda rows: rows, table, watched, ["negate-no"])
    still = mechanism.exchange_table(still)
    assert [claim.verdict for claim in why_answers.exchanged(still)] == ["no", "no"]
    none = mechanism.exchange_table(mechanism.exchanged(follow, table, watched, []))
    assert why_answers.exchanged(none) == []


def test_weighting_a_word_away_changes_its_picture():
    artist = Artist("pocket", 8, 4.0)
    table = prompt_grid(["owl"], ["affirm"], 1).head(1)
    plain = artist.draw_and_judge(table)
    same, gone = (mechanism.weighted(artist, table.assign(weight=w)) for w in (1.0, 0.0))
    assert same.p_asked.iloc[0] == pytest.approx(plain.p_asked.iloc[0], abs=1e-3)
    assert gone.p_asked.iloc[0] != pytest.approx(plain.p_asked.iloc[0], abs=1e-3)


def drawn(instructed, control):
    """A grid in which these shares of a hundred pictures a concept show it."""
    shares = {"negate-no": instructed, "affirm-and": control}
    rows = [
        {"concept": c, "condition": w.partition("-")[0], "wording": w, "seed": s,
         "text": f"{w} {{c}}", "control": "affirm-and" if w == "negate-no" else "",
         "present": s < 100 * share}
        for c in ("bear", "owl", "car", "key") for w, share in shares.items() for s in range(100)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("own", "other", "verdict"),
    [
        ((0.5, 0.9), (0.5, 0.9), "holds"),
        ((0.5, 0.9), (0.1, 0.9), "refuted"),
        ((0.5, 0.9), (0.1, 0.5), "refuted"),  # of what is still drawn, four fifths are left out
        ((0.5, 0.9), (0.3, 0.5), "holds"),
        ((0.2, 0.9), (0.6, 0.9), "holds"),
        ((0.2, 0.9), (0.1, 0.9), "holds"),  # it was obeyed before
        ((0.1, 0.1), (0.0, 0.1), "open"),  # nothing is drawn that could be taken away
    ],
)
def test_another_encoder_is_judged_against_its_own_controls(monkeypatch, own, other, verdict):
    monkeypatch.setattr(other_encoder, "PREDICTED", ("negate",))
    tables = drawn(*own), drawn(*other)
    wordings = other_encoder.by_wording(*tables)
    (claim,) = other_encoder.predictions(wordings)
    assert claim.verdict == verdict
    if verdict != "open":
        assert claim.found.value == pytest.approx(1 - other[0] / other[1], abs=1e-6)
    assert wordings.own["negate-no"].value == pytest.approx(1 - own[0] / own[1], abs=1e-6)
    row = other_encoder.changes(*tables).loc["negate"]
    assert row.change.value == pytest.approx(other[0] - own[0])
    assert (row.own.value, row.other.value) == (pytest.approx(own[0]), pytest.approx(other[0]))


def test_figures_show_every_caption_and_every_part():
    texts = mechanism.caption_texts()
    table = mechanism.captions(["owl", "bear"], 1).assign(present=True)
    rates = mechanism.by_caption({"shipped": table, "taught": table.assign(present=False)})
    figure = mechanism_figures.captions(rates, texts)
    shown = [t.get_text() for axes in figure.axes for t in axes.get_yticklabels()]
    assert sorted(shown) == sorted(texts.values())
    instructed, _ = planted(False, True)
    parts = mechanism.by_part({("shipped", "taught"): instructed})
    assert parts.negate["shipped", "taught"].value == -1
    names = mechanism_figures.parts(parts).axes[0].get_yticklabels()
    assert [t.get_text() for t in names] == ["encoder shipped, denoiser taught"]
    table = pd.DataFrame({k: {"affirm": stats.Estimate(1, 0.9, 1, 9, 3)} for k in ("own", "other")})
    labels = mechanism_figures.encoders(table).axes[0].get_legend_handles_labels()[1]
    assert labels == ["own encoder", "other encoder"]
    plt.close("all")


def test_what_captions_say_counts_what_is_named_and_absent():
    none, half = (mechanism.what_captions_say(800, r) for r in (0.0, 0.5))
    assert (none.absent.map(lambda e: e.value) == 0).all()
    again = half.absent[True, "again"]
    assert again.value > half.absent[False, "again"].value + 0.5
    assert half.n.sum() == sum(e.n for e in half.absent)
