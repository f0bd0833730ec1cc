"""Chapter 10: the population of models, which clause wins in them, what their captions had said,
and what a law makes of that. The declared hypotheses are judged in `hypotheses`."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.phrases import points, spread
from whitebear.measures.clauses import against_neutral
from whitebear.pocket.experiments import law
from whitebear.pocket.experiments.groups import (
    ASKED_FOR,
    ELSEWHERE,
    INSTRUCTIONS,
    by_prompt,
    clauses,
    named,
    taken,
    with_runs,
    without,
)
from whitebear.pocket.experiments.members import GROUPS, MEMBERS, Member, Published, by_group
from whitebear.pocket.experiments.teach import load_cells
from whitebear.pocket.training.card import ASKED, BOTH

CUES = {  # wording -> how the page calls its cue
    "negate-no": "but no X", "negate-without": "without a X", "negate-not-draw": "do not draw a X",
    "forget-only-look": "forget the X", "forget-only-paper": "forget anything about a X",
    "mention-look": "look at the X", "affirm-request": "generate a picture of a X",
}  # fmt: skip
LOOKS = ("neutral verbs", *INSTRUCTIONS)  # how the rates of `winners` are called
Found = dict[str, Published]


def members(found: Found) -> pd.DataFrame:
    """The published members: what their captions are like, how well they draw what is asked."""
    rows = {
        name: {
            "captions": GROUPS[p.member.group], "seed": p.member.seed,
            "asked object drawn": _share(p.record["quality"][ASKED]),
            "both of a pair": _share(p.record["quality"][BOTH]),
            "minutes": round(sum(p.record["seconds"].values()) / 60), "on": p.record["hardware"],
        }
        for name, p in found.items()
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def missing(found: Found) -> str:
    """Which members of the declared population have not been trained yet, as a sentence."""
    names = [name for name in load_cells(MEMBERS, Member) if name not in found]
    if not names:
        return "All members that were declared are there."
    return (
        f"Not yet trained: {', '.join(names)}. Until a group has three members, what is said of it"
        " is said of the models that are named, not of training runs."
    )


def said(dose: pd.DataFrame) -> pd.DataFrame:
    """How surely this cue says that X is not there, by the law: a row a cue, a column a group of
    captions. dose: `tables.DOSE`."""
    groups = {
        m.group: (m.r, m.chatter) for m in load_cells(MEMBERS, Member).values() if m.seed == 1
    }
    first = dose[dose.mention == 1].set_index(["r", "chatter", "wording"])
    rows = {
        cue: {GROUPS[g]: _share(first.absence[*groups[g], wording]) for g in GROUPS}
        for wording, cue in CUES.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("a caption says")


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def misses(rates: pd.DataFrame, most: int = 12) -> pd.DataFrame:
    """The wordings of models at which the law is furthest off: predicted and drawn."""
    off = (rates.predicted - rates.rate).abs()
    worst = rates.assign(off=off).nlargest(most, "off")
    return pd.DataFrame({
        "model": worst.model, "prompt": worst.wording.map(law.texts()),
        "predicted": worst.predicted.map(_share), "drawn": worst.rate.map(_share),
    }).reset_index(drop=True)  # fmt: skip


RULES = {  # column of `law.beside_law` -> who predicts
    "predicted": "the law", "requested": "what is requested is drawn, nothing else",
    "named": "the law, and an unread word brings it in", "share": "the share of negation",
}  # fmt: skip


def rivals(rates: pd.DataFrame) -> pd.DataFrame:
    """R² of the law and of simpler rules, none of them fitted but the share: a row for each set of
    prompts, all models and each, and for the prompts that do not request X."""
    rows = {}
    for name, some in rates.groupby("set", sort=False):
        parts = {"all": some} | dict(iter(some.groupby("model", sort=False)))
        parts |= {"X not requested": some[some.requested == 0]}
        rows |= {(name, which): _fit(part) for which, part in parts.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["prompts", "of"])


def _fit(rates: pd.DataFrame) -> dict[str, str | int]:
    fits = {who: law.r_squared(rates, column) for column, who in RULES.items()}
    return {who: f"{fit:.2f}" for who, fit in fits.items()} | {"n": len(rates)}


def answer(found: Found, rates: pd.DataFrame) -> str:
    """What the population says so far, from its numbers; who the models are stands with it."""
    groups = by_group({name: p for name, p in found.items() if p.usable})
    if not groups:
        return "No member of the population is trained yet."
    parts = [f"{GROUPS[name].capitalize()}: {_taken(group)}" for name, group in groups.items()]
    fits = []
    for name, rows in rates.groupby("set", sort=False):
        ours, rule = (law.r_squared(rows, column) for column in ("predicted", "requested"))
        fits.append(f"{ours:.2f} of it over {name} (the rule: {rule:.2f})")
    return (
        f"{_which_wins(groups)} In {len(found)} models that learned to read from nothing"
        f" ({', '.join(found)}), by what their captions are. {'. '.join(parts)}. Of the"
        f" variance between wordings and models a law that knows captions only explains"
        f" {', '.join(fits)}; “the rule” is that what is requested is drawn and"
        " nothing else, and needs no captions."
    )


def _which_wins(groups: dict[str, list[Published]]) -> str:
    """What instructions take away by what is asked for: of all groups, and of each."""
    told = {name: [taken(group, rows) for rows in _asked(group)] for name, group in groups.items()}
    each = ", ".join(f"{other.percent()} ({GROUPS[name]})" for name, (other, _) in told.items())
    of_itself = spread(pd.Series([itself.value for _, itself in told.values()]))
    return (
        f"In prompts of two clauses, of an object that is then asked for by name, “forget” and"
        f" “leave out” take away"
        f" {of_itself} %, by model; where something else is asked for, {each} of it."
    )


def _asked(group: list[Published]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the instructions where something else is asked for, and where the object is."""
    told = clauses(group, verb=INSTRUCTIONS, subject="concept")
    return told[told.request.isin(ELSEWHERE)], told[told.request == "name"]


