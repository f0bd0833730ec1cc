"""Every call of the denoiser is followed as what it is, or refused in one line."""

import contextlib
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FluxImg2ImgPipeline,
    HeunDiscreteScheduler,
    MotionAdapter,
    PNDMScheduler,
    StableDiffusion3PAGPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionPanoramaPipeline,
    StableDiffusionPipeline,
    StableDiffusionSAGPipeline,
    TextToVideoSDPipeline,
    UNet3DConditionModel,
)
from diffusers.callbacks import SDCFGCutoffCallback
from PIL import Image

from conftest import WIDTH, tiny_pipeline
from families import PROMPT, as_pipeline, build, draw, explicit_attention
from whitebear.errors import UserError
from whitebear.hooks import capture_attention, patch_text, steer_attention

BEAR = [17, 18, 19, 20]  # the keys of the word in PROMPT, a token a letter


@pytest.fixture(scope="module")
def pipes():
    return {name: build(name) for name in ("sd", "sd3", "flux")}


def given_timesteps(pipe):
    """What the denoiser is given from here on; a list that fills."""
    given, denoiser = [], getattr(pipe, "unet", None) or pipe.transformer

    def note(module, args, kwargs):
        t = kwargs["timestep"] if "timestep" in kwargs else args[1]
        given.append(float(torch.as_tensor(t).flatten()[0]))

    return given, denoiser.register_forward_pre_hook(note, with_kwargs=True)


def cutoff(step):
    return SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=step)


