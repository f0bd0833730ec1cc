"""Weights of cross-attention, edited in place for a block and put back bit for bit.

An edited UNet is another model: the rows of a block are drawn by one, whatever their concepts are.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from weakref import WeakKeyDictionary

import pandas as pd
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from whitebear.errors import UserError
from whitebear.interventions.method import Drawing
from whitebear.models.families import known_layers, rewrites_text
from whitebear.models.sums import digest_of
from whitebear.prompts import check_concepts, fill, load_concepts, noun_of

Weights = dict[str, torch.Tensor]  # by the name of the parameter in the UNet

# Sentences to read a concept's name in; no wording that is asked for is among them.
CARRIERS = ("here is a {c}", "this is a {c}", "we can see a {c}", "my drawing shows a {c}")

_BEFORE: WeakKeyDictionary[nn.Module, Weights] = WeakKeyDictionary()  # of the UNets that are edited


def why_not_weights(artist: Drawing, **_) -> str:
    """Why the cross-attention of an artist's UNet cannot be edited; "" where it can."""
    unet = getattr(artist.pipe, "unet", None)
    if not isinstance(unet, UNet2DConditionModel):
        return f"{type(artist.pipe).__name__} has no UNet with cross-attention"
    if rewrites_text(unet):
        return "its UNet changes text states before attention reads them"
    try:
        layers = known_layers(unet)
    except UserError as error:
        return str(error)
    for layer in layers:
        module = layer.module
        if getattr(module, "added_kv_proj_dim", None) or getattr(module, "fused_projections", 0):
            return f"{layer.path} has its keys of text in another place"
        for part in (module.to_k, module.to_v):
            plain = type(part) is nn.Linear and part.weight.is_floating_point()
            if not plain or part.weight.is_meta:
                return f"{layer.path} has keys that are no plain weights (LoRA, quantised)"
    return ""


def cross_attention_weights(unet: nn.Module, ends: Sequence[str] = ("to_k", "to_v")) -> Weights:
    """Parameters of cross-attention by name: of the named parts of each layer, () being all."""
    paths = [layer.path for layer in known_layers(unet)]
    heads = tuple(f"{path}.{end}." for path in paths for end in ends) if ends else ()
    heads = heads or tuple(f"{path}." for path in paths)
    return {name: p for name, p in unet.named_parameters() if name.startswith(heads)}


def concept_of(method: str, artist: Drawing, rows: pd.DataFrame, concept: str | None) -> str:
    """What is to be erased: `concept`, or that of all rows. `UserError` where these have several,
    and for a concept that the model does not know."""
    names = list(dict.fromkeys(rows.concept)) if concept is None else [concept]
    if len(names) != 1:
        found = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise UserError(
            f"{method} edits weights, for one concept at a time, and these rows are about"
            f" {found}; draw them concept by concept, or give concept=..."
        )
    return check_concepts(names, load_concepts(), free=not artist.pocket)[0]


def check_number(name: str, value: float, positive: bool = True) -> float:
    """The number as it is; `UserError` where it is none, or too small."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (positive and value == 0):
        least = "above 0" if positive else "of at least 0"
        raise UserError(f"{name} is {value!r}; give a number {least}")
    return value


def check_count(name: str, value: int) -> int:
    """The whole number as it is; `UserError` where it is none, or below 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{name} is {value!r}; give a whole number of at least 1")
    return value


def sentences(carriers: Sequence[str], concept: str, least: int = 1) -> list[str]:
    """Each carrier sentence with the concept's noun. `UserError` for fewer than `least`."""
    texts = [carriers] if isinstance(carriers, str) else list(dict.fromkeys(carriers))
    if len(texts) < least or not all(isinstance(t, str) and "{c}" in t for t in texts):
        raise UserError(
            f"carriers is {carriers!r}, too few to fit the edit on; give at least {least} different"
            " sentences with {c} where the concept's name stands"
        )
    return [fill(text, c=noun_of(concept))[0] for text in texts]


def put(parameters: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> None:
    """Copy the weights into the parameters of the same names."""
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)


def kept(parameters: Mapping[str, torch.Tensor], names: Iterable[str]) -> Weights:
    """Copies of the parameters of these names."""
    return {name: parameters[name].detach().clone() for name in names}


def check_unedited(method: str, artist: Drawing) -> None:
    """Raise `UserError` inside of a block that edits the weights already."""
    if artist.pipe.unet in _BEFORE:
        raise UserError(
            f"{method} would edit weights that are edited already; leave the other block first"
        )


@contextlib.contextmanager
def edited(method: str, artist: Drawing, weights: Weights) -> Iterator[None]:
    """A block in which an artist draws with these weights. Its `parts`, and so the keys of what is
    cached, then tell it from others."""
    check_unedited(method, artist)
    unet, parts = artist.pipe.unet, artist.parts
    parameters = dict(unet.named_parameters())
    _BEFORE[unet] = kept(parameters, weights)
    try:
        put(parameters, weights)
        artist.parts = f"{parts} {method} {digest_of(weights)[:16]}"
        yield
    finally:
        artist.parts = parts
        put(parameters, _BEFORE.pop(unet))


def untouched(artist: Drawing) -> Weights:
    """The weights that the block around edits, as they were before it. `UserError` outside."""
    if artist.pipe.unet not in _BEFORE:
        raise UserError("no weights are edited here; ask in the block of a method that edits them")
    return dict(_BEFORE[artist.pipe.unet])
