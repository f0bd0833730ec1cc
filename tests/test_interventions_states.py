"""Interventions on text states and values: each against its formula written out."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import artist_of
from families import build
from whitebear.errors import UserError
from whitebear.hooks import edit_text
from whitebear.hooks.edit import read_states
from whitebear.hooks.words import occurrences
from whitebear.interventions import (
    adavd,
    clip_skip,
    find_method,
    leace,
    safree,
    suppress_states,
)
from whitebear.interventions.adavd import cosines, open_share
from whitebear.interventions.leace import SENTENCES, carried, fit_erasers
from whitebear.interventions.suppress_states import kept_norm
from whitebear.prompts import load_wordings

STEPS = 2
PROMPTS = [("bear", "a bear and a car"), ("car", "a white car"), ("bear", "a white car")]
FIT = [f"{start} {noun}" for noun in ("bear", "car") for start in ("a", "the", "one", "my", "no")]
CHOSEN = {  # strengths and options with which a small random pipeline is changed
    "suppress_states": (0.1, {}),
    "leace": (0.5, {"prompts": FIT}),
    "safree": (0.01, {}),
    "adavd": (0.1, {"slope": 5.0}),
    "clip_skip": (1, {}),
}


@pytest.fixture(scope="module")
def artists():
    found = {}
    for family in ("sd", "sdxl", "sd3", "flux"):
        pipe = build(family)
        pipe.default_sample_size = 8
        found[family] = artist_of(pipe, STEPS)
    return found


@pytest.fixture
def artist(artists):
    return artists["sd"]


@pytest.fixture(scope="module")
def rows():
    """The last row's prompt does not name its concept."""
    spans = [[list(x) for x in occurrences(text, concept)] for concept, text in PROMPTS]
    table = pd.DataFrame(PROMPTS, columns=["concept", "prompt"])
    return table.assign(seed=range(len(PROMPTS)), spans=spans)


def drawn(artist, rows, method=None, strength=None, **options):
    """Images, and what the denoiser read: text states (2 rows, n_text, D) of each of its calls."""
    seen = []

    def note(module, args, kwargs):
        seen.append(kwargs["encoder_hidden_states"].clone())

    with (method or find_method("none"))(artist, rows, strength, **options):
        handle = artist.pipe.unet.register_forward_pre_hook(note, with_kwargs=True)
        try:
            images = artist.draw(rows, progress=False)
        finally:
            handle.remove()
    return images, seen


def letters(prompt, word):
    """Positions of a word's first occurrence: a token a letter, behind the first."""
    start = 1 + len(prompt[: prompt.index(word)].replace(" ", ""))
    return list(range(start, start + len(word)))


def end_of(prompt):
    return 1 + len(prompt.replace(" ", ""))


def close(found, wanted):
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), atol=1e-5)


# --- the hook ------------------------------------------------------------------------------------


def test_a_function_edits_each_image_and_is_told_where_words_stand(artist, rows):
    told = []

    def edit(row, states, places):
        told.append(
            (row, {name: keys.nonzero().flatten().tolist() for name, keys in places.items()})
        )
        return states + row

    words = ["bear", "car", None]
    _, plain = drawn(artist, rows)
    with edit_text(artist.pipe, list(rows.prompt), edit, words):
        _, seen = drawn(artist, rows)
    for before, after in zip(plain, seen, strict=True):
        close(after[:3], before[:3])  # the unguided half
        close(after[3:], before[3:] + torch.arange(3)[:, None, None])
    assert [row for row, _ in told] == [0, 1, 2]
    prompt = rows.prompt[0]
    assert told[0][1] == {
        "concept": letters(prompt, "bear"), "bos": [0], "eos": [end_of(prompt)],
        "pad": list(range(end_of(prompt) + 1, 77)),
    }  # fmt: skip
    assert told[2][1]["concept"] == []
    with pytest.raises(UserError, match="after is 2; give a share of the steps, from 0 to 1"):
        edit_text(artist.pipe, ["a"], edit, after=2)
    with (
        pytest.raises(UserError, match="prompts says 'a car', but 'a bear and a car' is drawn"),
        edit_text(artist.pipe, ["a car"] * 3, edit),
    ):
        drawn(artist, rows)


# --- suppress_states -----------------------------------------------------------------------------


