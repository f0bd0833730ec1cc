"""One interception for seeing and steering attention: a TorchFunctionMode that is on only inside
the chosen attention modules, where it meets the final queries, keys and values on their way into
torch's scaled_dot_product_attention (after norms and rotary embedding, with any fused projection).

A `Hub` sits on a denoiser while anyone listens; capture and steering are its listeners. Edits come
before observations, so what is observed is what the image is made from.
"""

import inspect
import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from diffusers import DiffusionPipeline
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as sdpa
from torch.overrides import TorchFunctionMode

from whitebear.errors import UserError
from whitebear.hooks.kernels import attention_and_lse
from whitebear.hooks.words import Segment, read_back, selection, tokenise
from whitebear.models.families import (
    Call,
    denoiser_of,
    image_grid,
    is_joint,
    joint_slices,
    read_call,
    segment_lengths,
    text_layers,
)

ARGUMENTS = (
    "query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa",
)  # fmt: skip
BRANCHES = ("cond", "uncond")


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


class Listener:
    """What capture and steering share: which layers, steps, branch and prompts, and coverage.

    layers: globs on module paths; steps: "all" or numbers of denoiser calls; branch: "cond" or
    "uncond"; prompts: one an image, in order (None: read from what the text encoders are given
    inside the block).
    """

    needs_lse = False

    def __init__(self, pipe: DiffusionPipeline, layers: str | list[str] = "*", steps="all",
                 branch: str = "cond", prompts: Sequence[str] | None = None):  # fmt: skip
        if branch not in BRANCHES:
            raise UserError(f'branch is {branch!r}; use "cond" or "uncond"')
        self.pipe, self.branch = pipe, branch
        self.denoiser = denoiser_of(pipe)
        self.joint = is_joint(self.denoiser)
        self.layers = {layer.path: layer for layer in text_layers(self.denoiser, layers)}
        self.steps = check_steps(steps)
        self.prompts = None if prompts is None else list(prompts)
        self.drawn = 0  # images of earlier runs
        self.expected, self.seen = 0, dict.fromkeys(self.layers, 0)

    def begin(self, run: Run) -> None:
        """A run starts: its prompts and shapes are known."""

    def edit_states(self, states: torch.Tensor, run: Run) -> torch.Tensor:
        """Text states (R, n_text, D) of one denoiser call, changed or not."""
        return states

    def edit(self, attention: Attention, run: Run) -> None:
        """Change what the kernel will get."""

    def observe(self, path: str, attention: Attention, run: Run) -> None:
        """Look at what the kernel got."""

    def __enter__(self):
        Hub.of(self.pipe).join(self)
        return self

    def __exit__(self, kind, value, trace) -> None:
        Hub.of(self.pipe).leave(self)
        short = [path for path, n in self.seen.items() if n != self.expected]
        if kind is None and short:
            raise UserError(
                f"attention of {short[0]} was met {self.seen[short[0]]} times in {self.expected}"
                f" denoiser calls ({len(short)} of {len(self.layers)} layers fall short): it does"
                " not go through scaled_dot_product_attention; use the default attention processors"
            )

    def find(self, run: Run, words: Mapping[str, str | list[str]], roles: Sequence[str] = ()):
        """The run's prompts (rows), and the text keys that belong to words and roles, float32
        (rows, n_text, words + roles). words: as `check_tokens` returns them."""
        rows = slice(self.drawn, self.drawn + run.rows)
        self.drawn = rows.stop
        segments = self.segments(run, rows)
        each = {k: [v] * run.rows if isinstance(v, str) else v[rows] for k, v in words.items()}
        return segments[0].texts, selection(segments, each, roles, run.n_text)

    def segments(self, run: Run, rows: slice) -> list[Segment]:
        """The tokens of the run's prompts, one row an image; rows: of `prompts`."""
        lengths = segment_lengths(self.pipe, run.n_text)
        if self.prompts is None:
            return [read_back(*heard) for heard in heard_ids(self, run, lengths)]
        texts = self.prompts[rows]
        if len(texts) < run.rows:
            raise UserError(
                f"prompts holds {len(self.prompts)} prompts, but more images are made;"
                " give one an image, in order"
            )
        return [tokenise(getattr(self.pipe, name), texts, *where) for name, *where in lengths]


