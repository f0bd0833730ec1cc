"""Random pipelines, schedulers, calls and tokens: capture is attention written out, or refused."""

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
)
from diffusers.callbacks import SDCFGCutoffCallback

from families import CALL, FAMILIES, LAYOUTS, as_pipeline, build, explicit_attention
from whitebear.errors import UserError
from whitebear.hooks import capture_attention, steer_attention
from whitebear.models.families import negative_options

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

SCHEDULERS = (
    DDIMScheduler(steps_offset=1, clip_sample=False), DPMSolverMultistepScheduler(),
    EulerAncestralDiscreteScheduler(steps_offset=1), EulerDiscreteScheduler(steps_offset=1),
    HeunDiscreteScheduler(steps_offset=1), KDPM2DiscreteScheduler(steps_offset=1),
    LCMScheduler(clip_sample=False), PNDMScheduler(skip_prk_steps=True, steps_offset=1),
)  # fmt: skip
WORDS = ("a", "bear", "picture", "of", "white", "car", "no", "and")  # one token each to T5
BUILT = {name: build(name) for name in FAMILIES}
IMAGE = torch.zeros(1, 3, 64, 64)


@st.composite
def calls(draw):
    """A call of a pipeline, and what is to be watched in it."""
    name = draw(st.sampled_from(list(BUILT)))
    prompts = draw(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5)
                            .map(" ".join), min_size=1, max_size=2))  # fmt: skip
    return {
        "name": name,
        "prompts": prompts,
        "copies": draw(st.integers(1, 2)),
        "word": draw(st.sampled_from([*WORDS, "white bear", "ear", "BEAR"])),
        "named": draw(st.booleans()),
        "steps": draw(st.integers(2, 4)),
        "guidance": draw(st.sampled_from([1.0, 5.0])),
        "scheduler": draw(st.sampled_from(SCHEDULERS)) if name in ("sd", "sdxl") else None,
        "strength": draw(st.sampled_from([None, 0.5, 0.8])) if name == "sd" else None,
        "ends": draw(st.sampled_from([None, 0, 1])) if name == "sd" else None,
        "one_step": draw(st.booleans()),
        "steered": draw(st.booleans()),
    }


def keys_of(name, prompt, word):
    """Where a word stands among the text keys, by counting letters (CLIP) or words (T5)."""
    words, wanted = prompt.split(), word.lower().split()
    starts = [i for i in range(len(words)) if words[i : i + len(wanted)] == wanted]
    letters, t5 = [], []
    for start in starts:
        before = 1 + len("".join(words[:start]))
        letters += range(before, before + len("".join(wanted)))
        t5 += range(start, start + len(wanted))
    if name in ("sd", "sdxl"):
        return sorted(set(letters))
    image = LAYOUTS[name].text.start or 0
    return sorted({image + i for i in letters} | {image + 77 + i for i in t5}) if name == "sd3" \
        else sorted(set(t5))  # fmt: skip


def run(case, pipe):
    name, options = case["name"], dict(CALL[case["name"]])
    options |= negative_options(pipe, case["guidance"]) if name in ("flux", "chroma") else {
        "guidance_scale": case["guidance"]}  # fmt: skip
    if case["guidance"] > 1 and name == "flux":
        options["negative_prompt"] = [""] * len(case["prompts"])
    if case["ends"] is not None and case["guidance"] > 1:
        options["callback_on_step_end"] = SDCFGCutoffCallback(
            cutoff_step_ratio=None, cutoff_step_index=case["ends"]
        )
    if case["strength"] is not None:
        options |= {"image": IMAGE, "strength": case["strength"]}
    noise = torch.Generator().manual_seed(0)
    return pipe(case["prompts"], num_images_per_prompt=case["copies"], output_type="latent",
                num_inference_steps=case["steps"], generator=noise, **options).images  # fmt: skip


def written_out(case, pipe, monkeypatch):
    """(images, layers -> mass (sample, call)) of the conditional branch, by explicit softmax."""
    layout, table = LAYOUTS[case["name"]], {}
    n = len(case["prompts"]) * case["copies"]
    with explicit_attention(pipe, monkeypatch) as seen:
        images = run(case, pipe)
    each = [prompt for prompt in case["prompts"] for _ in range(case["copies"])]
    for path, found in seen.items():
        if not path or found[0].shape[-1] != layout.n_keys:
            continue
        guided = case["guidance"] > 1 and not layout.stacked
        found = [p[-n:, :, layout.image] for p in found][:: 2 if guided else 1]
        keys = [keys_of(case["name"], prompt, case["word"]) for prompt in each]
        table[path] = torch.stack(
            [torch.stack([p[i][..., keys[i]].sum(-1).mean() for p in found]) for i in range(n)]
        )
    return images, table


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True, database=None)
@hypothesis.given(case=calls())
def test_capture_is_attention_written_out_or_refused(case):
    pipe = BUILT[case["name"]]
    if case["scheduler"] is not None:
        kind = StableDiffusionImg2ImgPipeline if case["strength"] else type(pipe)
        pipe = as_pipeline(kind, pipe, scheduler=case["scheduler"])
    each = [prompt for prompt in case["prompts"] for _ in range(case["copies"])]
    if case["ends"] is not None and case["guidance"] > 1:  # diffusers' callback keeps one image
        hypothesis.assume(len(each) == 1)
    at = {"steps": [1]} if case["one_step"] else {}
    watched = {"prompts": each if case["named"] else None, **at}
    with pytest.MonkeyPatch.context() as patch:
        plain, truth = written_out(case, pipe, patch)
    first = len(pipe.scheduler.timesteps) - next(iter(truth.values())).shape[1]
    try:
        with capture_attention(pipe, [case["word"]], roles=["text"], **watched) as cap:
            images = run(case, pipe)
        data = cap.dataset()
    except UserError as error:
        hypothesis.note(str(error))
        known = all(keys_of(case["name"], prompt, case["word"]) for prompt in each)
        assert not known or (case["one_step"] and first > 1)
        return
    assert torch.equal(torch.as_tensor(images), torch.as_tensor(plain))
    assert data.prompt.values.tolist() == each
    for path in data.layer.values:
        expected = truth[path][:, data.step.values - first]
        found = data.mass.sel(layer=path, token=case["word"])
        np.testing.assert_allclose(found, expected, atol=1e-5)
    if case["steered"]:
        with (
            steer_attention(pipe, [case["word"]], 0.0, renormalize=True, **watched),
            capture_attention(pipe, [case["word"]], **watched) as steered,
        ):
            run(case, pipe)
        assert (steered.dataset().mass.sel(token=case["word"]) == 0).all()
