"""Chapter 10: the population of models, which clause wins in them, what their captions had said,
and the law; hypotheses 7 to 12 of data/why/declared.md, each by the rule declared with it."""

from collections.abc import Callable

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import points
from whitebear.measures.clauses import against_neutral
from whitebear.pocket.experiments import law
from whitebear.pocket.experiments.members import GROUPS, MEMBERS, Member, Published, by_group
from whitebear.pocket.experiments.teach import load_cells
from whitebear.pocket.training.card import ASKED, BOTH
from whitebear.prompts import load_wordings
from whitebear.prompts.clauses import load_clauses
from whitebear.stats import Estimate

WITHOUT = ("negate-without", "negate-pair-without")
INSTRUCTIONS = ("forget", "leave out")
ASKED_FOR, ELSEWHERE = ("name", "description"), ("place", "other")
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
    texts = pd.concat([load_wordings(), load_clauses()]).set_index("id").text
    off = (rates.predicted - rates.rate).abs()
    worst = rates.assign(off=off).nlargest(most, "off")
    return pd.DataFrame({
        "model": worst.model, "prompt": worst.wording.map(texts),
        "predicted": worst.predicted.map(_share), "drawn": worst.rate.map(_share),
    }).reset_index(drop=True)  # fmt: skip


def answer(found: Found, claims: list[Claim], rates: pd.DataFrame) -> str:
    """What the population says so far, from its numbers; who the models are stands with it."""
    groups = by_group({name: p for name, p in found.items() if p.usable})
    if not groups:
        return "No member of the population is trained yet."
    parts = [f"{GROUPS[name].capitalize()}: {_taken(group)}" for name, group in groups.items()]
    law_ = {name: law.explained(rows) for name, rows in rates.groupby("set", sort=False)}
    said_ = ", ".join(f"{e.value:.2f} of it over {name}" for name, e in law_.items())
    return (
        f"In {len(found)} models that learned to read from nothing ({', '.join(found)}), by what"
        f" their captions are. {'. '.join(parts)}. Of the variance between wordings and models a"
        f" law that knows captions only explains {said_} (1 is all)."
    )


def _taken(group: list[Published]) -> str:
    told = {"verb": INSTRUCTIONS, "subject": "concept"}
    elsewhere = stats.taken_away(clauses(group, request=ELSEWHERE, **told))
    by_name = stats.taken_away(clauses(group, request="name", **told))
    return (
        f"a plain “without” takes away {without(group).percent()}; “forget” and “leave out” take"
        f" away {elsewhere.percent()} where something else is asked for, and"
        f" {by_name.percent()} where the object itself is"
    )


# --- wordings and clauses -------------------------------------------------------------------------


def with_runs(group: list[Published], table: Callable[[Published], pd.DataFrame]) -> pd.DataFrame:
    """The rows of one table of all members of a group, with `run`, the member's id."""
    return pd.concat([table(p).assign(run=p.member.id) for p in group], ignore_index=True)


def over(group: list[Published], *factors: str) -> tuple[str, ...]:
    """What an interval may speak about: these factors, and training runs where there are enough."""
    return (*factors, "run") if len(group) >= stats.RUNS else factors


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


def clauses(group: list[Published], **place) -> pd.DataFrame:
    """Rows of a group's clauses held against the neutral verbs in the same place, with `run`.

    place: column -> the value or values that are wanted.
    """
    rows = with_runs(group, lambda p: against_neutral(p.clauses))
    for column, wanted in place.items():
        wanted = [wanted] if isinstance(wanted, str) else list(wanted)
        rows = rows[rows[column].isin(wanted)]
    return rows


def changed(group: list[Published], level: float = stats.LEVEL, **place) -> Estimate:
    """What verbs change against the neutral ones, over concepts and wordings (and runs)."""
    rows = clauses(group, **place)
    return stats.paired_difference(rows, level, over=over(group, "concept", "wording"))


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


# --- the hypotheses -------------------------------------------------------------------------------


def claims(found: Found, rates: pd.DataFrame) -> list[Claim]:
    """Hypotheses 7 to 12, a claim a group where that is how they were declared.

    rates: of `law.beside_law`, the members' rows.
    """
    groups = by_group({name: p for name, p in found.items() if p.usable})
    made_of = [overrules, acts, specific, ordered]
    per_group = [claim for make in made_of for name in groups for claim in make(name, groups[name])]
    return [*per_group, *captions_not_share(groups), *lawful(rates)]


def who(name: str, group: list[Published]) -> str:
    """Whom a claim about a group speaks of: its models by name, or training runs like them."""
    ids = ", ".join(p.member.id for p in group)
    return f"{GROUPS[name]} ({ids})"


def overrules(name: str, group: list[Published]) -> list[Claim]:
    """7: where X is asked for, forget and leave out change nothing."""
    found = []
    for verb in INSTRUCTIONS:
        for request in ASKED_FOR:
            place = {"verb": verb, "request": request, "subject": "concept"}
            change, near = changed(group, **place), changed(group, 0.90, **place)
            found.append(_made(
                f"“{verb.capitalize()}” changes nothing where it is then asked for by {request}:"
                f" {who(name, group)}",
                change, rules.NOTHING(change, near), points(change),
            ))  # fmt: skip
    return found


