"""Numbers and findings as text, for more than one chapter."""

from collections.abc import Iterable

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.prompts import fill, load_wordings, name_of
from whitebear.stats import Estimate


def points(difference: Estimate) -> str:
    """A difference of rates for prose: "−3 points [−6, −1]"."""
    return difference.percent().replace(" %", " points")


def signed(found: Estimate, digits: int = 3) -> str:
    """ "+0.030 [−0.012, 0.071]" with proper minus signs; "undefined" where there is no number."""
    if pd.isna(found.value):
        return "undefined"
    known = not pd.isna(found.low)
    ends = f" [{found.low:.{digits}f}, {found.high:.{digits}f}]" if known else ""
    return f"{found.value:+.{digits}f}{ends}".replace("-", "−")


def quoted(condition: str) -> str:
    """The name of a condition at the beginning of a sentence: "“Asked to leave it out”"."""
    return f"“{name_of(condition).capitalize()}”"


def said(text: str) -> str:
    """A wording for prose: X is the concept, Y another object, B a place.

    >>> said("a picture of a {o} without a {c}")
    'a picture of Y without X'
    """
    return fill(text, c="X", o="Y", b="B", d="{what X is}")[0]


def spread(values: Iterable[float], sign: str = "") -> str:
    """The lowest and the highest of some shares in percent: "0 to 90"; sign "+": "−32 to +25"."""
    values = list(values)
    ends = (f"{100 * end:{sign}.0f}" for end in (min(values), max(values)))
    ends = dict.fromkeys("0" if float(end) == 0 else end for end in ends)
    return " to ".join(ends).replace("-", "−")


def ends(values: Iterable[float], digits: int = 3) -> str:
    """The lowest and the highest of some numbers, once where they are printed alike:
    "−0.524 to −0.004"."""
    values = list(values)
    texts = dict.fromkeys(f"{end:+.{digits}f}" for end in (min(values), max(values)))
    return " to ".join(texts).replace("-", "−")


def texts_of(wordings: Iterable[str]) -> list[str]:
    """Ids of wordings as prose has them, in quotation marks: ["“a picture of Y without X”"]."""
    known = load_wordings().set_index("id").text
    return [f"“{said(known[wording])}”" for wording in wordings]


def which(words: pd.Series, word: str) -> str:
    """How many wordings got a word, and which: "2 (“a picture of B without X”, ...)", or "none".

    words: the word of each wording; index wording.
    """
    found = texts_of(words.index[words == word])
    return f"{len(found)} ({', '.join(found)})" if found else "none"


def moved_under(words: pd.Series) -> str:
    """Under which wordings something moves, and under how many it does not, for prose; words: of
    `rules.MOVES`, index wording."""
    less, untold = ((words == word).sum() for word in ("stays", rules.UNDECIDED))
    return (
        f"it falls by {100 * rules.MARGIN:.0f} % or more under {which(words, 'falls')}, rises by as"
        f" much under {which(words, 'rises')}, and changes by less under {less or 'none'}"
        + f"; under {untold} it cannot be told"
        * bool(untold)
    )


def differ(wordings: pd.DataFrame) -> bool:
    """Whether rates, or changes, lie further apart than the margin; rows of `stats.by_wording`."""
    values = wordings[["rate", "difference"]].map(lambda e: e.value)
    return bool((values.max() - values.min() > rules.MARGIN).any())


def by_condition(scores: pd.DataFrame) -> pd.DataFrame:
    """`stats.summary` with the conditions as its index: each with all its wordings, so its
    intervals speak about other wordings, too."""
    return stats.summary(scores).set_index("condition")


def instructed(scores: pd.DataFrame) -> list[str]:
    """The conditions that have a control to be held against."""
    return list(dict.fromkeys(scores.condition[scores.control != ""]))


def usable(table: pd.DataFrame) -> bool:
    """Whether asking for a concept changes the pictures enough for obedience to be judged.

    table: of `by_condition`.
    """
    if not {"affirm", "omit"} <= set(table.index):
        return False
    return rules.ASKING(low=table.rate["affirm"].low - table.rate["omit"].high) == "yes"


def outcome(table: pd.DataFrame, condition: str) -> str:
    """The word for what a condition removes; "undecided" where obedience cannot be judged."""
    return rules.SUPPRESSION(table.suppression[condition]) if usable(table) else rules.UNDECIDED


def changed(pairs: pd.DataFrame) -> str:
    """What a kind of instruction changes by itself, in one word; pairs: rows of its wordings, of
    `stats.add_control`."""
    near = stats.paired_difference(pairs, 0.90, over=stats.KIND)
    return rules.CHANGE(stats.paired_difference(pairs, over=stats.KIND), near)


