"""Long measurements, kept concept by concept: what an earlier run has done is not done again.

A measurement is a function of the rows of a grid. What it returns for a concept is written to a
folder whose name carries a digest of everything that decides it: model, judge, sampling, prompts,
versions and the code of this library. A folder that exists is therefore whole and right.
"""

import os
import re
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from tqdm import tqdm

from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.files import check_writable, digest

Part = np.ndarray | pd.DataFrame | xr.Dataset
LIBRARY = Path(__file__).parents[1]


class Kept:
    """Results of one artist, in `folder`. Raises `UserError` where that cannot be written."""

    def __init__(self, folder: Path, artist: Artist):
        self.folder = check_writable(Path(folder) / "kept")
        self.artist = artist

    @cached_property
    def state(self) -> str:
        """Digest of what decides results beside the rows."""
        code = [path.read_text(encoding="utf-8") for path in sorted(LIBRARY.rglob("*.py"))]
        return digest(self.artist.state(), code)

    def by_concept(
        self, name: str, table: pd.DataFrame, measure: Callable[[pd.DataFrame], Part | tuple]
    ):
        """measure(rows) for each concept of a grid, joined in the order of its rows.

        name: of the measurement, a-z and -. measure returns an array (rows first), a table, a
        dataset (dimension sample), or a tuple of such; so does this. Interrupt it at any time: a
        rerun goes on with the first concept that is not finished.
        """
        if not len(table):
            raise UserError(f"{name}: the grid has no such rows; see concepts and conditions")
        done = []
        groups = table.groupby("concept", sort=False)
        for concept, rows in tqdm(groups, desc=name, unit="concept", disable=groups.ngroups < 2):
            folder = self._folder(name, str(concept), rows)
            if not folder.is_dir():
                found = measure(rows)
                _write(folder, found if isinstance(found, tuple) else (found,))
            done.append(_read(folder))
        joined = tuple(_join(parts) for parts in zip(*done, strict=True))
        return joined if len(joined) > 1 else joined[0]

    def _folder(self, name: str, concept: str, rows: pd.DataFrame) -> Path:
        plain = re.sub(r"[^a-z0-9]+", "-", f"{name}-{concept}".lower())
        return self.folder / f"{plain}-{digest(name, self.state, rows.to_dict('list'))}"


def _write(folder: Path, parts: tuple[Part, ...]) -> None:
    """All parts, or nothing: the folder gets its name when everything is in it."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for i, part in enumerate(parts):
        if isinstance(part, pd.DataFrame):
            part.to_parquet(partial / f"{i}.parquet")
        elif isinstance(part, xr.Dataset):
            part.to_netcdf(partial / f"{i}.nc", engine="scipy")
        else:
            np.savez_compressed(partial / f"{i}.npz", part)
    if folder.is_dir():  # another process was quicker; what it wrote is the same
        shutil.rmtree(partial)
    else:
        os.replace(partial, folder)


def _read(folder: Path) -> tuple[Part, ...]:
    parts = []
    for path in sorted(folder.iterdir(), key=lambda path: int(path.stem)):
        if path.suffix == ".parquet":
            parts.append(pd.read_parquet(path))
        elif path.suffix == ".nc":
            parts.append(xr.load_dataset(path, engine="scipy"))
        else:
            with np.load(path, allow_pickle=False) as file:
                parts.append(file["arr_0"])
    return tuple(parts)


def _join(parts: tuple[Part, ...]) -> Part:
    if isinstance(parts[0], pd.DataFrame):
        return pd.concat(parts, ignore_index=True)
    if isinstance(parts[0], xr.Dataset):
        return xr.concat(parts, "sample")
    return np.concatenate(parts)
