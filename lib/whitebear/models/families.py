"""All that differs between families of diffusion models, for the hooks and for drawing.

In cross-attention, image queries meet text keys alone (SD 1.x, 2.x, SDXL, PixArt, Sana); such
models need no entry in `FAMILIES`. In joint attention image and text are one sequence of queries
and keys (SD3, FLUX): what cannot be read from the model or its pipeline stands in its `Family`.
"""

import inspect
import math
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from diffusers import DiffusionPipeline
from torch import nn

from whitebear.errors import UserError

T5_LENGTH = 256  # tokens that T5 encoders are given (FLUX.1-schnell knows no more; dev takes 512)


@dataclass(frozen=True)
class Family:
    """How denoisers of a class read text and are called.

    text_first: whether text precedes the image in the joint sequence; None for cross-attention.
    segments: tokenizers of each stretch of text keys; (): all tokenizers over the same positions.
    image_only: endings of the paths of attention modules of a joint model that see no text.
    packed: as FLUX, latents are a sequence whose rows and columns img_ids tells, timesteps are
    divided by 1000, and guidance calls the denoiser once a branch instead of on stacked halves.
    negative_scale: the option of the pipeline that says how strongly a negative prompt repels.
    """

    text_first: bool | None = None
    segments: tuple[tuple[str, ...], ...] = ()
    image_only: tuple[str, ...] = ()
    packed: bool = False
    negative_scale: str = "guidance_scale"


