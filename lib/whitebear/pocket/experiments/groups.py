"""Members of the population that share a kind of captions, taken together."""

from collections.abc import Callable

import pandas as pd

from whitebear import stats
from whitebear.measures.clauses import against_neutral
from whitebear.pocket.experiments.members import Published
from whitebear.stats import Estimate

WITHOUT = ("negate-without", "negate-pair-without")
INSTRUCTIONS = ("forget", "leave out")
ASKED_FOR, ELSEWHERE = ("name", "description"), ("place", "other")
NAMED = ("forget_then_request", "reinforced", "role")  # of eval.csv: told, then asked for by name


def with_runs(group: list[Published], table: Callable[[Published], pd.DataFrame]) -> pd.DataFrame:
    """The rows of one table of all members of a group, with `run`, the member's id."""
    return pd.concat([table(p).assign(run=p.member.id) for p in group], ignore_index=True)


def over(group: list[Published], *factors: str) -> tuple[str, ...]:
    """What an interval may speak about: these factors, and training runs where there are enough."""
    return (*factors, "run") if len(group) >= stats.RUNS else factors


def clauses(group: list[Published], **place) -> pd.DataFrame:
    """Rows of a group's clauses held against the neutral verbs in the same place, with `run`.

    place: column -> the value or values that are wanted.
    """
    rows = with_runs(group, lambda p: against_neutral(p.clauses))
    for column, wanted in place.items():
        wanted = [wanted] if isinstance(wanted, str) else list(wanted)
        rows = rows[rows[column].isin(wanted)]
    return rows


def changed(group: list[Published], level: float = stats.LEVEL, **place) -> Estimate:
    """What verbs change against the neutral ones, over concepts and wordings (and runs)."""
    rows = clauses(group, **place)
    return stats.paired_difference(rows, level, over=over(group, "concept", "wording"))


def taken(group: list[Published], rows: pd.DataFrame) -> Estimate:
    """What is taken away of the rate under the neutral verbs, over concepts and wordings (and
    runs). rows: of `clauses`."""
    return stats.taken_away(rows, over=over(group, "concept", "wording"))


def by_prompt(rows: pd.DataFrame) -> list[float]:
    """The share that each prompt takes away in each model. rows: of `clauses`."""
    return [stats.taken_away(some).value for _, some in rows.groupby(["wording", "run"])]


def named(group: list[Published]) -> pd.DataFrame:
    """Rows of the instructions of eval.csv that then ask for X by name, beside their controls."""
    rows = with_runs(group, lambda p: stats.add_control(p.scores))
    return rows[rows.condition.isin(NAMED)]


def without(group: list[Published]) -> dict[str, Estimate]:
    """How much of X each wording with a plain “without” takes away, against the same words with
    “with”, over concepts (and runs)."""
    pairs = with_runs(group, lambda p: stats.add_control(p.scores))
    return {
        wording: stats.taken_away(pairs[pairs.wording == wording], over=over(group, "concept"))
        for wording in WITHOUT
    }
