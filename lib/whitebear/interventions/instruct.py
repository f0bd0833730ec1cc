"""Say it in words: the instruction to forget the concept, put before the prompt.

p' = "Please forget anything about a bear. " + p. The arm of the paper that this book takes up
(Zhang et al. 2026, arXiv 2604.01514), as an intervention among others: any prompt can be drawn
under it. Its control is the same sentence without the instruction,
`text="Please remember anything about a {c}."`.

    with instruct(artist, rows):
        images = artist.draw(rows)

Fits every pipeline whose text encoder reads the longer prompt to its end. Costs nothing.
"""

from collections.abc import Iterator

import pandas as pd

from whitebear.interventions.method import Drawing, Method, with_values
from whitebear.prompts import fill, noun_of

TEXTS = {  # by the kind of the concept
    "object": "Please forget anything about a {c}.",
    "colour": "Please forget anything {c}.",
    "style": "Please forget anything in {c} style.",
}


def _instruct(
    artist: Drawing, rows: pd.DataFrame, strength: float, text: str | None = None
) -> Iterator[None]:
    """Draw the rows with the instruction before their prompts (strength 1), or without it (0).

    text: the instruction, with {c} for the concept; None is that of TEXTS.
    """
    both = zip(rows.concept, rows.kind, strict=True)
    said = [fill(text or TEXTS[kind], c=noun_of(concept))[0] for concept, kind in both]
    prompts = [f"{line} {p}" for line, p in zip(said, rows.prompt, strict=True)]
    with with_values(artist, prompts=prompts):
        yield


instruct = Method("instruct", _instruct, default=1.0, neutral=0.0, highest=1.0, whole=True)
