"""Chapter 10, section 8: members that were shown obedience, and what they make of it; hypotheses 13
to 18 of data/why/declared.md, part 3, each by the rule declared with it."""

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import points
from whitebear.pocket.experiments import obedience
from whitebear.pocket.experiments.obedience import (
    ASKED_SO,
    FRAMES,
    OBJECTS,
    OVER,
    SETS,
    TRAINED,
    VERB,
    Learned,
    cost,
    plain,
    spared,
    trained_frames,
)
from whitebear.pocket.training.card import ASKED
from whitebear.prompts import load_clauses
from whitebear.stats import Estimate

LEARNS = "learns"  # the text encoder, before the denoiser: the way in which doses are compared
MUCH, MOST = 0.2, 0.5  # the doses at which hypotheses 14 to 17 are judged: the second if need be
FIGURE = "fig-learned"
NEUTRAL = "the neutral verbs"
OBEYS, REFUSES = (word for word, _ in rules.OBEYED.words)
UNTOLD = Estimate(float("nan"), float("nan"), float("nan"), 0, 0)
Found = dict[str, Learned]


def missing(found: Found) -> str:
    """Which of the declared models are there, and which are not, as a sentence."""
    names = [name for name in obedience.load() if name not in found]
    there = f"Trained so far: {', '.join(found)}. " if found else "None is trained yet. "
    return there + f"Not yet trained: {', '.join(names)}." if names else "All are trained."


def members() -> list[str]:
    """The members that were declared to be trained further."""
    return list(dict.fromkeys(cell.member for cell in obedience.load().values()))


def doses(found: Found, member: str) -> dict[float, Learned]:
    """The models of a member whose encoder learns, by dose, from 0 up."""
    own = {
        m.cell.d: m for m in found.values() if (m.cell.member, m.cell.encoder) == (member, LEARNS)
    }
    return dict(sorted(own.items()))


def declared_doses(member: str) -> list[float]:
    """The doses that were declared for it, from 0 up."""
    cells = obedience.load().values()
    return sorted(cell.d for cell in cells if (cell.member, cell.encoder) == (member, LEARNS))


def taken_away(model: Learned, asked: str) -> Estimate:
    """1 - rate / rate under the neutral verbs for one of SETS, over objects and wordings, of the
    wordings in which these show the object in at least a fifth of pictures. NaN where in none."""
    rows = SETS[asked](model)
    room = rows.groupby("wording").control_value.transform("mean") >= rules.ROOM
    return stats.taken_away(rows[room], OVER)


def without_room(model: Learned, asked: str) -> list[str]:
    """The wordings of one of SETS whose neutral verbs show the object too rarely to tell."""
    shown = SETS[asked](model).groupby("wording", sort=False).control_value.mean()
    return list(shown.index[shown < rules.ROOM])


def curves(found: Found) -> dict[str, pd.DataFrame]:
    """A panel a member: a row a declared dose, a column for each of SETS (`Estimate`s, of NaN where
    the model is missing or nothing can show)."""
    panels = {}
    for member in members():
        own = doses(found, member)
        rows = {
            d: {asked: taken_away(own[d], asked) if d in own else UNTOLD for asked in SETS}
            for d in declared_doses(member)
        }
        panels[member] = pd.DataFrame.from_dict(rows, orient="index")
    return panels


