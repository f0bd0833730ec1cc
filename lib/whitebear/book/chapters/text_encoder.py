"""Chapter 05: how far an instruction moves the states of a prompt, and what a probe reads there."""

import pandas as pd

from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import ends, moved_under, quoted, signed, texts_of
from whitebear.measures.text_states import FINAL, PLACE_NAMES, accuracy
from whitebear.prompts import load_wordings, name_of

HOW = {"stays": "hardly moves", "falls": "moves away", "rises": "moves closer"}
AWAY = "moves the end token away from the concept"


def answer(changes: pd.DataFrame, wordings: pd.Series, found: pd.DataFrame, condition: str) -> str:
    """What an instruction does to the end token, which wordings move it, and whether a probe can
    read it. changes, wordings: of `text_states.changes`, `wording_changes`; found: of `probe`."""
    moved = changes.loc[condition, FINAL, "eos"].difference
    how = HOW.get(rules.MOVES(moved), "moves by an undecided amount")
    best = max((accuracy(found, place) for place in dict.fromkeys(found.place)),
               key=lambda e: e.value)  # fmt: skip
    return (
        f"Under “{name_of(condition)}”, the end token's state {how} from the plain request:"
        f" {signed(moved)} of the way to another concept, against the same words"
        f" without the instruction (n = {moved.n} pairs). Its likeness to the request, wording by"
        f" wording (of {len(wordings)}, all kinds of instruction):"
        f" {moved_under(wordings.map(rules.MOVES))}. Whether something is asked to be absent is"
        f" told by a linear probe in {best.percent()} of prompts about new concepts in new words;"
        " chance is 50 %. X is the concept, Y another object, B a place."
    )


def by_wording(wordings: pd.Series) -> pd.DataFrame:
    """A row a wording: how far it moves the end token, and the word for that."""
    columns = {"change": wordings.map(signed), "verdict": wordings.map(rules.MOVES)}
    return pd.DataFrame(columns).set_axis(texts_of(wordings.index))


def claims(changes: pd.DataFrame, wordings: pd.Series, found: pd.DataFrame) -> list[Claim]:
    """How far each kind of instruction, and each wording, moves the end token; what probes read."""
    conditions = dict.fromkeys(changes.index.get_level_values("condition"))
    kind = load_wordings().set_index("id").condition[wordings.index]
    kinds = [
        _moved(quoted(c), changes.loc[c, FINAL, "eos"].difference, wordings[kind == c])
        for c in conditions
    ]
    each = [
        _moved(text, change)
        for text, change in zip(texts_of(wordings.index), wordings, strict=True)
    ]
    return kinds + each + [_read(found, place) for place in ("concept", "eos", "pad")]


def _moved(name: str, change, wordings=()) -> Claim:
    text = signed(change)
    if len(wordings):
        text += f"; by wording {ends(e.value for e in wordings)}"
    return made(f"{name} {AWAY}", change, rules.MOVES(change), "fig-ladder-text", text)


def _read(found: pd.DataFrame, place: str) -> Claim:
    rate = accuracy(found, place)
    return made(
        f"“To be absent” can be read linearly off the {PLACE_NAMES[place]}",
        rate, rules.READ(rate), "fig-probes", of="prompts", control="chance, 50 %",
    )  # fmt: skip
