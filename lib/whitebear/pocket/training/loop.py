"""One training loop for every stage, killable at any moment.

All randomness of step s follows from (seed, stage, s); a checkpoint holds weights, optimiser
moments and averaged weights as safetensors and replaces its predecessor atomically. A run that was
killed therefore ends in the same weights as an unbroken one.
"""

import csv
import hashlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from tqdm.auto import tqdm

from whitebear.errors import UserError
from whitebear.files import written
from whitebear.models.sums import digest_of
from whitebear.pocket.training.recipe import StageRecipe

CHECKPOINT_SECONDS = 60
LOG_EVERY = 50
Loss = Callable[[torch.Generator], torch.Tensor]


class OutOfTime(Exception):
    """Training stopped by the clock it was given; a checkpoint holds all that was done."""


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 autocast where the hardware computes in it, else a context that changes nothing.

    A CPU without bfloat16 instructions emulates them ten times slower than it computes float32.
    """
    has_bfloat16 = device.type != "cpu" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16)


def stable_seed(*parts) -> int:
    """A 63-bit seed from any printable parts, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def learning_rate(step: int, recipe: StageRecipe) -> float:
    """Linear warm-up, then cosine decay to 1 % of the peak."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def save_checkpoint(path: Path, tensors: dict[str, torch.Tensor], about: dict) -> None:
    """Write beside the target, then rename: a reader sees the old or the new file, never half. A
    digest of the tensors goes with them. Raises `UserError` where it cannot be written."""
    cpu = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    said = {"about": json.dumps(about), "digest": digest_of(cpu)}
    with written(path) as part:
        try:
            save_file(cpu, part, metadata=said)
        except SafetensorError as error:
            raise OSError(str(error)) from None


def load_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """The tensors and the `about` of a checkpoint. Raises `UserError` where they are not what was
    saved."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            said = file.metadata()
            about = json.loads(said["about"])
        whole = said.get("digest", found := digest_of(tensors)) == found
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise UserError(
            f"checkpoint {path} is damaged; remove it, and the same command makes that stage again"
        )
    return tensors, about


def laid_out_as(p: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """`value` on the device of p and, if of its shape, in the order of its memory.

    A fused optimiser walks through weights and moments side by side, whatever their strides say.
    """
    if value.shape != p.shape:
        return value.to(p.device)
    return torch.empty_like(p, dtype=value.dtype).copy_(value)


class Trainer:
    """Trains `model` on a loss and leaves its averaged weights in place.

    make_loss: returns the loss(generator); called only when there is something left to train.
    folder: holds <name>.safetensors (checkpoint) and <name>.csv (loss log).
    deadline: of `time.monotonic`, after which `run` raises `OutOfTime`.
    """

    def __init__(self, name: str, model: nn.Module, make_loss: Callable[[], Loss],
                 recipe: StageRecipe, folder: Path, seed: int, device: torch.device,
                 deadline: float = math.inf):  # fmt: skip
        self.name, self.model, self.make_loss, self.recipe = name, model, make_loss, recipe
        self.seed, self.device, self.deadline = seed, device, deadline
        self.path, self.log_path = folder / f"{name}.safetensors", folder / f"{name}.csv"
        self.params = {k: p for k, p in model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.params.values(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        self.average = {k: p.detach().clone() for k, p in self.params.items()}
        self.seconds = 0.0

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that the next step depends on, as named tensors."""
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.items()}
        for k, p in self.params.items():
            tensors |= {f"adam/{k}/{n}": v for n, v in self.optimizer.state.get(p, {}).items()}
        return tensors

    def restore(self) -> int:
        """Load the checkpoint if there is one; returns the step to go on from."""
        if not self.path.exists():
            return 0
        tensors, about = load_checkpoint(self.path)
        of = lambda head: {k[len(head) :]: v for k, v in tensors.items() if k.startswith(head)}  # noqa: E731
        self.model.load_state_dict(of("model/"))
        for k, p in self.params.items():
            self.average[k].copy_(of("average/")[k])
            if moments := of(f"adam/{k}/"):
                self.optimizer.state[p] = {n: laid_out_as(p, v) for n, v in moments.items()}
        self.seconds = about["seconds"]
        return about["step"]

    def step(self, step: int) -> torch.Tensor:
        """One optimiser step; returns the loss as a tensor, so that nothing waits for the GPU."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.recipe)
        generator = torch.Generator(self.device)
        generator.manual_seed(stable_seed(self.seed, self.name, step))
        with mixed_precision(self.device):
            loss = self.loss(generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.params.values(), 1.0)
        self.optimizer.step()
        weight = 1 - min(self.recipe.ema, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.average.values()), list(self.params.values()), weight)
        return loss.detach()

    def run(self) -> nn.Module:
        """Train to the end (from the checkpoint if there is one) and return the averaged model."""
        self.model.train()
        start, began = self.restore(), time.monotonic()
        before, saved = self.seconds, began
        if start < self.recipe.steps:
            self.loss = self.make_loss()
        log = self.open_log(start)
        bar = tqdm(range(start, self.recipe.steps), initial=start, total=self.recipe.steps,
                   desc=self.name, unit="step", mininterval=2)  # fmt: skip
        for step in bar:
            loss = self.step(step)
            self.seconds = before + time.monotonic() - began
            if (step + 1) % LOG_EVERY == 0 or step + 1 == self.recipe.steps:
                bar.set_postfix(loss=f"{loss.item():.4f}")
                print(
                    step + 1,
                    f"{loss.item():.6f}",
                    f"{self.seconds:.1f}",
                    sep=",",
                    file=log,
                    flush=True,
                )
            now, done = time.monotonic(), step + 1 == self.recipe.steps
            if now - saved > CHECKPOINT_SECONDS or done or now > self.deadline:
                about = {"step": step + 1, "seconds": self.seconds}
                save_checkpoint(self.path, self.state(), about)
                saved = time.monotonic()
            if now > self.deadline and not done:
                log.close()
                raise OutOfTime
        log.close()
        with torch.no_grad():
            for k, p in self.params.items():
                p.copy_(self.average[k])
        return self.model.eval()

    def open_log(self, start: int):
        """The loss log, cut back to the step we go on from."""
        rows = [["step", "loss", "seconds"]]
        if start and self.log_path.exists():
            with open(self.log_path, newline="") as file:
                rows += [
                    row for row in csv.reader(file) if row[0].isdigit() and int(row[0]) <= start
                ]
        log = open(self.log_path, "w", newline="")  # noqa: SIM115
        csv.writer(log, lineterminator="\n").writerows(rows)
        return log
