"""A finished sweep, verified and joined: every digest, a manifest, one table of all rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from whitebear.errors import UserError
from whitebear.files import sha256_of, write_text
from whitebear.scoring.calibration import calibrate
from whitebear.sweep.estimate import in_jobs
from whitebear.sweep.folder import Part, is_done, read_plan_of, receipt_of


def collect(folder: Path) -> Path:
    """scores.parquet: all rows of a sweep in the order of its plan, a row group for each model,
    intervention and strength, scored as `run_grid` gives them out, without the pictures.

    Raises `UserError` that names a part which is missing, or is not what was written.
    """
    about = read_plan_of(folder)
    verify(folder, about["parts"])
    write_manifest(folder)
    place, partial = folder / "scores.parquet", folder / f"work/scores.{os.getpid()}.part"
    writer = None
    try:
        for rows in _runs(folder, about["parts"]):
            table = pa.Table.from_pandas(rows, preserve_index=False)
            if writer is None:
                writer = pq.ParquetWriter(partial, table.schema)
            writer.write_table(table.cast(writer.schema))
        writer.close()
        os.replace(partial, place)
    finally:
        partial.unlink(missing_ok=True)
    return place


def verify(folder: Path, parts: list[Part]) -> None:
    """Raise `UserError` unless every part is there with the digest that it was written with."""
    missing = [part for part in parts if not (folder / part.path).is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(parts)} parts are missing ({missing[0]} is the first); start"
            " the sweep again, or see --status"
        )
    for part in parts:
        if sha256_of(folder / part.path) != receipt_of(folder, part).get("sha256"):
            raise UserError(
                f"part {folder / part.path} ({part}) is corrupt: it is not what was written;"
                " remove it and start the sweep again, which makes it from what is kept"
            )


def write_manifest(folder: Path) -> None:
    """manifest.json of the parts that are done. It follows from what they hold alone: the same
    sweep writes the same bytes."""
    about = read_plan_of(folder)
    done = [part for part in about["parts"] if is_done(folder, part)]
    said = {part.path: receipt_of(folder, part) for part in done}
    content = {
        "versions": about["versions"],
        "plan": about["plan"],
        "revisions": {part.model: said[part.path]["revision"] for part in done},
        "complete": len(done) == len(about["parts"]),
        "parts": {p: {key: s[key] for key in ("sha256", "rows", "bytes")} for p, s in said.items()},
    }
    write_text(folder / "manifest.json", json.dumps(content, indent=1) + "\n")


def _runs(folder: Path, parts: list[Part]) -> Iterator[pd.DataFrame]:
    """The rows of each model, intervention and strength, calibrated where CLIP judged: on pictures
    without an intervention, as `draw.run_grid` does."""
    for run in in_jobs(parts, len(parts)):
        rows = _read(folder, run)
        if run[0].intervention == "none" or not rows.logit.notna().any():
            yield calibrate(rows)
            continue
        plain = [p for p in parts if p.model == run[0].model and p.intervention == "none"]
        both = [rows.assign(part="acted"), _read(folder, plain).assign(part="")]
        found = calibrate(pd.concat(both, ignore_index=True))
        yield found[found.part != ""].drop(columns="part")


def _read(folder: Path, run: list[Part]) -> pd.DataFrame:
    """Rows of some parts, concept after concept, with the columns that their folders stand for."""
    tables = []
    for part in run:
        file = pq.ParquetFile(folder / part.path)
        names = [name for name in file.schema_arrow.names if name != "png"]
        rows = file.read(names).to_pandas()
        tables.append(rows.assign(model=part.model, intervention=part.intervention))
    return pd.concat(tables, ignore_index=True)
