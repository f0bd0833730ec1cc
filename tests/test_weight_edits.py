"""Edits of weights: each is its formula written out, and afterwards every bit is what it was."""

import numpy as np
import pytest
import torch

from conftest import artist_of
from families import build
from whitebear.draw.artist import Artist
from whitebear.draw.cache import Cache
from whitebear.errors import UserError
from whitebear.files import DATA
from whitebear.interventions import (
    _training,
    ablate,
    adversarial_states,
    esd,
    find_method,
    rece,
    uce,
    untouched,
)
from whitebear.interventions._weights import CARRIERS, cross_attention_weights
from whitebear.prompts import load_wordings, prompt_grid
from whitebear.prompts.wordings import read_csv

STEPS = 2
# Strengths and options that are prepared in no time, and act.
FAST = {"uce": 1.0, "rece": 2.0, "esd": 1, "ablate": 1}
CHOSEN = {"esd": {"lr": 0.05}, "ablate": {"lr": 0.05, "batch": 1, "pictures": 1}}
EDITS = {
    "uce": (".attn2.to_k.", ".attn2.to_v."), "rece": (".attn2.to_k.", ".attn2.to_v."),
    "ablate": (".attn2.to_k.", ".attn2.to_v."), "esd": (".attn2.",),
}  # fmt: skip


@pytest.fixture(scope="module")
def artist(tiny_pipeline_dir):
    return Artist(str(tiny_pipeline_dir), STEPS, 4.0, "cpu")


@pytest.fixture(scope="module")
def rows():
    grid = prompt_grid(["bear"], ["affirm", "omit"], 2)
    return grid[grid.wording.isin(["affirm-with", "omit-picture"])].reset_index(drop=True)


