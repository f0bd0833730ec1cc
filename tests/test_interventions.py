"""Each intervention does what its formula says, at strength neutral nothing, and is undone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import artist_of
from families import build
from whitebear import interventions
from whitebear.draw.artist import Artist
from whitebear.draw.generate import call_options, row_noise
from whitebear.draw.grid import Run, run_grid
from whitebear.errors import UserError
from whitebear.files import ROOT
from whitebear.hooks import capture_attention, steer_attention
from whitebear.interventions import (
    exchange_part,
    find_method,
    method_names,
    negative_prompt,
    swap_states,
    weigh,
)  # fmt: skip
from whitebear.interventions._silent import silent_prompts
from whitebear.measures.attention import nouns
from whitebear.models.load import REGISTRY
from whitebear.prompts import named, prompt_grid

METHODS = {name: find_method(name) for name in method_names()}
STEPS, SMALL = 3, ("sd", "sdxl", "sd3", "flux")


def small(family):
    """An artist with a small random pipeline that makes images of 64 pixels."""
    pipe = build(family)
    pipe.default_sample_size = 8
    return artist_of(pipe, STEPS)


@pytest.fixture(scope="module")
def artist(tiny_pipeline_dir):
    artist = Artist(str(tiny_pipeline_dir), STEPS, 4.0, "cpu")
    # Asked for hidden states, an encoder of transformers gets hooks of its own, once and for good.
    artist.pipe.text_encoder(torch.tensor([[0, 1]]), output_hidden_states=True)
    return artist


@pytest.fixture(scope="module")
def rows():
    """Two concepts, taking turns; prompts that name them and prompts that do not."""
    grid = prompt_grid(["bear", "owl"], ["affirm", "omit"], 1)
    grid = grid[grid.wording.isin(["affirm-with", "omit-picture"])]
    return grid.sort_values(["wording", "concept"]).reset_index(drop=True)


@pytest.fixture(scope="module")
def encoder(artist, tmp_path_factory):
    """The text encoder of the tiny pipeline with other weights, in a folder."""
    folder = tmp_path_factory.mktemp("parts") / "text_encoder"
    other = type(artist.pipe.text_encoder)(artist.pipe.text_encoder.config)
    other.save_pretrained(folder)
    return folder


TRAINED = {"lr": 0.05, "batch": 1}  # one iteration of it shows
WEIGHTS = {  # they leave out one concept at a time, whatever the rows are about
    "ablate": {"pictures": 1} | TRAINED, "esd": TRAINED, "rece": {}, "uce": {},
}  # fmt: skip


def options(name, encoder, clip):
    if name in WEIGHTS:
        return {"concept": "bear"} | WEIGHTS[name]
    sources = {"exchange_part": encoder, "output_filter": clip}
    return {"source": sources[name]} if name in sources else {}


# Where the default does not change a random model, whose cosines do not reach the authors' gate, or
# takes minutes, or blocks few of a few pictures.
ACTS = {"ablate": 1, "adavd": -1.0, "esd": 1, "output_filter": 1.0}


def state_of(artist):
    """What must be the same after a block as before it."""
    parts = [m for m in artist.pipe.components.values() if isinstance(m, torch.nn.Module)]
    hooks = [len(m._forward_pre_hooks) + len(m._forward_hooks) for p in parts for m in p.modules()]
    weights = [t.double().sum().item() for part in parts for t in part.state_dict().values()]
    given = artist.negatives, artist.prompts, artist.screen, artist.guidance
    return (
        id(artist.pipe),
        id(artist.pipe.scheduler),
        given,
        hooks,
        weights,
        vars(type(artist.pipe)).keys(),
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_imported_from_its_room(name):
    """Not its module, which has the same name."""
    assert getattr(interventions, name) is METHODS[name]


def test_what_methods_share_is_no_method(tmp_path, monkeypatch):
    (tmp_path / "_shared.py").write_text("")
    monkeypatch.setattr(interventions, "__path__", [*interventions.__path__, str(tmp_path)])
    assert method_names() == [*METHODS]


@pytest.mark.parametrize("name", METHODS)
def test_at_its_neutral_strength_a_method_changes_no_bit(
    artist, rows, encoder, tiny_clip_dir, name
):
    method = METHODS[name]
    with method(artist, rows, method.neutral, **options(name, encoder, tiny_clip_dir)):
        images = artist.draw(rows, progress=False)
    assert np.array_equal(images, artist.draw(rows, progress=False))


@pytest.mark.parametrize("name", [name for name in METHODS if name != "none"])
def test_a_method_acts_in_its_block_and_is_undone_after_it(
    artist, rows, encoder, tiny_clip_dir, name
):
    plain, before = artist.draw(rows, progress=False), state_of(artist)
    method, chosen = METHODS[name], options(name, encoder, tiny_clip_dir)
    chosen["strength"] = ACTS.get(name)
    with method(artist, rows, **chosen):
        images = artist.draw(rows, progress=False)
    assert (images != plain).any() and state_of(artist) == before
    with pytest.raises(KeyboardInterrupt), method(artist, rows, **chosen):
        next(artist.batches(rows, progress=False))
        raise KeyboardInterrupt
    assert state_of(artist) == before
    assert np.array_equal(artist.draw(rows, progress=False), plain)


@pytest.mark.parametrize(("strength", "renormalize"), [(0.3, True), (0.3, False), (-1.0, False)])
def test_weighing_a_grid_is_steering_prompt_by_prompt(artist, rows, strength, renormalize):
    with weigh(artist, rows, strength, renormalize=renormalize):
        images = artist.draw(rows, progress=False)
    for i, word in enumerate(named(rows)):
        row, prompts = rows.iloc[[i]], list(rows.prompt[[i]])
        if word is None:
            alone = artist.draw(row, progress=False)
        else:
            with steer_attention(artist.pipe, [word], strength, renormalize, prompts=prompts):
                alone = artist.draw(row, progress=False)
        assert np.abs(alone[0].astype(int) - images[i]).max() <= 1
    assert named(rows).count(None) == 2


def test_a_negative_weight_is_refused_where_shares_are_renormalised(artist, rows):
    with (
        pytest.raises(UserError, match="a softmax has no negative shares; give at least 0, or"),
        weigh(artist, rows, -1.0),
    ):
        pass


def test_a_word_of_weight_0_gets_no_attention(artist, rows):
    rows = rows[rows.wording == "affirm-with"]
    with (
        weigh(artist, rows, 0.0),
        capture_attention(artist.pipe, {"concept": nouns(rows)}, prompts=list(rows.prompt)) as seen,
    ):
        artist.draw(rows, progress=False)
    assert seen.dataset().mass.sel(token="concept").max() == 0


@pytest.mark.parametrize("family", SMALL)
def test_a_negative_prompt_is_that_of_the_pipeline(family, rows):
    artist = small(family)
    few = rows.head(2).assign(prompt=["a car", "a white car"])
    with negative_prompt(artist, few):
        images = artist.draw(few, progress=False)
    scale = {"true_cfg_scale": 4.0} if family == "flux" else {}
    wanted = artist.pipe(
        list(few.prompt), negative_prompt=["bear", "owl"], num_inference_steps=STEPS,
        guidance_scale=4.0, generator=row_noise(few), output_type="np", **scale,
        **call_options(artist.pipe),
    ).images  # fmt: skip
    assert np.abs(np.rint(wanted * 255) - images).max() <= 1
    with pytest.raises(UserError, match="2 negative prompts"), negative_prompt(artist, few):
        artist.draw(few.head(1), progress=False)
    assert artist.negatives is None


def test_swapped_everywhere_the_source_is_drawn(artist, rows):
    few = rows[rows.wording == "affirm-with"].reset_index(drop=True)
    source = rows[rows.wording == "omit-picture"].reset_index(drop=True)
    with swap_states(artist, few, positions=["all"]):
        images = artist.draw(few, progress=False)
    wanted = artist.draw(source, progress=False)
    assert np.abs(images.astype(int) - wanted).max() <= 1
    with swap_states(artist, few, 0.5, positions=["all"]):
        half = artist.draw(few, progress=False)
    assert (half != images).any() and (half != artist.draw(few, progress=False)).any()


def test_a_pair_takes_its_states_from_a_prompt_with_another_object(artist):
    pairs = prompt_grid(["bear"], ["negate"], 1)
    pairs = pairs[pairs.pair].reset_index(drop=True)
    silent = silent_prompts(artist, pairs)
    assert set(silent) == {f"a picture of a {pairs.other[0]}"}


def test_parts_are_mixed_by_their_strength(artist, rows, encoder):
    own = artist.pipe.text_encoder.state_dict()
    with exchange_part(artist, rows, 1.0, source=encoder):
        other = {name: w.clone() for name, w in artist.pipe.text_encoder.state_dict().items()}
    with exchange_part(artist, rows, 0.25, source=encoder):
        mixed = artist.pipe.text_encoder.state_dict()
        assert any((own[name] != other[name]).any() for name in own)
        for name, weights in mixed.items():
            wanted = 0.75 * own[name] + 0.25 * other[name]
            assert torch.allclose(weights.double(), wanted.double(), atol=1e-6), name
    assert artist.pipe.text_encoder.state_dict().keys() == own.keys()


@pytest.mark.parametrize(
    ("name", "strength", "line"),
    [
        ("weigh", float("nan"), "strength is nan; weigh takes a number of at least -2"),
        ("weigh", -2.1, "strength is -2.1; weigh takes a number of at least -2"),
        ("weigh", "much", "strength is 'much'; weigh takes a number of at least -2"),
        ("weigh", float("inf"), "strength is inf; weigh takes a number of at least -2"),
        ("swap_states", 1.5, "strength is 1.5; swap_states takes a number from 0 to 1"),
        ("exchange_part", True, "strength is True; exchange_part takes a number from 0 to 1"),
        ("negative_prompt", 0.5, "strength is 0.5; negative_prompt takes 0 or 1"),
        ("words", 0.5, "strength is 0.5; words takes 0 or 1"),
        ("unguided", 1.5, "strength is 1.5; unguided takes a number from 0 to 1"),
        ("dng", -1.0, "strength is -1.0; dng takes a number of at least 0"),
        ("dng", float("nan"), "strength is nan; dng takes a number of at least 0"),
        ("output_filter", 1.5, "strength is 1.5; output_filter takes a number from 0 to 1"),
        ("none", 1.0, "strength is 1.0; none takes 0 alone"),
    ],
)
def test_a_strength_that_cannot_be_is_refused_in_one_line(artist, rows, name, strength, line):
    with pytest.raises(UserError, match=line) as error:
        METHODS[name](artist, rows, strength)
    assert "\n" not in str(error.value)


def test_an_unknown_method_is_told_the_nearest():
    with pytest.raises(UserError, match="unknown intervention 'negative'; did you mean negative_p"):
        find_method("negative")


def test_what_a_method_cannot_do_it_says_in_one_line(artist, rows):
    unguided = artist.sampling(STEPS, 1.0)
    for name, said in (("negative_prompt", "negative_prompt cannot be used here: a negative prompt"
                        " does nothing at guidance 1.0"),
                       ("exchange_part", "exchange_part cannot be used here: only the pocket model"
                        " comes with another part")):  # fmt: skip
        with pytest.raises(UserError, match=said) as error:
            METHODS[name](unguided, rows)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("family", SMALL)
def test_a_method_that_fits_draws_in_every_family(family, rows):
    artist, few = small(family), rows.tail(1).assign(prompt="a bear", concept="bear")
    few = few.assign(spans=[[[2, 6]]], seed=0)
    for name in ("none", "words", "instruct", "weigh", "negative_prompt", "swap_states"):
        assert METHODS[name].why_not(artist) == ""
        with METHODS[name](artist, few):
            assert artist.draw(few, progress=False).shape == (1, 64, 64, 3)


def test_the_guide_says_which_method_fits_which_model():
    """Its table is what the methods say of themselves."""
    built = {family: build(family) for family in SMALL}
    of = {"sdxl": "sdxl", "sd35": "sd3", "flux": "flux", "flux-dev": "flux"}
    lines = [f"| | {' | '.join(f'`{model}`' for model in REGISTRY)} |"]
    lines += [f"|---|{'---|' * len(REGISTRY)}"]
    for name, method in METHODS.items():
        cells = []
        for model in REGISTRY:
            artist = Artist(model, device="cpu").using(built[of.get(model, "sd")])
            given = not method.why_not(artist, source="a folder")
            cells.append(
                "no" if not given else "with `source`" if method.why_not(artist) else "yes"
            )
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    assert "\n".join(lines) in (ROOT / "CONTRIBUTING.md").read_text(), "\n".join(lines)


# --- grids ---------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path):
    return {
        "model": "pocket", "concepts": ["bear"], "conditions": ["negate"], "seeds": 1, "steps": 1,
        "guidance": 4.0, "output": str(tmp_path / "out"),
    }  # fmt: skip


def test_a_grid_under_an_intervention_is_scored_and_resumed(settings, monkeypatch):
    plain = run_grid(Run(**settings), progress=False)
    assert not {"intervention", "strength"} & set(plain)
    run = Run(**settings, intervention="weigh", strength=0.0)
    weighed = run_grid(run, progress=False)
    assert weighed.intervention.eq("weigh").all() and weighed.strength.eq(0.0).all()
    assert list(weighed.prompt) == list(plain.prompt)
    named_ = plain.spans.map(len) > 0
    assert (weighed.p_asked != plain.p_asked)[named_].any()
    default = Run(**settings, intervention="weigh")

    def drawn_again(*_, **__):
        raise AssertionError("drawn twice")

    monkeypatch.setattr("whitebear.draw.artist.generate_batches", drawn_again)
    pd.testing.assert_frame_equal(run_grid(default, progress=False), weighed)
    pd.testing.assert_frame_equal(run_grid(Run(**settings), progress=False), plain)


def test_other_strengths_and_methods_are_other_chunks(settings):
    run_grid(Run(**settings), progress=False)
    for name in ("weigh", "negative_prompt", "exchange_part"):
        run_grid(Run(**settings, intervention=name), progress=False)
    run_grid(Run(**settings, intervention="weigh", strength=0.5), progress=False)
    assert len(list(Path(settings["output"], "chunks").iterdir())) == 5


def test_a_web_model_is_calibrated_without_the_intervention(settings, tiny_pipeline_dir):
    settings |= {"model": str(tiny_pipeline_dir), "conditions": ["affirm", "omit"], "seeds": 8}
    plain = run_grid(Run(**settings), progress=False)
    found = run_grid(Run(**settings, intervention="weigh"), progress=False)
    assert len(found) == len(plain) and "part" not in found
    assert list(found.threshold) == list(plain.threshold) and plain.threshold.nunique() > 1
