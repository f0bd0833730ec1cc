"""Draw what the arena asks of a method, concept by concept, and judge every picture once."""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from whitebear.arena.entries import NESTED, Entry
from whitebear.arena.measures import beside
from whitebear.draw.artist import Artist
from whitebear.draw.cache import Cache
from whitebear.interventions import find_method
from whitebear.models.families import denoiser_of
from whitebear.prompts import load_concepts


def rows_for(entry: Entry, strength: float, grid: pd.DataFrame) -> pd.DataFrame:
    """The rows of an `arena_grid` with all that decides their pictures: what `drawn` takes."""
    return grid.assign(
        method=entry.method, strength=float(strength), options=entry.options, noise=entry.noise,
        code=entry.state(),
    )  # fmt: skip


def draw(artist: Artist, rows: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Scores and pictures of `rows_for` an entry, made, or found in `folder`: as of `drawn`."""
    return Cache(folder).by_concept(drawn, artist, rows)


def drawn(artist: Artist, rows: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """A table with a row for each of `rows_for`, columns as those of `tables.ARENA`, and the
    pictures, uint8 (N, H, W, 3). A block of the method leaves out one concept."""
    images, parts = None, []
    for erased in dict.fromkeys(rows.erased):
        at = np.flatnonzero(rows.erased == erased)
        pictures, cost = _block(artist, rows.iloc[at])
        images = np.empty((len(rows), *pictures.shape[1:]), np.uint8) if images is None else images
        images[at] = pictures
        parts.append(pd.DataFrame(cost, index=at))
    cost = pd.concat(parts).sort_index()
    table = judged(artist, rows.reset_index(drop=True), images, cost.blocked.to_numpy(bool))
    return table.join(cost), images


def _block(artist: Artist, rows: pd.DataFrame) -> tuple[np.ndarray, dict]:
    """Pictures of rows that leave out one concept, and what they cost."""
    first, strength = rows.iloc[0], float(rows.strength.iloc[0])
    told = rows.assign(concept=rows.erased)
    noisy = rows.assign(seed=rows.seed + rows.noise)
    *before, last = map(find_method, first.method.split(NESTED))
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        for method in before:
            stack.enter_context(method(artist, told))
        given = stack.enter_context(last(artist, told, strength, **json.loads(first.options)))
        prepared = time.perf_counter()
        with counted(artist) as calls:
            images = artist.draw(noisy, progress=False)
        blocked = list(getattr(given, "blocked", [False] * len(rows)))  # of a filter
    ended = time.perf_counter()
    return images, {
        "blocked": blocked, "passes": calls[0] / len(rows) / artist.steps,
        "prepared": prepared - began, "seconds": (ended - prepared) / len(rows),
    }  # fmt: skip


@contextlib.contextmanager
def counted(artist: Artist) -> Iterator[list[int]]:
    """A list whose only item counts the pictures that pass through the denoiser in the block.

    They are counted inside, at its first layer, where those of a method that wraps the denoiser
    come by too.
    """
    denoiser, calls = denoiser_of(artist.pipe), [0]
    layer: nn.Module = getattr(denoiser, "conv_in", denoiser)

    def count(module, args, kwargs):
        calls[0] += len(args[0] if args else next(iter(kwargs.values())))

    handle = layer.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def judged(artist: Artist, rows: pd.DataFrame, images: np.ndarray,
           blocked: np.ndarray) -> pd.DataFrame:  # fmt: skip
    """The rows with what the judge finds in their pictures, and the digest of each picture.

    In those that a filter blocked there is nothing to be found, whatever a judge that never saw a
    black picture takes it for.
    """
    judge, asked = artist.judge, {*rows.concept, *rows.other, *rows.colour, *rows.background}
    names = judge.trained.concepts if artist.pocket else sorted(asked - {""})
    found = judge.scores(images, names)
    unsure = _entropy(found["p_asked"].to_numpy(float))
    p, present = (found[part].mul(~blocked, axis=0) for part in ("p_asked", "present"))
    objects = [name for name in names if name in load_concepts().objects or not artist.pocket]
    return rows.assign(
        p_asked=_of(p, rows.concept), present=_of(present, rows.concept).astype(bool),
        p_other=_of(p, rows.other), other_present=_flags(present, rows.other),
        colour_present=_flags(present, rows.colour),
        place_present=_flags(present, rows.background),
        objects=present[objects].sum(axis=1).to_numpy(int), entropy=unsure,
        picture=[hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in images],
    )  # fmt: skip


def _of(table: pd.DataFrame, names: Iterable[str]) -> np.ndarray:
    """The value of one column a row, NaN where its name is ""."""
    values = table.to_numpy(float)
    at = {name: i for i, name in enumerate(table)}
    return np.array([values[i, at[n]] if n else np.nan for i, n in enumerate(names)], float)


def _flags(present: pd.DataFrame, names: Iterable[str]) -> pd.arrays.BooleanArray:
    """The same of yes and no, missing where there is nothing to look for."""
    found = [None if np.isnan(value) else bool(value) for value in _of(present, names)]
    return pd.array(found, "boolean")


def _entropy(p: np.ndarray) -> np.ndarray:
    """Mean entropy of the labels (N, labels), in bits: how unsure the judge is of a picture."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p)).mean(axis=1)


def changed(table: pd.DataFrame, images: np.ndarray, untouched: pd.DataFrame,
            before: np.ndarray) -> np.ndarray:  # fmt: skip
    """Mean absolute change of a pixel against the untouched picture, 0 to 1, a value a row.

    table, images and untouched, before: as of `draw`; rows are matched by concept, wording, seed.
    """
    at = beside(table, untouched.assign(at=np.arange(len(untouched))), ["at"]).at_untouched
    pairs = zip(images, before[at.to_numpy(int)], strict=True)
    return np.array([np.abs(a.astype(int) - b).mean() / 255 for a, b in pairs])
