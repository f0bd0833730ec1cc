"""The unit of work: one model, one concept, all wordings and seeds -> one parquet file of scores.

A chunk's file name carries a digest of everything that decides its content. A chunk that exists is
therefore done and right; a grid goes on where it was stopped, on one machine or on many. Inside a
chunk every batch of scored pictures is kept at once under keys of its own, so no picture is made
twice: not after a kill, nor when a wording, a seed or a condition is added.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from whitebear.code import code_digest
from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.files import (
    alone,
    check_writable,
    digest,
    read_parquet,
    remove,
    sweep_away,
    write_parquet,
)
from whitebear.interventions import find_method
from whitebear.models.load import VERSIONS, fingerprint
from whitebear.prompts import caption_of, check_concepts, check_seeds, load_concepts, prompt_grid
from whitebear.scoring.calibration import calibrate
from whitebear.scoring.clip import clip_score
from whitebear.scoring.judge import is_pocket


@dataclass(frozen=True)
class ChunkSpec:
    """Everything that decides the scores of one concept, and the folder they go to.

    The pictures of the first `keep_images` seeds are kept as PNG, for galleries. intervention: a
    name of `interventions.method_names`; strength: None is its default.
    """

    model: str
    concept: str
    conditions: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    guidance: float
    output: str
    keep_images: int = 4
    intervention: str = "none"
    strength: float | None = None


@dataclass(frozen=True)
class Run:
    """The parameters of a chapter, refused at once where they cannot work.

    concepts: [] is every object of the world; seeds: a count per cell or a list of ids; steps,
    guidance: None is what the authors of the model recommend; intervention, strength: as of
    `ChunkSpec`.
    """

    model: str
    concepts: list[str]
    conditions: list[str]
    seeds: int | list[int]
    steps: int | None
    guidance: float | None
    output: str
    intervention: str = "none"
    strength: float | None = None

    def __post_init__(self):
        find_method(self.intervention).check(self.strength)
        free = not self.artist.pocket
        table = prompt_grid(self.concepts, self.conditions, self.seeds, free=free)
        check_writable(self.output)
        self.artist.ready(len(table))

    @cached_property
    def artist(self) -> Artist:
        """The model, which is loaded when it is needed first."""
        return Artist(self.model, self.steps, self.guidance)

    def chunks(self) -> list[ChunkSpec]:
        """One spec a concept."""
        names = check_concepts(self.concepts, load_concepts(), free=not self.artist.pocket)
        seeds, conditions = tuple(check_seeds(self.seeds)), tuple(self.conditions)
        return [
            ChunkSpec(
                self.model,
                name,
                conditions,
                seeds,
                self.artist.steps,
                self.artist.guidance,
                self.output,
                intervention=self.intervention,
                strength=self.strength,
            )  # fmt: skip
            for name in names
        ]


def run_chunk(spec: ChunkSpec, progress: bool = True) -> Path:
    """Make and score the pictures of one concept; returns the parquet file, made or found.

    Columns: those of `tables.SCORES` without threshold; the caption of clip_score is `caption_of`.
    Under an intervention also its name (intervention) and strength.
    Zero-shot judgements are raw here; `run_grid` calibrates them, which takes all concepts.
    """
    with _bar([spec], progress) as bar:
        return _chunk(spec, bar)[0]


def _chunk(spec: ChunkSpec, bar: tqdm) -> tuple[Path, pd.DataFrame | None]:
    """`run_chunk`, told to a bar that counts the rows of this chunk among others; and what a file
    that was found holds, which has been read to see whether it is whole."""
    folder = check_writable(Path(spec.output) / "chunks")
    artist, table = Artist(spec.model, spec.steps, spec.guidance), _rows(spec)
    settings = _settings(artist, spec)
    decisive = settings, spec.keep_images, *table.to_dict("list").values()
    path = folder / f"{_plain(spec.concept)}-{digest(*decisive)}.parquet"
    if (found := _read(path)) is not None:
        _skip(bar, len(table))
    else:
        kept = check_writable(_kept(spec, settings))
        table = table.assign(key=_row_keys(spec, table))
        with alone(kept):  # another process that wants the same rows finds them when it comes in
            _make_missing(spec, table, kept, _loaded(artist, settings), bar)
        sweep_away(folder)
        if path.is_dir():
            remove(path)
        write_parquet(_told(spec, artist, table, _kept_rows(kept)), path)
    return path, found


def run_grid(run: Run, progress: bool = True) -> pd.DataFrame:
    """All chunks of a run, one after the other, as one table of per-image scores, calibrated
    where CLIP judges them (`calibration.calibrate`, which adds the column threshold).

    CLIP is calibrated on images without intervention: under one, these are made, or found, too.
    Interrupt it at any time: what is drawn is kept, `so_far` shows it, and a rerun goes on.
    """
    try:
        return _judged(run, lambda run: _drawn(run, progress))
    except KeyboardInterrupt:
        print(
            "Interrupted. What is drawn is kept: run this again to go on, or look at it with"
            " `from whitebear.draw.grid import so_far; scores = so_far(run)`."
        )
        raise


def so_far(run: Run) -> pd.DataFrame:
    """What `run_grid` gives, of those pictures that are drawn already: for a look at a run that was
    interrupted. Raises `UserError` where there are none.

    Where CLIP judges, the pictures that there are decide where its thresholds lie.
    """
    return _judged(run, _found)


def _judged(run: Run, drawn: Callable[[Run], pd.DataFrame]) -> pd.DataFrame:
    if run.intervention == "none":
        return calibrate(drawn(run))
    acted = drawn(run).assign(part=run.intervention)
    if acted.logit.notna().any():
        plain = replace(run, intervention="none", strength=None)
        acted = pd.concat([acted, drawn(plain).assign(part="")], ignore_index=True)
    found = calibrate(acted)
    return found[found.part != ""].drop(columns="part")


def _drawn(run: Run, progress: bool) -> pd.DataFrame:
    specs, tables = run.chunks(), []
    with _bar(specs, progress) as bar:
        for spec in specs:
            bar.set_postfix_str(spec.concept)
            path, found = _chunk(spec, bar)
            tables.append(read_parquet(path) if found is None else found)
    return pd.concat(tables, ignore_index=True)


def _found(run: Run) -> pd.DataFrame:
    """The rows of a run that are drawn. Raises `UserError` where none is."""
    tables = []
    for spec in run.chunks():
        artist, table = Artist(spec.model, spec.steps, spec.guidance), _rows(spec)
        kept = _kept_rows(_kept(spec, _settings(artist, spec)))
        table = table.assign(key=_row_keys(spec, table))
        tables.append(_told(spec, artist, table[table.key.isin(kept.index)], kept))
    if not any(map(len, tables)):
        raise UserError(f"no picture of this run is in {run.output} yet; run_grid draws them")
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def _rows(spec: ChunkSpec) -> pd.DataFrame:
    free = not is_pocket(spec.model)
    return prompt_grid([spec.concept], spec.conditions, list(spec.seeds), free=free)


def _bar(specs: list[ChunkSpec], progress: bool) -> tqdm:
    """One bar for all pictures of some chunks."""
    total = sum(len(_rows(spec)) for spec in specs) if progress else 0
    return tqdm(total=total, desc="pictures", unit="img", disable=not progress)


def _skip(bar: tqdm, found: int) -> None:
    """Pictures that were there already: they count, but not for how fast it goes."""
    if not bar.disable:
        bar.n, bar.initial, bar.last_print_n = (
            count + found for count in (bar.n, bar.initial, bar.last_print_n)
        )
        bar.refresh()


def _plain(concept: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", concept.lower())


def _kept(spec: ChunkSpec, settings: str) -> Path:
    """The folder of the rows that were made under these settings."""
    return Path(spec.output) / "rows" / f"{_plain(spec.concept)}-{digest(settings)}"


def _told(spec: ChunkSpec, artist: Artist, table: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """Rows of the grid, with keys, beside what made them and their scores."""
    about = {"model": spec.model, "revision": fingerprint(artist.folder),
             "versions": ", ".join(VERSIONS), "steps": spec.steps,
             "guidance": float(spec.guidance), **_acting(spec)}  # fmt: skip
    scores = kept.loc[table.key].reset_index(drop=True)
    told = table.drop(columns="key").reset_index(drop=True).assign(**about)
    return pd.concat([told, scores], axis=1)


def _acting(spec: ChunkSpec) -> dict:
    """Intervention and strength as columns; nothing where there is none."""
    if spec.intervention == "none":
        return {}
    strength = find_method(spec.intervention).check(spec.strength)
    return {"intervention": spec.intervention, "strength": strength}


def _settings(artist: Artist, spec: ChunkSpec) -> str:
    """Digest of all that decides an image and its scores, but for its row of the grid."""
    decisive = artist.state(), code_digest(run_chunk)
    if acting := _acting(spec):  # it is found by its name, which tells nothing of its code
        method = find_method(spec.intervention)
        decisive += acting, method.state(), code_digest(method.act)
    return digest(*decisive)


def decided_by(spec: ChunkSpec) -> str:
    """Digest of all that decides the images of a chunk and their scores, but for its rows: model,
    judge, sampling, intervention, versions of packages, and code."""
    return _settings(Artist(spec.model, spec.steps, spec.guidance), spec)


def _row_keys(spec: ChunkSpec, table: pd.DataFrame) -> list[str]:
    """What a row's scores follow from, under fixed settings; not how its wording is called."""
    png = table.seed.isin(spec.seeds[: spec.keep_images])
    rows = zip(table.concept, table.seed, table.prompt, table.other, png, strict=True)
    return [digest(*row) for row in rows]


