"""The unit of work: one model, one concept, all wordings and seeds -> one parquet file of scores.

A chunk's file name carries a digest of everything that decides its content. A chunk that exists is
therefore done and right; a grid goes on where it was stopped, on one machine or on many. Inside a
chunk every batch of scored pictures is kept at once under keys of its own, so no picture is made
twice: not after a kill, nor when a wording, a seed or a condition is added.
"""

import contextlib
import io
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet
from PIL import Image
from tqdm import tqdm

from whitebear.draw.generate import check_sampling, generate_batches
from whitebear.files import MODELS, alone, check_writable, digest, write_parquet
from whitebear.models.load import VERSIONS, find_model, fingerprint, load_pipeline, locate
from whitebear.prompts import caption_of, check_concepts, check_seeds, load_concepts, prompt_grid
from whitebear.scoring.calibration import calibrate
from whitebear.scoring.judge import (
    SAME_CLIP_REVISION,
    clip_score,
    clip_source,
    detector_for,
    is_pocket,
    judge,
    load_clip,
)

# What decides a chunk, besides data.
LIBRARY = Path(__file__).parents[1]
CODE = ("draw/generate.py", "draw/grid.py", "hooks/text.py", "models/families.py", "models/load.py",
        "models/presets.py", "prompts/concepts.py", "prompts/grid.py", "prompts/wordings.py",
        "scoring/judge.py")  # fmt: skip


@dataclass(frozen=True)
class ChunkSpec:
    """Everything that decides the scores of one concept, and the folder they go to.

    The pictures of the first `keep_images` seeds are kept as PNG, for galleries.
    """

    model: str
    concept: str
    conditions: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    guidance: float
    output: str
    keep_images: int = 4


@dataclass(frozen=True)
class Run:
    """The parameters of a chapter, refused at once where they cannot work.

    concepts: [] is every object of the world; seeds: a count per cell or a list of ids.
    """

    model: str
    concepts: list[str]
    conditions: list[str]
    seeds: int | list[int]
    steps: int
    guidance: float
    output: str

    def __post_init__(self):
        find_model(self.model)
        check_sampling(self.steps, self.guidance)
        prompt_grid(self.concepts, self.conditions, self.seeds, free=not is_pocket(self.model))
        locate(self.model)
        check_writable(self.output)

    def chunks(self) -> list[ChunkSpec]:
        """One spec a concept."""
        names = check_concepts(self.concepts, load_concepts(), free=not is_pocket(self.model))
        seeds, conditions = tuple(check_seeds(self.seeds)), tuple(self.conditions)
        return [
            ChunkSpec(self.model, name, conditions, seeds, self.steps, self.guidance, self.output)
            for name in names
        ]


def run_chunk(spec: ChunkSpec, progress: bool = True) -> Path:
    """Make and score the pictures of one concept; returns the parquet file, made or found.

    Columns: those of `prompt_grid`, then model, revision (of its files), versions, steps, guidance,
    p_asked and present (the asked concept), logit (CLIP's zero-shot score of it, NaN where a
    trained detector judges), p_other and other_present (the other object of a pair), clip_score
    (cosine of the picture with `caption_of` the concept) and png (bytes, first seeds only).
    Zero-shot judgements are raw here; `run_grid` calibrates them, which takes all concepts.
    """
    folder = check_writable(Path(spec.output) / "chunks")
    check_sampling(spec.steps, spec.guidance)
    free = not is_pocket(spec.model)
    table = prompt_grid([spec.concept], spec.conditions, list(spec.seeds), free=free)
    model_state, judging = fingerprint(locate(spec.model)), judge_state(spec.model)
    settings = _settings(spec, model_state, judging)
    name = re.sub(r"[^a-z0-9]+", "-", spec.concept.lower())
    path = folder / f"{name}-{digest(settings, spec.keep_images, *table.to_dict('list').values())}"
    path = path.with_name(f"{path.name}.parquet")
    if not _is_whole(path):
        kept = check_writable(Path(spec.output) / "rows" / f"{name}-{digest(settings)}")
        keys = _row_keys(spec, table)
        with alone(kept):  # another process that wants the same rows finds them when it comes in
            _make_missing(spec, table, keys, kept, model_state, judging, progress)
        about = {"model": spec.model, "revision": model_state, "versions": ", ".join(VERSIONS),
                 "steps": spec.steps, "guidance": float(spec.guidance)}  # fmt: skip
        scores = _kept_rows(kept).loc[keys].reset_index(drop=True)
        write_parquet(pd.concat([table.assign(**about), scores], axis=1), path)
    return path


def run_grid(run: Run, progress: bool = True) -> pd.DataFrame:
    """All chunks of a run, one after the other, as one table of per-image scores, calibrated
    where CLIP judges them (`calibration.calibrate`, which adds the column threshold)."""
    bar = tqdm(run.chunks(), desc="concepts", disable=not progress)
    tables = []
    for spec in bar:
        bar.set_postfix_str(spec.concept)
        tables.append(pd.read_parquet(run_chunk(spec, progress)))
    return calibrate(pd.concat(tables, ignore_index=True))


def judge_state(model: str) -> str:
    """What the judge of a model's pictures is: digest of its files, or id and commit."""
    if is_pocket(model):
        return fingerprint(MODELS / "detector")
    source = clip_source(model)
    return fingerprint(Path(source)) if Path(source).is_dir() else f"{source}@{SAME_CLIP_REVISION}"


def _settings(spec: ChunkSpec, *states: str) -> str:
    """Digest of all that decides a picture and its scores, but for its row of the grid."""
    code = [(LIBRARY / name).read_text(encoding="utf-8") for name in CODE]
    return digest(spec.model, spec.steps, float(spec.guidance), VERSIONS, states, code)


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


def _make_missing(spec, table, keys, kept: Path, model_state, judging, progress) -> None:
    """Make and score what `kept` lacks: a file a batch, at the end one file for all."""
    made = _kept_rows(kept).index
    missing = table.assign(key=keys)[~pd.Index(keys).isin(made)].drop_duplicates("key")
    if not len(missing):
        return
    pipe, clip = _loaded(spec.model, model_state, judging)
    batch = find_model(spec.model).batch
    for part, images in generate_batches(pipe, missing, spec.steps, spec.guidance, batch, progress):
        write_parquet(_scored(spec, part, images, clip), kept / f"{part.key.iloc[0]}.parquet")
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


@lru_cache(maxsize=1)  # the chunks of a run share a model; the states are part of the key
def _loaded(model: str, model_state: str, judging: str):
    return load_pipeline(model), load_clip(clip_source(model))


def _scored(spec: ChunkSpec, table: pd.DataFrame, images, clip) -> pd.DataFrame:
    """Key and scores of the pictures of some rows."""
    others = sorted(set(table.other) - {""})
    detector = detector_for(spec.model, [spec.concept, *others], clip)
    judged = judge(detector, images, [spec.concept, *others])
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
        "clip_score": clip_score(images, [caption] * len(table), clip),
        "png": [_png(images[i]) if s in kept else None for i, s in enumerate(table.seed)],
    })  # fmt: skip


def _png(image) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
