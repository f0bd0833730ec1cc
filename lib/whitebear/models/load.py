"""Load a text-to-image pipeline by short name, folder or hub id, from safetensors only.

A folder is checked before anything is loaded, because the libraries below are forgiving where a
measurement must not be: they fall back to pickles, and they fill tensors missing from a file with
random numbers and a warning.
"""

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from whitebear.errors import UserError, first_line, nearest
from whitebear.files import CACHE, as_path, shipped, write_text
from whitebear.models import hub
from whitebear.models.families import FAMILIES
from whitebear.models.folders import (
    HALF,
    LEFT_OUT,
    check_filled,
    check_weights,
    components,
    loaded_files,
    read_json,
    stored_dtype,
    variant_of,
    weights_in,
    with_weights,
)
from whitebear.models.presets import GIB, REGISTRY, SMALL, ModelEntry, place
from whitebear.models.sums import check_sums, check_tokenizer, check_vocabulary

EXPORTED = "exported"  # beside models: a finished export on its way into their place
LARGE = 2**26  # bytes of a file whose digest is kept from one process to the next
# What diffusers calls it; before 0.40 it ignores the new name, and loads float32.
DTYPE = "torch_dtype" if diffusers.__version__.startswith("0.39.") else "dtype"
VERSIONS = (
    f"torch {torch.__version__.partition('+')[0]}",
    f"diffusers {diffusers.__version__}",
    f"transformers {transformers.__version__}",
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_model(model: str) -> ModelEntry:
    """The entry of a short name, or one made up for a folder or hub id. Raises `UserError` for
    anything else.

    >>> find_model("pocket").steps
    20
    """
    if model in REGISTRY:
        return REGISTRY[model]
    if not isinstance(model, str) or not model.strip() or "\0" in model:
        raise UserError(
            f"model is {model!r}; give a name ({', '.join(REGISTRY)}), a pipeline folder or a "
            "hub id"
        )
    model = str(as_path(model))
    entry = ModelEntry(model, None, steps=50, guidance=7.5)
    if os.path.exists(model):  # unlike Path.exists, not upset by names that are too long
        return entry
    if "/" not in model:
        raise UserError(
            f"unknown model {model!r}; {nearest(model.lower(), REGISTRY)} (or give a pipeline"
            " folder or a hub id)"
        )
    if not _HUB_ID.fullmatch(model) or Path(model).parent.is_dir():
        raise UserError(
            f"there is no model folder {model}; give the folder that has model_index.json in it"
        )
    return entry


def locate(model: str) -> Path:
    """The checked local folder of a model; a hub id is downloaded on first use."""
    entry = find_model(model)
    if entry is REGISTRY["pocket"] or Path(entry.source).exists():
        folder = shipped(Path(entry.source).resolve())
        check_pipeline_folder(folder)
        return folder
    folder = hub.in_cache(entry.source, entry.revision)
    whole = folder is not None and _is_whole(folder)
    if whole and entry.revision and (variant_of(folder) == HALF or not entry.half_files):
        return folder
    try:
        folder = _fetched(entry) if entry.revision else _fetched_once(entry)
    except UserError:
        if not whole:
            raise
    check_pipeline_folder(folder)
    return folder


def _fetched(entry: ModelEntry) -> Path:
    with quiet_loading():
        return hub.fetch_pipeline(entry)


@functools.cache  # the hub is asked once a process which commit an id without one stands for
def _fetched_once(entry: ModelEntry) -> Path:
    return _fetched(entry)


def _is_whole(folder: Path) -> bool:
    try:
        check_pipeline_folder(folder)
    except UserError:
        return False
    return True


def check_pipeline_folder(folder: Path) -> None:
    """Raise `UserError` unless `folder` is a complete diffusers pipeline in safetensors."""
    if folder.is_file():
        raise UserError(
            f"{folder} is a single file; give a diffusers pipeline folder (save_pretrained, "
            "safetensors)"
        )
    if (folder.parent / EXPORTED).is_dir():
        raise UserError(
            f"{folder} was being replaced when its export was interrupted; give the command that"
            " trains it again"
        )
    parts, variant = components(folder), variant_of(folder)
    for name in parts:
        if not (folder / name).is_dir():
            raise UserError(
                f"{folder} lacks its component folder {name}; save or download the pipeline again"
            )
    for part in with_weights(folder):
        check_weights(part, variant)
    for name, kind in parts.items():
        if "Tokenizer" in kind:
            check_tokenizer(folder / name, kind)
    check_sums(folder)


def best_device() -> torch.device:
    """CUDA if there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Load without progress bars and without notes about optional packages or a lack of network."""
    both = transformers_logging, diffusers_logging
    levels = [logging.get_verbosity() for logging in both]
    for logging in both:
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    try:
        yield
    finally:
        for logging, level in zip(both, levels, strict=True):
            logging.set_verbosity(level)
            logging.enable_progress_bar()


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device has kernels for bfloat16: NVIDIA's GPUs from the A100 on, no T4."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device)[0] >= 8


def check_device(entry: ModelEntry, device: torch.device) -> None:
    """Raise `UserError` where a model computes in bfloat16 and the device cannot."""
    if entry.dtype is torch.bfloat16 and not computes_bfloat16(device):
        raise _lacks_bfloat16(entry.source, device)


def _lacks_bfloat16(model: object, device: torch.device) -> UserError:
    return UserError(
        f"{model} computes in bfloat16, which {torch.cuda.get_device_name(device)} cannot; choose a"
        " newer GPU (L4, A100, RTX 30 or later) or another model, such as sdxl"
    )


def dtype_on(device: torch.device, entry: ModelEntry, folder: Path) -> torch.dtype:
    """In which precision a model computes: float32 on a CPU; elsewhere what its entry says, or, of
    a folder or hub id, half precision: that of its files, or else bfloat16 for joint attention and
    float16 for the rest. Models as small as the pocket model compute as they are stored.

    Raises `UserError` for joint attention in bfloat16 where the device has none; others take
    float16 there.
    """
    if device.type == "cpu":
        return torch.float32
    parts, variant = components(folder), variant_of(folder)
    joint = getattr(FAMILIES.get(parts.get("transformer", "")), "text_first", None) is not None
    dtype = entry.dtype
    if dtype is None:
        denoiser = folder / ("transformer" if "transformer" in parts else "unet")
        dtype = stored_dtype(denoiser, variant)
        weights = [path for part in with_weights(folder) for path in weights_in(part, variant)]
        if sum(path.stat().st_size for path in weights) < SMALL * GIB:
            return dtype
        if dtype is torch.float32:
            dtype = torch.bfloat16 if joint else torch.float16
    if dtype is torch.bfloat16 and not computes_bfloat16(device):
        if joint:
            raise _lacks_bfloat16(folder, device)
        dtype = torch.float16
    return dtype


def load_pipeline(model: str, device: str | torch.device | None = None) -> DiffusionPipeline:
    """A ready diffusers pipeline for a short name ("pocket", "sd15", ...), a pipeline folder or a
    hub id. On a CUDA device that cannot hold all of it, parts wait in main memory (`place`).

    Raises `UserError` before loading where the folder is no complete safetensors pipeline.
    """
    device, entry = best_device() if device is None else torch.device(device), find_model(model)
    check_device(entry, device)
    folder = locate(model)
    variant, dtype = variant_of(folder), dtype_on(device, entry, folder)
    given = set(LEFT_OUT) & read_json(folder / "model_index.json", str(folder)).keys()
    options = dict.fromkeys(given) | ({"requires_safety_checker": False} if given else {})
    try:
        with quiet_loading():
            pipe = DiffusionPipeline.from_pretrained(
                folder, variant=variant, use_safetensors=True, local_files_only=True,
                **{DTYPE: dtype}, **options,
            )  # fmt: skip
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{folder} cannot be loaded as a pipeline ({first_line(error)}); save or download"
            " it again"
        ) from None
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            check_filled(folder / name, part, variant)
        elif isinstance(part, transformers.PreTrainedTokenizerBase):
            check_vocabulary(str(folder / name), part)
    pipe.set_progress_bar_config(disable=True)
    return place(pipe, device)


def fingerprint(folder: Path) -> str:
    """16 hex digits that change whenever a file of a model folder does that is loaded, but for what
    is only said about the model: its card and its measured quality."""
    digest = hashlib.sha256()
    for path in loaded_files(folder):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(_file_digest(path))
    return digest.hexdigest()[:16]


def _file_digest(path: Path) -> bytes:
    """The SHA-256 of a file. In the hub's cache it is the name of what a link points to; that of
    another large file is kept, under its place, size and time of change."""
    real = Path(os.path.realpath(path))
    if real.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", real.name):
        return bytes.fromhex(real.name)
    state = real.stat()
    return _hashed(real, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=4096)  # a web model has gigabytes, and every concept asks
def _hashed(path: Path, size: int, changed: int) -> bytes:
    kept = CACHE / "sha256" / hashlib.sha256(f"{path}\0{size}\0{changed}".encode()).hexdigest()
    with contextlib.suppress(OSError, ValueError):
        if size >= LARGE and len(found := bytes.fromhex(kept.read_text())) == 32:
            return found
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").digest()
    if size >= LARGE:
        with contextlib.suppress(OSError):  # a home folder that cannot be written
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_text(kept, found.hex())
    return found