def test_guidance_that_ends_in_the_middle_is_followed(pipes, monkeypatch):
    pipe = pipes["sd"]
    options = {"num_inference_steps": 4, "guidance_scale": 5.0, "callback_on_step_end": cutoff(1)}
    with explicit_attention(pipe, monkeypatch) as seen:
        draw(pipe, "sd", PROMPT, **options)
    with capture_attention(pipe, ["bear"]) as cap:
        draw(pipe, "sd", PROMPT, **options)
    ds = cap.dataset()
    assert ds.step.values.tolist() == [0, 1, 2, 3]
    truth = [[p[-1][..., BEAR].sum(-1).mean() for p in seen[path]] for path in ds.layer.values]
    np.testing.assert_allclose(ds.mass.sel(token="bear")[0], torch.tensor(truth).T, atol=1e-5)
    with (
        steer_attention(pipe, ["bear"], 0.0, renormalize=True),
        capture_attention(pipe, ["bear"]) as steered,
    ):
        draw(pipe, "sd", PROMPT, **options)
    assert (steered.dataset().mass.sel(token="bear") == 0).all()
    with patch_text(pipe, PROMPT, "no white bear", "concept", concept="bear") as patch:
        draw(pipe, "sd", PROMPT, **options)
    assert patch.expected == 4
    with capture_attention(pipe, branch="uncond") as uncond:
        draw(pipe, "sd", PROMPT, **options)
    assert uncond.dataset().step.values.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["sd", "flux"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("in_place", [False, True])
def test_text_states_that_change_in_the_middle_are_refused(pipes, name, guidance, in_place):
    def another(pipe, step, t, inputs):
        states = inputs["prompt_embeds"]
        return {"prompt_embeds": states.mul_(0.5) if in_place else states * 0.5}

    options = {"callback_on_step_end": another, "guidance_scale": guidance,
               "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}  # fmt: skip
    for block in (capture_attention(pipes[name], ["bear"]),
                  steer_attention(pipes[name], ["bear"], 0.0)):  # fmt: skip
        with pytest.raises(UserError, match="reads changed in the middle of a run"), block:
            draw(pipes[name], name, PROMPT, **options)


def test_skipped_layer_guidance_is_refused(pipes):
    options = {"num_inference_steps": 10, "guidance_scale": 5.0, "skip_guidance_layers": [1],
               "skip_layer_guidance_start": 0.01, "skip_layer_guidance_stop": 0.5}  # fmt: skip
    for layers in ("*", "transformer_blocks.0.*"):
        with (
            pytest.raises(UserError, match=r"called again .* one step; .*skipped-layer"),
            capture_attention(pipes["sd3"], ["bear"], layers=layers),
        ):
            draw(pipes["sd3"], "sd3", PROMPT, **options)
    with (
        pytest.raises(UserError, match="called again"),
        patch_text(pipes["sd3"], PROMPT, "no white bear", "all"),
    ):
        draw(pipes["sd3"], "sd3", PROMPT, **options)


@pytest.mark.parametrize("guidance", [0.0, 5.0])
def test_self_attention_guidance_is_refused(pipes, guidance):
    pipe = as_pipeline(StableDiffusionSAGPipeline, build("sd"))
    pipe.unet.config.sample_size = 8
    with (
        pytest.raises(UserError, match="called again for its .*cond branch within one step"),
        capture_attention(pipe, ["bear"]),
    ):
        pipe(PROMPT, num_inference_steps=2, guidance_scale=guidance, sag_scale=0.7)


def perturbed(guidance, prompts, scale, block):
    pipe = as_pipeline(StableDiffusionPAGPipeline, build("sd"), pag_applied_layers=["mid"])
    noise = torch.randn(1, 16, 8, 8).expand(len(prompts), -1, -1, -1)  # equal for all pictures
    with block(pipe, ["bear"], layers="down_blocks.*") as hook:
        pipe(prompts, pag_scale=scale, num_inference_steps=2, guidance_scale=guidance,
             latents=noise)  # fmt: skip
    return hook


@pytest.mark.parametrize("block", [capture_attention, partial(steer_attention, weight=0.0)])
@pytest.mark.parametrize(
    ("guidance", "images", "match"),
    [
        (0.0, 1, "holds 2 rows for 1 images, where 1 an image"),
        (0.0, 2, "holds 4 rows for 2 images"),
        (5.0, 1, "does not stack .* halves.*pag_scale=0"),
        (5.0, 2, "holds 6 rows for 2 images, where 2 an image"),
    ],
)
def test_perturbed_attention_guidance_is_refused(guidance, images, match, block):
    with pytest.raises(UserError, match=match):
        perturbed(guidance, [PROMPT] * images, 3.0, block)


@pytest.mark.parametrize("guidance", [0.0, 5.0])
@pytest.mark.parametrize("images", [1, 2])
def test_a_pipeline_that_could_perturb_attention_is_followed(guidance, images):
    cap = perturbed(guidance, [PROMPT] * images, 0.0, capture_attention)
    assert cap.dataset().sizes["sample"] == images


def test_perturbed_attention_guidance_of_a_joint_model_is_refused(pipes):
    pipe = as_pipeline(StableDiffusion3PAGPipeline, build("sd3"), pag_applied_layers=["1"])
    with (
        pytest.raises(UserError, match="holds 2 rows for 1 images"),
        capture_attention(pipe, ["bear"], layers="transformer_blocks.0.*"),
    ):
        draw(pipe, "sd3", PROMPT, guidance_scale=0.0, pag_scale=3.0)


def test_panoramas_are_refused():
    pipe = as_pipeline(StableDiffusionPanoramaPipeline, build("sd"), scheduler=DDIMScheduler())
    with (
        pytest.raises(UserError, match="not called once for each timestep.*panoramas"),
        capture_attention(pipe, ["bear"]),
    ):
        pipe(PROMPT, height=64, width=1024, num_inference_steps=2, guidance_scale=1.0)


def tiny_video():
    parts = tiny_pipeline()
    torch.manual_seed(8)
    unet = UNet3DConditionModel(
        sample_size=8, in_channels=16, out_channels=16, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), cross_attention_dim=WIDTH, attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    )  # fmt: skip
    return as_pipeline(TextToVideoSDPipeline, parts, unet=unet)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_videos_are_refused_at_the_start(guidance):
    pipe = tiny_video()
    for block in (capture_attention(pipe, ["bear"]), steer_attention(pipe, ["bear"], 0.0)):
        with pytest.raises(UserError, match="draws videos, all frames from one row of text"), block:
            pipe(PROMPT, num_frames=3, height=64, width=64, num_inference_steps=2,
                 guidance_scale=guidance, output_type="latent")  # fmt: skip


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_an_animation_has_a_sample_a_frame(guidance):
    adapter = MotionAdapter(
        block_out_channels=(8, 16), motion_layers_per_block=1, motion_num_attention_heads=2,
        motion_norm_num_groups=2,
    )  # fmt: skip
    pipe = as_pipeline(AnimateDiffPipeline, build("sd"), motion_adapter=adapter)
    with capture_attention(pipe, ["bear"], layers="*attn2", roles=["text"]) as cap:
        pipe(PROMPT, num_frames=3, height=64, width=64, num_inference_steps=2,
             guidance_scale=guidance, output_type="latent")  # fmt: skip
    ds = cap.dataset()
    assert ds.sizes["sample"] == 3 and set(ds.prompt.values) == {PROMPT}
    np.testing.assert_allclose(ds.mass.sel(token="<text>"), 1, atol=1e-5)


def image_to_image(pipe, strength, steps, **options):
    blank = Image.new("RGB", (64, 64), "gray")
    noise = torch.Generator().manual_seed(0)
    return pipe(PROMPT, image=blank, strength=strength, num_inference_steps=steps, generator=noise,
                output_type="np", **options)  # fmt: skip


@pytest.mark.parametrize(
    ("scheduler", "strength", "steps"),
    [
        (HeunDiscreteScheduler(), 0.5, 6),
        (PNDMScheduler(skip_prk_steps=True, steps_offset=1), 0.96, 25),
        (PNDMScheduler(skip_prk_steps=True, steps_offset=1), 0.8, 10),
        (DDIMScheduler(steps_offset=1), 0.5, 6),
        (EulerDiscreteScheduler(), 0.5, 6),
    ],
)
def test_steps_in_the_middle_of_a_schedule(pipes, scheduler, strength, steps):
    pipe = as_pipeline(StableDiffusionImg2ImgPipeline, pipes["sd"], scheduler=scheduler)
    given, handle = given_timesteps(pipe)
    with capture_attention(pipe, ["bear"], layers="mid_block.*") as cap:
        image_to_image(pipe, strength, steps)
    handle.remove()
    ds, times = cap.dataset(), pipe.scheduler.timesteps.double()
    assert ds.timestep.values.tolist() == given
    assert ds.step.values.tolist() == list(range(len(times) - len(given), len(times)))
    at = int(ds.step[1])
    with capture_attention(pipe, ["bear"], layers="mid_block.*", steps=[at]) as one:
        image_to_image(pipe, strength, steps)
    assert np.array_equal(one.dataset().mass[:, 0], ds.mass[:, 1])


def test_steps_in_the_middle_of_a_schedule_whose_timesteps_are_scaled(pipes):
    pipe = as_pipeline(FluxImg2ImgPipeline, pipes["flux"])
    given, handle = given_timesteps(pipe)
    with capture_attention(pipe, ["bear"]) as cap:
        image_to_image(pipe, 0.5, 6, height=64, width=64, max_sequence_length=32)
    handle.remove()
    np.testing.assert_allclose(cap.dataset().timestep, np.array(given) * 1000, rtol=1e-5)


def test_a_denoiser_that_is_exchanged_inside_a_block():
    pipe, other = build("sd"), build("sd").unet
    own = pipe.unet
    for block in (capture_attention(pipe, ["bear"]), steer_attention(pipe, ["bear"], 0.0)):
        pipe.unet = own
        with pytest.raises(UserError, match="denoiser was exchanged inside this block"), block:
            pipe("a bear", num_inference_steps=1)
            pipe.unet = other
    for unet in (own, other):
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in unet.modules())
    pipe.unet = own
    pipe("a car", num_inference_steps=1)  # and nothing fails from then on


