"""Exchange one part of a pipeline: another text encoder, or another denoiser.

Strengths between 0 and 1 mix the weights, W + s (W' - W), as between a model and one that was
trained further from it (Wortsman et al. 2022, arXiv 2109.01903). At 0 its own part is kept.

Fits every family with one text encoder or a UNet of its own, where both parts have the same shapes
and the whole pipeline is in the memory of the device. Costs the loading and holding of one part.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pandas as pd
import torch
from diffusers import DiffusionPipeline

from whitebear.errors import UserError
from whitebear.files import MODELS, as_path
from whitebear.interventions.method import Drawing, Method, with_values
from whitebear.models.families import is_offloaded
from whitebear.models.load import (
    _HUB_ID,
    DTYPE,
    check_filled,
    check_weights,
    fingerprint,
    quiet_loading,
    read_json,
)
from whitebear.models.sums import check_sums

PARTS = ("text_encoder", "unet")
# A part of the same shapes is of no use where these differ: it would be read in another way.
SAME = {
    "text_encoder": ("hidden_size", "vocab_size", "max_position_embeddings"),
    "unet": ("cross_attention_dim", "in_channels", "sample_size"),
}
TAUGHT = MODELS / "taught"  # the parts of the pocket model that were taught what negation means


def _why_not(artist: Drawing, source: str | Path | None = None, **_) -> str:
    if source is None and not artist.pocket:
        return "only the pocket model comes with another part; give source=..."
    return ""


def _state() -> str:
    return fingerprint(TAUGHT)


def _exchange_part(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    part: str = "text_encoder",
    source: str | Path | None = None,
    revision: str | None = None,
) -> Iterator[None]:
    """Draw with another text encoder (or "unet"), that of `source`; strength: how much of it.

    source: as for `with_part`; None is the text encoder, or unet, of the taught pocket model.
    """
    own = artist.pipe
    other = with_part(own, part, TAUGHT / part if source is None else source, revision)
    new, old = getattr(other, part).state_dict(), getattr(own, part).state_dict()
    for name, weights in new.items():
        if strength < 1 and weights.is_floating_point():
            weights.copy_(torch.lerp(old[name], weights, strength))
    with with_values(artist, pipe=other):
        yield


exchange_part = Method(
    "exchange_part",
    _exchange_part,
    default=1.0,
    neutral=0.0,
    highest=1.0,
    why_not=_why_not,
    state=_state,
)


def with_part(
    pipe: DiffusionPipeline, part: str, source: str | Path, revision: str | None = None
) -> DiffusionPipeline:
    """A pipeline like `pipe`, and sharing its other parts, whose `part` is that of `source`: a
    folder with config.json and safetensors, or for a text encoder a hub id at a revision.

    A hub id may be a whole CLIP, of which the text tower is taken. Raises `UserError` where the
    part is none of PARTS or offloaded, its weights are pickled or incomplete, or it does not fit.
    """
    if part not in PARTS or getattr(pipe, part, None) is None:
        has = " or ".join(name for name in PARTS if getattr(pipe, name, None) is not None)
        raise UserError(f"part is {part!r}; of this pipeline {has or 'nothing'} can be exchanged")
    old = getattr(pipe, part)
    if is_offloaded(old):
        raise UserError(
            f"the {part} of this pipeline waits in main memory, for want of GPU memory; exchange it"
            " where the whole pipeline fits"
        )
    folder = _folder(source, revision)
    check_weights(folder)
    check_sums(folder)
    _check_fits(read_json(folder / "config.json", str(folder)), old.config, part, folder)
    try:
        with quiet_loading():
            new = type(old).from_pretrained(
                folder, use_safetensors=True, local_files_only=True, **{DTYPE: old.dtype}
            )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise UserError(f"{folder} is no {type(old).__name__} ({reason}); give one") from None
    check_filled(folder, new)
    other = type(pipe)(**(pipe.components | {part: new.to(old.device).eval()}),
                       **_flags(pipe))  # fmt: skip
    other.set_progress_bar_config(disable=True)
    return other


def _flags(pipe: DiffusionPipeline) -> dict:
    """Settings of a pipeline that are no parts, as its class takes them."""
    takes = inspect.signature(type(pipe).__init__).parameters
    return {k: v for k, v in pipe.config.items() if k in takes and k not in pipe.components}


def _folder(source: str | Path, revision: str | None) -> Path:
    """The local folder of a part."""
    source = as_path(source)
    if Path(source).is_dir():
        return Path(source)
    if not _HUB_ID.fullmatch(str(source)) or Path(source).parent.is_dir():
        raise UserError(f"there is no folder {source}; give one with config.json, or a hub id")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                str(source), revision=revision,
                allow_patterns=["config.json", "*.safetensors", "*.safetensors.index.json"],
            )
        )  # fmt: skip
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise UserError(
            f"{source} cannot be fetched ({reason}); check the id, the revision and the network"
        ) from None


def _check_fits(config: dict, old, part: str, folder: Path) -> None:
    """Raise `UserError` where a part's sizes are not those of the part that it stands in for."""
    config = config.get("text_config", config) if part == "text_encoder" else config
    for name in SAME[part]:
        theirs, ours = config.get(name), getattr(old, name, None)
        if theirs is not None and theirs != ours:
            raise UserError(
                f"{folder} has {name} {theirs}, but this pipeline needs {ours}; give another {part}"
            )
