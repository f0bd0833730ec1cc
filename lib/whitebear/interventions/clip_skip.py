"""Text states of an earlier layer of the text encoder.

The states that attention reads are those k layers before the ones that the denoiser was trained on,
for the prompt alone; k is the strength. In Stable Diffusion the final norm comes after them, in
SDXL, which reads the last layer but one, none, as in the option `clip_skip` of diffusers pipelines.
Later layers of CLIP bind words to sentences and gather them at the end; a request that is only in
those would be lost (for negation: PeakPatch, arXiv 2607.23271). Not made to leave anything out: it
is a control for methods that are.

Fits Stable Diffusion 1.x and 2.x, and SDXL. Costs one more reading of each prompt, no preparation.
"""

from collections.abc import Iterator

import pandas as pd
import torch

from whitebear.errors import UserError
from whitebear.hooks.edit import Places, edit_text
from whitebear.hooks.text import clip_encoders, clip_states
from whitebear.hooks.words import tokenise
from whitebear.interventions.method import Drawing, Method
from whitebear.models.families import as_read


def _why_not(artist: Drawing, **_) -> str:
    if not clip_encoders(artist.pipe):
        return f"{type(artist.pipe).__name__} reads more than the states of CLIP"
    return ""


def _clip_skip(artist: Drawing, rows: pd.DataFrame, strength: float) -> Iterator[None]:
    """Draw with the states of `strength` layers before."""
    encoders = clip_encoders(artist.pipe)
    most = min(encoder.config.num_hidden_layers for encoder in encoders) - (len(encoders) > 1)
    if strength > most:
        raise UserError(
            f"strength is {strength:g}; the text encoder of this model has layers to skip up to"
            f" {most}"
        )
    different = list(dict.fromkeys(rows.prompt))
    ids = prompt_ids(artist, different)
    states = dict(zip(different, clip_states(artist.pipe, ids, int(strength)), strict=True))
    prompts = list(rows.prompt)

    def edit(row: int, own: torch.Tensor, places: Places) -> torch.Tensor:
        return states[prompts[row]].to(own)

    with edit_text(artist.pipe, prompts, edit):
        yield


clip_skip = Method("clip_skip", _clip_skip, default=1.0, neutral=0.0, whole=True, why_not=_why_not)


def prompt_ids(artist: Drawing, prompts: list[str]) -> list[torch.Tensor]:
    """Token ids (P, L) of each tokenizer of a pipeline of CLIP encoders."""
    pipe = artist.pipe
    found = []
    for name in ("tokenizer", "tokenizer_2")[: len(clip_encoders(pipe))]:
        tokenizer = getattr(pipe, name)
        texts = [as_read(pipe, tokenizer, prompt) for prompt in prompts]
        found.append(tokenise(tokenizer, texts, 0, tokenizer.model_max_length).ids)
    return found
