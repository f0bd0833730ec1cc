"""Chapter 12: the arena. What is shown, the short answer, the claims, and the declared hypotheses
(data/arena/declared.md), each by the rule declared with it."""

from collections.abc import Sequence

import pandas as pd

from whitebear import stats
from whitebear.arena.entries import REFERENCES, load_entries
from whitebear.arena.measures import against_untouched
from whitebear.arena.prompts import UNASKED
from whitebear.book.report import rules
from whitebear.book.report.arena import Judged, hypotheses
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import points
from whitebear.files import DATA
from whitebear.pocket.experiments import arena_results
from whitebear.pocket.experiments.arena import SCORED, SEEDS, TUNING
from whitebear.pocket.experiments.arena_results import Part
from whitebear.stats import Estimate

INSTRUCTION, REFERENCE = "instruction", "reference"
SPARED = {  # columns of the verdicts -> what a method is to leave alone
    "pair": "the second object of the prompt", "others": "other objects",
    "near": "the nearest object",
}  # fmt: skip
TITLES = {
    "1": "Hypothesis 1: “UCE” is several methods",
    "2": "Hypothesis 2: the word is not where the word stands",
    "5": "Hypothesis 5: published rows contain a hidden helper",
    "words": "An instruction in words reaches none of it",
}
CHANGES = ("minus", "change", "taken away")  # in the names of numbers that are points
NOT_YET = "No method of the arena is published yet: `python -m whitebear arena`."
GONE, KEPT, LOST = "left out", "spared", "harmed"  # words of the rules


def declared() -> str:
    """What was declared before, as Markdown for an output cell, in which headings are bold."""
    lines = (DATA / "arena" / "declared.md").read_text(encoding="utf-8").splitlines()
    lines = [f"**{line.lstrip('# ')}**" if line.startswith("#") else line for line in lines]
    text = "\n".join(lines)
    for name in ("families.csv", "methods.csv", "neighbours.csv"):
        text = text.replace(f"[{name}]({name})", f"`data/arena/{name}`")
    return text


def plan(parts: Sequence[Part]) -> str:
    """Which methods are shown, from how many pictures, and which are not, as a Markdown list."""
    shown = arena_results.where(parts)
    lines = [NOT_YET] if not parts else []
    for part in parts:
        names = [name for name, of in shown.items() if of is part and name not in REFERENCES]
        kind = "**Fewer pictures than declared**" if part.small else "**As declared**"
        tuned = f" and {part.seeds[TUNING]} of each tuning concept" if TUNING in part.seeds else ""
        then = f" (declared: {SEEDS}, and {SEEDS // 2} of each tuning concept)" * part.small
        none = "" if tuned else ", nothing tuned"
        lines.append(
            f"{kind}, {part.seeds[SCORED]} of each concept in each family{tuned}{none}{then}:"
            f" {_listed(names)}."
        )
    if absent := arena_results.missing(parts):
        lines.append(f"**Not drawn yet**: {_listed(absent)}.")
    return "\n".join(f"- {line}" for line in lines)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def methods(table: pd.DataFrame) -> list[str]:
    """The methods of a summary that are neither references nor the instruction."""
    place = {name: entry.place for name, entry in (REFERENCES | load_entries()).items()}
    return [n for n in table.index if place[n] != REFERENCE and n != INSTRUCTION]


def works(words: pd.DataFrame) -> pd.Series:
    """Whether each method works at a price that can be told: "yes" or "not shown". words: of
    `report.arena.verdicts`."""
    gone = (words.suppression == GONE).astype(int)
    spared = (words[list(SPARED)] == KEPT).sum(axis=1)
    found = [rules.WORKS(gone=g, spared=s) for g, s in zip(gone, spared, strict=True)]
    return pd.Series(found, words.index, dtype=object)


def answer(parts: Sequence[Part], table: pd.DataFrame, words: pd.DataFrame) -> str:
    """The chapter's answer in one sentence. table, words: summary and its verdicts."""
    if not parts:
        return NOT_YET
    told = "The instruction is not drawn yet"
    if INSTRUCTION in table.index:
        found = table.suppression[INSTRUCTION]
        told = (f"The instruction to forget takes away {found.percent()} of what held-out wordings"
                f" ask for (n = {found.n} pictures)")  # fmt: skip
    names = methods(table)
    few = ", in fewer pictures than declared" if any(part.small for part in parts) else ""
    if not names:
        return f"{told}; no other method is drawn yet{few}."
    gone = [name for name in names if words.suppression[name] == GONE]
    free = [name for name in gone if works(words)[name] == "yes"]
    harm = [name for name in gone if (words.loc[name, list(SPARED)] == LOST).any()]
    text = (
        f"{told}; of {len(names)} method{'s' * (len(names) != 1)} that"
        f" do{'es' * (len(names) == 1)} something else,"
        f" {_some(gone, 'leave out nine tenths or more of it', table.suppression)}"
    )
    if gone:
        text += f", and of these {_some(free, 'spare all that was to stay')}"
        text += f", {_some(harm, 'harm something of it')}"
    return f"{text}{few}."


