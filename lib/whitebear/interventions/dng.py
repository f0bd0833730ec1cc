"""Dynamic negative guidance: away from the concept by as much as the image seems to be about it.

With n the concept's text, and p the probability that the noisy images x so far are those of n
(Koulischer et al. 2025, arXiv 2410.14398):

    eps = eps(0) + g (eps(p) - eps(0)) - lambda p / (1 - p) (eps(n) - eps(0))
    p <- p exp((-T (|x' - m(n)|^2 - |x' - m(0)|^2) + o) / (2 sigma^2)), kept in [1e-6, p_max]

after a step from x to x', of variance sigma^2, where m(.) is the mean of that step without
guidance; p begins as `prior`. The strength is lambda. The paper removes a class from a model
without prompts; here its term is added to plain guidance, and p still compares n with the empty
prompt, as Bayes' rule has it. (Where eps(0) is replaced by the guided prediction, a prompt that
equals n is pushed *towards* the concept at every g above 1.)

Sampling is DDIM with eta = 1 in the block: without noise nothing is learned from a step. So the
picture differs from that of the same sampler at strength 0; compare it with a strength near 0.

Defaults are those of the authors' example for CIFAR10 (lambda 5, T 0.2, o 2e-4, prior 0.01, p_max
0.8). T and o scale with the number of entries of x and with the model's errors, so no value moves
from one model to another: `fit_dng` finds them from pictures with and without the concept.

    settings = fit_dng(artist, images, concepts, shown)
    with dng(artist, rows, 1.0, **settings) as seen:
        images = artist.draw(rows)
    seen.beliefs    # p of each image, step by step

Fits SD 1.x, 2.x and SDXL, at guidance above 1 and without rescaling. Costs a third pass.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from scipy.optimize import minimize

from whitebear.errors import UserError
from whitebear.interventions._guidance import (
    Step,
    Texts,
    concept_texts,
    guided_by,
    why_not_guided,
)
from whitebear.interventions.method import Drawing, Method, with_values

LEAST = 1e-6  # of p
ETA = 1 - 1e-6  # at 1, rounding can leave the root of a negative number where nothing is known yet
FEWEST = 8  # pictures of either kind that a fit needs
BATCH = 32


@dataclass(frozen=True)
class Belief:
    """How p follows from images: temperature (T), offset (o), prior, highest (p_max)."""

    temperature: float
    offset: float
    prior: float
    highest: float

    def after(self, p: torch.Tensor, far: torch.Tensor, variance: float) -> torch.Tensor:
        """p (N,) after a step. far (N,): |x' - m(n)|^2 - |x' - m(0)|^2; variance: sigma^2."""
        told = ((-self.temperature * far + self.offset) / (2 * variance)).exp()
        return (p * told).clamp(LEAST, self.highest)


class Stochastic(DDIMScheduler):
    """DDIM with eta = 1, whatever it is asked for."""

    @functools.wraps(DDIMScheduler.step)
    def step(self, *args, **kwargs):
        return super().step(*args, **kwargs | {"eta": ETA})

    def mean(self, output: torch.Tensor, t: int, x: torch.Tensor) -> torch.Tensor:
        """Where the step from x leads without noise."""
        return self.step(output, t, x, variance_noise=torch.zeros_like(x)).prev_sample

    def variance(self, t: int) -> float:
        """sigma^2 of the step at t."""
        return float(
            self._get_variance(t, t - self.config.num_train_timesteps // self.num_inference_steps)
        )

    @classmethod
    def like(cls, scheduler) -> "Stochastic":
        """With the noise of another scheduler."""
        return cls.from_config(
            scheduler.config, clip_sample=scheduler.config.get("clip_sample", False)
        )


def _why_not(artist: Drawing, **_) -> str:
    if not hasattr(artist.pipe.scheduler, "alphas_cumprod"):
        return f"{type(artist.pipe).__name__} samples a flow, which has no stochastic DDIM"
    return why_not_guided(artist)


def _dng(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    text: str = "{c}",
    temperature: float = 0.2,
    offset: float = 2e-4,
    prior: float = 0.01,
    highest: float = 0.8,
) -> Iterator["Tracking"]:
    """Draw the rows away from their concepts, by stochastic DDIM. strength: lambda.

    text: n, with {c} for the concept; the others as of `Belief`.
    """
    belief, pipe = _checked(temperature, offset, prior, highest), artist.pipe
    tracking = Tracking(artist, strength, belief, Texts.of(pipe, concept_texts(rows, text)))
    stochastic = with_values(pipe, scheduler=Stochastic.like(pipe.scheduler))
    with stochastic, guided_by(artist, len(rows), tracking):
        yield tracking


def _checked(temperature: float, offset: float, prior: float, highest: float) -> Belief:
    numbers = all(np.isfinite(x) for x in (temperature, offset, prior, highest))
    if not numbers or temperature <= 0 or not LEAST <= prior <= highest < 1:
        raise UserError(
            f"temperature is {temperature}, offset {offset}, prior {prior} and highest {highest};"
            f" give temperature > 0 and {LEAST:g} <= prior <= highest < 1"
        )
    return Belief(temperature, offset, prior, highest)


class Tracking:
    """c' step by step. beliefs: p (images,) on the way, step by step and batch by batch."""

    def __init__(self, artist: Drawing, strength: float, belief: Belief, texts: Texts):
        self.artist, self.strength, self.belief, self.texts = artist, strength, belief, texts
        self.beliefs: list[torch.Tensor] = []

    def __call__(self, step: Step) -> torch.Tensor:
        scheduler, x, t = self.artist.pipe.scheduler, step.images, int(step.timestep)
        concept = step.under(self.texts.rows(step.rows))
        if step.number:
            self.p = self.belief.after(self.p, _far(x, *self.means), self.variance)
        else:
            self.p = torch.full((len(x),), self.belief.prior, dtype=torch.float64)
        self.beliefs.append(self.p)
        self.means = scheduler.mean(concept, t, x), scheduler.mean(step.uncond, t, x)
        self.variance = scheduler.variance(t)
        push = (self.strength * self.p / (1 - self.p) / self.artist.guidance).to(x)
        return step.cond - push[:, None, None, None] * (concept - step.uncond)


