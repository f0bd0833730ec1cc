"""The sweep on an existing engine: Snakemake decides what runs where, and what is tried again."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from whitebear.errors import UserError
from whitebear.files import REPOSITORY, ROOT, check_writable, digest
from whitebear.sweep.estimate import estimate, in_jobs
from whitebear.sweep.folder import Part, is_done, lock, plain, write_plan

WORKFLOW = ROOT / "workflow"
INSTALL = 'the sweep runs on Snakemake, which is not installed; pip install ".[sweep]"'
LOOK, SPEAK = 3.0, 30.0  # seconds between looks at the parts, and between lines about them
# What resuming rests on: parts are whole or not there, so those of a failed job may stay, and our
# lock, unlike the engine's, ends with the process that holds it.
ALWAYS = ("--nolock", "--keep-going", "--rerun-incomplete", "--keep-incomplete",
          "--rerun-triggers", "mtime")  # fmt: skip


def check_engine() -> None:
    """Raise `UserError` where there is no engine, or not its workflow."""
    if importlib.util.find_spec("snakemake") is None:
        raise UserError(INSTALL)
    if not WORKFLOW.is_dir():
        raise UserError(f"workflow/ is not there; clone {REPOSITORY} and install it from there")


def profile_folder(name: str) -> Path:
    """A profile of workflow/profiles by its name, or a folder of one's own."""
    for folder in (WORKFLOW / "profiles" / name, Path(name)):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    ours = ", ".join(sorted(path.name for path in (WORKFLOW / "profiles").iterdir()))
    raise UserError(
        f"there is no profile {name!r}; use {ours}, or a folder with a config.yaml of Snakemake"
    )


def jobs_of(folder: Path, parts: list[Part], group: int, pilot: bool) -> dict[str, list[str]]:
    """Job -> paths of the parts that it is to make: those that are not done.

    The first part of each model is a job of its own, and the first to be made: what it takes tells
    what all of it will. pilot: these alone."""
    left = [part for part in parts if not is_done(folder, part)]
    known = {part.model for part in parts if is_done(folder, part)}
    first = {part.model: part for part in reversed(left) if part.model not in known}
    rest = [] if pilot else [part for part in left if part is not first.get(part.model)]
    groups = [*([part] for part in first.values()), *in_jobs(rest, group)]
    return {_name(some): [part.path for part in some] for some in groups}


def _name(parts: list[Part]) -> str:
    kind = f"{plain(parts[0].model)[-30:]} {parts[0].intervention}"
    return plain(f"{kind} {digest([part.path for part in parts])}").strip("-").replace("-", "_")


@contextlib.contextmanager
def swept(folder: Path) -> Iterator[int]:
    """A block in which this sweep is the folder's only one; yields the handle of the lock.

    Raises `UserError` where another one works there. The engine inherits the lock, so it lasts as
    long as either of them; however they end, it ends with them."""
    handle = os.open(check_writable(folder) / "sweep.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not lock(handle, wait=False):
            who = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
            raise UserError(
                f"{folder} is being swept by {who}; wait for it, or see how far it is: --status"
            )
        yield handle
    finally:
        os.close(handle)


def _sign(handle: int, pid: int) -> None:
    os.ftruncate(handle, 0)
    text = f"process {pid} of {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
    os.pwrite(handle, text.encode(), 0)


def check_folder(folder: Path, parts: list[Part]) -> None:
    """Raise `UserError` where the dataset would mix parts of two plans, versions or models."""
    planned = {part.path for part in parts}
    there = sorted(path for path in (folder / "dataset").glob("*/*/*.parquet"))
    other = [path for path in there if path.relative_to(folder).as_posix() not in planned]
    if other:
        raise UserError(
            f"{folder}/dataset has {len(other)} parts that this plan does not make (such as"
            f" {other[0].name}): of another plan, or other versions, code or weights; give another"
            " output, or remove them"
        )


def sweep(folder: Path, said: dict, versions: str, parts: list[Part], profile: Path,
          pilot: bool = False, more: Sequence[str] = ()) -> bool:  # fmt: skip
    """Make the parts that are not done; True when all are. more: options for Snakemake."""
    with swept(folder) as handle:
        _sign(handle, os.getpid())
        check_folder(folder, parts)
        jobs = jobs_of(folder, parts, said["group"], pilot)
        write_plan(folder, said, versions, parts, jobs)
        print(announcement(folder, parts, jobs, said["group"]), flush=True)
        if jobs:
            _run(folder, parts, said["group"], command(folder, profile, more), handle)
    return all(is_done(folder, part) for part in parts)


def announcement(folder: Path, parts: list[Part], jobs: dict, group: int) -> str:
    """What there is to do, in a line each."""
    pictures, done = sum(part.rows for part in parts), sum(is_done(folder, p) for p in parts)
    there = f", {done} of them there" if done else ""
    lines = [f"{pictures:,} pictures in {len(parts)} files{there}; {len(jobs)} jobs",
             str(estimate(folder, parts, group))]  # fmt: skip
    return "\n".join(lines)


def command(folder: Path, profile: Path, more: Sequence[str]) -> list[str]:
    """How Snakemake is called."""
    return [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile"),
            "--directory", str(folder.resolve()), "--profile", str(profile), *ALWAYS,
            *more]  # fmt: skip


def _run(folder: Path, parts: list[Part], group: int, call: list[str], handle: int) -> None:
    log = folder / "logs" / "snakemake.log"
    check_writable(log.parent)
    start = time.time()
    with log.open("w") as said:
        engine = subprocess.Popen(
            call, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            pass_fds=[handle],
        )  # fmt: skip
        _sign(handle, engine.pid)
        try:
            _follow(folder, parts, group, engine)
        finally:
            if engine.poll() is None:
                engine.terminate()  # it cancels the jobs that it submitted
                engine.wait()
    begun = any(path.stat().st_mtime >= start for path in log.parent.glob("*_*.log"))
    if engine.returncode and not begun:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        lines = [line for line in lines if line] or ["it said nothing"]
        last = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1])
        raise UserError(f"Snakemake did not start: {last[:300]}; all that it said is in {log}")


def _follow(folder: Path, parts: list[Part], group: int, engine: subprocess.Popen) -> None:
    """A line when more is done, and not too often."""
    left = [part for part in parts if not is_done(folder, part)]
    before, spoken, over = len(left), 0.0, False
    while not over:
        with contextlib.suppress(subprocess.TimeoutExpired):
            engine.wait(LOOK)
        over = engine.poll() is not None
        left = [part for part in left if not is_done(folder, part)]
        if len(left) < before and (over or time.monotonic() - spoken > SPEAK):
            said = f"{len(parts) - len(left)} of {len(parts)} files done"
            print(f"{said}; {estimate(folder, parts, group)}", flush=True)
            before, spoken = len(left), time.monotonic()
