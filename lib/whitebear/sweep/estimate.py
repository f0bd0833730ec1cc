"""What a sweep takes: from the records of the parts that are done, so better with each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from whitebear.sweep.folder import Part, receipt_of


@dataclass(frozen=True)
class Estimate:
    """Hours of a GPU (or of a job on a CPU) and bytes of a whole sweep; measured: pictures that it
    follows from; unknown: models of which nothing is done yet; saved: hours that models kept
    loaded spare, beside a process a chunk."""

    hours: float
    size: float
    measured: int
    unknown: tuple[str, ...]
    saved: float
    device: str

    def __str__(self) -> str:
        if not self.measured:
            return "hours and GB: known when the first part of each model is done"
        unit = "GPU-hours" if self.device == "cuda" else "hours of a job on the CPU"
        text = f"about {self.hours:.3g} {unit} and {human(self.size)} in all"
        text += f", from {self.measured:,} pictures (models kept loaded save {self.saved:.2g} h)"
        return text + (f"; without {', '.join(self.unknown)}" if self.unknown else "")


def estimate(folder: Path, parts: list[Part], group: int) -> Estimate:
    """The whole of a sweep, model by model: pictures x seconds a picture + jobs x loading.

    Seconds a picture are those of parts that a job made with its model already loaded; loading is
    what the first part of a job took beyond them. Parts that were interrupted do not count.
    """
    hours = size = saved = 0.0
    measured, unknown, devices = 0, [], set()
    for model in dict.fromkeys(part.model for part in parts):
        own = [part for part in parts if part.model == model]
        found = [(part, receipt_of(folder, part)) for part in own]
        done = [(part, said) for part, said in found if said and not said.get("begun")]
        if not done:
            unknown.append(model)
            continue
        rate, loading = _speed(done)
        pictures, jobs = sum(part.rows for part in own), len(list(in_jobs(own, group)))
        hours += (pictures * rate + jobs * loading) / 3600
        saved += (len(own) - jobs) * loading / 3600
        size += pictures * sum(s["bytes"] for _, s in done) / sum(p.rows for p, _ in done)
        measured += sum(part.rows for part, _ in done)
        devices |= {said.get("device", "cpu") for _, said in done}
    device = "cuda" if "cuda" in devices else "cpu"
    return Estimate(hours, size, measured, tuple(unknown), saved, device)


def _speed(done: list[tuple[Part, dict]]) -> tuple[float, float]:
    """Seconds a picture, and seconds of loading; the latter within the former while no part was
    made with a loaded model."""
    warm = [(part.rows, said["seconds"]) for part, said in done if said["warm"]]
    cold = [(part.rows, said["seconds"]) for part, said in done if not said["warm"]]
    some = warm or cold
    rate = sum(seconds for _, seconds in some) / sum(rows for rows, _ in some)
    loading = fmean(seconds - rows * rate for rows, seconds in cold) if warm and cold else 0.0
    return rate, max(0.0, loading)


def in_jobs(parts: list[Part], group: int) -> Iterable[list[Part]]:
    """Parts of one model and intervention, at most `group` of them, in their order.

    A job loads its model once: what an intervention does to it is part of what is loaded."""
    runs: dict[tuple, list[Part]] = {}
    for part in parts:
        runs.setdefault((part.model, part.intervention, part.strength), []).append(part)
    for run in runs.values():
        yield from (run[i : i + group] for i in range(0, len(run), group))


def human(size: float) -> str:
    """Bytes for people.

    >>> human(12_345_678)
    '12.3 MB'
    """
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"
