"""The folder of a sweep: what is where, and who works on what.

plan.json     parts of the sweep, and which of them make up a job
dataset/      model=.../intervention=.../*.parquet: finished parts and nothing else
receipts/     a record of each part: digest, rows, bytes, seconds
marks/        parts that a job has begun; one that is alive holds a lock on its mark
work/         kept rows of chunks, from which an interrupted one goes on
logs/         what jobs and the engine say
manifest.json versions, revisions, plan, and the digest of every part
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from whitebear.errors import UserError
from whitebear.files import sha256_of, write_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@dataclass(frozen=True)
class Part:
    """A chunk of a sweep. rows: pictures; path: of its parquet file below the sweep's folder."""

    model: str
    steps: int
    guidance: float
    concept: str
    intervention: str
    strength: float
    rows: int
    path: str

    def __str__(self) -> str:
        acting = "" if self.intervention == "none" else f" {self.intervention} {self.strength:g}"
        return f"{self.model}{acting} {self.concept}"

    @property
    def stem(self) -> str:
        """A name for files about it: that of its own file, which carries a digest."""
        return Path(self.path).stem


def plain(name: str) -> str:
    """A name for a file: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


# --- the plan, as jobs and other commands read it -------------------------------------------------


def write_plan(folder: Path, said: dict, versions: str, parts: list[Part], jobs: dict) -> None:
    """plan.json. said: the plan's values; jobs: name -> paths of its parts."""
    content = {"plan": said, "versions": versions, "parts": [asdict(p) for p in parts],
               "jobs": jobs}  # fmt: skip
    write_text(folder / "plan.json", json.dumps(content, indent=1))


def read_plan_of(folder: Path) -> dict:
    """plan.json, its parts as `Part`. Raises `UserError` where the folder is none of a sweep."""
    found = read_json(folder / "plan.json")
    if "parts" not in found:
        raise UserError(f"{folder} holds no sweep; start one: python -m whitebear sweep PLAN.yml")
    return found | {"parts": [Part(**part) for part in found["parts"]]}


def read_json(path: Path) -> dict:
    """An object from a file; {} where there is none, or none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


# --- parts ----------------------------------------------------------------------------------------


def receipt_of(folder: Path, part: Part) -> dict:
    """The record of a part; {} where there is none."""
    return read_json(folder / "receipts" / f"{part.stem}.json")


def is_done(folder: Path, part: Part) -> bool:
    """Whether a part is there, as long as its record says. Its digest is `collect`'s to check."""
    try:
        size = (folder / part.path).stat().st_size
    except OSError:
        return False
    return receipt_of(folder, part).get("bytes") == size


def put(folder: Path, part: Part, partial: Path, about: dict) -> None:
    """A finished file becomes the part, after its record: who sees a part finds a record, too."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    record = {"path": part.path, "sha256": sha256_of(partial), "bytes": partial.stat().st_size,
              "rows": part.rows, **about}  # fmt: skip
    receipt, place = folder / "receipts" / f"{part.stem}.json", folder / part.path
    for path in (receipt, place):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_text(receipt, json.dumps(record, indent=1))
    os.replace(partial, place)


# --- who works ------------------------------------------------------------------------------------


class Mark:
    """The mark of a part that a job has begun: {host, pid, job, started, why}, why being what
    stopped it. A job holds a lock on its mark, which ends with the job, kill -9 included."""

    def __init__(self, folder: Path, part: Part):
        self.path = folder / "marks" / f"{part.stem}.json"

    @contextlib.contextmanager
    def held(self, job: str) -> Iterator[bool]:
        """A block in which the part is this process's; another one that has it is waited for.
        Yields whether the part had been begun before. What is raised is written into the mark."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock(handle)
            begun = os.fstat(handle).st_size > 0
            about = {"host": socket.gethostname(), "pid": os.getpid(), "job": job,
                     "started": time.strftime("%Y-%m-%d %H:%M:%S"), "why": ""}  # fmt: skip
            _say(handle, about)
            try:
                yield begun
            except BaseException as error:
                said = str(error) if isinstance(error, UserError) else repr(error)
                with contextlib.suppress(OSError):  # where the disk is full, the log has it
                    _say(handle, about | {"why": " ".join(said.split())[:500]})
                raise
            self.path.unlink(missing_ok=True)
        finally:
            os.close(handle)

    def state(self) -> tuple[str, dict]:
        """ "", "running" or "stopped", and what the mark says."""
        try:
            handle = os.open(self.path, os.O_RDWR)
        except OSError:
            return "", {}
        try:
            free = lock(handle, wait=False)
            return "stopped" if free else "running", read_json(self.path)
        finally:
            os.close(handle)


def _say(handle: int, about: dict) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(about).encode(), 0)


def lock(handle: int, wait: bool = True) -> bool:
    """Take the lock of an open file, which its last process gives back by ending; False where
    another one has it. Where a file system has no locks, nobody has."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
