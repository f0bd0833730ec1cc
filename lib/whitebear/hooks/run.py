"""What is known of one call of a pipeline, and that every call of its denoiser agrees with it.

A run begins with the text states and rows of its first denoiser call. Each further call must hold
whole branches of it, once a step, and the scheduler must then step that many images: whatever else
calls the denoiser, or changes what it reads, is refused instead of taken for a step of the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from diffusers import DiffusionPipeline

from whitebear.errors import UserError
from whitebear.models.families import Call, denoiser_of, family_of, image_grid

BRANCHES = ("cond", "uncond")


@dataclass(frozen=True)
class Batch:
    """The rows of one denoiser call: each branch's slice of the states. version: of the tensor,
    which counts changes in place."""

    states: torch.Tensor
    version: int
    rows: dict[str, slice]


@dataclass(eq=False)
class Run:
    """One call of the pipeline, from its first denoiser call on.

    schedule: the scheduler's timesteps; sigmas: their noise levels; rows: rows of a branch (images,
    or frames of animations); packed: one branch a call, else [negative; positive] in one; scale:
    timesteps of the schedule in those that the denoiser is given; first: place of its first step in
    the schedule.

    branches: states (rows, n_text, D) of those met so far; batch: of the present call; taken: steps
    that the scheduler took since; met: branches met in the present step; given: steps and timesteps
    of all calls.
    """

    schedule: torch.Tensor
    sigmas: torch.Tensor
    rows: int
    n_text: int
    grid: tuple[int, int]
    packed: bool
    scale: float
    first: int
    branches: dict[str, torch.Tensor]
    batches: list[Batch]
    batch: Batch | None = None
    samples: int = 0
    taken: int = 0
    met: set[str] = field(default_factory=set)
    given: list[tuple[int, torch.Tensor]] = field(default_factory=list)

    @classmethod
    def begin(cls, pipe: DiffusionPipeline, call: Call) -> Run:
        """What the first call of a run tells. Reads a few numbers back from the device."""
        denoiser, scheduler = denoiser_of(pipe), pipe.scheduler
        packed = family_of(denoiser).packed
        if call.sample.ndim == 5 and len(call.states) == len(call.sample):
            raise UserError(
                f"{type(denoiser).__name__} draws videos, all frames from one row of text; only"
                " images, and animations with a row a frame, can be watched"
            )
        states, scale = call.states, 1000 if packed else 1
        names = ("uncond", "cond") if is_stacked(pipe, call) else ("cond",)
        rows = len(states) // len(names)
        where = {name: slice(i * rows, (i + 1) * rows) for i, name in enumerate(names)}
        return cls(
            scheduler.timesteps, noise_levels(scheduler), rows, call.n_text,
            image_grid(denoiser, call), packed, scale,
            first_step(scheduler, call.timestep, scale),
            {name: states[where[name]] for name in names},
            [Batch(states, version(states), where)],
        )  # fmt: skip

    @property
    def step(self) -> int:
        """The place of the present call in the schedule."""
        return self.first + self.taken

    @property
    def device(self) -> torch.device:
        """Where the text states are."""
        return self.batches[0].states.device

    def slice_of(self, branch: str) -> slice:
        """The rows of a branch in the present call, which holds it."""
        return self.batch.rows[branch]

    def take(self, call: Call) -> None:
        """Note a denoiser call. UserError where it is none of this run's."""
        self.batch = self.find(call.states)
        if again := self.met & set(self.batch.rows):
            raise UserError(
                f"the denoiser was called again for its {again.pop()} branch within one step; such"
                " calls (skipped-layer or self-attention guidance, another pipeline with the same"
                " denoiser, calls by hand) cannot be watched: do without them in this block"
            )
        self.met |= set(self.batch.rows)
        self.samples = len(call.sample)
        self.given.append((self.step, call.timestep))
        if len(self.given) < 3:  # the rest is compared once, when the run is over
            self.check_times()

    def find(self, states: torch.Tensor) -> Batch:
        """The batch with these states. UserError where they are not those that the run began with.

        The same unchanged tensor is known at once; another is compared (a callback may end the
        guidance and keep one branch, and pipelines call branch after branch)."""
        same = [batch for batch in self.batches if batch.states is states]
        if any(batch.version == version(states) for batch in same):
            return same[-1]
        rows, alone = {}, len(states) == self.rows
        names = sorted(self.branches, key=lambda x: (x in self.met, (x == "cond") != alone))
        for start in range(0, len(states), self.rows):
            part = states[start : start + self.rows]
            equal = (x for x in names if x not in rows and torch.equal(part, self.branches[x]))
            rows[next(equal, None)] = slice(start, start + self.rows)
        second = self.packed and self.met == {"cond"} and len(self.branches) == 1
        if None in rows and second and states.shape == self.branches["cond"].shape:
            self.branches["uncond"], rows = states, {"uncond": slice(0, self.rows)}
        if None in rows or same:
            raise UserError(
                "what the denoiser reads changed in the middle of a run; callbacks that change text"
                " states or rows cannot be followed, only ones that end the guidance: draw without"
                " them in this block"
            )
        self.batches.append(Batch(states, version(states), rows))
        return self.batches[-1]

    def took_step(self, sample: torch.Tensor) -> None:
        """Note a step of the scheduler. UserError where it steps other rows than were taken for
        the images of the call before."""
        if self.met and self.samples != len(sample) * len(self.batch.rows):
            raise UserError(
                f"a call of the denoiser holds {self.samples} rows for {len(sample)} images, where"
                f" {len(self.batch.rows)} an image were expected; guidance with rows of its own"
                " (perturbed attention, several edits) cannot be watched: switch it off"
            )
        self.taken += 1
        self.met = set()

    def check(self) -> None:
        """When it is over: UserError where it did not go by the scheduler's steps."""
        if self.met:
            raise UserError(
                "the denoiser was called without a step of the pipeline's scheduler after it (a run"
                " that broke off, a call by hand, a pipeline with another scheduler); in this block"
                " draw with the pipeline that is watched, and use a new block after an error"
            )
        self.check_times()

    def check_times(self) -> None:
        """UserError where calls were given other timesteps than those that stand at their steps."""
        if not self.given:
            return
        steps = [step for step, _ in self.given]
        given = [torch.as_tensor(time).flatten()[0] for _, time in self.given]
        times, given = as_double(self.schedule), as_double(torch.stack(given)) * self.scale
        if max(steps) < len(times):
            gap = (times[steps] - given).abs()
            if (gap <= 1e-2 * given.abs() + 1e-3 * times.abs().amax()).all():
                return
        raise UserError(
            "the denoiser was not called once for each timestep of the pipeline's scheduler, in"
            " order (panoramas, schedulers of one's own); such runs cannot be watched"
        )