def weights_of(artist):
    return {name: w.clone() for name, w in artist.pipe.unet.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def states(artist, text):
    """(positions, width), in double precision."""
    return artist.pipe.encode_prompt(text, "cpu", 1, False)[0][0].detach().double().numpy()


def keys_and_values(artist):
    return {
        f"{path}.{part}.weight": getattr(module, part).weight.detach().double().numpy()
        for path, module in artist.pipe.unet.named_modules() if path.endswith("attn2")
        for part in ("to_k", "to_v")
    }  # fmt: skip


def written_out(weight, pairs, retained, lam, erase, preserve):
    """W' of UCE for one matrix, term by term. pairs: (c, g); retained: c_j."""
    width = weight.shape[1]
    left, right = lam * weight, lam * np.eye(width)
    for c, g in pairs:
        left = left + erase * np.outer(weight @ g, c)
        right = right + erase * np.outer(c, c)
    for c in retained:
        left = left + preserve * np.outer(weight @ c, c)
        right = right + preserve * np.outer(c, c)
    return left @ np.linalg.inv(right)


def inside(artist, method, rows, strength, **options):
    with method(artist, rows, strength, **CHOSEN.get(method.name, {}) | options):
        return weights_of(artist)


def block(name, artist, rows):
    return find_method(name)(artist, rows, FAST[name], **CHOSEN.get(name, {}))


LAST = 4  # of "bear" alone: the start token, then a token a letter


def test_uce_of_2023_moves_the_name_and_all_behind_it(artist, rows):
    found = inside(artist, uce, rows, 1.0)
    name, empty = states(artist, "bear")[LAST:], states(artist, "")
    pairs = list(zip(name, empty, strict=False))
    assert len(pairs) == len(name)
    for key, weight in keys_and_values(artist).items():
        wanted = written_out(weight, pairs, empty, 0.1, 1.0, 1.0)
        assert np.allclose(found[key], wanted, atol=1e-5), key
        assert np.abs(wanted - weight).max() > 1e-3


def test_uce_of_2025_moves_the_last_token_of_the_bare_name(artist, rows):
    chosen = {"guide": "car", "retain": ["owl", ""], "erase": 0.5, "preserve": 0.3, "lam": 0.2}
    found = inside(artist, uce, rows, 1.0, form="2025")
    other = inside(artist, uce, rows, 1.0, form="2025", **chosen)
    name, car, owl = (states(artist, text)[at] for text, at in
                      (("bear", LAST), ("car", LAST - 1), ("owl", LAST - 1)))  # fmt: skip
    start = states(artist, "")[0]
    for key, weight in keys_and_values(artist).items():
        wanted = written_out(weight, [(name, start)], [], 0.5, 1.0, 1.0)
        assert np.allclose(found[key], wanted, atol=1e-5), key
        wanted = written_out(weight, [(name, car)], [owl, start], 0.2, 0.5, 0.3)
        assert np.allclose(other[key], wanted, atol=1e-5), key


def test_uce_with_carriers_moves_the_name_where_sentences_have_it(artist, rows):
    found = inside(artist, uce, rows, 1.0, form="carrier", retain=["owl"], guide="car")
    pairs, owls = [], []
    for text in CARRIERS:
        head = len(text.format(c="").replace(" ", ""))  # letters before the name
        bear, car = states(artist, text.format(c="bear")), states(artist, text.format(c="car"))
        owl = states(artist, text.replace("a {c}", "an owl"))
        pairs.append((bear[head + 4], car[head + 3]))
        owls.append(owl[head + 4])  # "an" has a letter more
    for key, weight in keys_and_values(artist).items():
        wanted = written_out(weight, pairs, owls, 0.5, 1.0, 1.0)
        assert np.allclose(found[key], wanted, atol=1e-5), key


def test_no_carrier_is_a_wording_that_is_asked_for():
    arena = read_csv(
        DATA / "arena" / "families.csv", ("family", "id", "heldout", "other", "colour", "text")
    )
    assert not set(CARRIERS) & {*load_wordings().text, *arena.text}


def test_strength_mixes_the_edit_with_the_weights(artist, rows):
    whole, half = inside(artist, uce, rows, 1.0), inside(artist, uce, rows, 0.25)
    for key, weight in keys_and_values(artist).items():
        assert np.allclose(half[key], 0.75 * weight + 0.25 * whole[key].numpy(), atol=1e-5), key


def test_a_round_of_rece_erases_the_state_that_undoes_the_edit(artist, rows):
    found = inside(artist, rece, rows, 2.0, form="2025", lam=0.3)
    old, empty = keys_and_values(artist), states(artist, "")
    name, start = states(artist, "bear"), states(artist, "")[0]
    new = {k: written_out(w, [(name[LAST], start)], [], 0.5, 1, 1) for k, w in old.items()}
    for _ in range(2):
        gram = sum(new[k].T @ new[k] for k in old) + 0.3 * np.eye(name.shape[1])
        cross = sum(new[k].T @ old[k] for k in old)
        back = [np.linalg.inv(gram) @ cross @ c for c in name]
        pairs = list(zip(back, empty, strict=True))
        new = {k: written_out(w, pairs, empty, 0.1, 1, 0.1) for k, w in new.items()}
    for key, wanted in new.items():
        assert np.allclose(found[key], wanted, atol=1e-4), key


def test_the_adversarial_state_is_read_as_the_state_was(artist, rows):
    """Where an edit can be inverted, and with next to no ridge."""
    old = [w.detach() for w in cross_attention_weights(artist.pipe.unet).values()]
    new = [w @ (torch.eye(w.shape[1]) * 0.5 + 0.1) for w in old]
    state = torch.from_numpy(states(artist, "bear"))
    back = adversarial_states(state, new, old, lam=1e-9)
    for a, b in zip(new, old, strict=True):
        assert torch.allclose(back @ a.double().T, state @ b.double().T, atol=1e-5)
    with pytest.raises(UserError, match="lam is 0; give a number above 0"):
        adversarial_states(state, new, old, lam=0)


# --- blocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAST)
def test_only_what_a_method_says_is_edited_and_put_back_to_the_bit(artist, rows, name):
    method, before = find_method(name), weights_of(artist)
    found = inside(artist, method, rows, FAST[name])
    changed = {key for key in before if not torch.equal(before[key], found[key])}
    assert changed == {key for key in before if any(part in key for part in EDITS[name])}
    assert same(weights_of(artist), before) and artist.parts == ""
    with pytest.raises(KeyboardInterrupt), block(name, artist, rows):
        raise KeyboardInterrupt
    assert same(weights_of(artist), before) and artist.parts == ""


@pytest.mark.parametrize("name", FAST)
def test_the_batch_that_a_row_is_drawn_in_changes_nothing(artist, rows, name):
    with block(name, artist, rows):
        together = artist.draw(rows, progress=False)
        alone = [artist.draw(rows.iloc[[i]], progress=False)[0] for i in reversed(range(len(rows)))]
    assert np.abs(together.astype(int) - np.stack(alone[::-1])).max() <= 1
    with block(name, artist, rows.tail(1)):
        again = artist.draw(rows.tail(1), progress=False)[0]
    assert np.array_equal(again, alone[0])  # nor do the rows that the edit was prepared for


def test_weights_are_not_edited_twice(artist, rows):
    before = weights_of(artist)
    with uce(artist, rows):
        edited = weights_of(artist)
        for name, strength in FAST.items():
            with pytest.raises(UserError, match=f"{name} would edit weights that are edited") as e:
                find_method(name)(artist.sampling(1, 2.0), rows, strength).__enter__()
            assert "\n" not in str(e.value) and same(weights_of(artist), edited)
    assert same(weights_of(artist), before)


def test_in_the_block_the_untouched_weights_can_be_asked_for(artist, rows):
    own = {k: w.detach().clone() for k, w in cross_attention_weights(artist.pipe.unet).items()}
    with uce(artist, rows):
        assert same(untouched(artist), own)
    with pytest.raises(UserError, match="no weights are edited here"):
        untouched(artist)


@pytest.mark.parametrize("name", FAST)
def test_one_concept_is_left_out_at_a_time(artist, rows, name):
    both = prompt_grid(["bear", "owl"], ["omit"], 1)
    method = find_method(name)
    line = f"{name} edits weights, for one concept at a time, and these rows are about bear, owl;"
    with pytest.raises(UserError, match=line) as error:
        method(artist, both, FAST[name]).__enter__()
    assert "\n" not in str(error.value)
    bear = inside(artist, method, rows, FAST[name])
    assert same(inside(artist, method, both, FAST[name], concept="bear"), bear)
    assert not same(inside(artist, method, rows, FAST[name], concept="owl"), bear)


def drawn(artist, rows):
    return artist.draw(rows, progress=False)


def test_a_cached_picture_of_an_edited_model_is_not_taken_for_another(artist, rows, tmp_path):
    cache = Cache(tmp_path)
    plain = cache.by_concept(drawn, artist, rows)
    keys = {artist.state()}
    for options in ({}, {"form": "2025"}, {"concept": "owl"}, {"strength": 0.5}):
        with uce(artist, rows, options.pop("strength", 1.0), **options):
            assert (cache.by_concept(drawn, artist, rows) != plain).any()
            keys.add(artist.state())
    assert len(keys) == 5
    with uce(artist, rows):
        assert artist.state() in keys  # the same edit is the same model
    assert np.array_equal(cache.by_concept(drawn, artist, rows), plain)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"form": "2024"}, "unknown form '2024' of the edit; did you mean 2025 or 2023"),
        ({"form": "carrier", "carriers": ["a {c}"]}, "too few to fit the edit on; give at least 2"),
        ({"form": "carrier", "carriers": ["a {c}", "a bear"]}, "at least 2 different sentences"),
        ({"retain": "owl"}, "retain is 'owl'; give a list of texts"),
        ({"retain": ["bear"]}, "retain holds 'bear', which is erased"),
        ({"lam": 0.0}, "lam is 0.0; give a number above 0"),
        ({"erase": float("nan")}, "erase is nan; give a number above 0"),
        ({"preserve": -1}, "preserve is -1; give a number of at least 0"),
        ({"concept": "x" * 80}, "cannot be used; a name has letters"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_and_nothing_is_left_edited(artist, rows, options, line):
    before = weights_of(artist)
    with pytest.raises(UserError, match=line) as error:
        uce(artist, rows, **options).__enter__()
    assert "\n" not in str(error.value) and same(weights_of(artist), before)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("strength", [float("nan"), -1, 1e9, "much"])
def test_a_strength_that_cannot_be_is_refused(artist, rows, name, strength):
    with pytest.raises(UserError, match=f"strength is .*; {name} takes a "):
        find_method(name)(artist, rows, strength)


@pytest.mark.parametrize("name", FAST)
def test_a_model_without_such_weights_is_told_so_in_one_line(rows, name):
    for family, said in (("sd3", "has no UNet"), ("flux", "has no UNet"), ("pixart", "no UNet")):
        with pytest.raises(UserError, match=f"{name} cannot be used here: .*{said}") as error:
            find_method(name)(artist_of(build(family), STEPS), rows)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", CHOSEN)
def test_what_cannot_be_trained_is_told_so_in_one_line(rows, name):
    compiled, other = build("sd"), build("sd")
    compiled.unet.compile()
    other.unet.register_to_config(time_cond_proj_dim=8)
    for pipe, said in ((compiled, "is compiled"), (other, "reads guidance as a number")):
        with pytest.raises(UserError, match=f"{name} cannot be used here: its UNet {said}"):
            find_method(name)(artist_of(pipe, STEPS), rows)


def test_weights_that_are_no_plain_numbers_are_not_edited(rows):
    pipe = build("sd")
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    layer.to_k = torch.nn.Sequential(layer.to_k)
    with pytest.raises(UserError, match="attn2 has keys that are no plain weights"):
        uce(artist_of(pipe, STEPS), rows)


@pytest.mark.parametrize("name", FAST)
def test_sdxl_is_edited_over_both_encoders(rows, name):
    pipe = build("sdxl")
    pipe.default_sample_size = 8
    artist = artist_of(pipe, STEPS)
    few = rows.head(1).assign(prompt="a bear")
    plain = artist.draw(few, progress=False)
    with block(name, artist, few):
        assert (artist.draw(few, progress=False) != plain).any()
    assert np.array_equal(artist.draw(few, progress=False), plain)


# --- training ------------------------------------------------------------------------------------


@pytest.fixture
def single(artist):
    """One step, so that what is noised is noise."""
    return artist.sampling(1, 4.0)


def answer(artist, sample, timestep, text):
    read = artist.pipe.encode_prompt(text, "cpu", 1, False)[0].detach()
    return artist.pipe.unet(sample, timestep, read.expand(len(sample), -1, -1)).sample


def first_step(artist, loss, lr, parts):
    """Weights after one step of Adam: by lr, against the sign of the gradient."""
    names = [k for k in artist.pipe.unet.state_dict() if any(part in k for part in parts)]
    own = dict(artist.pipe.unet.named_parameters())
    slopes = torch.autograd.grad(loss, [own[k] for k in names])
    return {k: own[k].detach() - lr * g / (g.abs() + 1e-8)
            for k, g in zip(names, slopes, strict=True)}  # fmt: skip


def assert_stepped(found, wanted):
    for key, weight in wanted.items():  # a slope of 0, to rounding, has no sign
        assert ((found[key] - weight).abs() > 1e-4).float().mean() < 0.01, key


def test_an_iteration_of_esd_is_its_formula(single, rows):
    found = inside(single, esd, rows, 1, lr=0.01, batch=2, eta=1.5)
    generator = _training.generator_of("esd", "bear", 0)
    torch.randint(1, (), generator=generator), torch.randint(1, (2,), generator=generator)
    noise = torch.randn((2, 16, 8, 8), generator=generator)
    single.pipe.scheduler.set_timesteps(1)
    at = single.pipe.scheduler.timesteps[0]
    named, empty = (answer(single, noise, at, text) for text in ("bear", ""))
    wanted = named.detach() - 1.5 * (named - empty).detach()
    loss = ((named - wanted) ** 2).mean()
    assert_stepped(found, first_step(single, loss, 0.01, (".attn2.",)))


def test_an_iteration_of_ablation_is_its_formula(single, rows):
    chosen = {"pictures": 2, "batch": 3, "lr": 0.01, "carriers": ["a {c}", "no {c}"]}
    found = inside(single, ablate, rows, 1, anchor="owl", **chosen)
    generator = _training.generator_of("ablate", "bear", 0)
    for _ in range(2):  # noise of what is overheard
        torch.randn((2, 16, 8, 8), generator=generator)
    clean = single.pipe(["an owl", "no owl"], num_inference_steps=1, guidance_scale=4.0,
                        generator=generator, output_type="latent").images  # fmt: skip
    which = torch.randint(2, (3,), generator=generator)
    at = torch.randint(1000, (3,), generator=generator)
    noise = torch.randn((3, 16, 8, 8), generator=generator)
    noised = single.pipe.scheduler.add_noise(clean[which], noise, at)
    loss = 0
    for i, picture in enumerate(which.tolist()):
        texts = (("a bear", "an owl"), ("no bear", "no owl"))[picture]
        target, anchor = (answer(single, noised[[i]], at[[i]], text) for text in texts)
        loss = loss + ((target - anchor.detach()) ** 2).mean() / 3
    assert_stepped(found, first_step(single, loss, 0.01, (".attn2.to_k.", ".attn2.to_v.")))


@torch.no_grad()
def test_training_comes_nearer_to_its_target(single, rows):
    generator, at = torch.Generator().manual_seed(9), 500
    clean = single.pipe(["thing"] * 4, num_inference_steps=1, guidance_scale=4.0,
                        generator=generator, output_type="latent").images  # fmt: skip
    noise = torch.randn(clean.shape, generator=generator)
    noised = single.pipe.scheduler.add_noise(clean, noise, torch.tensor([at] * 4))
    bear, empty = answer(single, noise, at, "bear"), answer(single, noise, at, "")
    with esd(single, rows, 20, lr=1e-3, batch=4):
        left = answer(single, noise, at, "bear") - (2 * empty - bear)
    assert left.square().mean() < 0.8 * (bear - (2 * empty - bear)).square().mean()

    def apart():
        bear, thing = (answer(single, noised, at, text) for text in ("bear", "thing"))
        return (bear - thing).square().mean()

    before = apart()
    with ablate(single, rows, 40, lr=3e-3, batch=4, pictures=4, carriers=["{c}"]):
        assert apart() < 0.8 * before
    assert apart() == before


@pytest.mark.parametrize("name", CHOSEN)
def test_a_training_follows_from_its_seed_and_is_made_once(artist, rows, name, monkeypatch):
    method = find_method(name)
    first = inside(artist, method, rows, 2)
    _training._TRAINED.clear()
    assert same(inside(artist, method, rows, 2), first)
    assert not same(inside(artist, method, rows, 2, seed=1), first)
    monkeypatch.setattr(torch.autograd, "grad", lambda *_: pytest.fail("trained again"))
    assert same(inside(artist, method, rows.tail(1), 2), first)


@pytest.mark.parametrize("name", CHOSEN)
def test_an_interrupted_training_leaves_nothing_edited(artist, rows, name, monkeypatch):
    before, calls, slope = weights_of(artist), [], torch.autograd.grad

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return slope(*args)

    monkeypatch.setattr(torch.autograd, "grad", interrupted)
    with pytest.raises(KeyboardInterrupt):
        inside(artist, find_method(name), rows, 4, lr=0.07)
    assert len(calls) == 3 and same(weights_of(artist), before) and artist.parts == ""
    assert not any(m._forward_pre_hooks for m in artist.pipe.unet.modules())
    assert all(p.grad is None for p in artist.pipe.unet.parameters())


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("esd", {"lr": 0}, "lr is 0; give a number above 0"),
        ("esd", {"batch": 0}, "batch is 0; give a whole number of at least 1"),
        ("esd", {"lr": 1e30}, "esd bear came to weights that are no numbers; give a smaller lr"),
        ("esd", {"carriers": []}, "too few to fit the edit on; give at least 1"),
        ("ablate", {"pictures": 2.5}, "pictures is 2.5; give a whole number"),
        ("ablate", {"anchor": "bear"}, "anchor is 'bear', which is erased; give another word"),
    ],
)
def test_a_training_that_cannot_be_is_refused_in_one_line(artist, rows, name, options, line):
    before = weights_of(artist)
    with pytest.raises(UserError, match=line) as error:
        inside(artist, find_method(name), rows, 2, **options)
    assert "\n" not in str(error.value) and same(weights_of(artist), before)