def _some(names: Sequence[str], what: str, numbers: pd.Series | None = None) -> str:
    """How many are shown to do something, and which, with their numbers."""
    verb = "is" if len(names) == 1 else "are"
    each = [f"`{n}`" + ("" if numbers is None else f" {numbers[n].percent()}") for n in names]
    which = f" ({', '.join(each)})" if names else ""
    return f"{len(names) or 'none'} {verb} shown to {what}{which}"


def brought_in(parts: Sequence[Part]) -> str:
    """How often the instruction's concept is drawn where only something else is asked for."""
    part = arena_results.where(parts).get(INSTRUCTION)
    if part is None:
        return "The instruction is not drawn yet."
    rows = part.scored(INSTRUCTION)
    both = pd.concat([against_untouched(rows, part.untouched, family) for family in UNASKED])
    told, plain = (stats.rate(both.assign(present=both[c]), over=stats.KIND)
                   for c in ("value", "untouched"))  # fmt: skip
    change = stats.paired_difference(both, over=stats.KIND)
    return (
        "Under the instruction to forget the concept, a prompt that asks for something else alone"
        f" shows the concept in {told.percent()} of pictures; without it, in {plain.percent()}. The"
        f" instruction changes that by {points(change)} (n = {both.shape[0]} pictures)."
    )


def placebos(table: pd.DataFrame, words: pd.DataFrame) -> str:
    """Which methods take away what they were not told to, as a Markdown list."""
    lines = []
    for word in ("specific", "unspecific", rules.OPEN):
        names = [name for name in table.index if words.placebo[name] == word]
        each = [f"`{name}` {table.placebo[name].percent()}" for name in names]
        lines.append(f"- *{word}*: {', '.join(each) or 'none'}")
    return "\n".join(lines)


# --- claims ---------------------------------------------------------------------------------------


def claims(table: pd.DataFrame, words: pd.DataFrame, found: dict[str, Judged]) -> list[Claim]:
    """What is declared of each method, and the hypotheses. found: of `judged`."""
    per_method = [claim for name in table.index if name not in REFERENCES
                  for claim in _of(name, table.loc[name], words.loc[name])]  # fmt: skip
    return [*(_hypothesis(key, one) for key, one in found.items()), *per_method]


def _of(name: str, row: pd.Series, words: pd.Series) -> list[Claim]:
    control, told = "the same prompts untouched", "the same method told of the concept"
    number = row.suppression
    every = [_made(f"{name} leaves the concept out", number, words.suppression,
                   number.percent(), control)]  # fmt: skip
    for what, text in SPARED.items():
        if isinstance(number := row.get(f"{what}_change"), Estimate):
            every.append(_made(f"{name} spares {text}", number, words[what],
                               points(number), control))  # fmt: skip
    if isinstance(number := row.get("placebo"), Estimate):
        text = f"{name} takes away only what it was told to (placebo)"
        every.append(_made(text, number, words.placebo, number.percent(), told))
    return every


def _made(text: str, found: Estimate, verdict: str, estimate: str, control: str) -> Claim:
    figure = "fig-arena-intervals"
    return made(text, found, verdict, figure, estimate, of="pictures", control=control)


def judged(parts: Sequence[Part]) -> dict[str, Judged]:
    """The declared hypotheses whose methods were all drawn by one plan; of the full one if it has
    them."""
    found: dict[str, Judged] = {}
    for part in parts:
        fixed = {name: part.records[name]["entry"]["fixed"] for name in part.names}
        tables = {name: part.tables[name] for name in fixed if fixed[name] is not None}
        found = hypotheses(tables, fixed, part.untouched) | found
    return {key: found[key] for key in TITLES if key in found}


def outcomes(parts: Sequence[Part]) -> pd.DataFrame:
    """The verdict on each declared hypothesis by each plan that has its methods, side by side."""
    columns = {}
    for part in parts:
        kind = "fewer pictures" if part.small else "as declared"
        words = {TITLES[key]: one.verdict for key, one in judged([part]).items()}
        columns[f"{kind}, {part.seeds[SCORED]} a concept"] = words
    rows = [title for title in TITLES.values() if any(title in found for found in columns.values())]
    return pd.DataFrame(columns, index=rows).fillna("").rename_axis("declared")


def numbers(found: dict[str, Judged]) -> dict[str, pd.DataFrame]:
    """A panel a hypothesis that is judged: its numbers."""
    return {TITLES[key]: pd.DataFrame({"number": one.numbers}) for key, one in found.items()}


def still_open(found: dict[str, Judged]) -> str:
    """Which declared hypotheses are not judged here, as a sentence."""
    lacking = [TITLES[key].partition(":")[0] for key in TITLES if key not in found]
    text = ("Hypotheses 3 and 4 are about what is hidden rather than gone; probes judge them, and"
            " they are open here.")  # fmt: skip
    return text + (f" Not all methods are drawn yet for: {'; '.join(lacking)}." if lacking else "")


def _hypothesis(key: str, one: Judged) -> Claim:
    first = next(iter(one.numbers.values()))
    text = "; ".join(f"{name} {_number(name, found)}" for name, found in one.numbers.items())
    return made(TITLES[key], first, one.verdict, "fig-arena-numbers", text, of="pictures",
                control="the same prompts untouched, or another method")  # fmt: skip


def _number(name: str, found: Estimate) -> str:
    return points(found) if any(word in name for word in CHANGES) else found.percent()