FAMILIES = {  # by the class of the denoiser
    "SD3Transformer2DModel": Family(
        text_first=False, segments=(("tokenizer", "tokenizer_2"), ("tokenizer_3",)),
        image_only=("attn2",),
    ),
    "FluxTransformer2DModel": Family(
        text_first=True, segments=(("tokenizer_2",),), packed=True,
        negative_scale="true_cfg_scale",  # guidance_scale is a number that the model reads
    ),
    "ChromaTransformer2DModel": Family(text_first=True, packed=True),
}  # fmt: skip
CROSS_ATTENTION = Family()
NOT_FOLLOWED = {  # denoisers whose text keys are more than the text states that they are given
    "AuraFlowTransformer2DModel": "puts registers of its own before the text",
    "HunyuanDiT2DModel": "joins the texts of two encoders",
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


def family_of(denoiser: nn.Module) -> Family:
    """The entry of a denoiser's class, or that of cross-attention."""
    return FAMILIES.get(type(denoiser).__name__, CROSS_ATTENTION)


def is_joint(denoiser: nn.Module) -> bool:
    """Whether text and image share one sequence of keys."""
    return family_of(denoiser).text_first is not None


def known_layers(denoiser: nn.Module) -> list[Layer]:
    """Attention modules that see text, in the order in which the image passes them.

    Whether these are all shows when the denoiser is called, see `hooks.coverage`. UserError where
    there are none.
    """
    family, kind = family_of(denoiser), type(denoiser).__name__
    if kind in NOT_FOLLOWED:
        raise UserError(f"{kind} {NOT_FOLLOWED[kind]}, which is not followed; use another model")
    layers = [
        Layer(path, module)
        for path, module in denoiser.named_modules()
        if hasattr(module, "processor") and _sees_text(family, path, module)
    ]
    if not layers:
        raise UserError(
            f"{kind} has no attention that is known to see text; add its class"
            " to FAMILIES in whitebear/models/families.py"
        )
    order = ("down", "mid", "up")  # a UNet lists its middle last
    return sorted(
        layers, key=lambda x: order.index(place_of(x.path)) if place_of(x.path) in order else 0
    )


def text_layers(denoiser: nn.Module, patterns: str | list[str] = "*") -> list[Layer]:
    """Those of `known_layers` that a glob on the module path matches ("*", ["*attn2"]).

    UserError where nothing matches, and for attention that does not go through torch's
    scaled_dot_product_attention.
    """
    layers = known_layers(denoiser)
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


def _sees_text(family: Family, path: str, module: nn.Module) -> bool:
    if family.text_first is None:
        return bool(getattr(module, "is_cross_attention", False))
    return not path.endswith(family.image_only)


def check_visible(denoiser: nn.Module, layers: list[Layer]) -> None:
    """Raise UserError where a layer's attention could not be seen: compiled, or not by SDPA, or
    with keys of text and image together in a model of cross-attention."""
    if any(map(is_compiled, denoiser.modules())):
        raise UserError(
            "the denoiser is compiled already, all or parts of it, and hooks added to a compiled"
            " module are ignored; use the pipeline before torch.compile"
        )
    for layer in layers:
        added = getattr(layer.module, "added_kv_proj_dim", None) is not None
        if added and not is_joint(denoiser):
            raise UserError(
                f"{layer.path} adds the keys of text to those of the image (DeepFloyd IF,"
                " Kandinsky), which is not followed; use another model"
            )
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


def is_compiled(module: nn.Module) -> bool:
    """Whether torch.compile has changed a module: itself, as a copy, or its `forward`."""
    compiled = module._compiled_call_impl is not None or hasattr(module, "_orig_mod")
    return compiled or hasattr(vars(module).get("forward"), "_torchdynamo_orig_callable")


def is_offloaded(part: nn.Module) -> bool:
    """Whether accelerate or diffusers keep a part, or some of it, in main memory."""
    marks = "_hf_hook", "_diffusers_hook"
    return any(hasattr(module, mark) for module in part.modules() for mark in marks)


def rewrites_text(unet: nn.Module) -> bool:
    """Whether a UNet changes text states before its attention reads them."""
    return unet.config.encoder_hid_dim_type not in (None, "ip_image_proj")


def re_implements(processor: str) -> bool:
    """Whether a processor class of diffusers computes attention without SDPA."""
    return processor in ("AttnProcessor", "AttnAddedKVProcessor") or processor.startswith(
        ("Sliced", "XFormers", "CustomDiffusionAttnProcessor", "CustomDiffusionXFormers")
    )


def segment_lengths(pipe: DiffusionPipeline, n_keys: int) -> list[tuple[str, int, int]]:
    """(tokenizer attribute, first text key, number of keys) of every tokenizer of the text keys."""
    every = tuple(t for t in ("tokenizer", "tokenizer_2", "tokenizer_3") if hasattr(pipe, t))
    stretches = family_of(denoiser_of(pipe)).segments or (every,)
    found, start = [], 0
    for i, names in enumerate(stretches):
        last = i == len(stretches) - 1
        here = [(t, x) for t in names if (x := getattr(pipe, t, None)) is not None]
        length = n_keys - start if last else max(x.model_max_length for _, x in here)
        found += [(t, start, length) for t, _ in here]
        start += length
    return found


def stretches(pipe: DiffusionPipeline, n_keys: int) -> list[slice]:
    """The text keys in parts, each of encoders of its own: SD3 has one of CLIP, one of T5."""
    parts = dict.fromkeys((start, start + n) for _, start, n in segment_lengths(pipe, n_keys))
    return [slice(*part) for part in parts]


@dataclass(frozen=True)
class Call:
    """One call of the denoiser, by its arguments.

    n_text: text keys; image_ids: rows and columns of packed latents, None elsewhere.
    """

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

    For packed latents this waits for the device, so it is done once a run.
    """
    if family_of(denoiser).packed:
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
    if family_of(denoiser).text_first:
        return slice(0, n_text), slice(n_text, n_text + n_image)
    return slice(n_image, n_image + n_text), slice(0, n_image)


# --- how pipelines are called --------------------------------------------------------------------


def call_options(pipe: DiffusionPipeline) -> dict:
    """What a pipeline is told beside prompts and sampling: with joint attention, the T5 tokens;
    to put no instruction of its own before the prompt (Sana)."""
    options = {"max_sequence_length": T5_LENGTH} if is_joint(denoiser_of(pipe)) else {}
    instruction = "complex_human_instruction"
    return options | ({instruction: None} if takes(pipe, instruction) else {})


def picture_side(pipe: DiffusionPipeline) -> int:
    """Width and height in pixels of the pictures that a pipeline makes unless told otherwise."""
    size = getattr(pipe, "default_sample_size", None) or denoiser_of(pipe).config.sample_size
    return size * getattr(pipe, "vae_scale_factor", 8)


def takes(pipe: DiffusionPipeline, option: str) -> bool:
    """Whether a pipeline can be called with an option."""
    return option in inspect.signature(pipe.__call__).parameters


def negative_options(pipe: DiffusionPipeline, guidance: float) -> dict:
    """What a pipeline is told so that a negative prompt repels as strongly as `guidance` says."""
    scale = family_of(denoiser_of(pipe)).negative_scale
    return {"guidance_scale": float(guidance), scale: float(guidance)}


def encoding_options(pipe: DiffusionPipeline) -> set[str]:
    """Names of the arguments of a pipeline's `encode_prompt`."""
    return set(inspect.signature(pipe.encode_prompt).parameters)


def masks_text(pipe: DiffusionPipeline) -> bool:
    """Whether a pipeline's text encoders are told which tokens are padding (PixArt, Chroma)."""
    return "prompt_attention_mask" in encoding_options(pipe)


def as_read(pipe: DiffusionPipeline, tokenizer, text: str) -> str:
    """A prompt as its pipeline hands it to a tokenizer: with all vectors of a textual inversion."""
    convert = getattr(pipe, "maybe_convert_prompt", None)
    return text if convert is None else convert(text, tokenizer)


def encoded(
    pipe: DiffusionPipeline, prompts: list[str], length: int, guided: bool = False
) -> tuple[torch.Tensor | None, ...]:
    """What a pipeline's `encode_prompt` makes of prompts, first the states (prompts, n_text, D).

    length: T5 tokens; guided: also of the empty prompt, which comes second. Pipelines that read
    pooled states give those of both after that.
    """
    defaults = {
        "max_sequence_length": length, "do_classifier_free_guidance": guided,
        "prompt_2": None, "prompt_3": None,
    }  # fmt: skip
    options = {k: v for k, v in defaults.items() if k in encoding_options(pipe)}
    with torch.no_grad():
        return pipe.encode_prompt(
            prompts, device=pipe._execution_device, num_images_per_prompt=1, **options
        )


def text_keys(pipe: DiffusionPipeline, prompts: list[str], length: int) -> torch.Tensor:
    """The states (prompts, n_text, D) that a pipeline gives its denoiser; length: T5 tokens."""
    return encoded(pipe, prompts, length)[0]