def acts(name: str, group: list[Published]) -> list[Claim]:
    """8: where something else is asked for, forget and leave out lower the rate by half or more,
    in two of three frames; where captions never negate, in none."""
    found = []
    for verb in INSTRUCTIONS:
        rows = clauses(group, verb=verb, request=ELSEWHERE, subject="concept")
        by_frame = {
            frame: stats.taken_away(some) for frame, some in rows.groupby("frame", sort=False)
        }
        room = rows.groupby("frame").control_value.mean()
        judged = [frame for frame in by_frame if room[frame] >= rules.ROOM]
        obeyed = [frame for frame in judged if rules.OBEYED(by_frame[frame]) == "obeys"]
        rule = rules.SILENT if name == "none" else rules.ACTS
        all_frames = stats.taken_away(rows)
        text = "; ".join(f"{frame} {by_frame[frame].percent()}" for frame in judged) or "no room"
        found.append(_made(
            f"“{verb.capitalize()}” takes away half or more where something else is asked for:"
            f" {who(name, group)}",
            all_frames, rule(obeyed=len(obeyed), judged=len(judged)), text,
        ))  # fmt: skip
    return found


def specific(name: str, group: list[Published]) -> list[Claim]:
    """10: told to forget another object, a model draws the one that is asked for."""
    place = {"verb": INSTRUCTIONS, "subject": "other"}
    change, near = changed(group, **place), changed(group, 0.90, **place)
    text = f"An instruction about another object changes nothing: {who(name, group)}"
    return [_made(text, change, rules.NOTHING(change, near), points(change))]


def ordered(name: str, group: list[Published]) -> list[Claim]:
    """12: where X is asked for, it does not matter which clause comes first."""
    rows = clauses(group, verb=INSTRUCTIONS, request=ASKED_FOR, subject="concept")
    keys = ["run", "concept", "seed", "verb", "frame", "request"]
    value = rows.set_index([*keys, "order"]).present.astype(float).unstack("order")
    pairs = (value["first"] - value["last"]).rename("difference").reset_index()
    pairs["wording"] = pairs.verb + pairs.frame + pairs.request
    about = {"over": over(group, "concept", "wording")}
    change, near = (stats.paired_difference(pairs, level, **about) for level in (stats.LEVEL, 0.90))
    text = f"It does not matter which clause comes first: {who(name, group)}"
    return [_made(text, change, rules.NOTHING(change, near), points(change),
                  control="the same sentences in the other order")]  # fmt: skip


def without(group: list[Published]) -> Estimate:
    """How much of X a plain “without” takes away, against the same words with “with”."""
    pairs = with_runs(group, lambda p: stats.add_control(p.scores))
    return stats.taken_away(pairs[pairs.wording.isin(WITHOUT)])


def captions_not_share(groups: dict[str, list[Published]]) -> list[Claim]:
    """9: a plain “without” is obeyed where captions with it lacked the thing."""
    found = []
    for name, wanted in (("quiet", True), ("fifth", True), ("none", False)):
        if name in groups:
            estimate = without(groups[name])
            word = rules.OBEYED(estimate)
            right = {"obeys": wanted, "does not obey": not wanted}.get(word)
            verdict = {True: rules.HOLDS, False: rules.REFUTED, None: rules.OPEN}[right]
            text = "is obeyed" if wanted else "is not obeyed"
            found.append(_made(
                f"A plain “without” {text}: {who(name, groups[name])}",
                estimate, verdict, estimate.percent(), control="the same words with “with”",
            ))  # fmt: skip
    if {"quiet", "web"} <= set(groups):
        found.append(quieter(groups["quiet"], groups["web"]))
    return found


def quieter(quiet: list[Published], web: list[Published]) -> Claim:
    """9: “without” leaves less in models of quiet chatter than in those that read all of it."""
    seeds = {p.member.seed for p in quiet} & {p.member.seed for p in web}
    pick = lambda group: [p for p in group if p.member.seed in seeds]  # noqa: E731
    keys = ["run", "concept", "seed", "wording"]
    rate = {}
    for name, group in (("quiet", pick(quiet)), ("web", pick(web))):
        rows = with_runs(group, lambda p: p.scores).assign(
            run=lambda t: t.run.str.extract(r"-(\d+)$", expand=False)
        )
        rows = rows[rows.wording.isin(WITHOUT)]
        rate[name] = rows.set_index(keys).present.astype(float)
    pairs = (rate["quiet"] - rate["web"]).rename("difference").reset_index()
    factors = ("concept", "run") if len(seeds) >= stats.RUNS else ("concept",)
    change, near = (stats.paired_difference(pairs, n, over=factors) for n in (stats.LEVEL, 0.90))
    return _made(
        "At the same share of negation, “without” is obeyed more where chatter never uses the word:"
        f" seed {', '.join(map(str, sorted(seeds)))}",
        change, rules.MORE(change, near), points(change), control="captions with all chatter",
    )  # fmt: skip


def lawful(rates: pd.DataFrame) -> list[Claim]:
    """11: the law explains half of the variance or more, and more than its rivals do."""
    found = []
    for name, rows in rates.groupby("set", sort=False):
        ours, rivals = law.explained(rows), [law.explained(rows, c) for c in ("named", "share")]
        best = max(rivals, key=lambda e: e.value)
        text = (f"R² {ours.value:.2f} [{ours.low:.2f}, {ours.high:.2f}]; an unread word brings it"
                f" in: {rivals[0].value:.2f}; the share alone: {rivals[1].value:.2f}")  # fmt: skip
        found.append(made(
            f"What captions said predicts what is drawn: {name}", ours,
            rules.LAW(ours, rival=best.value), "fig-law", text, of="wordings of models",
            control="the share of negation, and names",
        ))  # fmt: skip
    return found


def _made(text: str, found: Estimate, verdict: str, estimate: str, control="the neutral verbs"):
    figure = "fig-clauses" if control == "the neutral verbs" else "fig-population"
    return made(text, found, verdict, figure, estimate, of="pictures", control=control)
