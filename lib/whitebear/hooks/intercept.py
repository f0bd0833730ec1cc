"""One interception for seeing and steering attention: a TorchFunctionMode that is on only inside
the chosen attention modules, where it meets the final queries, keys and values on their way into
torch's scaled_dot_product_attention (after norms and rotary embedding, with any fused projection).

A `Hub` sits on a denoiser while anyone listens; capture and steering are its listeners. Edits come
before observations, so what is observed is what the image is made from.
"""

from __future__ import annotations

import inspect
import math
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from diffusers import DiffusionPipeline
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as sdpa
from torch.overrides import TorchFunctionMode

from whitebear.errors import UserError
from whitebear.hooks.coverage import refuse_unknown
from whitebear.hooks.kernels import attention_and_lse
from whitebear.models.families import (
    Call,
    denoiser_of,
    family_of,
    image_grid,
    is_joint,
    joint_slices,
    read_call,
)

if TYPE_CHECKING:
    from whitebear.hooks.listener import Listener

ARGUMENTS = (
    "query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa",
)  # fmt: skip


@dataclass
class Attention:
    """One attention call as the kernel gets it: query (R, H, N, D), key and value (R, H, K, D).

    text, image: slices of the keys (in joint attention of the queries too); lse: log of the softmax
    denominator (R, H, N), where an observer of joint attention needs it.
    """

    arguments: dict
    scale: float
    text: slice
    image: slice
    lse: torch.Tensor | None = None


@dataclass
class Run:
    """One call of the pipeline, from its first denoiser call on.

    stacked: whether each call holds [negative; positive] rows (classifier-free guidance in one
    batch), or one branch a call; rows: images; first: index of its first step in `timesteps`.
    """

    timesteps: torch.Tensor
    sigmas: torch.Tensor
    states: torch.Tensor
    stacked: bool
    rows: int
    n_text: int
    grid: tuple[int, int]
    first: int
    heard: dict[str, list[torch.Tensor]]
    step: int = -1

    def slice_of(self, branch: str) -> slice:
        """The rows of a branch in a call that holds it."""
        start = self.rows if self.stacked and branch == "cond" else 0
        return slice(start, start + self.rows)


