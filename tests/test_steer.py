"""Steering equals its formula, states are swapped where they should be, nothing stays behind."""

import numpy as np
import pytest
import torch

from families import FAMILIES, LAYOUTS, PROMPT, build, draw
from whitebear.errors import UserError
from whitebear.hooks import capture_attention, patch_text, steer_attention, text_states
from whitebear.models.families import denoiser_of, text_keys


@pytest.fixture(scope="module")
def pipes():
    return {name: build(name) for name in FAMILIES}


def formula(factor, layout, renormalize, rows):
    """Attention with re-weighted probabilities, written out in place of the kernel's."""
    n, joint = layout.n_keys, layout.image != slice(None)
    kernel = torch.nn.functional.scaled_dot_product_attention

    def written_out(query, key, value, attn_mask=None, **rest):
        sees_text = key.shape[-2] == n and (joint or query.shape[-2] != n)
        if not sees_text:  # text encoders, the autoencoder, attention among image positions
            return kernel(query, key, value, attn_mask=attn_mask, **rest)
        logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        p = (logits if attn_mask is None else logits + attn_mask).softmax(-1)
        p[rows, ..., layout.bear] *= factor
        return (p / p.sum(-1, keepdim=True) if renormalize else p) @ value

    return written_out


@pytest.mark.parametrize(("weight", "renormalize"), [(0.25, False), (0.25, True), (-1, False)])
@pytest.mark.parametrize("name", FAMILIES)
def test_steering_equals_its_formula(pipes, name, weight, renormalize, monkeypatch):
    pipe, layout = pipes[name], LAYOUTS[name]
    options = {"guidance_scale": 4.0} if layout.stacked else {}
    with steer_attention(pipe, ["bear"], weight, renormalize):
        steered = draw(pipe, name, PROMPT, **options)
    with monkeypatch.context() as patch:
        rows = slice(1, 2) if layout.stacked else slice(0, 1)
        patch.setattr(
            torch.nn.functional, "scaled_dot_product_attention",
            formula(weight, layout, renormalize, rows),
        )  # fmt: skip
        expected = draw(pipe, name, PROMPT, **options)
    plain = draw(pipe, name, PROMPT, **options)
    np.testing.assert_allclose(steered, expected, atol=1e-5)
    assert np.abs(steered - plain).max() > 1e-4  # it did something


def test_a_weight_of_one_changes_nothing_and_of_zero_ablates(pipes):
    pipe = pipes["sd"]
    plain = draw(pipe, "sd", PROMPT)
    with steer_attention(pipe, ["bear"], 1.0):
        assert np.array_equal(draw(pipe, "sd", PROMPT), plain)
    with (
        steer_attention(pipe, ["bear"], 0.0, renormalize=True),
        capture_attention(pipe, ["bear"], roles=["text"]) as cap,
    ):
        draw(pipe, "sd", PROMPT)
    mass = cap.dataset().mass
    assert (mass.sel(token="bear") == 0).all()
    np.testing.assert_allclose(mass.sel(token="<text>"), 1, atol=1e-6)


@pytest.mark.parametrize("outer", ["capture", "steer"])
def test_capture_and_steer_nest_either_way(pipes, outer):
    pipe = pipes["sd"]
    blocks = {
        "capture": capture_attention(pipe, ["bear"]),
        "steer": steer_attention(pipe, ["bear"], 0.0, renormalize=True),
    }
    inner = ({*blocks} - {outer}).pop()
    with blocks[outer], blocks[inner]:
        draw(pipe, "sd", PROMPT)
    assert (blocks["capture"].dataset().mass.sel(token="bear") == 0).all()


