"""Captured attention against a softmax written out, for every family; images stay the same bits."""

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, HeunDiscreteScheduler
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection, MultiIPAdapterImageProjection

from conftest import WIDTH
from families import FAMILIES, LAYOUTS, PROMPT, build, draw, explicit_attention, tiny_sd3
from whitebear.errors import UserError
from whitebear.hooks import capture_attention
from whitebear.hooks.kernels import attention_and_lse, log_denominator
from whitebear.hooks.words import ROLES
from whitebear.models.families import layer_grid, negative_options


@pytest.fixture(scope="module")
def pipes():
    return {name: build(name) for name in FAMILIES}


def expected_mass(seen, ds, name, keys):
    """mean over image queries and heads of the probabilities of `keys`, (step, layer)."""
    table = []
    for path in ds.layer.values:
        calls = [p[-1] for p in seen[path]]
        table.append([p[:, LAYOUTS[name].image][..., keys].sum(-1).mean() for p in calls])
    return torch.tensor(table).T.numpy()


@pytest.mark.parametrize("name", FAMILIES)
def test_mass_is_the_softmax_written_out(pipes, name, monkeypatch):
    pipe = pipes[name]
    with explicit_attention(pipe, monkeypatch) as seen:
        plain = draw(pipe, name, PROMPT)
    with capture_attention(pipe, ["bear"], roles=("bos", "eos", "pad", "other", "text")) as cap:
        images = draw(pipe, name, PROMPT)
    ds = cap.dataset()
    assert np.array_equal(images, plain)  # to the bit
    assert ds.sizes["step"] == 3
    total = expected_mass(seen, ds, name, LAYOUTS[name].text)
    np.testing.assert_allclose(ds.mass.sel(token="<text>")[0], total, atol=1e-5)
    parts = ds.mass.sel(token=["bear", *(f"<{role}>" for role in ROLES)]).sum("token")
    np.testing.assert_allclose(parts[0], total, atol=1e-5)
    bear = expected_mass(seen, ds, name, LAYOUTS[name].bear)
    np.testing.assert_allclose(ds.mass.sel(token="bear")[0], bear, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_maps_average_to_the_mass_and_lie_on_the_image(pipes, name, monkeypatch):
    pipe = pipes[name]
    with explicit_attention(pipe, monkeypatch) as seen:
        draw(pipe, name, PROMPT)
    with capture_attention(pipe, ["bear"], ("mass", "map"), grid=4, roles=["text"]) as cap:
        draw(pipe, name, PROMPT)
    ds = cap.dataset()
    np.testing.assert_allclose(ds["map"].mean(("y", "x")), ds.mass, atol=2e-3)
    path = ds.layer.values[0]
    side = int(ds.queries[0] ** 0.5)
    p = seen[path][0][-1][:, LAYOUTS[name].image][..., LAYOUTS[name].text].sum(-1).mean(0)
    blocks = p.reshape(4, side // 4, 4, side // 4).mean((1, 3))
    np.testing.assert_allclose(ds["map"].sel(token="<text>")[0, 0, 0], blocks, atol=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_heads_and_entropy(pipes, name, monkeypatch):
    pipe = pipes[name]
    with explicit_attention(pipe, monkeypatch) as seen:
        draw(pipe, name, PROMPT)
    with capture_attention(pipe, ["bear"], ("mass", "entropy"), heads="all", roles=["text"]) as cap:
        draw(pipe, name, PROMPT)
    ds, layout = cap.dataset(), LAYOUTS[name]
    last = ds.isel(sample=0, step=1, layer=-1)
    there = slice(int(last.heads))  # another layer may have more
    assert last.entropy[there.stop :].isnull().all()
    p = seen[ds.layer.values[-1]][1][-1][:, layout.image][..., layout.text].double()
    mass = last.mass.sel(token="<text>")[there]
    np.testing.assert_allclose(mass, p.sum(-1).mean(-1), atol=1e-5)
    p = p / p.sum(-1, keepdim=True)
    entropy = -(p * p.clamp(min=1e-300).log()).sum(-1).mean(-1)
    np.testing.assert_allclose(last.entropy[there], entropy, atol=1e-4)


def test_the_conditional_half_is_found_with_and_without_guidance(pipes):
    pipe = pipes["sd"]
    found = {}
    for guidance in (1.0, 5.0):
        with capture_attention(pipe, ["bear"], steps=[0]) as cap:
            draw(pipe, "sd", PROMPT, guidance_scale=guidance)
        found[guidance] = cap.dataset().mass.values
    np.testing.assert_allclose(
        found[1.0], found[5.0], atol=1e-6
    )  # equal noise: an equal first step
    with capture_attention(pipe, ["car"], branch="uncond", steps=[0]) as cap:
        draw(pipe, "sd", "a bear", negative_prompt="a car")
    with capture_attention(pipe, ["car"], steps=[0]) as same:
        draw(pipe, "sd", "a car")
    np.testing.assert_allclose(cap.dataset().mass, same.dataset().mass, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in FAMILIES if not LAYOUTS[name].stacked])
def test_a_branch_a_call_is_told_apart(pipes, name):
    pipe = pipes[name]
    options = {"negative_prompt": "a car"} | negative_options(pipe, 3.0)
    with capture_attention(pipe, ["bear"]) as cond:
        draw(pipe, name, "a bear", **options)
    with capture_attention(pipe, ["car"], branch="uncond") as uncond:
        draw(pipe, name, "a bear", **options)
    assert cond.dataset().sizes["step"] == uncond.dataset().sizes["step"] == 3
    with capture_attention(pipe, ["bear"], steps=[0]) as plain:
        draw(pipe, name, "a bear")
    first = cond.dataset().mass.sel(step=0)
    np.testing.assert_allclose(first, plain.dataset().mass.sel(step=0), atol=1e-6)


def test_samples_do_not_depend_on_the_batch(pipes):
    pipe = pipes["sd"]
    noise = lambda *seeds: [torch.Generator().manual_seed(s) for s in seeds]  # noqa: E731
    run = lambda prompts, seeds: pipe(prompts, generator=noise(*seeds), num_inference_steps=2)  # noqa: E731
    with capture_attention(pipe, ["bear"], ("mass", "map")) as batch:
        run(["a bear", "a car and a bear"], (0, 1))
    for i, prompt in enumerate(batch.dataset().prompt.values):
        with capture_attention(pipe, ["bear"], ("mass", "map")) as alone:
            run([prompt], (i,))
        np.testing.assert_allclose(batch.dataset().mass[i], alone.dataset().mass[0], atol=1e-6)


def test_several_images_a_prompt_and_several_runs(pipes):
    pipe = pipes["sd"]
    with capture_attention(pipe, ["bear"]) as cap:
        draw(pipe, "sd", ["a bear", "a bear, a car"], num_images_per_prompt=2)
        draw(pipe, "sd", "no bear")
    ds = cap.dataset()
    want = ["a bear", "a bear", "a bear , a car", "a bear , a car", "no bear"]
    assert [text.replace(" ,", ",") for text in ds.prompt.values] == [
        text.replace(" ,", ",") for text in want
    ]


def test_not_square(pipes):
    pipe = pipes["sd"]
    with capture_attention(pipe, ["bear"], "map", grid=4, roles=["text"]) as cap:
        draw(pipe, "sd", PROMPT, height=64, width=128)
    np.testing.assert_allclose(cap.dataset()["map"].sel(token="<text>"), 1, atol=1e-3)
    assert layer_grid(5 * 8, (10, 15)) == (5, 8)  # an odd side is rounded up


def test_a_word_a_prompt_and_all_its_occurrences(pipes):
    pipe = pipes["sd"]
    prompts = ["a bear. a bear", "a car"]
    with capture_attention(pipe, {"concept": ["bear", "car"]}, prompts=prompts) as cap:
        draw(pipe, "sd", prompts)
    with capture_attention(pipe, ["car"]) as alone:
        pipe("a car", num_inference_steps=3)
    assert cap.dataset().token.values.tolist()[0] == "concept"
    assert cap.chosen[0, :, 0].sum() == 8 and cap.chosen[1, :, 0].sum() == 3
    assert alone.dataset().sizes["sample"] == 1


def test_a_second_order_scheduler_has_a_step_for_every_call(pipes):
    pipe = build("sd")
    for scheduler, calls in ((HeunDiscreteScheduler, 5), (EulerDiscreteScheduler, 3)):
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
        with capture_attention(pipe, ["bear"]) as cap:
            draw(pipe, "sd", PROMPT)
        ds = cap.dataset()
        assert ds.sizes["step"] == calls
        assert np.array_equal(ds.timestep, pipe.scheduler.timesteps.double())
        assert (np.diff(ds.timestep) <= 0).all() and (np.diff(ds.sigma) <= 0).all()


def test_chosen_steps_and_layers(pipes):
    pipe = pipes["sd"]
    with capture_attention(pipe, ["bear"]) as full:
        draw(pipe, "sd", PROMPT)
    with capture_attention(pipe, ["bear"], layers="mid_block.*", steps=[1, 2]) as cap:
        draw(pipe, "sd", PROMPT)
    ds = cap.dataset()
    assert ds.place.values.tolist() == ["mid"] and ds.step.values.tolist() == [1, 2]
    assert np.array_equal(ds.mass, full.dataset().mass.sel(step=[1, 2], layer=ds.layer.values))


def test_fused_projections(pipes):
    pipe = build("sd")
    with capture_attention(pipe, ["bear"]) as plain:
        draw(pipe, "sd", PROMPT)
    pipe.fuse_qkv_projections()
    with capture_attention(pipe, ["bear"]) as fused:
        draw(pipe, "sd", PROMPT)
    np.testing.assert_allclose(fused.dataset().mass, plain.dataset().mass, atol=1e-5)


def test_sd3_without_its_third_encoder():
    pipe = tiny_sd3(t5=False)
    pipe.set_progress_bar_config(disable=True)
    with capture_attention(pipe, ["bear"], roles=(*ROLES, "text")) as cap:
        draw(pipe, "sd3", PROMPT)
    mass = cap.dataset().mass
    np.testing.assert_allclose(mass.sel(token="<text>"), mass[..., :-1].sum("token"), atol=1e-5)


def test_the_estimate_is_what_is_kept(pipes):
    pipe = pipes["sd"]
    with capture_attention(pipe, ["bear"], ("mass", "map", "entropy"), grid=8) as cap:
        said = cap.estimate(samples=2, steps=3)
        draw(pipe, "sd", ["a bear", "a bear"])
    kept = sum(
        t.nbytes for run in cap.kept for layers in run.values() for v in layers.values() for t in v
    )
    assert said.startswith(f"{kept / 2**20:.2f} MiB for 2 samples, 3 steps")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-3)])