class Hub:
    """The hooks on one denoiser, for as long as it has listeners."""

    _hubs: weakref.WeakKeyDictionary[nn.Module, Hub] = weakref.WeakKeyDictionary()

    def __init__(self, pipe: DiffusionPipeline):
        self.pipe, self.denoiser = pipe, denoiser_of(pipe)
        self.joint = is_joint(self.denoiser)
        self.signature = inspect.signature(self.denoiser.forward)
        self.listeners: list[Listener] = []
        self.handles: list = []
        self.forget()

    @classmethod
    def of(cls, pipe: DiffusionPipeline) -> Hub:
        """The hub of a pipeline's denoiser; listeners of one denoiser share it."""
        denoiser = denoiser_of(pipe)
        if denoiser not in cls._hubs:
            cls._hubs[denoiser] = cls(pipe)
        return cls._hubs[denoiser]

    def forget(self) -> None:
        self.run: Run | None = None
        self.heard: dict[str, list[torch.Tensor]] = {}
        self.mode, self.awake = _Mode(self), []

    def join(self, listener: Listener) -> None:
        self.listeners.append(listener)
        self.hook()

    def leave(self, listener: Listener) -> None:
        if self.mode.on:  # Ctrl-C inside an attention module: torch calls no hook after that
            self.mode.__exit__(None, None, None)
        self.listeners.remove(listener)
        self.hook()
        if not self.listeners:
            self.forget()
            self._hubs.pop(self.denoiser, None)

    def hook(self) -> None:
        """Put hooks on exactly what the present listeners need."""
        while self.handles:
            self.handles.pop().remove()
        if not self.listeners:
            return
        self.run = None  # whoever joins late is told of the next run
        add = self.handles.append
        for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
            if isinstance(encoder := getattr(self.pipe, name, None), nn.Module):
                add(encoder.register_forward_pre_hook(self.hear(name), with_kwargs=True))
        add(self.denoiser.register_forward_pre_hook(self.on_call, with_kwargs=True))
        layers = {k: v for x in self.listeners for k, v in x.layers.items()}
        for path, layer in layers.items():
            add(layer.module.register_forward_pre_hook(self.wake(path)))
            add(layer.module.register_forward_hook(self.sleep, always_call=True))
        if layers:
            self.handles += refuse_unknown(self.denoiser, lambda: self.run)

    def hear(self, name: str):
        def hook(module, args, kwargs):
            ids = args[0] if args else kwargs.get("input_ids")
            if ids is not None:
                self.heard.setdefault(name, []).append(ids)

        return hook

    def on_call(self, module: nn.Module, args: tuple, kwargs: dict):
        """Before each denoiser call: note which run, step and branch it belongs to."""
        call = read_call(self.signature, args, kwargs)
        starts = self.run is None or self.pipe.scheduler.timesteps is not self.run.timesteps
        if starts:
            self.run, self.heard = self.start(call), {}
            for listener in self.listeners:
                listener.begin(self.run)
        run = self.run
        branch = "cond" if call.states is run.states else "uncond"
        run.step += branch == "cond"
        step = run.first + run.step
        self.awake = [
            x
            for x in self.listeners
            if (run.stacked or x.branch == branch) and (x.steps is None or step in x.steps)
        ]
        states = call.states
        for listener in self.awake:
            listener.expected += 1
            states = listener.edit_states(states, run)
        if states is call.states:
            return None
        if "encoder_hidden_states" in kwargs:
            return args, kwargs | {"encoder_hidden_states": states}
        return tuple(states if x is call.states else x for x in args), kwargs

    def start(self, call: Call) -> Run:
        """What the first call of a run tells. Reads a few numbers back from the device."""
        scheduler, rows = self.pipe.scheduler, len(call.states)
        stacked = is_stacked(self.pipe, call)
        t = float(call.timestep.flatten()[0]) * (1000 if family_of(self.denoiser).packed else 1)
        times = scheduler.timesteps.detach().double().cpu()
        return Run(
            scheduler.timesteps, noise_levels(scheduler), call.states, stacked,
            rows // 2 if stacked else rows, call.n_text, image_grid(self.denoiser, call),
            int((times - t).abs().argmin()), self.heard,
        )  # fmt: skip

    def wake(self, path: str):
        def hook(module, args):
            self.path, self.met = path, not any(path in x.layers for x in self.awake)
            if not self.met:
                self.mode.__enter__()

        return hook

    def sleep(self, module, args, output) -> None:
        if self.mode.on:
            self.mode.__exit__(None, None, None)

    def attend(self, arguments: dict) -> torch.Tensor:
        """Stand in for one scaled_dot_product_attention inside a chosen layer."""
        run = self.run
        n_image = run.grid[0] * run.grid[1] if self.joint else 0
        if self.met or arguments["key"].shape[-2] != run.n_text + n_image:
            return sdpa(**arguments)  # image prompts of an IP-adapter
        self.met = True
        text, image = slice(0, run.n_text), slice(None)
        if self.joint:
            text, image = joint_slices(self.denoiser, run.n_text, n_image)
        scale = arguments.get("scale") or 1 / math.sqrt(arguments["query"].shape[-1])
        attention = Attention(dict(arguments), scale, text, image)
        awake = [x for x in self.awake if self.path in x.layers]
        for listener in awake:
            listener.edit(attention, run)
        if self.joint and any(x.needs_lse for x in awake):
            out, attention.lse = attention_and_lse(attention.arguments, scale)
        else:
            out = sdpa(**attention.arguments)
        for listener in awake:
            listener.observe(self.path, attention, run)
            listener.seen[self.path] += 1
        return out


class _Mode(TorchFunctionMode):
    """Hands scaled_dot_product_attention to the hub and leaves all else alone."""

    def __init__(self, hub: Hub):
        super().__init__()
        self.hub, self.on = weakref.proxy(hub), False

    def __enter__(self):
        self.on = True
        return super().__enter__()

    def __exit__(self, *error):
        self.on = False
        return super().__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is sdpa:
            return self.hub.attend(dict(zip(ARGUMENTS, args, strict=False)) | (kwargs or {}))
        return func(*args, **(kwargs or {}))


def is_stacked(pipe: DiffusionPipeline, call: Call) -> bool:
    """Whether a batch is [negative; positive] over the same latents.

    Never by halving blindly: both halves must start from equal latents. UserError for a pipeline
    that says it guides and stacks its batch otherwise (three-way guidance).
    """
    if family_of(denoiser_of(pipe)).packed:  # one branch a call
        return False
    half = len(call.sample) // 2
    doubled = len(call.sample) == 2 * half > 0 and torch.equal(
        call.sample[:half], call.sample[half:]
    )
    says = getattr(pipe, "do_classifier_free_guidance", None)
    if says and not doubled:
        raise UserError(
            f"{type(pipe).__name__} does not stack [negative; positive] halves, so its branches"
            " cannot be told apart; set guidance_scale=1"
        )
    return doubled if says is None else bool(says)


def noise_levels(scheduler) -> torch.Tensor:
    """sigma of every timestep, float64: the scheduler's own, or sqrt((1 - a) / a) of its
    cumulative products a (Karras et al. 2022)."""
    times = scheduler.timesteps.detach().cpu()
    if (sigmas := getattr(scheduler, "sigmas", None)) is not None:
        return sigmas.detach().double().cpu()[: len(times)]
    a = scheduler.alphas_cumprod.double()[times.long()]
    return ((1 - a) / a).sqrt()
