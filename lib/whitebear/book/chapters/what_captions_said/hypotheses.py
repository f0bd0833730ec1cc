"""Hypotheses 7 to 12 of data/why/declared.md, each by the rule declared with it, and what stands
beside them without a declaration."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import points, spread
from whitebear.pocket.experiments import law
from whitebear.pocket.experiments.groups import (
    ASKED_FOR,
    ELSEWHERE,
    INSTRUCTIONS,
    WITHOUT,
    by_prompt,
    changed,
    clauses,
    named,
    over,
    taken,
    with_runs,
    without,
)
from whitebear.pocket.experiments.members import GROUPS, Published, by_group
from whitebear.stats import Estimate

OTHER_ORDER = "the same sentences in the other order"
TAKEN = "takes away half or more"  # what hypothesis 8 says of an instruction, but of these groups:
TAKES = {"none": "does not take away half or more", "web": "(not declared) is obeyed"}


def claims(found: dict[str, Published], rates: pd.DataFrame) -> list[Claim]:
    """Hypotheses 7 to 12, a claim a group where that is how they were declared; and three rows
    that were not declared, without which they would mislead: the named instructions of other
    chapters, order where something else is asked for, and 8 in *web*.

    rates: of `law.beside_law`, the members' rows.
    """
    groups = by_group({name: p for name, p in found.items() if p.usable})
    made_of = [overrules, insisted, acts, specific, ordered]
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


def insisted(name: str, group: list[Published]) -> list[Claim]:
    """Beside 7: instructions of *Every wording* that then ask for X by name."""
    if (rows := named(group)).empty:
        return []
    change = stats.paired_difference(rows, over=over(group, "concept", "wording"))
    each = spread(rows.groupby(["wording", "run"]).difference.mean())
    text = f"Instructions of *Every wording* that then ask for it by name: {who(name, group)}"
    return [_made(text, change, rules.MOVED(change), f"{points(change)}; by wording {each}",
                  control="the same words without the instruction")]  # fmt: skip


def acts(name: str, group: list[Published]) -> list[Claim]:
    """8: where something else is asked for, forget and leave out lower the rate by half or more,
    in two of three frames; where captions never negate, in none. Of *web* nothing was declared:
    there the word is that for any wording."""
    found = []
    for verb in INSTRUCTIONS:
        rows = clauses(group, verb=verb, request=ELSEWHERE, subject="concept")
        by_frame = {frame: taken(group, some) for frame, some in rows.groupby("frame", sort=False)}
        room = rows.groupby("frame").control_value.mean()
        judged = [frame for frame in by_frame if room[frame] >= rules.ROOM]
        obeyed = [frame for frame in judged if rules.OBEYED(by_frame[frame]) == "obeys"]
        rule, all_frames = rules.SILENT if name == "none" else rules.ACTS, taken(group, rows)
        frames = "; ".join(f"{frame} {by_frame[frame].percent()}" for frame in judged) or "no room"
        text, verdict = TAKES.get(name, TAKEN), rule(obeyed=len(obeyed), judged=len(judged))
        if name == "web":
            verdict = rules.OBEYED(all_frames)
        found.append(_made(
            f"“{verb.capitalize()}” {text} where something else is asked for: {who(name, group)}",
            all_frames, verdict, f"{frames}; by prompt {spread(by_prompt(rows))} %",
        ))  # fmt: skip
    return found


def specific(name: str, group: list[Published]) -> list[Claim]:
    """10: told to forget another object, a model draws the one that is asked for."""
    place = {"verb": INSTRUCTIONS, "subject": "other"}
    change, near = changed(group, **place), changed(group, 0.90, **place)
    text = f"An instruction about another object changes nothing: {who(name, group)}"
    return [_made(text, change, rules.NOTHING(change, near), points(change))]


def ordered(name: str, group: list[Published]) -> list[Claim]:
    """12: where X is asked for, it does not matter which clause comes first; and, not declared,
    what it changes where a place is."""
    asked, place = (first_minus_last(group, request) for request in (ASKED_FOR, ("place",)))
    about = {"over": over(group, "concept", "wording")}
    change, near = (stats.paired_difference(asked, level, **about) for level in (stats.LEVEL, 0.90))
    text = f"Where it is asked for, it does not matter which clause comes first: {who(name, group)}"
    found = [_made(text, change, rules.NOTHING(change, near), points(change), OTHER_ORDER)]
    change = stats.paired_difference(place, **about)
    text = "Where a place is asked for, the instruction first and not last (not declared):"
    return [*found, _made(f"{text} {who(name, group)}", change, rules.MOVED(change),
                          points(change), OTHER_ORDER)]  # fmt: skip


def first_minus_last(group: list[Published], request: tuple[str, ...]) -> pd.DataFrame:
    """`difference`: the concept under an instruction that comes first, minus under the same that
    comes last."""
    rows = clauses(group, verb=INSTRUCTIONS, request=request, subject="concept")
    keys = ["run", "concept", "seed", "verb", "frame", "request"]
    value = rows.set_index([*keys, "order"]).present.astype(float).unstack("order")
    pairs = (value["first"] - value["last"]).rename("difference").reset_index()
    return pairs.assign(wording=pairs.verb + pairs.frame + pairs.request)


def captions_not_share(groups: dict[str, list[Published]]) -> list[Claim]:
    """9: a plain “without” is obeyed where captions with it lacked the thing."""
    found = []
    for name, wanted in (("quiet", True), ("fifth", True), ("none", False)):
        if name in groups:
            each = without(groups[name])
            words = {rules.OBEYED(estimate) for estimate in each.values()}
            right = {"obeys": wanted, "does not obey": not wanted}
            right = right.get(words.pop()) if len(words) == 1 else None
            verdict = {True: rules.HOLDS, False: rules.REFUTED, None: rules.OPEN}[right]
            text = "is obeyed" if wanted else "is not obeyed"
            found.append(_made(
                f"A plain “without” {text}, in both wordings: {who(name, groups[name])}",
                next(iter(each.values())), verdict,
                "; ".join(estimate.percent() for estimate in each.values()),
                control="the same words with “with”",
            ))  # fmt: skip
    if {"quiet", "web"} <= set(groups):
        found.append(quieter(groups["quiet"], groups["web"]))
    return found


def quieter(quiet: list[Published], web: list[Published]) -> Claim:
    """9: “without” leaves less in models of quiet chatter than in those that read all of it. What
    chatter does cannot be told from what training runs do with fewer than three of each: open."""
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
    enough = len(seeds) >= stats.RUNS
    factors = ("concept", "run") if enough else ("concept",)
    change, near = (stats.paired_difference(pairs, n, over=factors) for n in (stats.LEVEL, 0.90))
    each = [stats.paired_difference(pairs[pairs.wording == w], over=factors) for w in WITHOUT]
    return _made(
        "At the same share of negation, “without” is obeyed more where chatter never uses the word:"
        f" seed {', '.join(map(str, sorted(seeds)))}",
        change, rules.MORE(change, near) if enough else rules.OPEN,
        "; ".join(map(points, each)), control="captions with all chatter",
    )  # fmt: skip


def lawful(rates: pd.DataFrame) -> list[Claim]:
    """11: the law explains half of the variance or more, and more than its rivals do."""
    found = []
    for name, rows in rates.groupby("set", sort=False):
        ours, rivals = law.explained(rows), [law.explained(rows, c) for c in ("named", "share")]
        best = max(rivals, key=lambda e: e.value)
        text = (f"R² {ours.value:.2f} [{ours.low:.2f}, {ours.high:.2f}]; an unread word brings it"
                f" in: {rivals[0].value:.2f}; the share alone: {rivals[1].value:.2f}; requested is"
                f" drawn (not declared): {law.r_squared(rows, 'requested'):.2f}")  # fmt: skip
        verdict = rules.LAW(ours, rival_low=best.low, rival_high=best.high)
        found.append(made(
            f"What captions said predicts what is drawn: {name}", ours, verdict, "fig-law", text,
            of="wordings of models", control="the share of negation, and names",
        ))  # fmt: skip
    return found


def _made(
    text: str, found: Estimate, verdict: str, estimate: str, control: str = "the neutral verbs"
) -> Claim:
    figure = "fig-clauses" if control == "the neutral verbs" else "fig-population"
    return made(text, found, verdict, figure, estimate, of="pictures", control=control)
