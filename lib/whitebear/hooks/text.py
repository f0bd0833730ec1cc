"""What the text encoders make of prompts, layer by layer and token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from whitebear.errors import UserError
from whitebear.hooks.words import ROLES, Segment, roles, tokenise
from whitebear.models.families import T5_LENGTH, denoiser_of, is_joint, masks_text

if TYPE_CHECKING:
    import xarray as xr

BATCH = 64  # prompts at a time


def text_states(
    pipe: DiffusionPipeline, prompts: Sequence[str], encoder: str | None = None
) -> dict[str, xr.Dataset]:
    """Hidden states of each text encoder, by its name in the pipeline ("text_encoder", ...), or of
    the named one alone: those of a T5 take gigabytes.

    Each dataset has `states` (prompt, layer, position, feature), float32: layer 0 are the
    embeddings, the last layer is before the final norm; `last` (prompt, position, feature) is
    after it, which is what Stable Diffusion 1.x attends to. Coordinates role and token
    (prompt, position) tell what stands where.

    Raises UserError for no prompts or a pipeline without such a text encoder.

    >>> from whitebear.models.load import load_pipeline
    >>> data = text_states(load_pipeline("pocket"), ["a bear", "no bear"])["text_encoder"]
    >>> dict(data.states.sizes)
    {'prompt': 2, 'layer': 5, 'position': 77, 'feature': 128}
    >>> data.role[0, :5].values.tolist()
    ['bos', 'other', 'other', 'eos', 'pad']
    """
    prompts = list(prompts)
    if not prompts or not all(isinstance(text, str) for text in prompts):
        raise UserError("there are no prompts; give a list of texts")
    found = {}
    names = [f"text_encoder{suffix}" for suffix in ("", "_2", "_3")]
    for name in names if encoder is None else [encoder]:
        if isinstance(module := getattr(pipe, name, None), nn.Module):
            tokenizer = getattr(pipe, name.replace("text_encoder", "tokenizer"))
            length = min(tokenizer.model_max_length, T5_LENGTH)
            segment, device = tokenise(tokenizer, prompts, 0, length), pipe._execution_device
            found[name] = _states(module, segment, masks_text(pipe), device)
    if not found:
        raise UserError(f"{type(pipe).__name__} has no {encoder or 'text encoder'}")
    return found


@torch.no_grad()
def _states(encoder: nn.Module, segment: Segment, masked: bool, device) -> xr.Dataset:
    import xarray as xr  # brings pandas, which hooks alone do not need

    layers, last = [], []
    named = roles(segment)
    real = (~named[..., ROLES.index("pad")]).long().to(device)
    for rows in torch.arange(len(segment.ids)).split(BATCH):
        mask = {"attention_mask": real[rows]} if masked else {}
        out = encoder(segment.ids[rows].to(device), output_hidden_states=True, **mask)
        layers.append(torch.stack(out.hidden_states, 1).float().cpu())
        last.append(out.last_hidden_state.float().cpu())
    tokens = [segment.tokenizer.convert_ids_to_tokens(row) for row in segment.ids.tolist()]
    return xr.Dataset(
        {
            "states": (("prompt", "layer", "position", "feature"), torch.cat(layers).numpy()),
            "last": (("prompt", "position", "feature"), torch.cat(last).numpy()),
        },
        coords={
            "prompt": segment.texts,
            "role": (("prompt", "position"), np.array(ROLES)[named.float().argmax(-1).numpy()]),
            "token": (("prompt", "position"), tokens),
        },
    )


def clip_encoders(pipe: DiffusionPipeline) -> list[nn.Module]:
    """The CLIP encoders whose states are all that cross-attention reads: one in Stable Diffusion
    1.x and 2.x, two in SDXL; [] for other pipelines."""
    names = [name for name in ("", "_2", "_3") if hasattr(pipe, f"tokenizer{name}")]
    found = [getattr(pipe, f"text_encoder{name}", None) for name in names]
    clip = all(isinstance(x, (CLIPTextModel, CLIPTextModelWithProjection)) for x in found)
    return found if clip and not is_joint(denoiser_of(pipe)) else []


@torch.no_grad()
def clip_states(
    pipe: DiffusionPipeline, ids: Sequence[torch.Tensor], skip: int = 0
) -> torch.Tensor:
    """States (P, L, D) of the token ids (P, L) of each tokenizer, for a pipeline that has
    `clip_encoders`: those that its denoiser would read, or from `skip` layers before.

    As pipelines do: of one encoder its last layer after the final norm, of SDXL's two the last
    layer but one as it is.
    """
    encoders, device = clip_encoders(pipe), pipe._execution_device
    batches = []
    for rows in torch.arange(len(ids[0])).split(BATCH):
        layers = [
            encoder(own[rows].to(device), output_hidden_states=True).hidden_states
            for encoder, own in zip(encoders, ids, strict=True)
        ]
        if len(encoders) == 1:
            norm = getattr(encoders[0], "text_model", encoders[0]).final_layer_norm
            batches.append(norm(layers[0][-1 - skip]))
        else:
            batches.append(torch.cat([own[-2 - skip] for own in layers], -1))
    return torch.cat(batches)
