"""What the arena says: a verdict for each column, and the declared hypotheses."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from whitebear import stats
from whitebear.arena.measures import against_untouched, factors, gone
from whitebear.arena.prompts import HELD_OUT, PAIR
from whitebear.book.report import rules
from whitebear.pocket.experiments.arena import FIXED, SCORED
from whitebear.stats import Estimate

COLUMNS = {  # of `measures` -> the rule for it
    "pair": rules.SPARED_BESIDE, "others": rules.SPARED, "near": rules.SPARED,
    "placebo": rules.SPECIFIC,
}  # fmt: skip
NEEDS = {  # hypothesis -> methods.csv: whose scored pictures it is judged by
    "1": ("uce-2025", "uce-2023", "uce-carrier"),
    "2": ("name-states", "suppress-states", "name-values"),
    "5": ("safree", "safree-published", "adavd"),
    "words": ("instruction",),
}


def verdicts(summary: pd.DataFrame) -> pd.DataFrame:
    """The words for a `arena.measures.summary`: a row a method, columns suppression, generality,
    pair, others, near and placebo. "" where nothing was measured."""
    found = {}
    for name, row in summary.iterrows():
        words = {
            what: _of(rules.SUPPRESSION, row.get(what)) for what in ("suppression", "generality")
        }
        for what, rule in COLUMNS.items():
            change = row.get(what if what == "placebo" else f"{what}_change")
            words[what] = _of(rule, change, row.get(f"{what}_near"))
        found[name] = words
    return pd.DataFrame.from_dict(found, orient="index")


def _of(rule: rules.Rule, *estimates) -> str:
    return rule(*estimates) if all(isinstance(e, Estimate) for e in estimates) else ""


@dataclass(frozen=True)
class Judged:
    """A declared hypothesis: its verdict, and the numbers that it rests on, by what they are."""

    verdict: str
    numbers: dict[str, Estimate]


def hypotheses(
    tables: Mapping[str, pd.DataFrame], fixed: Mapping[str, float], untouched: pd.DataFrame
) -> dict[str, Judged]:
    """Each declared hypothesis whose methods were scored, at their fixed strengths.

    tables: table `arena` by id; fixed: of methods.csv, by id; untouched: its scored pictures.
    """
    held = _Held(tables, fixed, untouched)
    judge = {"1": _forms, "2": _whole_prompt, "5": _helper, "words": _instructed}
    return {key: judge[key](held) for key, names in NEEDS.items() if set(names) <= set(tables)}


@dataclass(frozen=True)
class _Held:
    """The scored pictures of methods at their fixed strengths, held against others."""

    tables: Mapping[str, pd.DataFrame]
    fixed: Mapping[str, float]
    untouched: pd.DataFrame

    def rows(self, name: str) -> pd.DataFrame:
        table = self.tables[name]
        return table[table.use.isin((SCORED, FIXED)) & (table.strength == self.fixed[name])]

    def removed(self, name: str) -> Estimate:
        return gone(against_untouched(self.rows(name), self.untouched, HELD_OUT))

    def more(self, name: str, other: str | None, family: str, column: str,
             level: float = stats.LEVEL) -> Estimate:  # fmt: skip
        """Its rate minus that of another method, of untouched for None."""
        against = self.untouched if other is None else self.rows(other)
        against = against[against.family == family]  # a placebo has the prompts of another family
        both = against_untouched(self.rows(name), against, family, column)
        return stats.paired_difference(both, level, factors(both))


def _forms(held: _Held) -> Judged:
    bare, tail, carrier = found = [held.removed(name) for name in NEEDS["1"]]
    verdict = rules.FORMS(bare=bare.value, tail=tail.value, carrier=carrier.value)
    names = ("last token of the bare name", "its tail", "the name in sentences")
    return Judged(verdict, dict(zip(names, found, strict=True)))


def _whole_prompt(held: _Held) -> Judged:
    name, everything, turned = found = [held.removed(which) for which in NEEDS["2"]]
    kept = held.more("name-values", "suppress-states", PAIR, "other_present")
    verdict = rules.WHOLE_PROMPT(
        name=name.value, everything=everything.value, turned=turned.value, kept=kept.low
    )
    names = ("state of the name zeroed", "end and padding too", "its values turned round",
             "second object: turned minus zeroed")  # fmt: skip
    return Judged(verdict, dict(zip(names, [*found, kept], strict=True)))


def _helper(held: _Held) -> Judged:
    helper = held.more("safree", "safree-published", HELD_OUT, "present")
    gate, near = (held.more("adavd", None, HELD_OUT, "present", n) for n in (stats.LEVEL, 0.90))
    verdict = rules.HELPER(gate, near, helper=helper.low)
    return Judged(verdict, {
        "taken away by the negative prompt": helper,
        "change by the gate of the authors": gate,
    })  # fmt: skip


def _instructed(held: _Held) -> Judged:
    found = held.removed("instruction")
    return Judged(rules.INSTRUCTED(found), {"suppression by the instruction": found})