def version(tensor: torch.Tensor) -> int:
    """How often a tensor was changed in place (torch does not count in inference mode)."""
    return 0 if tensor.is_inference() else tensor._version


def as_double(tensor: torch.Tensor) -> torch.Tensor:
    """float64 on the CPU, in this order: Apple's GPUs have none."""
    return tensor.detach().cpu().double()


def first_step(scheduler, timestep: torch.Tensor, scale: float) -> int:
    """The place in the schedule of the timestep that a run's first call is given.

    Schedulers say it, or it is a view of the schedule; else its value decides, which is not enough
    where values occur twice (Heun, PNDM) and a run begins in the middle."""
    for name in ("step_index", "begin_index"):
        if (index := getattr(scheduler, name, None)) is not None:
            return int(index)
    times = scheduler.timesteps
    if timestep.untyped_storage().data_ptr() == times.untyped_storage().data_ptr():
        return timestep.storage_offset() - times.storage_offset()
    t = float(timestep.flatten()[0]) * scale
    return int((as_double(times) - t).abs().argmin())


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
            " cannot be told apart; switch off guidance that adds rows of its own (perturbed"
            " attention: pag_scale=0), or else set guidance_scale=1"
        )
    return doubled if says is None else bool(says)


def noise_levels(scheduler) -> torch.Tensor:
    """sigma of every timestep, float64: the scheduler's own, or sqrt((1 - a) / a) of its
    cumulative products a (Karras et al. 2022)."""
    times = scheduler.timesteps.detach().cpu()
    if (sigmas := getattr(scheduler, "sigmas", None)) is not None:
        return as_double(sigmas)[: len(times)]
    a = as_double(scheduler.alphas_cumprod)[times.long()]
    return ((1 - a) / a).sqrt()