def _far(x: torch.Tensor, concept: torch.Tensor, empty: torch.Tensor) -> torch.Tensor:
    """|x - concept|^2 - |x - empty|^2 of each image, float64 on the CPU: Apple's GPUs have none."""
    square = lambda mean: (x - mean).float().square().flatten(1).sum(1)  # noqa: E731
    return (square(concept) - square(empty)).cpu().double()


dng = Method("dng", _dng, default=5.0, neutral=0.0, why_not=_why_not)


# --- calibration ----------------------------------------------------------------------------------


def fit_dng(
    artist: Drawing,
    images: np.ndarray,
    concepts: Sequence[str],
    shown: Sequence[bool],
    text: str = "{c}",
    prior: float = 0.01,
    highest: float = 0.8,
) -> dict[str, float]:
    """Options of `dng`, temperature and offset among them, that tell pictures by their concept.

    Noise is added to the pictures step by step, and T and o are those under which p, on the way
    back through the same noise, says best whether the picture shows the concept (maximum
    likelihood; both kinds and all steps weigh the same). No picture is drawn, so nothing is fitted
    on what a method achieves. images: uint8 (N, H, W, 3), as the pipeline draws them; concepts: a
    name an image; shown: whether it is in there.

    Raises `UserError` where either kind has fewer than FEWEST pictures, for SDXL, and where the
    model cannot tell the two kinds apart.
    """
    shown = torch.as_tensor(np.asarray(shown, bool))
    if not len(images) == len(concepts) == len(shown):
        given = f"{len(images)} images, {len(concepts)} concepts and {len(shown)} answers"
        raise UserError(f"there are {given}; give one each")
    counts = int(shown.sum()), int((~shown).sum())
    if min(counts) < FEWEST:
        said = f"{counts[0]} pictures show their concept and {counts[1]} do not"
        raise UserError(f"{said}; give {FEWEST} of either")
    if not isinstance(artist.pipe, StableDiffusionPipeline):
        kind = type(artist.pipe).__name__
        raise UserError(f"{kind} cannot be fitted; give temperature and offset")
    table = pd.DataFrame({"concept": list(concepts)})
    far, variance = _noised(artist, images, concept_texts(table, text))
    belief = _likeliest(far, variance, shown, prior, highest)
    return dataclasses.asdict(belief)