def test_pipelines_that_share_a_denoiser(pipes):
    one = pipes["sd"]
    two = as_pipeline(StableDiffusionPipeline, one,
                      scheduler=DDIMScheduler.from_config(one.scheduler.config))  # fmt: skip
    with (
        pytest.raises(UserError, match="another pipeline with the same denoiser is watched"),
        capture_attention(one, ["bear"]),
        capture_attention(two, ["bear"]),
    ):
        pass
    for steps in (1, 3):
        with (
            pytest.raises(UserError, match="another pipeline|without a step of the pipeline's"),
            capture_attention(one, ["bear"]),
        ):
            one("a bear", num_inference_steps=2)
            two("a bear", num_inference_steps=steps)
    with capture_attention(two, ["bear"]) as cap:
        two("a bear", num_inference_steps=3)
    assert cap.dataset().timestep.values.tolist() == two.scheduler.timesteps.tolist()


def test_a_scheduler_that_is_exchanged_inside_a_block_is_followed_and_left_as_it_was():
    pipe = build("sd")
    first = pipe.scheduler
    with capture_attention(pipe, ["bear"]) as cap:
        draw(pipe, "sd", PROMPT)
        pipe.scheduler = EulerDiscreteScheduler.from_config(first.config)
        draw(pipe, "sd", PROMPT)
    assert len(cap.kept) == 2
    for part in (first, pipe.scheduler, pipe.tokenizer):
        assert not {"step", "_encode_plus"} & set(vars(part))


def test_a_run_that_broke_off_does_not_pass_for_a_whole_one(pipes):
    def stop(*_):
        raise RuntimeError("stop")

    handle = pipes["sd"].unet.conv_out.register_forward_hook(stop)
    with (
        pytest.raises(UserError, match="use a new block after an error"),
        capture_attention(pipes["sd"], ["bear"]),
    ):
        with contextlib.suppress(RuntimeError):
            draw(pipes["sd"], "sd", PROMPT)
        handle.remove()
        draw(pipes["sd"], "sd", PROMPT)
