"""Which clause wins: what a verb changes against the neutral verbs in its place.

One neutral verb differs from another as much as an instruction may, so an instruction is held
against the mean of several, at the same concept, noise, frame, request, order and subject. Each
neutral verb is held against the mean of the others: that spread is the yardstick.
"""

import pandas as pd

from whitebear import stats
from whitebear.draw.artist import Artist
from whitebear.prompts.clauses import PLACE


def judged(artist: Artist, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a grid, drawn, with p_asked, present and logit of the concept, and with p_other
    and other_present of the second object where there is one."""
    images = artist.draw(rows, progress=False)
    both = rows.pair.to_numpy(bool)
    found = artist.judged(rows, images).assign(
        p_other=float("nan"), other_present=pd.array([pd.NA] * len(rows), "boolean")
    )
    if both.any():
        other = artist.judge.asked(images[both], list(rows.other[both]))
        found.loc[both, "p_other"] = other.p_asked.to_numpy()
        found.loc[both, "other_present"] = other.present.to_numpy()
    return found


def against_neutral(scores: pd.DataFrame, column: str = "present") -> pd.DataFrame:
    """Rows that have a verb, with `control_value`, the mean of a column over the neutral verbs at
    the same concept, seed and place, and `difference`. A neutral verb is held against the others.

    scores: table `clauses`.
    """
    rows = scores[scores.verb != ""]
    value, neutral = rows[column].astype(float), rows.neutral.astype(bool)
    keys = [rows[name] for name in ("concept", "seed", *PLACE)]
    places = value.where(neutral).groupby(keys)
    own = value.where(neutral, 0.0)
    control = (places.transform("sum") - own) / (places.transform("count") - neutral)
    return rows.assign(control_value=control, difference=value - control)


def effects(scores: pd.DataFrame) -> pd.DataFrame:
    """What each verb does in each place: a row a wording.

    Index verb, frame, request, order, subject; columns text, neutral, alone (rate of the request
    without any verb, as a share), control_value (rate under the neutral verbs), rate and difference
    (`stats.Estimate`s over concepts: they speak of this wording).
    """
    alone = scores[scores.verb == ""].groupby(["frame", "request"]).present.mean()
    rows, found = against_neutral(scores), {}
    for place, some in rows.groupby(["verb", *PLACE], sort=False):
        found[place] = {
            "text": some.text.iloc[0], "neutral": bool(some.neutral.iloc[0]),
            "alone": alone.get(place[1:3], float("nan")),
            "control_value": some.control_value.mean(), "rate": stats.rate(some),
            "difference": stats.paired_difference(some),
        }  # fmt: skip
    table = pd.DataFrame.from_dict(found, orient="index")
    return table.set_axis(pd.MultiIndex.from_tuples(list(found), names=["verb", *PLACE]))
