"""A short training of cross-attention, whose weights are handed back and not left in place.

What the denoiser is called with is what the pipeline calls it with, overheard at one step; so no
family's pooled states or sizes have to be known here.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.func import functional_call
from tqdm import tqdm

from whitebear.errors import UserError
from whitebear.files import digest
from whitebear.interventions._guidance import rows_of
from whitebear.interventions._weights import Weights, kept, put, why_not_weights
from whitebear.interventions.method import Drawing
from whitebear.models.families import (
    T5_LENGTH,
    call_options,
    is_compiled,
    is_offloaded,
    takes,
    text_keys,
)
from whitebear.models.sums import digest_of

Loss = Callable[[Weights, torch.Generator], torch.Tensor]

SCALE = 1024.0  # of the loss in float16, whose smallest gradients would be 0
ROOM = 2**30  # bytes of trained weights that are kept
GUIDED = 3.0  # guidance of what is only overheard: above 1, both branches are called

_TRAINED: WeakKeyDictionary[nn.Module, OrderedDict[str, Weights]] = WeakKeyDictionary()


def why_not_training(artist: Drawing, **_) -> str:
    """Why an artist's cross-attention cannot be trained; "" where it can."""
    if reason := why_not_weights(artist):
        return reason
    if any(map(is_compiled, artist.pipe.unet.modules())):
        return "its UNet is compiled; use the pipeline before torch.compile"
    if artist.pipe.unet.config.time_cond_proj_dim is not None:
        return "its UNet reads guidance as a number, and knows no empty prompt"
    if is_offloaded(artist.pipe.unet):
        return "its UNet waits in main memory, for want of GPU memory"
    if not hasattr(artist.pipe.scheduler, "alphas_cumprod"):
        return f"{type(artist.pipe.scheduler).__name__} adds noise in another way"
    if not takes(artist.pipe, "callback_on_step_end"):
        return f"{type(artist.pipe).__name__} cannot be stopped between steps"
    return ""


@dataclass(frozen=True)
class Call:
    """A call of the denoiser for N images under guidance: 2 N rows, empty prompts first.

    sample: noised latents; rest: keyword arguments.
    """

    sample: torch.Tensor
    timestep: torch.Tensor
    rest: dict

    def of(self, prompted: bool) -> "Call":
        """The half of the prompts, or that of the empty ones."""
        n = len(self.sample) // 2
        rows = torch.arange(n) + n * prompted
        return self.rows(rows, self.sample[rows], self.timestep)

    def rows(self, rows: torch.Tensor, sample: torch.Tensor, timestep: torch.Tensor) -> "Call":
        """What these rows are told, with other latents."""
        return Call(sample, timestep, rows_of(self.rest, rows, len(self.sample)))

    def under(self, unet: nn.Module, weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What the denoiser answers with these weights in the place of its own, float32."""
        args = self.sample, self.timestep
        return functional_call(unet, dict(weights), args, self.rest)[0].float()


def overheard(
    artist: Drawing, prompts: Sequence[str], generator: torch.Generator, steps: int = 1, at: int = 0
) -> Call:
    """The call at step `at` of `steps` with which an artist's pipeline draws the prompts."""
    calls = []
    handle = artist.pipe.unet.register_forward_pre_hook(
        lambda _, args, rest: calls.append((args, rest)), with_kwargs=True
    )
    try:
        _sample(artist, prompts, generator, steps, GUIDED, at)
    finally:
        handle.remove()
    args, rest = calls[-1]
    rest = dict(rest)
    sample, timestep = [*args, *(rest.pop(k) for k in ("sample", "timestep") if k in rest)]
    return Call(sample, timestep, rest | {"return_dict": False})


def latents_of(artist: Drawing, prompts: Sequence[str], generator: torch.Generator) -> torch.Tensor:
    """The latents of finished images of the prompts, (N, C, H, W)."""
    steps, guidance = artist.steps, artist.guidance
    return _sample(artist, prompts, generator, steps, guidance, steps - 1)


def _sample(artist, prompts, generator, steps, guidance, until) -> torch.Tensor:
    def stop(pipe, step, timestep, tensors):
        pipe._interrupt = step >= until  # the pipeline skips the rest of its steps
        return {}

    return artist.pipe(
        list(prompts), num_inference_steps=steps, guidance_scale=float(guidance),
        generator=generator, output_type="latent", callback_on_step_end=stop,
        **call_options(artist.pipe),
    ).images  # fmt: skip


def generator_of(*parts) -> torch.Generator:
    """A generator on the CPU, so that its numbers are the same everywhere, seeded by the parts."""
    return torch.Generator().manual_seed(int(digest(*parts), 16) >> 1)


def trained(
    unet: nn.Module, weights: Weights, steps: int, lr: float, loss: Loss,
    generator: torch.Generator, name: str,
) -> Weights:  # fmt: skip
    """The weights after `steps` steps of Adam on loss(weights, generator).

    While a step is made the denoiser has the weights of that step, afterwards its own, however this
    ends. They are trained in float32, whatever the model computes in.
    """
    own, before = dict(unet.named_parameters()), kept(weights, weights)
    ours = {k: w.float().clone().requires_grad_() for k, w in before.items()}
    optimizer = torch.optim.Adam(ours.values(), lr=lr)
    scale = SCALE if any(w.dtype == torch.float16 for w in before.values()) else 1.0
    try:
        for _ in tqdm(range(steps), desc=name, unit="step", leave=False):
            with torch.enable_grad():
                value = loss({k: w.to(before[k].dtype) for k, w in ours.items()}, generator)
                gradients = torch.autograd.grad(scale * value, list(ours.values()))
            for weight, gradient in zip(ours.values(), gradients, strict=True):
                weight.grad = gradient / scale
            optimizer.step()
            put(own, ours)
        found = {k: w.detach().to(before[k].dtype) for k, w in ours.items()}
    finally:
        put(own, before)
    if not all(w.isfinite().all() for w in found.values()):
        raise UserError(f"{name} came to weights that are no numbers; give a smaller lr")
    return found


def once(
    artist: Drawing, weights: Weights, texts: Sequence[str], decisive: tuple,
    train: Callable[[], Weights],
) -> Weights:  # fmt: skip
    """What `train` returns, from memory where the same was trained before in this process.

    texts: those that it reads; decisive: all else that it follows from, beside the model.
    """
    states = {"states": text_keys(artist.pipe, list(texts), T5_LENGTH)}
    key = digest(digest_of(weights), digest_of(states), *decisive)
    found = _TRAINED.setdefault(artist.pipe.unet, OrderedDict())
    if key not in found:
        found[key] = {name: w.cpu() for name, w in train().items()}
    found.move_to_end(key)
    size = lambda edit: sum(w.numel() * w.element_size() for w in edit.values())  # noqa: E731
    while len(found) > 1 and sum(map(size, found.values())) > ROOM:
        found.popitem(last=False)
    return found[key]
