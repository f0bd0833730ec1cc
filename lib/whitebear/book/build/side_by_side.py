"""Chapters side by side: as many as there are cores, each in a kernel with one thread.

Two kernels with two threads each on two cores slow each other; with one thread each they are about
a quarter faster than one after the other. Chapters that draw the same rows of a grid wait for each
other's in `draw.grid`.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from whitebear.book.build.execute import Inputs, recorded_seconds, renew, reused
from whitebear.book.build.kernels import Kernels, Stopped
from whitebear.book.build.progress import Log, progress
from whitebear.book.report.published import FILE, read_published

Step = tuple[Path, dict]  # a notebook and its parameters
Done = tuple[Path, dict, float]  # and the seconds that its execution took


def side_by_side(
    steps: Sequence[Step], inputs: Inputs, executed: Path, root: Path
) -> Iterator[Done]:
    """Execute or reuse chapters into the folder `executed`; yields each as soon as it is done.

    The first that fails stops the others, as an interrupt does, and its error is raised. What was
    finished stays, and so do the batches that the stopped ones had scored: the same call goes on.
    """
    told = progress([source.stem for source, _ in steps])
    try:
        waiting = []
        for source, parameters in steps:
            seconds = reused(source, executed / source.name, parameters, inputs)
            if seconds is None:
                waiting.append((source, parameters))
            else:
                told.ended(source.stem, "unchanged, reused")
                yield source, parameters, seconds
        yield from _run(longest_first(waiting, executed, root), inputs, executed, root, told)
    finally:
        told.close()


def _run(
    steps: Sequence[Step], inputs: Inputs, executed: Path, root: Path, told: Log
) -> Iterator[Done]:
    kernels = Kernels(OMP_NUM_THREADS="1")

    def one(source: Path, parameters: dict) -> Done:
        name = source.stem
        target, failed = executed / source.name, executed.parent / "failed" / source.name
        run = {"kernels": kernels, "told": lambda share: told.reached(name, share)}
        if kernels.stopped:
            raise Stopped
        told.started(name)
        try:
            seconds = renew(source, target, parameters, inputs, failed, root, **run)
        except BaseException:
            kernels.stop()
            raise
        told.ended(name, f"executed in {seconds:.0f} s")
        return source, parameters, seconds

    with ThreadPoolExecutor(cores()) as pool:
        left = {pool.submit(one, *step) for step in steps}
        try:
            while left:
                done, left = wait(left, timeout=1, return_when=FIRST_COMPLETED)
                told.refresh()
                for chapter in done:
                    if not isinstance(chapter.exception(), Stopped):  # that one's cause is another
                        yield chapter.result()
        finally:  # after a failure, Ctrl-C, or when nobody asks for the next one
            kernels.stop()


def longest_first(steps: Sequence[Step], executed: Path, root: Path) -> list[Step]:
    """Those that took longest when they last ran, here or for data/results; then the others, in
    reading order. So no long one is left at the end, with one core idle."""
    published = read_published(root / "data" / "results" / FILE.name)

    def seconds(step: Step) -> float:
        origin = published.get(step[0].stem, {}).get("origin", {})
        return recorded_seconds(executed / step[0].name) or origin.get("seconds", 0)

    return sorted(steps, key=seconds, reverse=True)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
