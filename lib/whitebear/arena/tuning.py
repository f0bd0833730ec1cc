"""One knob, chosen by one rule for every method, on concepts that are not scored.

Of the strengths that spare other objects, the one that leaves out most. Declared in
data/arena/declared.md, like the margin.
"""

from dataclasses import dataclass

import pandas as pd

from whitebear import stats
from whitebear.arena.measures import against_untouched, gone, kept
from whitebear.arena.prompts import ABSENT, HELD_OUT, PAIR
from whitebear.errors import UserError

MARGIN = 0.10


@dataclass(frozen=True)
class Tuned:
    """A strength, and whether it spares the others; if not, no strength of the curve does."""

    strength: float
    spares: bool


def curve(rows: pd.DataFrame, untouched: pd.DataFrame) -> pd.DataFrame:
    """What each strength of a method does to the tuning concepts: a row a strength, in order.

    rows, untouched: table `arena` of tuning concepts. Columns suppression, others, pair
    (`Estimate`s: what is gone of the concept, kept of the object that is asked for, kept of the
    second object), lowest (the lower end of the two tests), spares (whether both hold). The tests
    speak about other concepts; wordings are fixed.
    """
    found = {}
    for strength, some in rows.groupby("strength", sort=False):
        other = against_untouched(some, untouched, ABSENT, "other_present")
        second = against_untouched(some, untouched, PAIR, "other_present")
        lows = [stats.paired_difference(each, 0.90).low for each in (other, second)]
        spares = stats.equivalent(other, MARGIN) and stats.equivalent(
            second, MARGIN, lower_only=True
        )
        found[strength] = {
            "suppression": gone(against_untouched(some, untouched, HELD_OUT)),
            "others": kept(other), "pair": kept(second), "lowest": min(lows), "spares": spares,
        }  # fmt: skip
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("strength")


def choose(found: pd.DataFrame) -> Tuned:
    """The strength of a `curve` by the declared rule: of those that spare the others the one that
    suppresses most, of equal ones the first; if none does, the one with the highest `lowest`.

    Raises `UserError` for a curve without strengths, or of which nothing can be said.
    """
    if not len(found) or found.lowest.isna().all():
        raise UserError("there is no strength to choose; draw the tuning concepts first")
    some = found[found.spares]
    if not len(some):
        return Tuned(float(found.lowest.idxmax()), False)
    removed = pd.Series({strength: row.suppression.value for strength, row in some.iterrows()})
    return Tuned(float(removed.idxmax()), True)