def test_singular_values_shrink_by_the_formula(artist, rows):
    _, plain = drawn(artist, rows)
    _, seen = drawn(artist, rows, suppress_states, 0.3)
    kept = kept_norm(artist, rows, 0.3)
    for i, (concept, prompt) in enumerate(PROMPTS[:2]):
        keys = [*letters(prompt, concept), *range(end_of(prompt), 77)]
        others = [k for k in range(77) if k not in keys]
        chi = plain[0][3 + i][keys].double().numpy().T  # states as columns
        u, s, vt = np.linalg.svd(chi, full_matrices=False)
        wanted = sum(
            value * np.exp(-0.3 * value) * np.outer(u[:, j], vt[j]) for j, value in enumerate(s)
        )
        for call in seen:
            close(call[3 + i][keys], wanted.T)
            assert torch.equal(call[3 + i][others], plain[0][3 + i][others])
        assert kept[i] == pytest.approx(np.linalg.norm(wanted) / np.linalg.norm(chi), rel=1e-5)
    assert torch.equal(seen[0][5], plain[0][5]) and np.isnan(kept[2])  # the word is not there


def test_a_large_strength_zeroes_and_roles_and_steps_are_chosen(artist, rows):
    _, plain = drawn(artist, rows)
    _, zeroed = drawn(artist, rows, suppress_states, 1e6)
    prompt = rows.prompt[0]
    keys = [*letters(prompt, "bear"), *range(end_of(prompt), 77)]
    assert zeroed[0][3][keys].abs().max() < 1e-5 < plain[0][3][keys].abs().max()
    assert kept_norm(artist, rows, 1e6)[0] < 1e-5 and kept_norm(artist, rows, 0.0)[
        0
    ] == pytest.approx(1)
    _, name = drawn(artist, rows, suppress_states, 1e6, roles=[])
    changed = (name[0][3] != plain[0][3]).any(-1).nonzero().flatten().tolist()
    assert changed == letters(prompt, "bear")
    _, late = drawn(artist, rows, suppress_states, 1e6, after=0.5)
    assert torch.equal(late[0], plain[0]) and torch.equal(late[1], zeroed[1])


# --- leace ---------------------------------------------------------------------------------------


def fitted_states(artist):
    """Every state but the first of each prompt of FIT, and whether its prompt names a bear."""
    states = [own[1:].double().numpy() for own, _ in read_states(artist.pipe, FIT)]
    z = np.repeat([float("bear" in text) for text in FIT], 76)
    return np.concatenate(states), z


def test_states_are_mixed_with_the_erased_ones_of_the_formula(artist, rows):
    from concept_erasure.shrinkage import optimal_linear_shrinkage

    x, z = fitted_states(artist)
    centred, mean = x - x.mean(0), x.mean(0)
    covariance = optimal_linear_shrinkage(
        torch.from_numpy(centred.T @ centred / len(x)), len(x)
    ).numpy()
    values, vectors = np.linalg.eigh(covariance)
    values, large = values.clip(1e-300), values > values[-1] * 16 * np.finfo(float).eps
    w = vectors @ np.diag(np.where(large, values**-0.5, 0)) @ vectors.T
    back = vectors @ np.diag(np.where(large, values**0.5, 0)) @ vectors.T
    across = (w @ (centred.T @ (z - z.mean()) / (len(x) - 1)))[:, None]
    p = across @ np.linalg.inv(across.T @ across) @ across.T
    assert np.trace(covariance) >= np.trace(
        (np.eye(16) - back @ p @ w) @ covariance @ (np.eye(16) - back @ p @ w).T
    )  # else the package would mix the projection with an orthogonal one

    _, plain = drawn(artist, rows)
    _, seen = drawn(artist, rows, leace, 0.5, prompts=FIT)
    own = plain[0][3].double().numpy()[1:]
    erased = own - (own - mean) @ (back @ p @ w).T
    for call in seen:
        close(call[3][1:], (own + erased) / 2)
        assert torch.equal(call[3][0], plain[0][3][0])  # the first token
        assert (call[5][1:] != plain[0][5][1:]).any()  # its prompt does not name it: erased too


