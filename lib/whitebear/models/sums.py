"""Whether models are what was exported: digests beside them, tokenizers as whole as weights.

Weights say how long they are, not what they are: a flipped bit loads without a word. An export
writes `sha256.json` into the folder that its models are in, and whatever is loaded from there is
held against it.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from whitebear.errors import UserError
from whitebear.files import sha256_of, write_text
from whitebear.models.folders import loaded_files, read_json

SUMS = "sha256.json"  # path below its folder -> SHA-256
LEVELS = 2  # how far above a model, or a part of one, it may lie
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
BY_BYTES = ("ByT5Tokenizer",)  # tokenizers without a vocabulary


def write_sums(out: Path, models: Iterable[Path]) -> Path:
    """Note the digests of what is loaded of some models, folders in `out`, beside those that are
    noted there of others."""
    models = list(models)
    path = out / SUMS
    said = read_json(path, str(out)) if path.is_file() else {}
    ours = [f"{model.name}/" for model in models]
    said = {name: value for name, value in said.items() if not name.startswith(tuple(ours))}
    for model in models:
        for file in loaded_files(model):
            said[file.relative_to(out).as_posix()] = sha256_of(file)
    return write_text(path, json.dumps(dict(sorted(said.items())), indent=1) + "\n")


def check_sums(folder: Path) -> None:
    """Raise `UserError` where a file of a model, or of a part of one, is not what was exported.
    Nothing is checked where no digests lie above it, as for models of others."""
    for above in list(folder.resolve().parents)[:LEVELS]:
        if (above / SUMS).is_file():
            inside = f"{folder.resolve().relative_to(above).as_posix()}/"
            for name, wanted in read_json(above / SUMS, str(above)).items():
                if name.startswith(inside):
                    _check(above / name, wanted)
            return


def _check(path: Path, wanted: str) -> None:
    try:
        about = path.stat()
        same = _sha256(path, about.st_size, about.st_mtime_ns) == wanted
    except OSError:
        same = False
    if not same:
        raise UserError(
            f"{path} is missing or damaged: it is not what was exported; get it again, such as by"
            " git checkout, or export the models again"
        )


@functools.lru_cache(maxsize=1024)
def _sha256(path: Path, size: int, changed: int) -> str:
    return sha256_of(path)


def digest_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """64 hex digits that change with any name, type, shape or bit of some tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def check_tokenizer(folder: Path, kind: str) -> None:
    """Raise `UserError` where a tokenizer's folder has no whole vocabulary: the libraries below
    would go on with an empty one, and read every prompt as the same.

    kind: the class of the tokenizer.
    """
    if kind in BY_BYTES:
        return
    found = [folder / name for name in VOCABULARIES if (folder / name).is_file()]
    whole = {path.name for path in found if path.stat().st_size}
    if whole == {"vocab.json"} and not (folder / "merges.txt").is_file():
        whole = set()
    if len(whole) < max(1, len(found)):
        raise UserError(
            f"{folder} has no whole vocabulary (one of {', '.join(VOCABULARIES)}, the second with"
            " merges.txt); save or download the tokenizer again"
        )
    for path in found:
        if path.suffix == ".json":
            read_json(path, f"tokenizer {folder} cannot be read")


def check_vocabulary(name: str, tokenizer) -> None:
    """Raise `UserError` for a tokenizer that was loaded with nothing to tell words by."""
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise UserError(f"{name} has no words; save or download the tokenizer again")
