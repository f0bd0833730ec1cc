"""Long measurements, cached concept by concept: what an earlier run has done is not done again.

A measurement is a function of an artist and the rows of a grid. What it returns for a concept is
written to a folder whose name carries a digest of everything that decides it: model, judge,
sampling, versions, rows, and the code that it uses. Beside the results lie their digests: what is
not as it was written, or cannot be read, is made again.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from tqdm.auto import tqdm

from whitebear.code import code_digest
from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.files import (
    as_noted,
    check_writable,
    digest,
    note_digests,
    read_parquet,
    remove,
    sweep_away,
    written,
)

Part = np.ndarray | pd.DataFrame | xr.Dataset
Measure = Callable[[Artist, pd.DataFrame], Part | tuple]


class Cache:
    """Results of measurements, in `folder`. Raises `UserError` where that cannot be written."""

    def __init__(self, folder: Path):
        self.folder = check_writable(Path(folder) / "cached")
        sweep_away(self.folder)

    def by_concept(self, measure: Measure, artist: Artist, table: pd.DataFrame):
        """measure(artist, rows) for each concept of a grid, joined in the order of its rows.

        measure: a function of a module. It returns an array (rows first), a table, a dataset
        (dimension sample), or a tuple of such; so does this. What has not a row for each row of
        the grid comes concept after concept. Interrupt it at any time: a rerun goes on with the
        first concept that is not finished, and one with fewer concepts shows what there is.
        """
        name = re.sub(r"[^a-z0-9]+", "-", measure.__qualname__.lower())
        if not len(table):
            raise UserError(f"{name}: the grid has no such rows; see concepts and conditions")
        state = digest(artist.state(), code_digest(measure))
        done, groups = [], table.groupby("concept", sort=False)
        for concept, rows in tqdm(groups, desc=name, unit="concept", disable=groups.ngroups < 2):
            plain = re.sub(r"[^a-z0-9]+", "-", concept.lower())
            folder = self.folder / f"{name}-{plain}-{digest(state, rows.to_dict('list'))}"
            if (parts := _read(folder)) is None:
                try:
                    found = measure(artist, rows)
                except KeyboardInterrupt:
                    print(f"Interrupted. {_finished(groups, len(done))}")
                    raise
                parts = _write(folder, found if isinstance(found, tuple) else (found,))
            done.append(parts)
        places = np.concatenate([groups.indices[concept] for concept, _ in groups])
        joined = tuple(_join(parts, np.argsort(places)) for parts in zip(*done, strict=True))
        return joined if len(joined) > 1 else joined[0]


def _finished(groups, n: int) -> str:
    """What there is of the first n concepts, and how to go on."""
    names = [concept for concept, _ in groups][:n]
    if not names:
        return "No concept is finished yet; run this again to begin anew."
    return (
        f"{n} of {groups.ngroups} concepts are kept: run this again to go on, or look at these with"
        f" concepts = {names}."
    )


def _write(folder: Path, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """All parts, or nothing: the folder gets its name when everything is in it. Returns them as
    they will be read."""
    if _read(folder) is None:  # else another process was quicker; what it wrote is the same
        remove(folder)
        try:
            with written(folder) as partial:
                partial.mkdir()
                for i, part in enumerate(parts):
                    _write_part(partial, i, part)
                note_digests(partial)
        except UserError:
            if _read(folder) is None:  # nor was another one quicker just now
                raise
    return _read(folder)


def _write_part(folder: Path, i: int, part: Part) -> None:
    if isinstance(part, pd.DataFrame):
        part.to_parquet(folder / f"{i}.parquet")
    elif isinstance(part, xr.Dataset):
        part.to_netcdf(folder / f"{i}.nc", engine="scipy")
    else:
        np.savez_compressed(folder / f"{i}.npz", part)


def _read(folder: Path) -> tuple[Part, ...] | None:
    """What a folder holds; None where there is none, or a file is not what was written."""
    names = sorted(as_noted(folder), key=lambda name: int(name.partition(".")[0]))
    return tuple(_read_part(folder / name) for name in names) or None


def _read_part(path: Path) -> Part:
    if path.suffix == ".parquet":
        return read_parquet(path)
    if path.suffix == ".nc":
        return xr.load_dataset(path, engine="scipy")
    with np.load(path, allow_pickle=False) as file:
        return file["arr_0"]


def _join(parts: tuple[Part, ...], order: np.ndarray) -> Part:
    """The parts one after the other; rows in `order`, if there is one for each of them."""
    if isinstance(parts[0], xr.Dataset):
        whole = xr.concat(parts, "sample")
        return whole.isel(sample=order) if whole.sizes["sample"] == len(order) else whole
    if isinstance(parts[0], pd.DataFrame):
        whole = pd.concat(parts, ignore_index=True)
        return whole.take(order).reset_index(drop=True) if len(whole) == len(order) else whole
    whole = np.concatenate(parts)
    return whole[order] if len(whole) == len(order) else whole
