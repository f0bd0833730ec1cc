"""Rewrite the prompt: ask for the same without the concept's name.

p' = p with every mention of the concept put as "a thing" (by="thing"), as its description (a line
of concepts.csv: "a big furry animal with round ears"), or a prompt for the same seed that never
mentioned it (by="omit"). Nothing of the model is touched: the baseline that every other method has
to beat, and with a description a probe of what a name was needed for. A pocket model that is asked
for "a thing" draws some object, now and then the one in question.

    with words(artist, rows, by="description"):
        images = artist.draw(rows)

Fits every pipeline. Costs nothing. Prompts that do not mention the concept stay as they are.
"""

import re
from collections.abc import Iterator

import pandas as pd

from whitebear.errors import UserError, nearest
from whitebear.interventions._silent import silent_prompts, state
from whitebear.interventions.method import Drawing, Method, with_values
from whitebear.prompts import description_of

WAYS = ("thing", "description", "omit")
_ARTICLE = re.compile(r"\ban? ", re.IGNORECASE)
_OPEN_ARTICLE = re.compile(r"\ban? $", re.IGNORECASE)


def _words(
    artist: Drawing, rows: pd.DataFrame, strength: float, by: str = "thing"
) -> Iterator[None]:
    """Draw the rows by other words (strength 1), or not (0). by: one of WAYS."""
    with with_values(artist, prompts=rewritten(artist, rows, by)):
        yield


def rewritten(artist: Drawing, rows: pd.DataFrame, by: str) -> list[str]:
    """The prompts of a grid's rows without the names of their concepts. by: one of WAYS.

    Raises `UserError` for another way, and for a concept that has no other words.
    """
    if by not in WAYS:
        raise UserError(f"by is {by!r}; {nearest(str(by), WAYS)}")
    if by == "omit":
        silent = silent_prompts(artist, rows)
        both = zip(rows.prompt, rows.spans, silent, strict=True)
        return [other if len(spans) else prompt for prompt, spans, other in both]
    phrases = {concept: _phrase(concept, by) for concept in rows.concept[rows.kind == "object"]}
    if len(rest := rows[(rows.kind != "object") & rows.spans.map(len).astype(bool)]):
        row = rest.iloc[0]
        raise UserError(f'{row.concept} is a {row.kind}, which has no other words; use by="omit"')
    return [_said(r.prompt, r.spans, phrases.get(r.concept, "")) for r in rows.itertuples()]


def _phrase(concept: str, by: str) -> str:
    phrase = "a thing" if by == "thing" else description_of(concept)
    if not phrase:
        raise UserError(f'{concept} has no description; use by="thing" or by="omit"')
    return phrase


def _said(prompt: str, spans: list[list[int]], phrase: str) -> str:
    """A prompt with `phrase`, which begins with an article, where the concept stands.

    "a bear" becomes "a thing", "the bear" and "every bear" become "the thing" and "every thing".
    """
    for start, end in sorted(spans, reverse=True):
        before, name = prompt[:start], prompt[start:end]
        article, put = _OPEN_ARTICLE.search(before), _ARTICLE.sub("", phrase, count=1)
        if article or _ARTICLE.match(name) or name[:1].isupper():  # a proper name has no article
            put = phrase
        if article:
            before = before[: article.start()]
            put = put[0].upper() + put[1:] if article[0][0].isupper() else put
        prompt = before + put + prompt[end:]
    return prompt


words = Method("words", _words, default=1.0, neutral=0.0, highest=1.0, whole=True, state=state)
