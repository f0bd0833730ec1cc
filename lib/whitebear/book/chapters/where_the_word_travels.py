"""Chapter 08: which states of a prompt bring a concept into the picture, or take it away."""

import pandas as pd

from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.stats import Estimate

NAMES = {"negate-no": "“but no”", "affirm-and": "“and a”", "omit-picture": "silence"}


def answer(table: pd.DataFrame) -> str:
    """One sentence on which states bring a concept, or take it away: `swaps.shares`."""
    bring, take = ("negate-no", "affirm-and"), ("affirm-and", "negate-no")
    after = "end token and padding"
    silence = (
        f"Drawn into a prompt that never names the concept, the end token and the padding of the"
        f" prompt that says “and a” go {_way(table.share['omit-picture', 'affirm-and', after])}."
    )
    if pd.isna(table.share[(*bring, "concept")].value):
        return f"“But no” and “and a” are drawn equally often; their states tell nothing. {silence}"
    share = lambda *key: table.share[key].percent()  # noqa: E731
    return (
        f"Give the prompt that says “but no” the concept's own token states from the prompt that"
        f" says “and a”, and the picture goes {share(*bring, 'concept')} of the way to it; with the"
        f" end token and the padding instead, {share(*bring, after)}. The other way round it goes"
        f" {share(*take, 'concept')} and {share(*take, after)} of the way. {silence}"
    )


def _way(share: Estimate) -> str:
    """How far, in words; where both ends are drawn equally often there is no way to go."""
    if pd.isna(share.value):
        return "nowhere that could be told, for both are drawn equally often"
    return f"{share.percent()} of the way"


def claims(table: pd.DataFrame) -> list[Claim]:
    """One claim a swap."""
    return [
        made(
            f"{part.capitalize()} of {NAMES[source]} drawn into {NAMES[base]} decides the picture",
            share, rules.CARRIES(share), "fig-swaps", f"{share.percent()} of the way",
            of="pictures", control=f"{NAMES[base]} and {NAMES[source]} undisturbed",
        )
        for (base, source, part), share in table.share.items()
    ]  # fmt: skip
