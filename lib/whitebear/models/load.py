"""Load a text-to-image pipeline by short name, folder or hub id, from safetensors only.

A folder is checked before anything is loaded, because the libraries below are forgiving where a
measurement must not be: they fall back to pickles, and they fill tensors missing from a file with
random numbers and a warning.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError, safe_open
from transformers.utils import logging as transformers_logging

from whitebear.errors import UserError, nearest
from whitebear.files import as_path, shipped
from whitebear.models.presets import REGISTRY, ModelEntry, place

EXPORTED = "exported"  # beside models: a finished export on its way into their place
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
WEIGHTLESS = ("Tokenizer", "Scheduler", "Processor", "FeatureExtractor")
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
    entry = ModelEntry(model, torch.float32, steps=50, guidance=7.5)
    if os.path.exists(model):  # unlike Path.exists, not upset by names that are too long
        return entry
    if "/" not in model:
        raise UserError(
            f"unknown model {model!r}; {nearest(model, REGISTRY)} (or give a pipeline folder "
            "or a hub id)"
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
    else:
        folder = _download(entry)
    check_pipeline_folder(folder)
    return folder


def _download(entry: ModelEntry) -> Path:
    try:
        return Path(
            DiffusionPipeline.download(
                entry.source, revision=entry.revision, use_safetensors=True, trust_remote_code=False
            )
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        if _is_refusal(error, entry.gated):
            terms = f"the licence{f' ({entry.licence})' if entry.licence else ''}"
            raise UserError(
                f"model {entry.source} is not handed out to everybody; accept {terms} at"
                f" https://huggingface.co/{entry.source} and log in with `hf auth login`"
            ) from None
        raise UserError(
            f"model {entry.source} cannot be fetched ({reason}); check the id, your login and the"
            " network"
        ) from None


def _is_refusal(error: BaseException | None, gated: bool) -> bool:
    """Whether a download failed for want of a licence that the hub wants to be accepted first.

    Without a login it says 401 for repositories that do not exist as well, hence `gated`.
    """
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if type(error).__name__ == "GatedRepoError" or (gated and status in (401, 403)):
            return True
        error = error.__cause__ or error.__context__
    return False


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
    index = read_json(folder / "model_index.json", f"{folder} is no diffusers pipeline folder")
    for name, value in sorted(index.items()):
        is_component = isinstance(value, list) and len(value) == 2 and all(value)
        if not name.startswith("_") and is_component:
            if not (folder / name).is_dir():
                raise UserError(
                    f"{folder} lacks its component folder {name}; save or download the "
                    "pipeline again"
                )
            if not any(word in str(value[1]) for word in WEIGHTLESS):
                check_weights(folder / name)


def read_json(path: Path, complaint: str) -> dict:
    """A JSON object from a file; otherwise `UserError` beginning with `complaint`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{complaint}: {path.name} is missing") from None
    except ValueError:
        raise UserError(
            f"{complaint}: {path.name} is not JSON; save or download it again"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{complaint}: {path.name} is not a JSON object; save or download it again")
    return content


def check_weights(folder: Path) -> None:
    """Raise `UserError` unless a model folder has config.json and complete .safetensors files."""
    read_json(folder / "config.json", f"{folder} is no model folder")
    files = sorted(folder.glob("*.safetensors"))
    pickles = [path.name for path in folder.iterdir() if path.suffix in PICKLES]
    if not files and pickles:
        raise UserError(
            f"{folder} has only pickled weights ({pickles[0]}), which can run code; convert "
            "to safetensors"
        )
    for shards in folder.glob("*.safetensors.index.json"):
        named = set(read_json(shards, f"{folder} is incomplete").get("weight_map", {}).values())
        files += [folder / name for name in named]
    if not files:
        raise UserError(f"{folder} has no .safetensors weights; save or download the model again")
    for path in files:
        tensor_names(path)


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors in a safetensors file; `UserError` where it is missing or cut short."""
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"weights {path} are missing or cut short ({error}); save or download them again"
        ) from None


def check_filled(folder: Path, module: torch.nn.Module) -> None:
    """Raise `UserError` if the files hold fewer tensors than the loaded module: the rest would be
    random.

    Counts instead of names, since old checkpoints name tensors differently; tied tensors count
    once.
    """
    stored = sum(
        len(tensor_names(path))
        for path in folder.glob("*.safetensors")
        if ".fp16." not in path.name
    )
    needed = len({tensor.data_ptr() for tensor in module.state_dict().values()})
    if 0 < stored < needed:
        raise UserError(
            f"{folder} holds {stored} of {needed} tensors; save or download the weights again"
        )


def best_device() -> torch.device:
    """CUDA if there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Load without progress bars and without notes about optional packages."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    for logging in (transformers_logging, diffusers_logging):
        logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        for logging in (transformers_logging, diffusers_logging):
            logging.enable_progress_bar()


def load_pipeline(model: str, device: str | torch.device | None = None) -> DiffusionPipeline:
    """A ready diffusers pipeline for a short name ("pocket", "sd15", ...), a pipeline folder or a
    hub id. On a CUDA device that cannot hold all of it, parts wait in main memory (`place`).

    Raises `UserError` before loading where the folder is no complete safetensors pipeline.
    """
    device = best_device() if device is None else torch.device(device)
    folder = locate(model)
    dtype = torch.float32 if device.type == "cpu" else find_model(model).dtype
    options = {}
    if "safety_checker" in read_json(folder / "model_index.json", str(folder)):
        # It paints pictures black, which every detector would then count as "concept absent".
        options = {"safety_checker": None, "requires_safety_checker": False}
    try:
        with quiet_loading():
            pipe = DiffusionPipeline.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, **{DTYPE: dtype}, **options
            )
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise UserError(
            f"{folder} cannot be loaded as a pipeline ({reason}); save or download it again"
        ) from None
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            check_filled(folder / name, part)
    pipe.set_progress_bar_config(disable=True)
    return place(pipe, device)


def fingerprint(folder: Path) -> str:
    """16 hex digits that change whenever a file of a model folder does, but for what is only said
    about the model: its card and its measured quality."""
    digest = hashlib.sha256()
    said = lambda p: p.suffix == ".md" or p.name == "quality.json" or p.name[0] == "."  # noqa: E731
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not said(p)):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        state = path.stat()
        digest.update(_file_digest(path, state.st_size, state.st_mtime_ns))
    return digest.hexdigest()[:16]


@functools.lru_cache(maxsize=4096)  # a web model has gigabytes, and every concept asks
def _file_digest(path: Path, size: int, changed: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