def _likeliest(far: torch.Tensor, variance: Sequence[float], shown: torch.Tensor, prior: float,
               highest: float) -> Belief:  # fmt: skip
    """The belief under which far (N, steps) says best which of N pictures show their concept."""

    def as_belief(x: np.ndarray) -> Belief:
        temperature = float(np.exp(x[0]))
        return Belief(temperature, float(x[1]) * temperature * scale, prior, highest)

    def surprise(x: np.ndarray) -> float:
        p, total = torch.full((len(far),), prior, dtype=torch.float64), 0.0
        for step, noise in enumerate(variance):
            p = as_belief(x).after(p, far[:, step], noise)
            total -= float(p[shown].log().mean() + (1 - p[~shown]).log().mean()) / 2
        return total / len(variance)

    scale = max(float(far.abs().mean()), 1e-12)
    starts = [(np.log(t), o) for t in (1e-3, 1e-2, 0.1, 1.0) for o in (-0.5, 0.0, 0.5)]
    found = min((minimize(surprise, x, method="Nelder-Mead") for x in starts), key=lambda x: x.fun)
    if not found.fun < 0.99 * np.log(2):  # what p = 1/2 comes to, without a look
        raise UserError(
            "to this model, pictures with and without the concept look alike; give other pictures"
        )
    return as_belief(found.x)


@torch.no_grad()
def _noised(artist: Drawing, images: np.ndarray, texts: list[str]):
    """far (N, steps - 1) and sigma^2 of the steps of pictures to which noise is added."""
    pipe = artist.pipe
    scheduler, empty = Stochastic.like(pipe.scheduler), Texts.empty(pipe).states
    scheduler.set_timesteps(artist.steps, pipe._execution_device)
    times, read = [int(t) for t in scheduler.timesteps], Texts.of(pipe, texts).states
    parts = []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        way = _way(pipe, scheduler, times, images[part], start)
        found = []
        for t, x, after in zip(times[:-1], way[:-1], way[1:], strict=True):
            nothing = empty.expand(len(x), -1, -1)
            out = [pipe.unet(x, t, encoder_hidden_states=s).sample for s in (read[part], nothing)]
            found.append(_far(after, *(scheduler.mean(o, t, x) for o in out)))
        parts.append(torch.stack(found, 1))
    return torch.cat(parts), [scheduler.variance(t) for t in times[:-1]]


def _way(pipe, scheduler, times: list[int], images: np.ndarray, seed: int) -> list[torch.Tensor]:
    """Pictures as latents at each timestep, from noise on, as a chain that adds noise to the one
    after it."""
    device, dtype = pipe._execution_device, pipe.unet.dtype
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(device, dtype) / 127.5 - 1
    x = pipe.vae.encode(pixels).latent_dist.mode() * pipe.vae.config.scaling_factor
    noise, before, way = torch.Generator().manual_seed(seed), 1.0, []
    for t in reversed(times):
        share = float(scheduler.alphas_cumprod[t]) / before
        before = float(scheduler.alphas_cumprod[t])
        fresh = torch.randn(x.shape, generator=noise).to(x)
        x = share**0.5 * x + (1 - share) ** 0.5 * fresh
        way.append(x)
    return way[::-1]
