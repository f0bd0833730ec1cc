"""What a method does in the arena, as declared: a column, a definition (data/arena/declared.md).

Functions of tables with a row a picture: those of a method, and those of the untouched model at
the same concepts, wordings and seeds. Concepts, wordings and trainings are crossed in every
interval.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from whitebear import stats
from whitebear.arena.prompts import (
    ABSENT,
    ATTRIBUTES,
    DESCRIPTION,
    HELD_OUT,
    NEAR,
    PAIR,
    PLACE,
    PLACEBO,
    PLAIN,
)
from whitebear.errors import UserError
from whitebear.stats import Estimate

KEYS = ["concept", "wording", "seed"]  # of a picture of the untouched model
OVER = ("concept", "wording")
MARGIN = 0.05  # a rate that changes by less has not changed
GENERAL = (PLAIN, DESCRIPTION, PAIR, ATTRIBUTES)
SPARED = {  # what a method should leave alone -> in which family, which column
    "pair": (PAIR, "other_present"),
    "attribute_other": (ATTRIBUTES, "other_present"),
    "attribute_colour": (ATTRIBUTES, "colour_present"),
    "attribute_place": (ATTRIBUTES, "place_present"),
    "others": (ABSENT, "other_present"),
    "near": (NEAR, "other_present"),
    "place": (PLACE, "place_present"),
    "placebo": (PLACEBO, "present"),
}
TESTED = ("pair", "others", "near", "placebo")  # pairs: that the second object is not rarer


def beside(rows: pd.DataFrame, untouched: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows with columns of the untouched picture of the same concept, wording and seed, as
    `..._untouched`. Raises `UserError` where it was not drawn."""
    known = untouched.set_index(KEYS)[list(columns)].add_suffix("_untouched")
    wanted = pd.MultiIndex.from_frame(rows[KEYS])
    if lacking := int((~wanted.isin(known.index)).sum()):
        raise UserError(f"{lacking} pictures of the untouched model are missing; draw it first")
    return rows.assign(**{name: known[name].reindex(wanted).array for name in known})


def against_untouched(rows: pd.DataFrame, untouched: pd.DataFrame, family: str,
                      column: str = "present") -> pd.DataFrame:  # fmt: skip
    """The rows of a family with value, untouched (of the same picture without the method) and
    their difference, as numbers. rows, untouched: table `arena`."""
    some = beside(rows[rows.family == family], untouched, [column])
    value, before = some[column].astype(float), some[f"{column}_untouched"].astype(float)
    return some.assign(value=value, untouched=before, difference=value - before)


def factors(rows: pd.DataFrame) -> tuple[str, ...]:
    """What intervals speak about others of: concepts and wordings, trainings where there are
    enough to say something about more of them."""
    return (*OVER, "run") if rows.run.nunique() >= stats.RUNS else OVER


def gone(rows: pd.DataFrame) -> Estimate:
    """1 - rate / rate untouched, of rows of `against_untouched`."""
    both = rows.assign(present=rows.value, affirm=rows.untouched)
    return stats.suppression(both, over=factors(rows))


def kept(rows: pd.DataFrame) -> Estimate:
    """rate / rate untouched, of rows of `against_untouched`."""
    found = gone(rows)
    return replace(found, value=1 - found.value, low=1 - found.high, high=1 - found.low)


def measures(rows: pd.DataFrame, untouched: pd.DataFrame, noise: pd.DataFrame) -> dict:
    """The columns of a method's row: an `Estimate` each, but for worst (the family), blocked (a
    share), cost and p.

    rows: table `arena` of a method at one strength; untouched, noise: of the untouched model at
    the same seeds, and at others. Beside what they belong to stand `suppression_<family>` and
    `<what>_change`, `<what>_near` (with its 90 % interval) and `<what>_p` (of the test of
    equivalence). A family that was not drawn is left out.
    """
    drawn = set(rows.family)
    found = {}
    if HELD_OUT in drawn:
        found["suppression"] = gone(against_untouched(rows, untouched, HELD_OUT))
    parts = {f: gone(against_untouched(rows, untouched, f)) for f in GENERAL if f in drawn}
    if parts:
        worst = min(parts, key=lambda family: np.nan_to_num(parts[family].value, nan=np.inf))
        found |= {"generality": parts[worst], "worst": worst}
        found |= {f"suppression_{family}": part for family, part in parts.items()}
    for what, (family, column) in SPARED.items():
        if family in drawn:
            found |= _spared(what, against_untouched(rows, untouched, family, column))
    unasked = [family for family in (ABSENT, PLACE) if family in drawn]
    if unasked:
        found["collateral"] = collateral(rows[rows.family.isin(unasked)], noise)
    return found | _quality(rows, untouched) | _cost(rows)


def _spared(what: str, rows: pd.DataFrame) -> dict:
    """What is kept of one thing; for the placebo, what is gone."""
    over = factors(rows)
    found = {
        what: gone(rows) if what == PLACEBO else kept(rows),
        f"{what}_change": stats.paired_difference(rows, over=over),
        f"{what}_near": stats.paired_difference(rows, 0.90, over),
    }
    if what in TESTED:
        found[f"{what}_p"] = stats.equivalence_p(rows, MARGIN, over, lower_only=what == "pair")
    return found


def collateral(rows: pd.DataFrame, noise: pd.DataFrame) -> Estimate:
    """Change of the picture against untouched, as a share of what other noise changes.

    rows, noise: with the column change, the same families. 0: to the bit the same pictures.
    """
    both = beside(rows, noise, ["change"])
    return _mean(both, both.change, both.change_untouched)


def _quality(rows: pd.DataFrame, untouched: pd.DataFrame) -> dict:
    own = beside(rows[rows.family != PLACEBO], untouched, ["entropy"])
    asked = beside(rows[rows.family.isin((ABSENT, NEAR, PAIR))], untouched, ["objects"])
    empty = (asked.objects == 0).astype(float) - (asked.objects_untouched == 0).astype(float)
    found = {
        "quality": _mean(own, own.entropy - own.entropy_untouched),
        "blocked": rows[rows.family != PLACEBO].blocked.mean(),
    }
    return found | ({"empty": _mean(asked, empty)} if len(asked) else {})


def _mean(rows: pd.DataFrame, top, bottom=1.0) -> Estimate:
    """Mean of one thing, as a share of the mean of another, by the intervals of all."""
    rows = rows.assign(top=np.asarray(top, float), bottom=np.asarray(bottom, float))
    over = factors(rows)
    levels = [sorted(rows[name].unique()) if name in over else None for name in stats.FACTORS]
    sums = stats.crossed_sums(rows, ["top", "bottom"], levels)
    runs, wordings, concepts = sums.shape[:3]
    found = stats.crossed_interval(sums, stats.ratio)
    return Estimate(*found, len(rows), concepts, wordings, runs)


def _cost(rows: pd.DataFrame) -> dict:
    return {
        "passes": rows.passes.mean(), "seconds": rows.seconds.mean(),
        "prepared": rows.groupby("erased").prepared.mean().mean(),
    }  # fmt: skip


def summary(tables: dict[str, pd.DataFrame], untouched: pd.DataFrame,
            noise: pd.DataFrame) -> pd.DataFrame:  # fmt: skip
    """A row a method, its columns those of `measures`. tables: by id, as of `load_arena`."""
    rows = {name: measures(table, untouched, noise) for name, table in tables.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("id")
