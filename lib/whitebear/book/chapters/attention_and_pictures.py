"""Chapter 07: what attention to the word is a share of, layer by layer, and what it says of
pictures."""

import pandas as pd

from whitebear.book.report import rules
from whitebear.book.report.claim import UNTOLD, Claim, made
from whitebear.book.report.phrases import moved_under, quoted, signed, spread, texts_of
from whitebear.measures.heads import DENOMINATORS, rank_correlation
from whitebear.prompts import load_wordings, name_of
from whitebear.stats import Estimate, counted

ALL = next(iter(DENOMINATORS))  # the denominator of layers, heads, and single wordings


def answer(shares: pd.DataFrame, each: pd.DataFrame, changes: pd.DataFrame) -> str:
    """shares, each: of `heads.by_denominator` by condition and by wording; changes: of
    `heads.by_wording`."""
    parts = []
    for condition in dict.fromkeys(shares.index.get_level_values(1)):
        values = sorted(e.value for e in shares.xs(condition, level=1).relative)
        own = _of(each.loc[ALL].relative, condition)
        parts.append(f"“{name_of(condition)}” by {spread(values, '+')} %"
                     f" (wording by wording {spread((e.value for e in own), '+')} %)")  # fmt: skip
    words, rho = each.loc[ALL].relative.map(rules.MOVES), rank_correlation(changes)
    kinds = {
        c: rank_correlation(some).value for c, some in changes.groupby("condition", sort=False)
    }
    inside = ", ".join(
        f"“{name_of(c)}” {value:+.2f}".replace("-", "−")
        for c, value in kinds.items()
        if value == value
    )
    return (
        f"By the choice of what it is a share of, attention to the word changes under"
        f" {', under '.join(parts)}. Of all tokens, wording by wording (of {len(words)}):"
        f" {moved_under(words)}. Over the wordings, the change of attention and the change of"
        f" presence {rules.TOGETHER(rho)} (Spearman's ρ = {signed(rho, 2)}; among the wordings of"
        f" one kind: {inside}). X is the concept, Y another object, B a place."
    )


def _of(wordings: pd.Series, condition: str) -> pd.Series:
    """The rows that belong to one condition; index wording."""
    return wordings[load_wordings().set_index("id").condition[wordings.index] == condition]


def wording_table(each: pd.DataFrame) -> pd.DataFrame:
    """A row a wording: how it changes attention to the word, of all tokens, and the word for that.

    each: of `heads.by_denominator` by wording.
    """
    single = each.loc[ALL].relative
    columns = {"change": [e.percent() for e in single], "n": [e.n for e in single],
               "verdict": [rules.MOVES(e) for e in single]}  # fmt: skip
    return pd.DataFrame(columns, index=texts_of(single.index))


def layer_words(layers: pd.DataFrame, condition: str) -> pd.Series:
    """What attention to the word does in each layer; table of `heads.by_layer`."""
    return layers.xs(condition, level=1).relative.map(rules.MOVES)


def in_every_layer(words: pd.Series) -> str:
    """Whether it falls in every layer; words: of `layer_words`."""
    count = {word: int((words == word).sum()) for word in ("falls", "stays", "rises")}
    return rules.EVERY_LAYER(layers=len(words), **count)


def claims(
    shares: pd.DataFrame, each: pd.DataFrame, layers: pd.DataFrame, rho: Estimate
) -> list[Claim]:
    """The change under each condition and denominator, wording by wording, layer by layer, and the
    relation. Tables as in `answer`, and of `heads.by_layer`."""
    kinds = [
        _lowers(f"{quoted(condition)} lowers attention to the word ({what})", found,
                _of(each.loc[what].relative, condition))
        for (what, condition), found in shares.relative.items()
    ]  # fmt: skip
    single = each.loc[ALL].relative
    wordings = [
        _lowers(f"{name} lowers attention to the word ({ALL})", found)
        for name, found in zip(texts_of(single.index), single, strict=True)
    ]
    conditions = dict.fromkeys(layers.index.get_level_values(1))
    related = made(
        "Wordings that lower attention to the word lower its presence", rho, rules.TOGETHER(rho),
        "fig-relation", f"ρ = {signed(rho, 2)}", of="wordings and concepts", control="no relation",
    )  # fmt: skip
    return [*kinds, *wordings, *(_in_every_layer(layers, c) for c in conditions), related]


def _lowers(claim: str, found: Estimate, wordings=()) -> Claim:
    text = f"{found.percent()} of the control"
    if len(wordings):
        text += f"; by wording {spread((e.value for e in wordings), '+')} %"
    return made(claim, found, rules.MOVES(found), "fig-denominators", text)


def _in_every_layer(layers: pd.DataFrame, condition: str) -> Claim:
    words = layer_words(layers, condition)
    falls, pairs = (words == "falls").sum(), layers.xs(condition, level=1).relative.iloc[0].n
    return Claim(
        f"Under “{name_of(condition)}” attention to the word falls in every layer",
        counted(int(falls), len(words)), f"it falls in {falls} of {len(words)}",
        f"{pairs} pairs a layer", UNTOLD, in_every_layer(words), "fig-denominators",
    )  # fmt: skip
