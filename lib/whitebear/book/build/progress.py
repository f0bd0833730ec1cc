"""How far the chapters are: one bar in a terminal; in a log a few whole lines for each chapter."""

import sys
import threading
import time
from collections.abc import Sequence

from tqdm import tqdm


class Log:
    """Prints a line where a chapter starts and where it ends, and one for every tenth of it."""

    def __init__(self, chapters: Sequence[str]):
        self.labels = {name: f"[{i}/{len(chapters)}] {name}" for i, name in enumerate(chapters, 1)}
        self.begun: dict[str, float] = {}
        self.shares: dict[str, float] = {}  # of the chapters that run, 0 to 1
        self.lock = threading.Lock()  # chapters tell from threads of their own

    def started(self, chapter: str) -> None:
        """A chapter begins to run."""
        with self.lock:
            self.begun[chapter], self.shares[chapter] = time.monotonic(), 0
            self.starts(f"{self.labels[chapter]} ...")

    def reached(self, chapter: str, share: float) -> None:
        """share: of its code cells that are done, 0 to 1."""
        with self.lock:
            last, self.shares[chapter] = self.shares[chapter], share
            if int(10 * last) < int(10 * share) < 10:
                seconds = time.monotonic() - self.begun[chapter]
                self.passes(f"{self.labels[chapter]}: {int(10 * share)}0 %, {seconds:.0f} s")

    def ended(self, chapter: str, how: str) -> None:
        """A chapter is done, or need not run; how: in a few words."""
        with self.lock:
            self.shares.pop(chapter, None)
            self.ends(f"{self.labels[chapter]}: {how}")

    def starts(self, line: str) -> None:
        print(line, flush=True)

    passes = ends = starts

    def refresh(self) -> None:
        """Let time go on where it is shown."""

    def close(self) -> None:
        """Nothing more will be told."""


class Bar(Log):
    """One bar for all chapters, beside it those that run, above it a line for each that ended."""

    def __init__(self, chapters: Sequence[str]):
        super().__init__(chapters)
        shape = "{percentage:3.0f} %|{bar:20}| {elapsed}{postfix}"
        self.bar = tqdm(
            total=len(chapters), bar_format=shape, file=sys.stdout, dynamic_ncols=True, leave=False
        )
        self.over = 0

    def starts(self, line: str) -> None:
        self.refresh()

    def reached(self, chapter: str, share: float) -> None:
        self.shares[chapter] = share
        self.refresh()

    def ends(self, line: str) -> None:
        self.over += 1
        self.bar.write(line, file=sys.stdout)
        self.refresh()

    def refresh(self) -> None:
        running = self.shares.copy()
        self.bar.n = self.over + sum(running.values())
        self.bar.postfix = ", ".join(f"{name} {100 * s:.0f} %" for name, s in running.items())
        self.bar.refresh()

    def close(self) -> None:
        self.bar.close()


def progress(chapters: Sequence[str]) -> Log:
    """What fits where the output goes: a `Bar` in a terminal, else a `Log`."""
    return Bar(chapters) if sys.stdout.isatty() else Log(chapters)
