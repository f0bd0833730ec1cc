"""What instructions change of any number a row: each against its control, at the same noise."""

import pandas as pd

from whitebear import stats


def against_controls(rows: pd.DataFrame, column: str, by: str = "condition") -> pd.DataFrame:
    """Means of a column under instructions and under their controls, and the paired difference.

    rows: a grid (table `grid`) with `column`, controls among them; by: "condition" or "wording".
    Index `by`; columns value, control_value, difference (`stats.Estimate`).
    """
    pairs = stats.add_control(rows, column)
    return pd.DataFrame.from_dict(
        {
            name: {"value": some[column].mean(), "control_value": some.control_value.mean(),
                   "difference": stats.paired_difference(some)}
            for name, some in pairs.groupby(by, sort=False)
        },
        orient="index",
    )  # fmt: skip