def test_chosen_steps_alone_are_steered(pipes):
    pipe = pipes["sd"]
    with (
        steer_attention(pipe, ["bear"], 0.0, renormalize=True, steps=[1]),
        capture_attention(pipe, ["bear"]) as cap,
    ):
        draw(pipe, "sd", PROMPT)
    assert (cap.dataset().mass.sel(token="bear") == 0).all(("sample", "layer")).values.tolist() == [
        False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("renormalize", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_word_a_prompt_steers_image_by_image(pipes, name, renormalize):
    """Over two calls of the pipeline, each image is what its word alone makes of it, to the bit."""
    pipe, words = pipes[name], ["bear", "car", "white bear", "car"]
    prompts = [PROMPT, "a car and a white bear", "no car, a white bear", PROMPT]

    def images():
        return np.concatenate([draw(pipe, name, prompts[:3], 0), draw(pipe, name, prompts[3:], 1)])

    with steer_attention(pipe, {"concept": words}, 0.1, renormalize, prompts=prompts):
        together = images()
    for word in set(words):
        with steer_attention(pipe, [word], 0.1, renormalize):
            alone = images()
        mine = [i for i, each in enumerate(words) if each == word]
        assert np.array_equal(together[mine], alone[mine])
    plain = images()
    assert all(np.abs(together[i] - plain[i]).max() > 1e-5 for i in range(4))  # it did something


def test_a_word_that_one_prompt_lacks_is_named(pipes):
    pipe, prompts = pipes["sd"], ["a bear", "a car"]
    with pytest.raises(UserError, match="lists words; give prompts=.* of the same length"):
        steer_attention(pipe, {"concept": ["bear"]}, 0.0, prompts=prompts)
    with (
        pytest.raises(UserError, match="'owl' is not among the first 77 tokens of .* 'a car'"),
        steer_attention(pipe, {"concept": ["bear", "owl"]}, 0.0, prompts=prompts),
    ):
        draw(pipe, "sd", prompts)
    with (
        pytest.raises(UserError, match="prompts holds 2 prompts, but more images are made"),
        steer_attention(pipe, {"concept": ["bear", "car"]}, 0.0, prompts=prompts),
    ):
        draw(pipe, "sd", prompts)
        draw(pipe, "sd", prompts[:1])


def test_roles_are_weighted_in_prompts_with_the_word_alone(pipes):
    pipe, prompts = pipes["sd"], [PROMPT, "a car"]
    words = {"concept": ["bear", None]}
    with (
        steer_attention(pipe, words, 0.0, True, prompts=prompts, roles=["eos", "pad"]),
        capture_attention(pipe, reduce=["mass"], prompts=prompts) as cap,
    ):
        images = draw(pipe, "sd", prompts)
    mass = cap.dataset().mass.sel(token=["<eos>", "<pad>"])
    assert mass[0].max() == 0 and mass[1].min() > 0
    plain = draw(pipe, "sd", prompts)
    assert np.array_equal(images[1], plain[1]) and (images[0] != plain[0]).any()


def test_a_softmax_has_no_negative_weight(pipes):
    said = "the weight of 'bear' is -0.5, and a softmax has no negative shares; give at least 0, or"
    with pytest.raises(UserError, match=said) as error:
        steer_attention(pipes["sd"], ["bear"], -0.5, renormalize=True)
    assert "\n" not in str(error.value)


def test_nested_weights_multiply(pipes):
    pipe = pipes["sd"]
    with steer_attention(pipe, ["bear"], 0.5), steer_attention(pipe, ["white bear"], 0.25):
        nested = draw(pipe, "sd", PROMPT)
    with steer_attention(pipe, ["white"], 0.25), steer_attention(pipe, ["bear"], 0.125):
        apart = draw(pipe, "sd", PROMPT)
    np.testing.assert_allclose(nested, apart, atol=1e-6)
    with steer_attention(pipe, ["white bear", "bear"], 0.25):  # of one block, once a key
        once = draw(pipe, "sd", PROMPT)
    with steer_attention(pipe, ["white bear"], 0.25):
        assert np.array_equal(draw(pipe, "sd", PROMPT), once)


def test_chosen_layers_and_the_other_branch_alone_are_steered(pipes):
    pipe = pipes["sd"]
    with (
        steer_attention(pipe, ["bear"], 0.0, renormalize=True, layers="mid_block.*"),
        capture_attention(pipe, ["bear"]) as cap,
    ):
        draw(pipe, "sd", PROMPT)
    gone = (cap.dataset().mass.sel(token="bear") == 0).all(("sample", "step"))
    assert gone.layer[gone].place.values.tolist() == ["mid"]
    options = {"negative_prompt": "a car", "guidance_scale": 4.0}
    with (
        steer_attention(pipe, ["car"], 0.0, renormalize=True, branch="uncond"),
        capture_attention(pipe, ["car"], branch="uncond") as uncond,
        capture_attention(pipe, ["car"], steps=[0]) as cond,
    ):
        draw(pipe, "sd", PROMPT, **options)
    assert (uncond.dataset().mass.sel(token="car") == 0).all()
    assert (cond.dataset().mass.sel(token="car") > 0).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_swapping_all_states_draws_the_source_prompt(pipes, name):
    pipe, source = pipes[name], "a picture of a white car and a car"
    with patch_text(pipe, PROMPT, source, "all") as patch:
        patched = draw(pipe, name, PROMPT)
    assert patch.expected == 3
    plain, other = draw(pipe, name, PROMPT), draw(pipe, name, source)
    if not LAYOUTS[name].pooled:  # a pooled embedding stays that of the prompt
        np.testing.assert_allclose(patched, other, atol=1e-5)
    assert np.abs(patched - plain).max() > 1e-5


def test_the_swapped_positions_are_the_asked_ones(pipes):
    pipe, source = pipes["sd"], "no white bear at all"
    swapped = {}
    for which in ("concept", "eos", "pad", "all", ("eos", "pad")):
        seen = []
        handle = pipe.unet.register_forward_pre_hook(
            lambda m, a, k, seen=seen: seen.append(k["encoder_hidden_states"]), with_kwargs=True
        )
        draw(pipe, "sd", PROMPT)
        handle.remove()
        with patch_text(pipe, PROMPT, source, which, concept="bear"):
            handle = pipe.unet.register_forward_pre_hook(
                lambda m, a, k, seen=seen: seen.append(k["encoder_hidden_states"]), with_kwargs=True
            )
            draw(pipe, "sd", PROMPT)
            handle.remove()
        plain, patched = seen[0], seen[-1]
        changed = (plain != patched).any(-1)
        assert not changed[0].any()  # the unconditional half
        swapped[which] = changed[1].nonzero().flatten().tolist()
    end = 1 + len("apictureofawhitebearandacar")
    assert swapped["concept"] == [17, 18, 19, 20]
    assert swapped["eos"] == [end]
    assert swapped["pad"] == list(range(end + 1, 77))
    assert swapped["eos", "pad"] == list(range(end, 77))
    assert swapped["all"] == list(range(1, 77))  # BOS sees nothing else, so it is the same


def test_lists_patch_image_by_image(pipes):
    """Each image of a batch gets what it would get alone, over two calls of the pipeline."""
    pipe = pipes["sd"]
    prompts = [PROMPT, "a bear", "no bear, a car", "a bear and a bear"]
    sources = ["no white bear", "a bear", "a bear", "one bear, one bear"]
    noise = torch.randn(4, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    options = {"num_inference_steps": 2, "output_type": "latent"}
    with patch_text(pipe, prompts, sources, "concept", concept="bear"):
        calls = [pipe(prompts[i : i + 2], latents=noise[i : i + 2], **options) for i in (0, 2)]
    together = torch.cat([torch.as_tensor(call.images) for call in calls])
    for i, (prompt, source) in enumerate(zip(prompts, sources, strict=True)):
        with patch_text(pipe, prompt, source, "concept", concept="bear"):
            alone = torch.as_tensor(pipe(prompt, latents=noise[i : i + 1], **options).images)
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)
    with pytest.raises(UserError, match="2 source_prompt for 4 images"):
        patch_text(pipe, prompts, sources[:2], "eos")
    with pytest.raises(UserError, match="more are drawn"), patch_text(pipe, prompts, "a", "eos"):
        pipe(prompts + prompts[:1], **options)


def test_text_states_have_roles_and_the_layers_of_both_layouts(pipes):
    found = text_states(pipes["sdxl"], ["a bear", "no bear at all"])
    assert set(found) == {"text_encoder", "text_encoder_2"}
    for ds in found.values():
        assert dict(ds.states.sizes) == {"prompt": 2, "layer": 3, "position": 77, "feature": 16}
        assert ds.role[0].values.tolist()[:7] == ["bos", *["other"] * 5, "eos"]
        assert set(ds.role[0].values[7:]) == {"pad"}
        assert ds.token[0].values[1:4].tolist() == ["a</w>", "b", "e"]
    pipe = pipes["sd"]
    ds = text_states(pipe, ["a bear"])["text_encoder"]
    norm = getattr(pipe.text_encoder, "text_model", pipe.text_encoder).final_layer_norm
    after = norm(torch.tensor(ds.states[:, -1].values)).detach()
    np.testing.assert_allclose(after, ds["last"], atol=1e-6)
    flux = text_states(pipes["flux"], ["a bear"])["text_encoder_2"]
    assert flux.role[0, :3].values.tolist() == ["other", "other", "eos"]


@pytest.mark.parametrize("name", FAMILIES)
def test_text_states_are_those_that_the_denoiser_reads(pipes, name):
    pipe, prompts = pipes[name], ["a bear", "no bear at all"]
    found = text_states(pipe, prompts)
    keys = text_keys(pipe, prompts, 256)
    if name == "sdxl":  # it reads both encoders' last layer but one
        both = [ds.states[:, -2] for ds in found.values()]
        np.testing.assert_allclose(keys, np.concatenate(both, -1), atol=1e-5)
        return
    last = list(found.values())[-1]["last"]  # of SD3 and FLUX that of T5
    np.testing.assert_allclose(keys[:, -last.sizes["position"] :], last, atol=1e-5)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_no_hook_stays_behind(pipes, error):
    pipe = build("sd")
    plain = draw(pipe, "sd", PROMPT)

    def stop(*_):
        raise error("stop")

    with (
        pytest.raises(error),
        steer_attention(pipe, ["bear"], 0.0),
        capture_attention(pipe, ["bear"]),
    ):
        draw(pipe, "sd", PROMPT, callback_on_step_end=stop)
    parts = [*denoiser_of(pipe).modules(), *pipe.text_encoder.modules()]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in parts)
    assert torch.overrides._get_current_function_mode() is None
    assert np.array_equal(draw(pipe, "sd", PROMPT), plain)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_inside_attention_leaves_nothing_behind(error):
    pipe = build("sd")
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2

    def broken(*_):
        raise error("broken")

    handle = layer.to_out[0].register_forward_hook(broken)
    with pytest.raises(error, match="broken"), capture_attention(pipe, ["bear"]):
        draw(pipe, "sd", PROMPT)
    handle.remove()
    assert torch.overrides._get_current_function_mode() is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in pipe.unet.modules())


