"""Is the concept gone, or only out of reach? A probe: the text states that undo an edit of weights.

The state c' that the edited keys and values read as the untouched ones read c is one solve away
(RECE: Gong et al. 2024, arXiv 2407.12383). If it draws the concept, the rest of the model still
knows it. What it cannot tell: that a prompt exists which does the same, since no text need have
this state; nor anything without a floor, which is the same solve on a model that never knew the
concept.
"""

import pandas as pd
import torch

from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.hooks.edit import edit_text, read_states
from whitebear.interventions import adversarial_states, cross_attention_weights, untouched


def undone(
    artist: Artist, rows: pd.DataFrame, known: Artist | None = None, lam: float = 0.1
) -> pd.DataFrame:
    """The rows with p_asked, present and logit, drawn from states c' in the place of the prompts'.

    known: the model whose reading of its own states c is to be matched; None is the artist's as it
    was before the block around, which must be one that edits weights. lam: the ridge of the solve.
    Pooled embeddings stay, and so does the empty prompt. Raises `UserError` outside of such a block
    without `known`, and where the two do not read states by weights of the same shapes.

    >>> from whitebear.interventions import uce
    >>> from whitebear.prompts import prompt_grid
    >>> artist, rows = Artist("pocket", steps=1), prompt_grid(["bear"], ["omit"], 1)
    >>> with uce(artist, rows):
    ...     len(undone(artist, rows)) == len(rows)
    True
    """
    new = cross_attention_weights(artist.pipe.unet)
    before = untouched(artist) if known is None else cross_attention_weights(known.pipe.unet)
    if any(name not in before or before[name].shape != w.shape for name, w in new.items()):
        raise UserError("the two models read text by weights of other names or shapes; give twins")
    width = next(iter(new.values())).shape[1]
    old = [before[name] for name in new]
    back = adversarial_states(torch.eye(width), new.values(), old, lam)  # c' = c @ back
    prompts = list(rows.prompt)
    read = [own for own, _ in read_states((known or artist).pipe, prompts)]

    def edit(row: int, states: torch.Tensor, places: dict) -> torch.Tensor:
        return (read[row].cpu().double() @ back).to(states)

    with edit_text(artist.pipe, prompts, edit):
        return artist.draw_and_judge(rows)