def test_no_linear_reader_finds_the_concept_in_erased_states(artist):
    x, z = fitted_states(artist)
    (eraser,) = fit_erasers(artist, ["bear"], FIT)["bear"]
    erased = eraser(torch.from_numpy(x).float()).double().numpy()
    across = [(states - states.mean(0)).T @ (z - z.mean()) for states in (x, erased)]
    assert np.abs(across[1]).max() < 1e-3 * np.abs(across[0]).max()


def test_erasers_of_several_concepts_are_those_of_each_alone(artist):
    together = fit_erasers(artist, ["bear", "car"], FIT)
    for concept in together:
        (both,), (alone,) = together[concept], fit_erasers(artist, [concept], FIT)[concept]
        close(both.P, alone.P)


def test_it_is_fitted_on_no_sentence_of_the_grids(artist):
    texts = set(load_wordings().text)
    assert not set(SENTENCES) & texts
    assert len(carried(artist, ["bear"])) == len(set(carried(artist, ["bear"]))) == 240


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"prompts": FIT[:8]}, "of the 8 prompts to fit on, 5 name 'bear'; leace needs at least 4"),
        ({"prompts": ["a bear"] * 9}, "of the 9 prompts to fit on, 9 name 'bear'; leace needs at"),
        ({"prompts": FIT, "svd_tol": 50.0}, "leace found nothing to erase of 'bear': what tells"),
    ],
)
def test_a_fit_that_cannot_be_is_refused_in_one_line(artist, rows, options, line):
    with pytest.raises(UserError, match=line) as error, leace(artist, rows, 1.0, **options):
        pass
    assert "\n" not in str(error.value)


def test_fewer_states_than_features_are_refused(artists, rows, monkeypatch):
    import whitebear.interventions.leace  # noqa: F401

    few = [(states[:2], {k: v[:2] for k, v in places.items()})
           for states, places in read_states(artists["sd"].pipe, FIT)]  # fmt: skip
    module = __import__("sys").modules["whitebear.interventions.leace"]
    monkeypatch.setattr(module, "read_states", lambda *_: few)
    monkeypatch.setattr(module, "stretches", lambda *_: [slice(0, 2)])
    said = "10 prompts have 10 states to fit 16 features on; leace needs more states"
    with pytest.raises(UserError, match=said):
        fit_erasers(artists["sd"], ["bear"], FIT)