def heard_ids(listener: Listener, run: Run, lengths: list[tuple[str, int, int]]) -> list[tuple]:
    """(tokenizer, first key, ids (rows, L)) as the text encoders were given them for this run.

    Pipelines encode the prompts first and the negative prompts second, and repeat each prompt
    num_images_per_prompt times in a row. UserError where that is not what the states show.
    """
    which, rows, found = BRANCHES.index(listener.branch), run.rows, []
    advice = "give them as prompts=[...], one an image"
    for name, start, length in lengths:
        calls = run.heard.get(name.replace("tokenizer", "text_encoder"), [])
        if len(calls) <= which:
            raise UserError(f"the prompts were encoded outside this block; {advice}")
        ids = calls[which].cpu().long()
        if rows % len(ids) or ids.shape[1] != length:
            raise UserError(f"{len(ids)} prompts were encoded for {rows} images; {advice}")
        ids = ids.repeat_interleave(rows // len(ids), 0)
        found.append((getattr(listener.pipe, name), start, ids))
    states = run.states[run.slice_of(listener.branch)]
    ids = torch.cat([ids for _, _, ids in found], dim=1)
    same = (ids[1:] == ids[:-1]).all(1)
    gap = (states[1:] - states[:-1]).abs().flatten(1).amax(1)
    alike = (gap < 1e-3 * states.abs().amax()).cpu()
    if not torch.equal(same, alike):
        raise UserError(f"the order of the prompts is not that of their encoding; {advice}")
    return found


def check_steps(steps) -> frozenset[int] | None:
    """Chosen denoiser calls as a set, None for all. UserError for anything but whole numbers."""
    if isinstance(steps, str) and steps == "all":
        return None
    chosen = list(steps) if isinstance(steps, (list, tuple, range, set, frozenset)) else None
    if not chosen or not all(type(step) is int and step >= 0 for step in chosen):
        raise UserError(f'steps is {steps!r}; use "all" or whole numbers such as range(10)')
    return frozenset(chosen)


class Hub:
    """The hooks on one denoiser, for as long as it has listeners."""

    _hubs: "weakref.WeakKeyDictionary[nn.Module, Hub]" = weakref.WeakKeyDictionary()

    def __init__(self, pipe: DiffusionPipeline):
        self.pipe, self.denoiser = pipe, denoiser_of(pipe)
        self.joint = is_joint(self.denoiser)
        self.signature = inspect.signature(self.denoiser.forward)
        self.listeners: list[Listener] = []
        self.handles: list = []
        self.forget()

    @classmethod
    def of(cls, pipe: DiffusionPipeline) -> "Hub":
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
        for path, layer in {k: v for x in self.listeners for k, v in x.layers.items()}.items():
            add(layer.module.register_forward_pre_hook(self.wake(path)))
            add(layer.module.register_forward_hook(self.sleep, always_call=True))

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
        t = float(call.timestep.flatten()[0]) * (1000 if call.image_ids is not None else 1)
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
    half = len(call.sample) // 2
    twins = len(call.sample) == 2 * half > 0 and torch.equal(call.sample[:half], call.sample[half:])
    says = getattr(pipe, "do_classifier_free_guidance", None)
    if call.image_ids is not None:  # FLUX: one branch a call
        return False
    if says and not twins:
        raise UserError(
            f"{type(pipe).__name__} does not stack [negative; positive] halves, so its branches"
            " cannot be told apart; set guidance_scale=1"
        )
    return twins if says is None else bool(says)


def noise_levels(scheduler) -> torch.Tensor:
    """sigma of every timestep, float64: the scheduler's own, or sqrt((1 - a) / a) of its
    cumulative products a (Karras et al. 2022)."""
    times = scheduler.timesteps.detach().cpu()
    if (sigmas := getattr(scheduler, "sigmas", None)) is not None:
        return sigmas.detach().double().cpu()[: len(times)]
    a = scheduler.alphas_cumprod.double()[times.long()]
    return ((1 - a) / a).sqrt()