@pytest.mark.parametrize("masked", [False, True])
def test_probabilities_from_the_denominator_also_where_attention_is_peaky(dtype, tolerance, masked):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 50, 16, generator=generator) for _ in range(3))
    q[:, :, :10] = 4 * k[:, :, :10]  # these queries look at one key each
    q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    mask = None
    if masked:
        mask = torch.zeros(2, 1, 1, 50, dtype=dtype)
        mask[..., 40:] = -torch.inf
    arguments = {"query": q, "key": k, "value": v, "attn_mask": mask}
    out, lse = attention_and_lse(arguments, 0.25)
    kernel = torch.nn.functional.scaled_dot_product_attention(**arguments)
    assert torch.equal(out, kernel)
    logits = 0.25 * q.double() @ k.double().transpose(-1, -2)
    truth = (logits if mask is None else logits + mask.double()).softmax(-1)
    assert truth.max() > 0.99
    ours = (0.25 * q.float() @ k.float().transpose(-1, -2) - lse[..., None]).exp()
    ours = ours if mask is None else ours * mask.float().exp()
    assert (ours - truth).abs().max() < tolerance
    assert (log_denominator(q, k, mask, 0.25) - lse).abs().max() < max(tolerance, 1e-5)


def test_nothing_is_handed_out_before_a_run(pipes):
    with capture_attention(pipes["sd"], ["bear"]) as cap:
        pass
    with pytest.raises(UserError, match="nothing was captured; call the pipeline inside"):
        cap.dataset()


def test_attention_to_an_image_prompt_is_not_taken_for_text(pipes):
    pipe = build("sd")
    torch.manual_seed(7)
    pipe.unet.encoder_hid_proj = MultiIPAdapterImageProjection(
        [ImageProjection(image_embed_dim=WIDTH, cross_attention_dim=WIDTH, num_image_text_embeds=4)]
    )
    pipe.unet.config.encoder_hid_dim_type = "ip_image_proj"
    for name, module in pipe.unet.named_modules():
        if name.endswith("attn2"):
            module.set_processor(IPAdapterAttnProcessor2_0(module.out_dim, WIDTH, num_tokens=[4]))
    embeds = [torch.randn(2, 1, WIDTH)]
    plain = draw(pipe, "sd", PROMPT, ip_adapter_image_embeds=embeds)
    with capture_attention(pipe, ["bear"], roles=["text"]) as cap:
        images = draw(pipe, "sd", PROMPT, ip_adapter_image_embeds=embeds)
    assert np.array_equal(images, plain)
    np.testing.assert_allclose(cap.dataset().mass.sel(token="<text>"), 1, atol=1e-5)