def changes(wordings: pd.DataFrame) -> pd.Series:
    """The word for each wording, of its own change; wordings: of `stats.by_wording`."""
    words = [
        rules.WORDING(
            row.difference, row.near, p=row.p_holm, taken=row.taken.low, control=row.control_value
        )
        for row in wordings.itertuples()
    ]
    return pd.Series(words, index=wordings.index, dtype=object)


def wording_claims(wordings: pd.DataFrame, figure: str) -> list[Claim]:
    """A claim for each wording: the name under the instruction against the same name without it.

    wordings: of `stats.by_wording`.
    """
    return [
        made(
            f"“{said(row.text)}” changes how often X is drawn",
            row.difference,
            word,
            figure,
            f"{100 * row.rate.value:.0f} %, its control {100 * row.control_value:.0f} %:"
            f" {points(row.difference)}",
        )
        for row, word in zip(wordings.itertuples(), changes(wordings), strict=True)
    ]


def by_obedience(wordings: pd.DataFrame) -> dict[str, list[str]]:
    """Ids of the wordings that are obeyed, that are not, and of which a run cannot say.

    Obeyed is what takes away half or more of what its control shows, by the interval; a control
    that shows too little leaves no room for that. wordings: of `stats.by_wording`.
    """
    words = wordings.taken.map(rules.OBEYS).where(wordings.control_value >= rules.ROOM, rules.OPEN)
    return {word: list(wordings.index[words == word])
            for word in ("obeys", "does not obey", rules.OPEN)}  # fmt: skip


def obeyed(wordings: pd.DataFrame) -> dict[str, str]:
    """`by_obedience` as words of a table: ids, or "none"."""
    return {word: ", ".join(ids) or "none" for word, ids in by_obedience(wordings).items()}


def instrument(table: pd.DataFrame) -> str:
    """How often a concept is found where it is asked for and where it is not mentioned."""
    if not {"affirm", "omit"} <= set(table.index):
        return "the run needs both the conditions affirm and omit"
    return (
        f"the concept is found in {table.rate['affirm'].percent()} of the pictures that ask for it"
        f" and in {table.rate['omit'].percent()} of those that do not mention it"
    )


def findings(scores: pd.DataFrame) -> str:
    """A chapter's findings as a Markdown list: instrument first, then one item an instruction."""
    table, every = by_condition(scores), stats.add_control(scores)
    wordings = stats.by_wording(scores)
    lines = [f"**The instrument.** {instrument(table).capitalize()}."]
    if not usable(table):
        lines[0] += " That is too little difference: what follows says nothing about obedience."
    for condition in instructed(scores):
        row, pairs = table.loc[condition], every[every.condition == condition]
        own = wordings[wordings.condition == condition]
        word, apart = outcome(table, condition), differ(own)
        if apart and word == rules.UNDECIDED and usable(table):
            word = "it depends on the wording"
        lines.append(
            f"**{quoted(condition)}: {word}.** The concept is in {row.rate.percent()} of {row.n}"
            f" pictures of {row.concepts} concepts; relative to a plain request,"
            f" {row.suppression.percent()} is suppressed."
            f" Against the same words without the instruction the rate changes by"
            f" {points(row.difference)}: {effect(row.difference, changed(pairs))}."
            + (f" Wording by wording, and in brackets without it: {one_by_one(own)}." * apart)
        )
    return "\n".join(f"- {line}" for line in lines)


def one_by_one(wordings: pd.DataFrame) -> str:
    """ "“a picture of B without X” 87 % (96 %), ...": the rate of each wording, and in brackets
    that of its control; wordings: rows of `stats.by_wording`."""
    return ", ".join(
        f"“{said(row.text)}” {100 * row.rate.value:.0f} % ({100 * row.control_value:.0f} %)"
        for row in wordings.itertuples()
    )


def effect(difference: Estimate, change: str) -> str:
    """What an instruction does to a rate, for the end of a sentence; change: of `changed`."""
    margin, moved = f"{100 * rules.MARGIN:.0f} points", rules.MOVED(difference)
    if change == "no change":
        known = moved != rules.UNDECIDED
        also = f" (it {moved.replace('it', 'the rate')}, but by less than that)" if known else ""
        return f"shown to be smaller than {margin} either way{also}"
    if moved != rules.UNDECIDED:
        return f"the instruction itself {moved}"
    return f"too few pictures to tell it from nothing, or to bound it by {margin}"
