"""The unit of work: one model, one concept, all wordings and seeds -> one parquet file of scores.

A chunk's file name carries a digest of everything that decides its content. A chunk that exists is
therefore done and right; a grid goes on where it was stopped, on one machine or on many. Inside a
chunk every batch of scored pictures is kept at once under keys of its own, so no picture is made
twice: not after a kill, nor when a wording, a seed or a condition is added.
"""

import contextlib
import io
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
from PIL import Image
from tqdm import tqdm

from whitebear.code import code_digest
from whitebear.draw.artist import Artist
from whitebear.files import alone, check_writable, digest, write_parquet
from whitebear.interventions import find_method
from whitebear.models.load import VERSIONS, fingerprint
from whitebear.prompts import caption_of, check_concepts, check_seeds, load_concepts, prompt_grid
from whitebear.scoring.calibration import calibrate
from whitebear.scoring.clip import clip_score


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

    concepts: [] is every object of the world; seeds: a count per cell or a list of ids;
    intervention, strength: as of `ChunkSpec`.
    """

    model: str
    concepts: list[str]
    conditions: list[str]
    seeds: int | list[int]
    steps: int
    guidance: float
    output: str
    intervention: str = "none"
    strength: float | None = None

    def __post_init__(self):
        find_method(self.intervention).check(self.strength)
        prompt_grid(self.concepts, self.conditions, self.seeds, free=not self.artist.pocket)
        self.artist.folder  # noqa: B018 - is fetched, and checked, before any work
        check_writable(self.output)

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
                self.steps,
                self.guidance,
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
    folder = check_writable(Path(spec.output) / "chunks")
    artist = Artist(spec.model, spec.steps, spec.guidance)
    table = prompt_grid([spec.concept], spec.conditions, list(spec.seeds), free=not artist.pocket)
    settings = _settings(artist, spec)
    name = re.sub(r"[^a-z0-9]+", "-", spec.concept.lower())
    path = folder / f"{name}-{digest(settings, spec.keep_images, *table.to_dict('list').values())}"
    path = path.with_name(f"{path.name}.parquet")
    if not _is_whole(path):
        kept = check_writable(Path(spec.output) / "rows" / f"{name}-{digest(settings)}")
        keys = _row_keys(spec, table)
        with alone(kept):  # another process that wants the same rows finds them when it comes in
            _make_missing(spec, table.assign(key=keys), kept, _loaded(artist, settings), progress)
        about = {"model": spec.model, "revision": fingerprint(artist.folder),
                 "versions": ", ".join(VERSIONS), "steps": spec.steps,
                 "guidance": float(spec.guidance), **_acting(spec)}  # fmt: skip
        scores = _kept_rows(kept).loc[keys].reset_index(drop=True)
        write_parquet(pd.concat([table.assign(**about), scores], axis=1), path)
    return path


def run_grid(run: Run, progress: bool = True) -> pd.DataFrame:
    """All chunks of a run, one after the other, as one table of per-image scores, calibrated
    where CLIP judges them (`calibration.calibrate`, which adds the column threshold).

    CLIP is calibrated on images without intervention: under one, these are made, or found, too.
    """
    if run.intervention == "none":
        return calibrate(_drawn(run, progress))
    acted = _drawn(run, progress).assign(part=run.intervention)
    if acted.logit.notna().any():
        plain = replace(run, intervention="none", strength=None)
        acted = pd.concat([acted, _drawn(plain, progress).assign(part="")], ignore_index=True)
    found = calibrate(acted)
    return found[found.part != ""].drop(columns="part")


def _drawn(run: Run, progress: bool) -> pd.DataFrame:
    bar = tqdm(run.chunks(), desc="concepts", disable=not progress)
    tables = []
    for spec in bar:
        bar.set_postfix_str(spec.concept)
        tables.append(pd.read_parquet(run_chunk(spec, progress)))
    return pd.concat(tables, ignore_index=True)


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


def _row_keys(spec: ChunkSpec, table: pd.DataFrame) -> list[str]:
    """What a row's scores follow from, under fixed settings; not how its wording is called."""
    png = table.seed.isin(spec.seeds[: spec.keep_images])
    rows = zip(table.concept, table.seed, table.prompt, table.other, png, strict=True)
    return [digest(*row) for row in rows]


def _kept_rows(folder: Path) -> pd.DataFrame:
    """The rows that were ever scored under these settings, by key; half-written files are none.

    A file that goes while we read was merged into another one by another process: look again.
    """
    while True:
        files = sorted(folder.glob("*.parquet"))
        with contextlib.suppress(FileNotFoundError):
            parts = [pd.read_parquet(path) for path in files if _is_whole(path)]
            if all(path.exists() for path in files):
                break
    if not parts:
        return pd.DataFrame(index=pd.Index([], name="key"))
    rows = pd.concat(parts).set_index("key")
    return rows[~rows.index.duplicated()]


def _make_missing(spec, table, kept: Path, artist: Artist, progress) -> None:
    """Make and score what `kept` lacks: a file a batch, at the end one file for all."""
    missing = table[~table.key.isin(_kept_rows(kept).index)].drop_duplicates("key")
    if not len(missing):
        return
    with find_method(spec.intervention)(artist, missing, spec.strength):
        for part, images in artist.batches(missing, progress):
            write_parquet(_scored(spec, part, images, artist), kept / f"{part.key.iloc[0]}.parquet")
    parts = set(kept.glob("*.parquet"))  # listed before they are read: only what is merged may go
    rows = _kept_rows(kept)
    whole = write_parquet(rows.reset_index(), kept / f"all-{digest(sorted(rows.index))}.parquet")
    for path in parts - {whole}:
        path.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    try:
        pyarrow.parquet.read_metadata(path)
    except (OSError, pyarrow.ArrowInvalid):
        return False
    return True


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
