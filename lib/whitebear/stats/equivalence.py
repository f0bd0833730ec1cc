"""Is a change shown to be none? Two one-sided tests against a margin (Schuirmann 1987).

The change is equivalent to none at 5 % exactly where its 90 % interval lies within the margins; so
the intervals of this room, with concepts and wordings crossed, are the tests.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from whitebear.errors import UserError
from whitebear.stats.pictures import CONCEPTS, paired_difference

ALPHA = 0.05  # of each of the two tests
HALVINGS = 10  # of the search for p: to 0.0005


def equivalent(
    rows: pd.DataFrame, margin: float, over: Sequence[str] = CONCEPTS, lower_only: bool = False
) -> bool:
    """Whether the mean `difference` of rows lies within -+ margin: two one-sided tests at 5 %.

    over: as in `rate`. lower_only: one test, that it is not lower by the margin (non-inferiority).
    False where nothing can be said. Raises `UserError` for a margin that is no positive number.

    >>> rows = pd.DataFrame({"concept": ["bear", "owl"] * 200, "difference": 0.0})
    >>> equivalent(rows, 0.05), equivalent(rows.assign(difference=0.1), 0.05)
    (True, False)
    """
    return _inside(rows, _checked(margin), over, lower_only, ALPHA)


def equivalence_p(
    rows: pd.DataFrame, margin: float, over: Sequence[str] = CONCEPTS, lower_only: bool = False
) -> float:
    """The p-value of `equivalent`: the smallest level at which the tests would hold. At most 0.5;
    NaN where nothing can be said."""
    _checked(margin)
    found = paired_difference(rows, over=over)
    if np.isnan([found.low, found.high]).any():
        return float("nan")
    holds, fails = 0.5, 0.0
    for _ in range(HALVINGS):
        middle = (holds + fails) / 2
        if _inside(rows, margin, over, lower_only, middle):
            holds = middle
        else:
            fails = middle
    return holds


def _inside(rows, margin, over, lower_only, alpha) -> bool:
    found = paired_difference(rows, 1 - 2 * alpha, over)
    return found.low > -margin and (lower_only or found.high < margin)


def _checked(margin: float) -> float:
    if not 0 < margin < np.inf:
        raise UserError(f"margin is {margin!r}; give a positive number, such as 0.05")
    return margin
