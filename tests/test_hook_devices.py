"""Numbers stay right on any device, under autocast too; NaN is not handed out."""

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from families import FAMILIES, PROMPT, build, draw, explicit_attention
from whitebear.errors import UserError
from whitebear.hooks import capture_attention, patch_text, steer_attention


class AppleGPU(TorchFunctionMode):
    """A stand-in for Apple's GPUs: all tensors are on one until `cpu()` is called; there they have
    no float64, and pool into divisors of their size only."""

    def __init__(self):
        super().__init__()
        self.on_cpu = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        tensor = next((x for x in args if isinstance(x, torch.Tensor)), None)
        away = tensor is not None and not any(x is tensor for x in self.on_cpu)
        if func == torch.Tensor.is_mps.__get__:
            return away
        if away and (name == "double" or torch.float64 in (*args, *kwargs.values())):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        if away and name == "adaptive_avg_pool2d" and any(n % args[1] for n in tensor.shape[-2:]):
            raise RuntimeError("Adaptive pool MPS: input sizes must be divisible by output sizes")
        out = func(*args, **kwargs)
        if name == "cpu" or (tensor is not None and not away and isinstance(out, torch.Tensor)):
            self.on_cpu.append(out)
        return out


@pytest.mark.parametrize("name", FAMILIES)
def test_a_device_without_float64(name):
    pipe = build(name)
    options = {"num_inference_steps": 2, "output_type": "latent"}
    with capture_attention(pipe, ["bear"], ("mass", "map", "entropy")) as plain:
        draw(pipe, name, PROMPT, **options)
    with AppleGPU(), capture_attention(pipe, ["bear"], ("mass", "map", "entropy")) as cap:
        draw(pipe, name, PROMPT, **options)
    assert cap.dataset().equals(plain.dataset())
    with (
        AppleGPU(),
        steer_attention(pipe, ["bear"], 0.5, renormalize=True),
        patch_text(pipe, PROMPT, PROMPT, "all"),
    ):
        draw(pipe, name, PROMPT, **options)


@pytest.mark.parametrize("name", ["sd", "flux"])
def test_autocast_reaches_the_kernel_alone(name, monkeypatch):
    pipe = build(name)
    what = ("mass", "map", "entropy")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with explicit_attention(pipe, monkeypatch) as seen:
            plain = draw(pipe, name, PROMPT)
        with capture_attention(pipe, ["bear"], what, roles=["text"], grid=4) as cap:
            images = draw(pipe, name, PROMPT)
        with steer_attention(pipe, ["bear"], 1.0, renormalize=True):
            draw(pipe, name, PROMPT)
    assert np.array_equal(images, plain)
    ds = cap.dataset()
    if name == "sd":
        np.testing.assert_allclose(ds.mass.sel(token="<text>"), 1, atol=1e-6)
        truth = [[p[-1][..., [17, 18, 19, 20]].sum(-1).mean() for p in seen[path]]
                 for path in ds.layer.values]  # fmt: skip
        np.testing.assert_allclose(ds.mass.sel(token="bear")[0], torch.tensor(truth).T, atol=1e-5)
    else:
        assert 0 < float(ds.mass.sel(token="<text>").max()) < 1


def test_numbers_beyond_the_range_are_refused():
    pipe = build("sd")
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    layer.to_k.weight.data *= 1e30
    layer.to_q.weight.data *= 1e30
    with capture_attention(pipe, ["bear"]) as cap:
        draw(pipe, "sd", PROMPT, num_inference_steps=1, output_type="latent")
    with pytest.raises(UserError, match=r"\d+ of 35 values of mass are not numbers: .*float32"):
        cap.dataset()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_exact(dtype, monkeypatch):
    pipe = build("sd").to(dtype)
    with explicit_attention(pipe, monkeypatch) as seen:
        plain = draw(pipe, "sd", PROMPT, output_type="latent")
    with capture_attention(pipe, ["bear"]) as cap:
        images = draw(pipe, "sd", PROMPT, output_type="latent")
    assert torch.equal(images, plain)
    ds = cap.dataset()
    truth = [[p[-1][..., [17, 18, 19, 20]].sum(-1).mean() for p in seen[path]]
             for path in ds.layer.values]  # fmt: skip
    np.testing.assert_allclose(ds.mass.sel(token="bear")[0], torch.tensor(truth).T, atol=1e-5)
