"""One interception for seeing and steering attention: a TorchFunctionMode that is on only inside
the chosen attention modules, where it meets the final queries, keys and values on their way into
torch's scaled_dot_product_attention (after norms and rotary embedding, with any fused projection).

A `Hub` sits on a denoiser while anyone listens; capture and steering are its listeners. Edits come
before observations, so what is observed is what the image is made from.
"""

from __future__ import annotations

import contextlib
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
from whitebear.hooks.hearing import After, Hearing
from whitebear.hooks.kernels import attention_and_lse
from whitebear.hooks.run import Run
from whitebear.models.families import Call, denoiser_of, is_joint, joint_slices, read_call

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


class Hub:
    """The hooks on one denoiser, for as long as it has listeners."""

    _hubs: weakref.WeakKeyDictionary[nn.Module, Hub] = weakref.WeakKeyDictionary()

    def __init__(self, pipe: DiffusionPipeline):
        self.pipe, self.denoiser = pipe, denoiser_of(pipe)
        self.joint = is_joint(self.denoiser)
        self.signature = inspect.signature(self.denoiser.forward)
        self.listeners: list[Listener] = []
        self.handles: list = []
        self.hearing = Hearing(pipe)
        self.steps: After | None = None  # of the scheduler
        self.run: Run | None = None
        self.mode, self.awake = _Mode(self), []

    @classmethod
    def of(cls, pipe: DiffusionPipeline) -> Hub:
        """The hub of a pipeline's denoiser; listeners of one denoiser share it. UserError where
        another pipeline with this denoiser is watched."""
        denoiser = denoiser_of(pipe)
        if denoiser not in cls._hubs:
            cls._hubs[denoiser] = cls(pipe)
        elif cls._hubs[denoiser].pipe is not pipe:
            raise UserError(
                "another pipeline with the same denoiser is watched in a block around this one;"
                " use the blocks one after the other"
            )
        return cls._hubs[denoiser]

    def join(self, listener: Listener) -> None:
        self.listeners.append(listener)
        self.hook()

    def leave(self, listener: Listener) -> None:
        if self.mode.on:  # Ctrl-C inside an attention module: torch calls no hook after that
            self.mode.__exit__(None, None, None)
        self.listeners.remove(listener)
        self.hook()
        if not self.listeners:
            self.hearing.remove()
            if self.steps is not None:
                self.steps.remove()
            self._hubs.pop(self.denoiser, None)

    def hook(self) -> None:
        """Put hooks on exactly what the present listeners need."""
        while self.handles:
            self.handles.pop().remove()
        self.run, self.awake = None, []  # whoever joins late is told of the next run
        if not self.listeners:
            return
        add = self.handles.append
        add(self.denoiser.register_forward_pre_hook(self.on_call, with_kwargs=True))
        layers = {k: v for x in self.listeners for k, v in x.layers.items()}
        for path, layer in layers.items():
            add(layer.module.register_forward_pre_hook(self.wake(path)))
            add(layer.module.register_forward_hook(self.sleep, always_call=True))
        if layers:
            self.handles += refuse_unknown(self.denoiser, lambda: self.run)

    def on_call(self, module: nn.Module, args: tuple, kwargs: dict):
        """Before each denoiser call: note which run, step and branch it belongs to."""
        call = read_call(self.signature, args, kwargs)
        if self.run is None or self.pipe.scheduler.timesteps is not self.run.schedule:
            self.start(call)
        run = self.run
        run.take(call)
        present = [x for x in self.listeners if x.branch in run.batch.rows]
        for listener in present:
            if listener.run is not run:  # a branch may come with a later call than the first
                listener.run = run
                listener.begin(run)
        self.awake = [x for x in present if x.steps is None or run.step in x.steps]
        states = call.states
        for listener in self.awake:
            listener.expected += 1
            states = listener.edit_states(states, run)
        if states is call.states:
            return None
        if "encoder_hidden_states" in kwargs:
            return args, kwargs | {"encoder_hidden_states": states}
        return tuple(states if x is call.states else x for x in args), kwargs

    def start(self, call: Call) -> None:
        """A run begins: what its first call tells, and from here on the steps of its scheduler."""
        if self.run is not None:
            self.run.check()
        self.run = Run.begin(self.pipe, call)
        if self.steps is None or self.steps.owner is not self.pipe.scheduler:
            if self.steps is not None:
                self.steps.remove()
            self.steps = After(self.pipe.scheduler, "step", self.on_step)

    def on_step(self, arguments: dict, result) -> None:
        if self.run is not None:
            self.run.took_step(arguments["sample"])

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
        if len(arguments["query"]) != len(run.batch.states):
            raise UserError(
                f"{self.path} computes {len(arguments['query'])} rows of attention from"
                f" {len(run.batch.states)} rows of text; which is whose is not known"
            )
        self.met = True
        text, image = slice(0, run.n_text), slice(None)
        if self.joint:
            text, image = joint_slices(self.denoiser, run.n_text, n_image)
        with no_autocast(arguments) as arguments:
            scale = arguments.get("scale") or 1 / math.sqrt(arguments["query"].shape[-1])
            attention = Attention(arguments, scale, text, image)
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


@contextlib.contextmanager
def no_autocast(arguments: dict):
    """The arguments as autocast hands them to the kernel, and a block in which it is off: what is
    computed beside the kernel keeps its own precision."""
    kind = arguments["query"].device.type
    if not torch.is_autocast_enabled(kind):
        yield dict(arguments)
        return
    dtype = torch.get_autocast_dtype(kind)
    cast = lambda x: x.to(dtype) if torch.is_tensor(x) and x.is_floating_point() else x  # noqa: E731
    with torch.autocast(kind, enabled=False):
        yield {name: cast(value) for name, value in arguments.items()}


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
