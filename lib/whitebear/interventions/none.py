"""No intervention: the baseline, drawn by the same road as the others."""

from collections.abc import Iterator

import pandas as pd

from whitebear.interventions.method import Drawing, Method


def _none(artist: Drawing, rows: pd.DataFrame, strength: float) -> Iterator[None]:
    """Draw the rows as they are."""
    yield


none = Method("none", _none, default=0.0, neutral=0.0, highest=0.0)