def test_without_the_package_it_says_what_to_install(artist, rows, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = 'leace cannot be used here: the package concept-erasure is not installed; pip install "c'
    with pytest.raises(UserError, match=said):
        leace(artist, rows)


# --- safree --------------------------------------------------------------------------------------


def states_of(artist, ids):
    return artist.pipe.text_encoder(torch.tensor([ids]))[0][0].detach().double().numpy()


def projection_on(columns):
    e = np.stack(columns, 1)
    return e @ np.linalg.pinv(e.T @ e, rcond=1e-12) @ e.T


def ids_of(artist, text):
    return artist.pipe.tokenizer(text, padding="max_length", max_length=77).input_ids


@pytest.mark.parametrize("strength", [-1.0, 0.01, 0.1])
def test_triggers_are_projected_by_the_formula(artist, rows, strength):
    _, plain = drawn(artist, rows)
    phrases = ["{c}", "my {c}"]
    _, seen = drawn(artist, rows, safree, strength, phrases=phrases)
    for i, (concept, prompt) in enumerate(PROMPTS):
        texts = [phrase.format(c=concept) for phrase in phrases]
        p_c = projection_on([states_of(artist, ids_of(artist, t))[end_of(t)] for t in texts])
        pooled = []
        for token in range(1, end_of(prompt)):
            ids = ids_of(artist, prompt)
            ids[token] = 0
            pooled.append(states_of(artist, ids)[end_of(prompt)])
        p_i = projection_on(pooled)
        d = [np.linalg.norm(p - p_c @ p) for p in pooled]
        wanted = plain[0][3 + i].double().numpy().copy()
        hits = []
        for j, own in enumerate(d):
            if own >= (1 + strength) * np.mean([x for k, x in enumerate(d) if k != j]):
                hits.append(j)
                wanted[1 + j] = (np.eye(16) - p_c) @ p_i @ wanted[1 + j]
        assert hits or strength > 0
        assert strength > -1 or len(hits) == len(d)
        for call in seen:
            np.testing.assert_allclose(call[3 + i].numpy(), wanted, atol=1e-4)


def test_the_published_form_adds_a_negative_prompt(artist, rows):
    _, alone = drawn(artist, rows, safree)
    _, both = drawn(artist, rows, safree, negative=True)
    assert torch.equal(alone[0][3:], both[0][3:])
    text = "bear, a bear, a photo of a bear, an image of a bear"
    close(both[0][0], states_of(artist, ids_of(artist, text)))
    assert artist.negatives is None
    unguided = artist.sampling(STEPS, 1.0)
    assert safree.why_not(unguided) == ""
    with pytest.raises(UserError, match="safree cannot be used here: a negative prompt does noth"):
        safree(unguided, rows, negative=True)


# --- adavd ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strength", "options", "f"),
    [
        (0.1, {"slope": 5.0}, lambda x: 2 / (1 + math.exp(-5 * (x - 0.1)))),
        (-1.0, {"height": 1.0, "slope": 1e4}, lambda x: 1.0),  # the complement without a gate
    ],
)
def test_values_lose_the_direction_of_the_concept_by_the_formula(
    artist, rows, strength, options, f
):
    images, _ = drawn(artist, rows, adavd, strength, **options)
    handles = []
    for path, module in artist.pipe.unet.named_modules():
        if path.endswith("attn2.to_v"):

            def off(module, args, values):
                values = values.detach().clone()
                for i, (concept, _) in enumerate(PROMPTS):
                    last = states_of(artist, ids_of(artist, concept))[len(concept)]
                    star = module.weight.detach().double().numpy() @ last
                    for key in range(1, 77):
                        v = values[3 + i, key].double().numpy()
                        cosine = v @ star / np.linalg.norm(v) / np.linalg.norm(star)
                        v = v - f(cosine) * (v @ star) / (star @ star) * star
                        values[3 + i, key] = torch.from_numpy(v)
                return values

            handles.append(module.register_forward_hook(off))
    wanted = artist.draw(rows, progress=False)
    for handle in handles:
        handle.remove()
    assert handles and np.abs(images.astype(int) - wanted).max() <= 1
    assert (wanted != artist.draw(rows, progress=False)).any()


def test_cosines_are_those_that_the_gate_sees(artist, rows):
    found = cosines(artist, rows)
    layers = [n for n, _ in artist.pipe.unet.named_modules() if n.endswith("attn2")]
    assert set(found.layer) == set(layers) and len(found) == len(layers) * 3 * 76
    seen = []

    def note(cosine):
        seen.append(cosine)
        return torch.zeros_like(cosine)

    from whitebear.interventions.adavd import Decomposing, last_states

    targets = last_states(artist, list(rows.concept))
    with Decomposing(artist.pipe, list(rows.prompt), targets, note):
        artist.draw(rows, progress=False)
    assert len(seen) == len(layers) * STEPS
    wanted = torch.stack(seen[: len(layers)])[:, :, 1:].flatten().sort().values
    close(np.sort(found.cosine), wanted)
    share = open_share(found, 0.2)
    assert set(share.index) == {"concept", "eos", "pad", "other"}
    pad = found[found.role == "pad"].cosine
    assert share["pad"] == np.mean([x >= 0.2 for x in pad])


def test_a_unet_that_changes_text_states_first_is_refused(rows):
    artist = artist_of(build("sd"), STEPS)
    artist.pipe.unet.register_to_config(encoder_hid_dim_type="text_proj")
    said = "adavd cannot be used here: its UNet changes text states before attention reads them"
    with pytest.raises(UserError, match=said):
        adavd(artist, rows)
    with pytest.raises(UserError, match=said):
        cosines(artist, rows)


# --- clip_skip -----------------------------------------------------------------------------------


@pytest.mark.parametrize("skip", [1, 2])
def test_states_are_those_of_an_earlier_layer_after_the_final_norm(artist, rows, skip):
    _, plain = drawn(artist, rows)
    _, seen = drawn(artist, rows, clip_skip, skip)
    encoder = artist.pipe.text_encoder
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    for i, prompt in enumerate(rows.prompt):
        ids = torch.tensor([ids_of(artist, prompt)])
        layers = encoder(ids, output_hidden_states=True).hidden_states
        close(seen[-1][3 + i], norm(layers[len(layers) - 1 - skip])[0].detach())
    assert torch.equal(seen[0][:3], plain[0][:3])


