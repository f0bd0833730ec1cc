"""What differs between diffusion models where attention meets the text.

kind "cross": attention from image queries to text keys alone (SD 1.x, 2.x, SDXL, PixArt, Sana).
kind "joint": attention over image and text together (SD3: image first; FLUX: text first, in its
double and in its single blocks).
"""

import inspect
import math
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from diffusers import DiffusionPipeline
from torch import nn

from whitebear.errors import UserError

# Joint models, and whether text comes first in their sequence of keys.
TEXT_FIRST = {"SD3Transformer2DModel": False, "FluxTransformer2DModel": True}
# Tokenizers of each stretch of text keys; all others: every tokenizer over the same positions.
SEGMENTS = {
    "SD3Transformer2DModel": (("tokenizer", "tokenizer_2"), ("tokenizer_3",)),
    "FluxTransformer2DModel": (("tokenizer_2",),),
}


@dataclass(frozen=True)
class Layer:
    """An attention module in which image queries meet text keys."""

    path: str
    module: nn.Module


def denoiser_of(pipe: DiffusionPipeline) -> nn.Module:
    """The network that a pipeline calls at every step. UserError if it has none."""
    for name in ("unet", "transformer"):
        if isinstance(module := getattr(pipe, name, None), nn.Module):
            return module
    raise UserError(
        f"{type(pipe).__name__} has no denoiser (unet or transformer); give a text-to-image one"
    )


def is_joint(denoiser: nn.Module) -> bool:
    """Whether text and image share one sequence of keys."""
    return type(denoiser).__name__ in TEXT_FIRST


def text_layers(denoiser: nn.Module, patterns: str | list[str] = "*") -> list[Layer]:
    """Attention modules that see text, in the order in which the image passes them.

    patterns: globs on the module path ("*", "down_blocks.*", ["*attn2"]).
    SD3.5's second, image-only attention is none of them. UserError where nothing matches, and for
    attention that does not go through torch's scaled_dot_product_attention.
    """
    name = type(denoiser).__name__
    layers = [
        Layer(path, module) for path, module in denoiser.named_modules() if _sees_text(name, module)
    ]
    if not layers:
        raise UserError(
            f"{name} has no attention that is known to see text; add its class to"
            " whitebear.hooks.families.TEXT_FIRST"
        )
    order = ("down", "mid", "up")  # a UNet lists its middle last
    layers.sort(key=lambda x: order.index(place_of(x.path)) if place_of(x.path) in order else 0)
    globs = [patterns] if isinstance(patterns, str) else list(patterns)
    chosen = [layer for layer in layers if any(fnmatchcase(layer.path, g) for g in globs)]
    if not chosen:
        raise UserError(
            f"no layer matches {globs}; there are {layers[0].path} ... {layers[-1].path}"
        )
    check_visible(denoiser, chosen)
    return chosen


def place_of(path: str, joint: bool = False) -> str:
    """Which part of the network a layer is in: down, mid, up; single, double (joint) or block.

    >>> place_of("down_blocks.0.attentions.1.transformer_blocks.0.attn2")
    'down'
    """
    part = path.partition("_")[0]
    return {"transformer": "double" if joint else "block"}.get(part, part)


def _sees_text(denoiser: str, module: nn.Module) -> bool:
    if not hasattr(module, "processor"):
        return False
    if denoiser == "FluxTransformer2DModel":
        return True
    if denoiser in TEXT_FIRST:
        return getattr(module, "added_kv_proj_dim", None) is not None
    return bool(getattr(module, "is_cross_attention", False))


