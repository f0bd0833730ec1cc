"""What the text encoders make of prompts, layer by layer and token by token."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from diffusers import DiffusionPipeline
from torch import nn

from whitebear.errors import UserError
from whitebear.hooks.words import ROLES, Segment, roles, tokenise

T5_LENGTH = 256  # of T5 encoders, whose tokenizers know no limit; FLUX.1-dev takes 512


def text_states(
    pipe: DiffusionPipeline, prompts: Sequence[str], batch_size: int = 64
) -> dict[str, xr.Dataset]:
    """Hidden states of each text encoder, by its name in the pipeline ("text_encoder", ...).

    Each dataset has `states` (prompt, layer, position, feature), float32: layer 0 are the
    embeddings, the last layer is before the final norm; `last` (prompt, position, feature) is
    after it, which is what Stable Diffusion 1.x attends to. Coordinates role and token
    (prompt, position) tell what stands where.

    Raises UserError for no prompts or a pipeline without text encoders.
    """
    prompts = list(prompts)
    if not prompts or not all(isinstance(text, str) for text in prompts):
        raise UserError("there are no prompts; give a list of texts")
    found = {}
    for suffix in ("", "_2", "_3"):
        encoder = getattr(pipe, f"text_encoder{suffix}", None)
        if isinstance(encoder, nn.Module):
            tokenizer = getattr(pipe, f"tokenizer{suffix}")
            length = min(tokenizer.model_max_length, T5_LENGTH)
            segment, device = tokenise(tokenizer, prompts, 0, length), pipe._execution_device
            found[f"text_encoder{suffix}"] = _states(encoder, segment, batch_size, device)
    if not found:
        raise UserError(f"{type(pipe).__name__} has no text encoder")
    return found


@torch.no_grad()
def _states(encoder: nn.Module, segment: Segment, batch_size: int, device) -> xr.Dataset:
    layers, last = [], []
    for ids in segment.ids.split(batch_size):
        out = encoder(ids.to(device), output_hidden_states=True)
        layers.append(torch.stack(out.hidden_states, 1).float().cpu())
        last.append(out.last_hidden_state.float().cpu())
    named = np.array(ROLES)[roles(segment).float().argmax(-1).numpy()]
    tokens = [segment.tokenizer.convert_ids_to_tokens(row) for row in segment.ids.tolist()]
    return xr.Dataset(
        {
            "states": (("prompt", "layer", "position", "feature"), torch.cat(layers).numpy()),
            "last": (("prompt", "position", "feature"), torch.cat(last).numpy()),
        },
        coords={
            "prompt": segment.texts,
            "role": (("prompt", "position"), named),
            "token": (("prompt", "position"), tokens),
        },
    )
