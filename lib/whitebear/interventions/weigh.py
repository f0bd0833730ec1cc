"""Weight the concept's word in attention.

P[query, word] is multiplied by w in every layer and step: in the softmax, so that the other keys
share what the word lost (logits + log w), or after it, which is the attention re-weighting of
Prompt-to-Prompt (Hertz et al. 2022, arXiv 2208.01626; its authors show w from -2 to 2). 0 takes the
word out, 1 changes nothing. Below 0, which has a meaning after the softmax alone, what the word
would add to the image is subtracted: P[query, word] v becomes -|w| P[query, word] v.

Fits every family whose attention the hooks see. Costs next to nothing: no more calls of the model.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from whitebear.errors import UserError
from whitebear.hooks import steer_attention
from whitebear.interventions.method import Drawing, Method
from whitebear.models.families import denoiser_of, text_layers
from whitebear.prompts import named


def _why_not(artist: Drawing, **_) -> str:
    try:
        text_layers(denoiser_of(artist.pipe))
    except UserError as error:
        return str(error)
    return ""


def _weigh(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    renormalize: bool = True,
    roles: Sequence[str] = (),
) -> Iterator[None]:
    """Multiply attention to the concept's word by `strength`; rows without the word stay as they
    are. renormalize: as of `steer_attention`; False for a strength below 0. roles: what is weighted
    with the word, such as ("eos", "pad")."""
    words, prompts = {"concept": named(rows)}, list(rows.prompt)
    with steer_attention(artist.pipe, words, strength, renormalize, prompts=prompts, roles=roles):
        yield


weigh = Method("weigh", _weigh, default=0.0, neutral=1.0, lowest=-2.0, why_not=_why_not)
