"""Which files of a model's folder are loaded: one answer for what is fetched, checked and hashed.

A pipeline on the hub has its weights several times: in single and half precision, as pickles, with
and without the averages of training, in one file for other programs. One set is loaded.
"""

import json
import math
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from whitebear.errors import UserError

HALF = "fp16"  # what diffusers calls the files of half precision
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
OF_WEIGHTS = (".safetensors", *PICKLES, ".msgpack", ".h5", ".onnx", ".pb", ".gguf")
WEIGHTLESS = ("Tokenizer", "Scheduler", "Processor", "FeatureExtractor")
# It paints pictures black, which every detector would then count as "concept absent".
LEFT_OUT = ("safety_checker",)
_SHARD = r"-\d{5}-of-\d{5}"
_NAMES = {  # of weights as the libraries look for them, and of the lists of their shards
    "": rf"(diffusion_pytorch_)?model({_SHARD})?\.safetensors(\.index\.json)?",
    HALF: rf"(diffusion_pytorch_)?model(\.{HALF}({_SHARD})?\.safetensors|{_SHARD}\.{HALF}"
    rf"\.safetensors|\.safetensors\.index\.{HALF}\.json|\.safetensors\.{HALF}\.index\.json)",
}
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


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


def components(folder: Path) -> dict[str, str]:
    """Name -> class of the parts of a pipeline folder that are loaded.

    >>> from whitebear.files import MODELS
    >>> components(MODELS / "pocket")["unet"]
    'UNet2DConditionModel'
    """
    index = read_json(folder / "model_index.json", f"{folder} is no diffusers pipeline folder")
    return {
        name: str(value[1])
        for name, value in sorted(index.items())
        if name[0] != "_" and name not in LEFT_OUT
        if isinstance(value, list) and len(value) == 2 and all(value)
    }


def with_weights(folder: Path) -> list[Path]:
    """The folders of those components that have weights."""
    found = components(folder).items()
    return [folder / name for name, kind in found if not any(w in kind for w in WEIGHTLESS)]


def variant_of(folder: Path) -> str | None:
    """Which files of a pipeline folder are loaded: "fp16" where every component has its weights in
    half precision, or one has them in no other, else None. Of components that lack this variant
    the plain files are."""
    has = {
        variant: [part for part in with_weights(folder) if _named(part, variant)]
        for variant in _NAMES
    }
    only_half = set(has[HALF]) - set(has[""])
    return HALF if has[HALF] and (only_half or len(has[HALF]) >= len(has[""])) else None


def weights_in(folder: Path, variant: str | None = None) -> list[Path]:
    """The files of a model's folder with its weights, with lists of shards: those of the variant,
    or the plain ones where it has none of that."""
    return (_named(folder, variant) if variant else []) or _named(folder, "")


def _named(folder: Path, variant: str) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if re.fullmatch(_NAMES[variant], p.name))


def loaded_files(folder: Path) -> list[Path]:
    """The files of a folder that decide what is loaded: of a pipeline, its components without
    weights that are not; of any other folder, all of it. What is only said about a model (its
    card, its measured quality) decides nothing."""
    said = lambda p: p.suffix == ".md" or p.name == "quality.json" or p.name[0] == "."  # noqa: E731
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not said(p))
    if not (folder / "model_index.json").is_file():
        return files
    parts, variant = components(folder), variant_of(folder)
    chosen = {path for name in parts for path in weights_in(folder / name, variant)}

    def counts(path: Path) -> bool:
        inside = path.relative_to(folder).parts
        if len(inside) == 1:
            return path.suffix == ".json"
        of_weights = path.suffix in OF_WEIGHTS or ".index." in path.name
        return inside[0] in parts and (path in chosen or not of_weights)

    return [path for path in files if counts(path)]


def check_weights(folder: Path, variant: str | None = None) -> None:
    """Raise `UserError` unless a model folder has config.json and complete .safetensors files."""
    read_json(folder / "config.json", f"{folder} is no model folder")
    files = weights_in(folder, variant)
    pickles = [path.name for path in folder.iterdir() if path.suffix in PICKLES]
    if not files and pickles:
        raise UserError(
            f"{folder} has only pickled weights ({pickles[0]}), which can run code; convert "
            "to safetensors"
        )
    for shards in [path for path in files if path.suffix == ".json"]:
        named = read_json(shards, f"{folder} is incomplete").get("weight_map")
        names = set(map(str, named.values())) if isinstance(named, dict) else {""}
        if not all(re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names):
            raise UserError(
                f"{shards} does not say which .safetensors files of its own folder hold which"
                " tensors (weight_map); save or download the model again"
            )
        files += [folder / name for name in sorted(names)]
    files = [path for path in files if path.suffix != ".json"]
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


def check_filled(folder: Path, module: torch.nn.Module, variant: str | None = None) -> None:
    """Raise `UserError` if the files hold fewer tensors than the loaded module: the rest would be
    random.

    Counts instead of names, since old checkpoints name tensors differently; tied tensors count
    once.
    """
    files = [path for path in weights_in(folder, variant) if path.suffix != ".json"]
    stored = sum(len(tensor_names(path)) for path in files)
    needed = len({tensor.data_ptr() for tensor in module.state_dict().values()})
    if 0 < stored < needed:
        raise UserError(
            f"{folder} holds {stored} of {needed} tensors; save or download the weights again"
        )
    if made_up := _made_up(files, module):
        raise UserError(
            f"{folder} does not hold {made_up}, which would be random; save or download the"
            " weights again"
        )


def _made_up(files: list[Path], module: torch.nn.Module) -> str:
    """The name of a tensor of the module that is none of the stored ones; "" where there is none.

    A tensor under another name is known by its values. Where most names differ, a library has
    translated old ones, and perhaps reshaped what they stand for: then counting has to do.
    """
    where = {name: path for path in files for name in tensor_names(path)}
    ours = {n: x for n, x in module.state_dict().items() if x.is_floating_point()}
    lost = [name for name in ours if name not in where]
    if lost and 2 * len(lost) < len(ours):
        for name in lost:
            kept = ours[name]
            if kept.is_meta or not any(_same(kept, path, n) for n, path in where.items()):
                return name
    return ""


def _same(tensor: torch.Tensor, path: Path, name: str) -> bool:
    with safe_open(path, framework="pt") as file:
        if math.prod(file.get_slice(name).get_shape()) != tensor.numel():
            return False
        stored = file.get_tensor(name).to(tensor.dtype).flatten()
    return torch.equal(stored, tensor.detach().cpu().flatten())


def stored_dtype(folder: Path, variant: str | None = None) -> torch.dtype:
    """In which precision the weights of a model's folder are stored; float32 where none of the
    usual."""
    for path in weights_in(folder, variant):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                kinds = [file.get_slice(name).get_dtype() for name in sorted(file.keys())]
            return DTYPES.get(max(set(kinds), key=kinds.count), torch.float32)
    return torch.float32