def test_for_sdxl_it_is_the_option_of_the_pipeline(artists, rows):
    artist, own = artists["sdxl"], type(artists["sdxl"].pipe)
    with clip_skip(artist, rows, 1):
        images = artist.draw(rows, progress=False)
    call = own.__call__

    class Skipping(own):
        def __call__(self, *args, **kwargs):
            return call(self, *args, clip_skip=1, **kwargs)

    artist.pipe.__class__ = Skipping
    try:
        wanted = artist.draw(rows, progress=False)
    finally:
        artist.pipe.__class__ = own
    assert np.abs(images.astype(int) - wanted).max() <= 1
    assert (wanted != artist.draw(rows, progress=False)).any()


def test_more_layers_than_there_are_cannot_be_skipped(artists, rows):
    for family, most in (("sd", 2), ("sdxl", 1)):
        with (
            pytest.raises(UserError, match=f"strength is 3; .* has layers to skip up to {most}"),
            clip_skip(artists[family], rows, 3),
        ):
            pass


# --- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHOSEN)
def test_a_row_is_the_same_alone_and_among_others(artist, rows, name, monkeypatch):
    strength, options = CHOSEN[name]
    method = find_method(name)
    images, _ = drawn(artist, rows, method, strength, **options)
    plain, _ = drawn(artist, rows)
    for i in range(len(rows)):
        row = rows.iloc[[i]].reset_index(drop=True)
        alone, _ = drawn(artist, row, method, strength, **options)
        assert np.abs(alone[0].astype(int) - images[i]).max() <= 1
    monkeypatch.setattr(artist, "batch", 1)
    with method(artist, rows, strength, **options):  # in three calls of the pipeline
        single = artist.draw(rows, progress=False)
    assert np.abs(single.astype(int) - images).max() <= 1
    assert (images != plain).any()


@pytest.mark.parametrize("name", CHOSEN)
def test_nothing_is_left_behind_by_an_error(artist, rows, name):
    strength, options = CHOSEN[name]
    plain, before = drawn(artist, rows)[0], dict(vars(artist.pipe.unet))
    with (
        pytest.raises(KeyboardInterrupt),
        find_method(name)(artist, rows, strength, **options),
    ):
        artist.draw(rows, progress=False)
        raise KeyboardInterrupt
    parts = artist.pipe.unet.modules()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in parts)
    assert dict(vars(artist.pipe.unet)).keys() == before.keys() and artist.negatives is None
    assert np.array_equal(artist.draw(rows, progress=False), plain)


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
def test_it_draws_where_it_fits_and_says_where_not(artists, rows, family, name):
    artist, (strength, options) = artists[family], CHOSEN[name]
    method = find_method(name)
    if family == "sdxl" or name in ("suppress_states", "leace"):
        with method(artist, rows[:2], strength, **options):
            images = artist.draw(rows[:2], progress=False)
        assert (images != artist.draw(rows[:2], progress=False)).any()
        return
    with pytest.raises(UserError, match=f"{name} cannot be used here: ") as error:
        method(artist, rows, strength, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "strength", "line"),
    [
        ("suppress_states", math.nan, "strength is nan; suppress_states takes a number of at l"),
        ("suppress_states", -0.1, "strength is -0.1; suppress_states takes a number of at least 0"),
        ("leace", 1.1, "strength is 1.1; leace takes a number from 0 to 1"),
        ("safree", math.nan, "strength is nan; safree takes a number of at least -1 or inf"),
        ("safree", -math.inf, "strength is -inf; safree takes a number of at least -1 or inf"),
        ("adavd", 1.1, "strength is 1.1; adavd takes a number from -1 to 1 or inf"),
        ("clip_skip", 0.5, "strength is 0.5; clip_skip takes a whole number of at least 0"),
        ("clip_skip", -1, "strength is -1; clip_skip takes a whole number of at least 0"),
    ],
)
def test_a_strength_that_cannot_be_is_refused_in_one_line(artist, rows, name, strength, line):
    with pytest.raises(UserError, match=line) as error:
        find_method(name)(artist, rows, strength)
    assert "\n" not in str(error.value)
