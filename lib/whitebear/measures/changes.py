"""What instructions change of any number a row: each against its control, at the same noise."""

import pandas as pd

from whitebear import stats

OVER = {"condition": stats.KIND, "wording": ("concept",)}  # what an interval speaks about others of


def against_controls(rows: pd.DataFrame, column: str, by: str = "condition") -> pd.DataFrame:
    """Means of a column under instructions and under their controls, and the paired difference.

    rows: a grid (table `grid`) with `column`, controls among them; by: "condition" or "wording". A
    condition is all its wordings, so its intervals speak about other wordings as well as concepts.
    Index `by`; columns value, control_value, difference (`stats.Estimate`).
    """
    pairs = stats.add_control(rows, column)
    return pd.DataFrame.from_dict(
        {
            name: {"value": some[column].mean(), "control_value": some.control_value.mean(),
                   "difference": stats.paired_difference(some, over=OVER[by])}
            for name, some in pairs.groupby(by, sort=False)
        },
        orient="index",
    )  # fmt: skip


def add_relative(found: pd.DataFrame) -> pd.DataFrame:
    """A table of `against_controls` with `relative`: the difference as a part of what the control
    has on average, which is taken as known (`stats.Estimate`)."""
    pairs = zip(found.difference, found.control_value, strict=True)
    return found.assign(relative=[difference.relative_to(control) for difference, control in pairs])