def models(found: Found) -> pd.DataFrame:
    """A row a model that is there: its examples, how its encoder learned, how often trained
    wordings about trained objects show the object, and how well it draws what is asked."""
    rows = {}
    for name, model in found.items():
        told, control = SETS[TRAINED](model), doses(found, model.cell.member).get(0)
        rows[name] = {
            "examples": _share(model.cell.d), "encoder": model.cell.encoder,
            "told to forget, drawn": _share(told.present.mean()),
            "neutral verbs": _share(told.control_value.mean()),
            "taken away": taken_away(model, TRAINED).percent(),
            "no room": ", ".join(without_room(model, TRAINED)),
            "plain requests": _price(model, control),
            "asked object drawn": _share(model.record["quality"][ASKED]),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _price(model: Learned, control: Learned | None) -> str:
    if model is control:
        return "the control"
    return points(cost(model, control)) if control else "no control yet"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def also(found: Found) -> pd.DataFrame:
    """What was to be reported without a hypothesis: how much “forget” takes away of trained objects
    in the other clauses, by request (rows) and model, and what neutral verbs do beside the request
    alone."""
    columns = {}
    for name, model in found.items():
        told = model.rows(verb="forget", subject="concept", frame=set(load_clauses().frame))
        places = told.groupby(["request", "order"], sort=False)
        columns[name] = {
            f"{request}, verb {order}": stats.taken_away(some, OVER).percent()
            for (request, order), some in places
        }
        named = plain(model).present.mean()
        neutral = model.rows(verb="forget", frame=trained_frames(), **ASKED_SO).control_value.mean()
        columns[name]["neutral verbs, trained frames"] = f"{_share(neutral)}, alone {_share(named)}"
    return pd.DataFrame(columns).rename_axis("request")


# --- the hypotheses -------------------------------------------------------------------------------


def claims(found: Found, panels: dict[str, pd.DataFrame]) -> list[Claim]:
    """Hypotheses 13 to 18, of the models that are there. panels: of `curves`."""
    if not found:
        return []
    rest = [claim for member in panels for claim in carried_over(found, member, panels[member])]
    return [learnable(found, panels), *rest, *costs(found)]


def obeyed(found: Found, member: str, panel: pd.DataFrame) -> dict[float, str]:
    """What the trained wordings about trained objects are at each dose: "obeys", "does not obey" or
    open; only of models that can be asked."""
    usable = [d for d, model in doses(found, member).items() if model.usable]
    return {d: rules.OBEYED(panel[TRAINED][d]) for d in usable}


def learnable(found: Found, panels: dict[str, pd.DataFrame]) -> Claim:
    """13: at some dose above 0 trained wordings are obeyed, in both members, and not at 0."""
    counts, text, rows = {"learned": 0, "refused": 0, "whole": 0}, [], []
    for member, panel in panels.items():
        own, words = doses(found, member), obeyed(found, member, panel)
        shown = {word for d, word in words.items() if d}
        whole = list(own) == list(panel.index)
        counts["whole"] += whole
        counts["learned"] += OBEYS in shown and words.get(0) == REFUSES
        counts["refused"] += whole and shown == {REFUSES}
        text += [f"{member} at {_share(d)}: {panel[TRAINED][d].percent()}" for d in own]
        rows += [SETS[TRAINED](own[d]) for d in words if d == MUCH]
    both = stats.taken_away(pd.concat(rows), OVER) if rows else UNTOLD
    return made(
        "Captions that show it teach a model to obey “forget it, then draw it”", both,
        rules.LEARNABLE(**counts), FIGURE, "; ".join(text) or "no dose yet", of="pictures at 20 %",
        control=NEUTRAL,
    )  # fmt: skip


def judged_at(found: Found, member: str, panel: pd.DataFrame) -> float | None:
    """The dose at which a member's hypotheses 14 to 17 are judged: 20 %, or 50 % if only that is
    obeyed; None if neither is."""
    words = obeyed(found, member, panel)
    return next((d for d in (MUCH, MOST) if words.get(d) == OBEYS), None)


def carried_over(found: Found, member: str, panel: pd.DataFrame) -> list[Claim]:
    """14 to 17: objects, frames, verb and specificity, where the member obeys."""
    if (dose := judged_at(found, member, panel)) is None:
        return []
    model, of, claims = doses(found, member)[dose], f"{member} at {_share(dose)}", []
    for asked, rule, text in (
        (OBJECTS, rules.LEARNED, "It obeys about objects of which no caption said so"),
        (FRAMES, rules.LEARNED, "It obeys in frames in which no caption said so"),
        (VERB, rules.WORD_ALONE, "It does not obey a verb that captions did not show"),
    ):
        gone, poor = panel[asked][dose], without_room(model, asked)
        estimate = gone.percent() + (f"; no room in {', '.join(poor)}" if poor else "")
        claims.append(made(f"{text}: {of}", gone, rule(gone), FIGURE, estimate, of="pictures",
                           control=NEUTRAL))  # fmt: skip
    other = spared(model)
    spares = f"What was not to be forgotten is drawn: {of}"
    last = made(spares, other, rules.UNHARMED(other), FIGURE, points(other), of="pictures",
                control=NEUTRAL)  # fmt: skip
    return [*claims, last]


def costs(found: Found) -> list[Claim]:
    """18: what plain requests lose, a claim a member and dose up to 20 %."""
    claims = []
    for member in members():
        own = doses(found, member)
        for d in own if 0 in own else ():
            if 0 < d <= MUCH:
                change = cost(own[d], own[0])
                claims.append(made(
                    f"Plain requests lose at most 5 points: {member} at {_share(d)}", change,
                    rules.COST(change), FIGURE, points(change), of="pictures",
                    control="the same training without examples",
                ))  # fmt: skip
    return claims
