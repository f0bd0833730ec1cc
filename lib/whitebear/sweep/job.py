"""What the engine starts: one process makes the parts of a job, with one model that it has loaded.

What is finished is left alone, what was begun goes on with the first batch that is missing, and a
part that cannot be made does not keep the others from being made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from whitebear.errors import UserError
from whitebear.files import read_parquet
from whitebear.sweep.folder import Mark, Part, is_done, lock, put, read_plan_of


def run_job(folder: Path, job: str) -> None:
    """Make the parts of a job. Raises `UserError` at its end where some could not be made."""
    about = read_plan_of(folder)
    paths = about["jobs"].get(job)
    if paths is None:
        raise UserError(f"{folder} has no job {job!r}; start the sweep again")
    parts = {part.path: part for part in about["parts"]}
    failed = []
    with one_gpu(folder):
        for path in paths:
            part = parts[path]
            try:
                with Mark(folder, part).held(job) as begun:
                    if not is_done(folder, part):
                        _make(folder, about, part, begun, warm=path != paths[0])
            except (UserError, OSError) as error:
                failed.append(f"{part}: {_line(error)}")
                print(f"error: {failed[-1]}", file=sys.stderr, flush=True)
    if failed:
        raise UserError(f"{len(failed)} of {len(paths)} parts could not be made; {failed[0]}")


def _line(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    return f"{error.strerror or error}; make room, or mend the disk, and start the sweep again"


def _make(folder: Path, about: dict, part: Part, begun: bool, warm: bool) -> None:
    """Draw, score and keep a part. warm: whether the job has its model already."""
    # here and below: the job takes its GPU before anything may look for one
    from whitebear.draw.artist import best_device
    from whitebear.draw.grid import ChunkSpec, run_chunk
    from whitebear.models.load import VERSIONS
    from whitebear.sweep.plan import part_of

    plan, start = about["plan"], time.perf_counter()
    spec = ChunkSpec(
        part.model, part.concept, tuple(plan["conditions"]), tuple(plan["seeds"]), part.steps,
        part.guidance, str(folder / "work"), plan["keep_images"], part.intervention, part.strength,
    )  # fmt: skip
    if part_of(spec)[1] != part.path:
        raise UserError(
            f"{socket.gethostname()} has {', '.join(VERSIONS)}, the plan was made with"
            f" {about['versions']}: these, the code or the model's files differ, and would draw"
            " other pictures; install the same everywhere, or start the sweep again"
        )
    chunk = run_chunk(spec, progress=False)
    table = read_parquet(chunk)
    partial = chunk.with_suffix(f".{os.getpid()}.part")
    _write(table, part, partial)
    seconds = time.perf_counter() - start
    record = {"seconds": round(seconds, 3), "warm": warm, "begun": begun,
              "device": best_device().type, "host": socket.gethostname(),
              "revision": str(table.revision.iloc[0])}  # fmt: skip
    put(folder, part, partial, record)
    chunk.unlink()  # its rows are kept in work/, and here


def _write(table, part: Part, path: Path) -> None:
    """A parquet file with the same columns and types for every part, but for model and
    intervention, which its folders say. NaN is the strength of none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    named = [name for name in ("model", "intervention", "strength") if name in table]
    strength = float("nan") if part.intervention == "none" else part.strength
    found = pa.Table.from_pandas(
        table.drop(columns=named).assign(strength=strength), preserve_index=False
    )
    for i, column in enumerate(found.schema):
        if pa.types.is_null(column.type):  # no picture kept, say
            kind = pa.binary() if column.name == "png" else pa.float64()
            found = found.set_column(i, column.name, found.column(i).cast(kind))
    pq.write_table(found, path, write_page_checksum=True)


@contextlib.contextmanager
def one_gpu(folder: Path):
    """A block in which this process sees one GPU, of those that it might, which no other job of
    this machine has. Without a GPU, or with the one that a cluster gave it, nothing changes."""
    seen = _gpus()
    if len(seen) < 2:
        yield
        return
    marks = folder / "marks"
    marks.mkdir(parents=True, exist_ok=True)
    while True:
        for gpu in seen:
            mark = marks / f"gpu-{socket.gethostname()}-{gpu}.lock"
            handle = os.open(mark, os.O_RDWR | os.O_CREAT, 0o666)
            if lock(handle, wait=False):
                os.environ["CUDA_VISIBLE_DEVICES"] = gpu
                try:
                    yield
                finally:
                    os.close(handle)
                return
            os.close(handle)
        time.sleep(1)


def _gpus() -> list[str]:
    """Names of the GPUs that this process may see; asked before torch looks for them."""
    if (said := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in said.split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    said = subprocess.run(asked, capture_output=True, text=True).stdout.split()
    return [word for word in said if word.isdigit()]