@pytest.mark.parametrize(
    ("tokens", "weight", "match"),
    [
        ([], 0.0, "nothing to steer; name tokens"),
        ("bear", 0.0, r"tokens is 'bear'; give a list of words such as \['bear'\]"),
        ({"concept": ["bear"]}, 0.0, "lists words; give prompts="),
        (["bear"], float("-inf"), "the weight of 'bear' is -inf; give a finite number"),
        (["bear"], float("nan"), "weight of 'bear' is nan"),
        (["bear"], float("inf"), "weight of 'bear' is inf"),
        (["bear"], "0", "weight of 'bear' is '0'"),
    ],
)
def test_steering_that_makes_no_sense(pipes, tokens, weight, match):
    with pytest.raises(UserError, match=match):
        steer_attention(pipes["sd"], tokens, weight)


def test_prompts_that_cannot_be_patched(pipes):
    pipe = pipes["sd"]
    with pytest.raises(UserError, match="positions holds 'bos'; use each of concept, eos"):
        patch_text(pipe, PROMPT, "a bear", "bos")
    with pytest.raises(UserError, match="needs the concept="):
        patch_text(pipe, PROMPT, "a bear")
    with (
        pytest.raises(UserError, match="'bear' has 4 tokens in the prompt and 8 in the source"),
        patch_text(pipe, PROMPT, "a bear, a bear", concept="bear"),
    ):
        draw(pipe, "sd", PROMPT)
    with (
        pytest.raises(UserError, match="neither prompt has 'owl'"),
        patch_text(pipe, PROMPT, "a bear", concept="owl"),
    ):
        draw(pipe, "sd", PROMPT)