def _taken(group: list[Published]) -> str:
    elsewhere, by_name = _asked(group)
    plain = " and ".join(each.percent() for each in without(group).values())
    return (
        f"the two wordings with a plain “without” take away {plain}; “forget” and “leave out” take"
        f" away {taken(group, elsewhere).percent()} where something else is asked for"
        f" ({spread(by_prompt(elsewhere))} % by prompt), and {taken(group, by_name).percent()}"
        f" where the object itself is{_insisted(group)}"
    )


def _insisted(group: list[Published]) -> str:
    rows = named(group)
    if rows.empty:
        return ""
    return (
        f"; and the instructions of *Every wording*, where it then is,"
        f" {taken(group, rows).percent()} ({spread(by_prompt(rows))} % by wording)"
    )


# --- wordings and clauses -------------------------------------------------------------------------


def wordings(found: Found, condition: str) -> dict[str, pd.DataFrame]:
    """A panel a wording: a row a group, with the rate of the wording and of its control."""
    groups = by_group(found)
    tables = {name: with_runs(group, lambda p: p.scores) for name, group in groups.items()}
    some = next(iter(tables.values()))
    panels = {}
    for wording in dict.fromkeys(some.wording[some.condition == condition]):
        rows = {}
        for name, table in tables.items():
            own = table[table.wording == wording]
            control = table[table.wording == own.control.iloc[0]]
            rows[GROUPS[name]] = {"its control": stats.rate(control), "told": stats.rate(own)}
        panels[own.text.iloc[0]] = pd.DataFrame.from_dict(rows, orient="index")
    return panels


def winners(found: Found) -> dict[str, pd.DataFrame]:
    """A panel a group: rates of the concept by request and order (rows), under the neutral verbs
    and under each that forbids; frames taken together."""
    return {
        GROUPS[name]: by_place(clauses(group, subject="concept"))
        for name, group in by_group(found).items()
    }


def winners_of(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same for models of other chapters: name -> table `clauses`."""
    told = {name: against_neutral(table) for name, table in tables.items()}
    return {f"{name} model": by_place(rows[rows.subject == "concept"])
            for name, rows in told.items()}  # fmt: skip


def by_place(rows: pd.DataFrame) -> pd.DataFrame:
    """Rates by request and order, a column each of LOOKS; rows: of `against_neutral`."""
    rows = rows.assign(who=rows.verb.where(~rows.neutral.astype(bool), "neutral verbs"))
    return pd.DataFrame(
        {
            place: {who: stats.rate(some[some.who == who]) for who in LOOKS}
            for place, some in rows.groupby(["request", "order"], sort=False)
        }
    ).T[list(LOOKS)]


def others(tables: dict[str, pd.DataFrame]) -> str:
    """What “forget” and “leave out” take away in models of other chapters, as a sentence."""
    if not tables:
        return "Their clauses are not published yet: `python -m whitebear clauses`."
    parts = []
    for name, table in tables.items():
        rows = against_neutral(table)
        rows = rows[rows.verb.isin(INSTRUCTIONS) & (rows.subject == "concept")]
        gone = [stats.taken_away(rows[rows.request.isin(where)]).percent()
                for where in (ELSEWHERE, ASKED_FOR)]  # fmt: skip
        parts.append(
            f"in the {name} model “forget” and “leave out” take away {gone[0]} where something else"
            f" is asked for, and {gone[1]} where the object itself is"
        )
    return "; ".join(parts).capitalize() + "."


def other_way(found: Found) -> pd.DataFrame:
    """Every clause under which an instruction raises the rate, its interval above 0: a row a group
    and wording."""
    rows = []
    for name, group in by_group(found).items():
        told = clauses(group, verb=INSTRUCTIONS)
        for _, some in told.groupby("wording", sort=False):
            change = stats.paired_difference(some)
            if rules.MOVED(change) == "raises it":
                rows.append((GROUPS[name], some.text.iloc[0], points(change)))
    return pd.DataFrame(rows, columns=["captions", "prompt", "against the neutral verbs"])
