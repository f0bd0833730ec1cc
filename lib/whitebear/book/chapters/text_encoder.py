"""Chapter 05: how far an instruction moves the states of a prompt, and what a probe reads there."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import quoted, signed
from whitebear.measures.text_states import FINAL, PLACE_NAMES, SPLITS
from whitebear.prompts import name_of
from whitebear.stats import Estimate

HOW = {"stays": "hardly moves", "falls": "moves away", "rises": "moves closer"}


def answer(changes: pd.DataFrame, found: pd.DataFrame, condition: str) -> str:
    """One sentence: what an instruction does to the end token, and whether a probe can read it."""
    moved = changes.loc[condition, FINAL, "eos"].difference
    how = HOW.get(rules.MOVES(moved), "moves by an undecided amount")
    best = max((_accuracy(found, place) for place in dict.fromkeys(found.place)),
               key=lambda e: e.value)  # fmt: skip
    return (
        f"Under “{name_of(condition)}”, the end token's state {how} from the plain request:"
        f" {signed(moved)} of the way to another concept, against the same words"
        f" without the instruction (n = {moved.n} pairs). Whether something is asked to"
        f" be absent is told by a linear probe in {best.percent()} of prompts about new concepts"
        " in new words; chance is 50 %."
    )


def _accuracy(found: pd.DataFrame, place: str) -> Estimate:
    return stats.rate(found[(found.place == place) & (found.split == SPLITS[2])])


def claims(changes: pd.DataFrame, found: pd.DataFrame) -> list[Claim]:
    """How far each instruction moves the end token, and what probes read."""
    conditions = dict.fromkeys(changes.index.get_level_values("condition"))
    moved = {c: changes.loc[c, FINAL, "eos"].difference for c in conditions}
    read = {place: _accuracy(found, place) for place in ("concept", "eos", "pad")}
    return [
        *(
            made(
                f"{quoted(condition)} moves the end token away from the concept",
                change, rules.MOVES(change), "fig-ladder-text", signed(change),
            )
            for condition, change in moved.items()
        ),
        *(
            made(
                f"“To be absent” can be read linearly off the {PLACE_NAMES[place]}",
                rate, rules.READ(rate), "fig-probes", of="prompts", control="chance, 50 %",
            )
            for place, rate in read.items()
        ),
    ]  # fmt: skip
