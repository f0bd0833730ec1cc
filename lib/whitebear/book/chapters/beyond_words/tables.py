"""Chapter 12: the arena's tables, method by method, wording by wording and concept by concept."""

import inspect
import json
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from whitebear.arena.entries import REFERENCES, UNTOUCHED, load_entries
from whitebear.arena.measures import against_untouched, gone, kept
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
from whitebear.book.report.phrases import said
from whitebear.book.report.sortable import Sortable
from whitebear.pocket.experiments.arena import FIXED, SCORED
from whitebear.pocket.experiments.arena_results import Part, chosen, where
from whitebear.stats import Estimate

COLUMNS = {  # of the summary -> heading
    "suppression": "suppression", "generality": "least of four families",
    "pair": "second object, same prompt", "others": "other objects", "near": "nearest object",
    "placebo": "placebo", "collateral": "collateral", "quality": "less sure, bits",
    "passes": "passes", "pictures": "pictures",
}  # fmt: skip
MORE = {
    "suppression_plain": "plain", "suppression_description": "description",
    "suppression_pair": "pair", "suppression_attributes": "attributes",
    "attribute_other": "second object, attributes", "attribute_colour": "its colour",
    "attribute_place": "place, attributes", "place": "place alone",
    "empty": "nothing found, points", "blocked": "blocked", "pair_p": "p pair",
    "others_p": "p others", "near_p": "p nearest", "placebo_p": "p placebo",
    "seconds": "seconds a picture", "prepared": "seconds a concept",
}  # fmt: skip
CONCEPT = dict.fromkeys([PLAIN, HELD_OUT, DESCRIPTION, PAIR, ATTRIBUTES, PLACEBO], "present")
STAYS = dict.fromkeys([PAIR, ATTRIBUTES, ABSENT, NEAR], "other_present") | {PLACE: "place_present"}
NOT_ASKED = dict.fromkeys([ABSENT, NEAR, PLACE], "present")
SEEN = (PLAIN, PAIR, ABSENT)  # of which pictures are kept
SOURCE = re.compile(r"([A-Z]\w+(?: et al\.| and [A-Z]\w+) \d{4}),? \(?arXiv (\d{4}\.\d{5})")
BITS, SHARES = ("quality",), ("collateral",)
TIMES = ("seconds", "prepared")


def listed(parts: Sequence[Part]) -> pd.DataFrame:
    """What the methods shown are, from their files in the library: where they act, what they do,
    their options, and whose they are."""
    known, rows = load_entries(), {}
    for name in [name for name in where(parts) if name in known]:
        entry = known[name]
        text = " ".join(inspect.getmodule(entry.methods[-1].act).__doc__.split())
        source = SOURCE.search(text)
        rows[name] = {
            "place": entry.place, "what it does": text.partition(". ")[0],
            "options": _options(entry.options), "source": ", arXiv ".join(source.groups())
            if source else "",
        }  # fmt: skip
    return _named(pd.DataFrame.from_dict(rows, orient="index"))


def _options(text: str) -> str:
    """Options for a cell: "by thing", "roles none"."""
    said = []
    for name, value in json.loads(text).items():
        value = ", ".join(value) or "none" if isinstance(value, list) else value
        said.append(f"{name} {value}")
    return "; ".join(said)


def by_eye(parts: Sequence[Part]) -> dict[str, pd.DataFrame]:
    """The scored pictures of each method, the untouched model first."""
    shown = where(parts)
    order = sorted(shown, key=lambda name: name != UNTOUCHED.id)
    return {name: shown[name].scored(name) for name in order}


def first(parts: Sequence[Part], most: int = 3) -> list[str]:
    """The first scored concepts, in the declared order."""
    return parts[0].records[UNTOUCHED.id]["concepts"][SCORED][:most]


def summed_up(parts: Sequence[Part], table: pd.DataFrame) -> Sortable:
    """The declared columns, a row a method. table: summary of the parts."""
    shown = where(parts)
    place = {name: entry.place for name, entry in (REFERENCES | load_entries()).items()}
    first = pd.DataFrame({
        "place": [place[name] for name in table.index],
        "strength": [_strength(part, name) for name, part in shown.items()],
        "chosen": ["" if name in REFERENCES else chosen(part, name)
                   for name, part in shown.items()],
    }, table.index)  # fmt: skip
    rows = table.assign(pictures=[found.n for found in table.suppression])
    texts, values = _cells(rows, COLUMNS)
    if "worst" in table:
        heading = COLUMNS["generality"]
        worst = [
            f" ({family})" if text else ""
            for family, text in zip(table.worst, texts[heading], strict=True)
        ]
        texts[heading] = texts[heading] + worst
    values["strength"] = [part.strength(name) for name, part in shown.items()]
    return Sortable(_named(first.join(texts)), values, "What each method removes and what it costs")


def in_detail(table: pd.DataFrame) -> Sortable:
    """What stands beside those columns. table: summary of the parts."""
    texts, values = _cells(table, MORE)
    return Sortable(_named(texts), values, "Families, attributes, tests of equivalence and time")


def _named(texts: pd.DataFrame) -> pd.DataFrame:
    return texts.rename_axis("method")