def _kept_rows(folder: Path) -> pd.DataFrame:
    """The rows that were ever scored under these settings, by key; of damaged files none.

    A file that goes while we read was merged into another one by another process: look again.
    """
    while True:
        files = sorted(folder.glob("*.parquet"))
        read = [_read(path) for path in files]
        if all(path.exists() for path in files):
            break
    parts = [part for part in read if part is not None and "key" in part]
    if not parts:
        return pd.DataFrame(index=pd.Index([], name="key"))
    rows = pd.concat(parts).set_index("key")
    return rows[~rows.index.duplicated()]


def _make_missing(spec, table, kept: Path, artist: Artist, bar: tqdm) -> None:
    """Make and score what `kept` lacks: a file a batch, at the end one file for all."""
    missing = table[~table.key.isin(_kept_rows(kept).index)].drop_duplicates("key")
    _skip(bar, len(table) - len(missing))
    if not len(missing):
        return
    for path in filter(Path.is_dir, kept.glob("*.parquet")):
        remove(path)  # where a file belongs
    with find_method(spec.intervention)(artist, missing, spec.strength):
        for part, images in artist.batches(missing, progress=False):
            name = f"{digest(*part.key)}.parquet"  # all that it holds: no two batches share it
            write_parquet(_scored(spec, part, images, artist), kept / name)
            bar.update(len(part))
    parts = set(kept.glob("*.parquet"))  # listed before they are read: only what is merged may go
    rows = _kept_rows(kept)
    whole = write_parquet(rows.reset_index(), kept / f"all-{digest(sorted(rows.index))}.parquet")
    for path in parts - {whole}:
        remove(path)
    sweep_away(kept)