def check_visible(denoiser: nn.Module, layers: list[Layer]) -> None:
    """Raise UserError where a layer's attention could not be seen: compiled, or not by SDPA."""
    modules = [denoiser, *(layer.module for layer in layers)]
    if any(m._compiled_call_impl is not None or hasattr(m, "_orig_mod") for m in modules):
        raise UserError(
            "the denoiser is compiled already, and hooks added to a compiled module are ignored;"
            " use the pipeline before torch.compile"
        )
    for layer in layers:
        processor = type(layer.module.processor).__name__
        if re_implements(processor):
            raise UserError(
                f"{layer.path} computes attention in {processor}, which hides it; call"
                " set_attn_processor(AttnProcessor2_0()) on the denoiser (and no attention slicing"
                " or xformers)"
            )
        backend = str(getattr(layer.module.processor, "_attention_backend", None) or "native")
        backend = backend.rpartition(".")[2].lower().strip("_")
        if not backend.startswith("native"):
            raise UserError(
                f"{layer.path} uses the attention backend {backend!r}, which hides it; call"
                ' set_attention_backend("native") on the denoiser'
            )


def re_implements(processor: str) -> bool:
    """Whether a processor class of diffusers computes attention without SDPA."""
    return processor in ("AttnProcessor", "AttnAddedKVProcessor") or processor.startswith(
        ("Sliced", "XFormers", "CustomDiffusionAttnProcessor", "CustomDiffusionXFormers")
    )


def segment_lengths(pipe: DiffusionPipeline, n_keys: int) -> list[tuple[str, int, int]]:
    """(tokenizer attribute, first text key, number of keys) of every tokenizer of the text keys."""
    name = type(denoiser_of(pipe)).__name__
    every = tuple(t for t in ("tokenizer", "tokenizer_2", "tokenizer_3") if hasattr(pipe, t))
    stretches = SEGMENTS.get(name, (every,))
    found, start = [], 0
    for i, names in enumerate(stretches):
        last = i == len(stretches) - 1
        here = [(t, x) for t in names if (x := getattr(pipe, t, None)) is not None]
        length = n_keys - start if last else max(x.model_max_length for _, x in here)
        found += [(t, start, length) for t, _ in here]
        start += length
    return found


@dataclass(frozen=True)
class Call:
    """One call of the denoiser: what its arguments say. n_text: text keys; image_ids: of FLUX."""

    sample: torch.Tensor
    timestep: torch.Tensor
    states: torch.Tensor
    n_text: int
    image_ids: torch.Tensor | None


def read_call(signature: inspect.Signature, args: tuple, kwargs: dict) -> Call:
    """The parts of a denoiser's arguments that attention depends on; nothing is copied."""
    given = signature.bind_partial(*args, **kwargs).arguments
    sample = given["sample"] if "sample" in given else given["hidden_states"]
    states = given["encoder_hidden_states"]
    return Call(sample, given["timestep"], states, states.shape[1], given.get("img_ids"))


def image_grid(denoiser: nn.Module, call: Call) -> tuple[int, int]:
    """Height and width of the finest grid of image positions that attention can work on.

    FLUX packs its latents into a sequence and tells rows and columns in img_ids: reading them
    waits for the device, so this is done once a run.
    """
    if call.sample.ndim == 3:
        ids = call.image_ids[0] if call.image_ids.ndim == 3 else call.image_ids
        return int(ids[:, 1].max()) + 1, int(ids[:, 2].max()) + 1
    patch = getattr(denoiser.config, "patch_size", None) or 1
    return call.sample.shape[-2] // patch, call.sample.shape[-1] // patch


def layer_grid(n: int, finest: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a layer with n image queries: the finest grid halved some times.

    >>> layer_grid(24, (16, 24))
    (4, 6)
    """
    height, width = finest
    while height * width > n:
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    if height * width != n:
        raise UserError(
            f"{n} image queries do not fit a grid of {finest[0]}x{finest[1]}; this model is unknown"
        )
    return height, width


def joint_slices(denoiser: nn.Module, n_text: int, n_image: int) -> tuple[slice, slice]:
    """Where text and image stand in a joint sequence."""
    if TEXT_FIRST[type(denoiser).__name__]:
        return slice(0, n_text), slice(n_text, n_text + n_image)
    return slice(n_image, n_image + n_text), slice(0, n_image)
