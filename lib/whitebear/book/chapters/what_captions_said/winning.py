"""Chapter 10, section 6: at which stage a request overrules an instruction, by part 4 of
data/why/declared.md."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import points
from whitebear.measures.winning import KEYS, STAGES, Change, change

VERBS = ("forget", "leave out")
SHOWS, LOW, UNSEEN = (word for word, _ in rules.WINNING.words)
TEXT, ATTENTION, PICTURE = ("eos", "pad"), "attention", "present"


def word(found: Change) -> str:
    """What is to be seen at a stage."""
    gain = {"gain": found.gain.value, "gain_low": found.gain.low, "gain_high": found.gain.high}
    return rules.WINNING(found.elsewhere, **gain)


@dataclass(frozen=True)
class Stages:
    """What a verb changes in a model, stage by stage (of `STAGES`)."""

    model: str
    verb: str
    changes: dict[str, Change]

    @property
    def words(self) -> dict[str, str]:
        return {stage: word(found) for stage, found in self.changes.items()}


def stages(inside: dict[str, pd.DataFrame], clauses: dict[str, pd.DataFrame]) -> list[Stages]:
    """Every model of which both tables are there (`WINNING` and `CLAUSES`), with each verb that
    forbids."""
    found = []
    for model in [name for name in inside if name in clauses]:
        table = inside[model]
        rows = clauses[model].merge(table, on=KEYS, how="left")
        found += [
            Stages(model, verb, {stage: change(rows, verb, stage) for stage in STAGES})
            for verb in VERBS
        ]
    return found


def lacking(inside: dict[str, pd.DataFrame], models: Iterable[str]) -> str:
    """Which of the models have not been looked into, as a sentence."""
    names = [name for name in models if name not in inside]
    if not names:
        return "All models of this page were looked into."
    return f"Not looked into yet (`python -m whitebear winning`): {', '.join(names)}."


def verdict(found: Stages) -> str:
    """Where a request's win shows, in the words of the declaration; "not judged" where it is not
    sure that in the picture anything is won."""
    words = found.words
    return rules.FIRST(
        picture=words[PICTURE] == SHOWS,
        text=sum(words[stage] == SHOWS for stage in TEXT),
        attention=words[ATTENTION] == SHOWS,
        blind=sum(words[stage] in (LOW, UNSEEN) for stage in (*TEXT, ATTENTION)),
    )


def panels(found: list[Stages]) -> dict[str, pd.DataFrame]:
    """A panel a model: a row a verb and stage, with what the verb changes elsewhere and where the
    concept is asked for (`Estimate`s), and what is to be seen there (`word`)."""
    tables: dict[str, dict] = {}
    for some in found:
        rows = tables.setdefault(some.model, {})
        for stage, name in STAGES.items():
            change_ = some.changes[stage]
            rows[some.verb, name] = {
                "elsewhere": change_.elsewhere, "asked": change_.asked, "word": some.words[stage],
            }  # fmt: skip
    return {model: pd.DataFrame.from_dict(rows, orient="index") for model, rows in tables.items()}


def claims(found: list[Stages]) -> list[Claim]:
    """Where the winning shows, a claim a model and verb: how much less the verb changes where the
    concept is asked for, stage by stage."""
    return [
        made(
            f"Where it shows that a request wins over “{some.verb}”: {some.model}",
            some.changes[PICTURE].gain, verdict(some), "fig-winning",
            "; ".join(f"{STAGES[stage]} {points(change_.gain)}"
                      for stage, change_ in some.changes.items()),
            of="pairs", control="the same verb where a place is asked for",
        )
        for some in found
    ]  # fmt: skip


def answer(found: list[Stages]) -> str:
    """One sentence: where it shows, model by model and verb by verb."""
    if not found:
        return "No model was looked into yet."
    said = [f"{some.model}, “{some.verb}”: {verdict(some)}" for some in found]
    return f"Where a request's win over the instruction shows: {'; '.join(said)}."