def _read(path: Path) -> pd.DataFrame | None:
    """What a file of ours holds; None where there is none, or it is damaged: it is made again."""
    try:
        return read_parquet(path)
    except UserError:
        return None


_LOADED: dict[str, Artist] = {}  # the chunks of a run share a model: one, by its settings


def _loaded(artist: Artist, settings: str) -> Artist:
    """The artist of an earlier chunk where it is the same, else this one."""
    if settings not in _LOADED:
        _LOADED.clear()  # two models may not fit
        _LOADED[settings] = artist
    return _LOADED[settings]


def _scored(spec: ChunkSpec, table: pd.DataFrame, images, artist: Artist) -> pd.DataFrame:
    """Key and scores of the images of some rows."""
    others = sorted(set(table.other) - {""})
    judged = artist.judge.scores(images, [spec.concept, *others])
    scores, present = judged["p_asked"], judged["present"]
    caption = caption_of(spec.concept)
    kept = set(spec.seeds[: spec.keep_images])
    pairs = list(enumerate(table.other))
    other_present = [bool(present[o][i]) if o else None for i, o in pairs]
    return pd.DataFrame({
        "key": table.key.to_numpy(),
        "p_asked": scores[spec.concept].to_numpy(),
        "present": present[spec.concept].to_numpy(),
        "logit": judged["logit"][spec.concept].to_numpy(),
        "p_other": [float(scores[o][i]) if o else float("nan") for i, o in pairs],
        "other_present": pd.array(other_present, "boolean"),
        "clip_score": clip_score(images, [caption] * len(table), artist.judge.clip),
        "png": [png(images[i]) if s in kept else None for i, s in enumerate(table.seed)],
    })  # fmt: skip


def png(image: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