def _strength(part: Part, name: str) -> str:
    return f"{part.strength(name):g}".replace("-", "−")


def _cells(table: pd.DataFrame, columns: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts and the numbers that they are sorted by, under their headings."""
    there = {name: heading for name, heading in columns.items() if name in table}
    texts = {heading: [_text(name, found) for found in table[name]]
             for name, heading in there.items()}  # fmt: skip
    values = {heading: [_value(found) for found in table[name]] for name, heading in there.items()}
    return pd.DataFrame(texts, table.index), pd.DataFrame(values, table.index)


def _value(found) -> float:
    return float(found.value if isinstance(found, Estimate) else found)


def _text(name: str, found) -> str:
    """A cell: an estimate with its interval, a p-value, a time or a count."""
    if np.isnan(_value(found)):
        return ""
    if name in BITS:
        return f"{found.value:+.3f}".replace("-", "−")
    if name in SHARES:
        return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]".replace("-", "−")
    if isinstance(found, Estimate):
        return found.percent()
    if name == "blocked":
        return f"{100 * found:.0f} %"
    if name.endswith("_p"):
        return f"{found:.3f}" if found < 0.5 else "0.5"
    return f"{found:.2f}" if name in TIMES else f"{found:g}"


def verdict_words(words: pd.DataFrame, works: pd.Series) -> pd.DataFrame:
    """The verdict on each column, a row a method. words, works: of the chapter."""
    names = {
        "suppression": "held-out wordings", "generality": "least of four families",
        "pair": "second object, same prompt", "others": "other objects", "near": "nearest object",
        "placebo": "placebo",
    }  # fmt: skip
    table = words[words.index.isin(list(load_entries()))]
    table = table.rename(columns=names).assign(**{"works at a price that can be told": works})
    return table.rename_axis("method")


def scored_points(parts: Sequence[Part], table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What each method does to the scored concepts, as a curve of one strength for the frontier.
    table: summary of the parts."""
    found = {}
    for name, part in where(parts).items():
        if name not in REFERENCES:
            row = {what: table.loc[name, what] for what in ("suppression", "pair", "others")}
            found[name] = pd.DataFrame([row], index=[part.strength(name)])
    return found


def at_fixed(parts: Sequence[Part]) -> pd.DataFrame:
    """At the strength that authors recommend or a hypothesis names: a row a method that has one."""
    rows = {}
    for name, part in where(parts).items():
        table, fixed = part.tables[name], part.records[name]["entry"]["fixed"]
        some = table[table.use.isin((SCORED, FIXED)) & (table.strength == fixed)]
        if len(some):
            held = [
                against_untouched(some, part.untouched, family, column)
                for family, column in (
                    (HELD_OUT, "present"),
                    (PAIR, "other_present"),
                    (ABSENT, "other_present"),
                )
            ]
            rows[name] = {
                "strength": f"{fixed:g}".replace("-", "−"),
                "suppression": gone(held[0]).percent(), "second object": kept(held[1]).percent(),
                "other objects": kept(held[2]).percent(),
                "in the table": f"{_strength(part, name)}, {chosen(part, name)}",
            }  # fmt: skip
    return _named(pd.DataFrame.from_dict(rows, orient="index"))


# --- one by one -----------------------------------------------------------------------------------


def by_wording(parts: Sequence[Part], columns: dict[str, str]) -> pd.DataFrame:
    """Rates of each wording: a row a method, columns (family, wording). columns: what is looked
    for in which family: {"pair": "other_present"}."""
    return _rates(parts, columns, lambda rows: rows.text.map(said))


def by_concept(parts: Sequence[Part], columns: dict[str, str]) -> pd.DataFrame:
    """The same of each concept, over the wordings."""
    return _rates(parts, columns, lambda rows: rows.concept)


def _rates(parts: Sequence[Part], columns: dict[str, str], by) -> pd.DataFrame:
    tables = {}
    for name, part in where(parts).items():
        rows, found = part.scored(name), {}
        for family, column in columns.items():
            some = rows[rows.family == family]
            rates = some[column].astype(float).groupby(by(some), sort=False).mean()
            found |= {(family, key): value for key, value in rates.items()}
        tables[name] = found
    table = pd.DataFrame.from_dict(tables, orient="index")
    return table.set_axis(pd.MultiIndex.from_tuples(table.columns), axis=1)


def uneven(parts: Sequence[Part], columns: dict[str, str], most: int = 8) -> pd.DataFrame:
    """Where the mean of a family says least: the methods and families whose wordings lie furthest
    apart, with the lowest and the highest rate."""
    rates, rows = by_wording(parts, columns), []
    for name in rates.index:
        for family in columns:
            own = rates.loc[name, family].dropna()
            if name not in REFERENCES and len(own):
                rows.append((name, family, own.max() - own.min(), _rate(own, own.idxmin()),
                             _rate(own, own.idxmax())))  # fmt: skip
    heads = ["method", "family", "apart", "lowest", "highest"]
    table = pd.DataFrame(rows, columns=heads).nlargest(most, "apart", keep="first")
    return table.drop(columns="apart").set_index("method")


def _rate(rates: pd.Series, wording: str) -> str:
    return f"{100 * rates[wording]:.0f} %: “{wording}”"
