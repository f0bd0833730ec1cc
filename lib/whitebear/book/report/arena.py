"""What the arena says: a verdict for each column, and the declared hypotheses."""

from collections.abc import Mapping

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


def hypotheses(
    tables: Mapping[str, pd.DataFrame], fixed: Mapping[str, float], untouched: pd.DataFrame
) -> dict[str, str]:
    """The verdict on each declared hypothesis whose methods were scored, at their fixed strengths.

    tables: table `arena` by id; fixed: of methods.csv, by id; untouched: its scored pictures.
    """

    def rows(name: str) -> pd.DataFrame:
        table = tables[name]
        return table[table.use.isin((SCORED, FIXED)) & (table.strength == fixed[name])]

    def removed(name: str) -> Estimate:
        return gone(against_untouched(rows(name), untouched, HELD_OUT))

    def more(name: str, other: str, family: str, column: str) -> Estimate:
        both = against_untouched(rows(name), rows(other), family, column)
        return stats.paired_difference(both, over=factors(both))

    there = {key for key, names in NEEDS.items() if set(names) <= set(tables)}
    found = {}
    if "1" in there:
        bare, tail, carrier = (removed(name).value for name in NEEDS["1"])
        found["1"] = rules.FORMS(bare=bare, tail=tail, carrier=carrier)
    if "2" in there:
        name, everything, turned = (removed(which).value for which in NEEDS["2"])
        kept = more("name-values", "suppress-states", PAIR, "other_present").low
        found["2"] = rules.WHOLE_PROMPT(name=name, everything=everything, turned=turned, kept=kept)
    if "5" in there:
        helper = more("safree", "safree-published", HELD_OUT, "present").low
        gate = against_untouched(rows("adavd"), untouched, HELD_OUT)
        ends = (
            stats.paired_difference(gate, level, factors(gate)) for level in (stats.LEVEL, 0.90)
        )
        found["5"] = rules.HELPER(*ends, helper=helper)
    if "words" in there:
        found["words"] = rules.INSTRUCTED(removed("instruction"))
    return found
