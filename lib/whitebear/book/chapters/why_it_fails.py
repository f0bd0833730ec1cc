"""The declared hypotheses about the taught cells, each judged by the rule that was declared for it
(data/why/declared.md, numbered as there; 5, the mechanism, is measured on live weights)."""

import numpy as np
import pandas as pd

from whitebear.book.chapters.inner_answers import READABLE
from whitebear.book.chapters.told_to_forget import points
from whitebear.book.report.claim import Claim
from whitebear.pocket.experiments import results as why
from whitebear.pocket.experiments.results import (
    HELD_OUT,
    PLAIN,
    TRAINED,
    Pick,
    Result,
    instructions,
)
from whitebear.stats import Estimate

HOLDS, REFUTED, OPEN = "holds", "refuted", "open"
TAUGHT = 0.2  # the rate of the cells that were taught
NATURAL = 0.0058
NEVER_DENIED = instructions(heldout=False, taught=False)


def claims(results: dict[str, Result], repairs: dict[str, Result], asked: float) -> list[Claim]:
    """A claim for each hypothesis. asked: how often the shipped model shows an asked object."""
    results = why.usable(results)
    return [dose(results), habit(results), where(results), rule(results), repair(repairs, asked)]


def dose(results: dict[str, Result]) -> Claim:
    """1: instructions in trained wordings are ignored at the natural rate and obeyed at 20 %."""
    none, natural, much = (
        why.suppression(why.runs_of(results, r, r), TRAINED) for r in (0.0, NATURAL, TAUGHT)
    )
    verdict = OPEN
    if natural.value > why.IGNORES or much.value < why.OBEYS:
        verdict = REFUTED
    elif max(none.value, natural.value) < why.IGNORES and much.value >= why.OBEYS:
        verdict = HOLDS
    text = f"{none.percent()} at 0, {natural.percent()} at 0.58 %, {much.percent()} at 20 %"
    return _claim("Obedience to instructions grows with the share of negated captions", much, text,
                  "the same training without negated captions", verdict, "fig-dose")  # fmt: skip


def habit(results: dict[str, Result]) -> Claim:
    """2: held-out wordings suppress less than trained ones."""
    runs = why.runs_of(results, TAUGHT, TAUGHT)
    terms = (1, runs, HELD_OUT), (-1, runs, TRAINED)
    found = why.contrast(*terms)
    verdict = HOLDS if found.high < 0 else REFUTED if why.within(*terms) else OPEN
    return _claim("Wordings that training never held suppress less", found, points(found),
                  "the wordings of training, same model", verdict, "fig-generalises")  # fmt: skip


def where(results: dict[str, Result]) -> Claim:
    """3: the denoiser has to be taught, and the encoder need not."""
    encoder, denoiser = (
        why.suppression(why.runs_of(results, *cell), TRAINED)
        for cell in ((TAUGHT, 0.0), (0.0, TAUGHT))
    )
    verdict = OPEN
    if not np.isnan(encoder.value + denoiser.value):
        as_said = denoiser.value >= why.OBEYS and encoder.value < why.IGNORES
        verdict = HOLDS if as_said else REFUTED
    interaction = why.factorial(results, TRAINED)["interaction"]
    text = (f"{denoiser.percent()} with the denoiser taught alone, {encoder.percent()} with the"
            f" encoder alone; interaction {points(interaction)}")  # fmt: skip
    return _claim("The denoiser has to be taught, and the encoder need not", denoiser, text,
                  "the other part taught alone", verdict, "fig-where")  # fmt: skip


def rule(results: dict[str, Result]) -> Claim:
    """4: objects that were never denied are suppressed as much as those that were."""
    runs = why.runs_of(results, TAUGHT, TAUGHT)
    terms = (1, runs, NEVER_DENIED), (-1, runs, TRAINED)
    found, verdict = why.contrast(*terms), OPEN
    if why.within(*terms):
        verdict = HOLDS
    elif found.high < -why.MARGIN or found.low > why.MARGIN:
        verdict = REFUTED
    name = "Objects that these captions never denied are suppressed as well"
    about = points(found), "objects that they did deny", verdict, "fig-generalises"
    return _claim(name, found, *about)


def repair(
    repairs: dict[str, Result], asked: float, pick: Pick = TRAINED, what: str = "instructions"
) -> Claim:
    """6: a short training of one part alone restores obedience (to what `pick` takes) at a small
    cost. Declared for instructions; for a plain “without” it was decided later."""
    found = {name: why.suppression([result], pick) for name, result in repairs.items()}
    good = [
        name
        for name, e in found.items()
        if e.value >= why.OBEYS and why.keeps_quality(repairs[name], asked)
    ]
    if good:
        size = lambda name: [repairs[name].record["cell"][k] for k in ("steps", "examples")]  # noqa: E731
        least = min(good, key=size)
        text = f"{least}: {found[least].percent()}, asked objects in " + (
            f"{100 * why.quality(repairs[least]):.0f} % of pictures"
        )
        best, verdict = found[least], HOLDS
    elif found:
        least = max(found, key=lambda name: found[name].value)
        best, verdict = found[least], REFUTED
        text = f"at best {least}: {best.percent()}"
    else:
        best, verdict, text = Estimate(np.nan, np.nan, np.nan, 0, 0), OPEN, "not run"
    name = f"A short training of one part restores obedience to {what}"
    return _claim(name, best, text, "the shipped model", verdict, "fig-repair")


def plain(results: dict[str, Result]) -> list[Claim]:
    """Decided later: a plain "without" (trained wordings, denied objects), by what was taught."""
    results, claims = why.usable(results), []
    for cell, who in (
        ((NATURAL, NATURAL), "Captions that negate as rarely as those of the web are enough"),
        ((TAUGHT, TAUGHT), "Negation in 20 % of captions is enough"),
        ((TAUGHT, 0.0), "Negation in the captions of the text encoder alone is enough"),
        ((0.0, TAUGHT), "Negation in the captions of the denoiser alone is enough"),
    ):
        found = why.effect(why.runs_of(results, *cell), PLAIN)
        verdict = OPEN if np.isnan(found.value) else "yes" if found.value <= -why.OBEYS else "no"
        about = points(found), "the same words with “with”", verdict, "fig-where-effects"
        claims.append(_claim(f"{who} for a plain “without” to be obeyed", found, *about))
    return claims


def answer(results: dict[str, Result]) -> str:
    """The chapter's answer: dose and place for a plain “without”, and what instructions do."""
    effect = {
        cell: why.effect(why.runs_of(results, *cell), PLAIN)
        for cell in ((0.0, 0.0), (TAUGHT, 0.0), (0.0, TAUGHT), (TAUGHT, TAUGHT))
    }
    told = why.suppression(why.runs_of(results, TAUGHT, TAUGHT), TRAINED)
    if any(np.isnan(e.value) for e in effect.values()):
        return "Not all models of this chapter are trained; run `python -m whitebear teach`."
    none, encoder, denoiser, both = effect.values()
    enough = [name for name, e in (("the text encoder", encoder), ("the denoiser", denoiser))
              if e.value <= -why.OBEYS]  # fmt: skip
    parts = {0: "either part alone is not enough", 1: f"{''.join(enough)} alone is enough",
             2: "either part alone is enough"}[len(enough)]  # fmt: skip
    obeys = "obeys" if told.value >= why.OBEYS else "does not obey"
    return (
        "Where 20 % of the further training captions negated, “without” changes how often the"
        f" object is drawn by {points(both)}, where none of them did by {points(none)}, each"
        f" against the same words with “with”; to teach {parts} (text encoder {points(encoder)},"
        f" denoiser {points(denoiser)})."
        f" But the model that learned both {obeys} an instruction to forget what it is then asked"
        f" to draw: {told.percent()} of it is suppressed, in the very words of training."
    )


def reads(shipped: Estimate, taught: Estimate) -> Claim:
    """5, first half: a probe reads "to be absent" off states of the taught encoder.

    shipped, taught: accuracy on new concepts and new wordings, at the better of the concept's and
    the end token's state.
    """
    holds = taught.low > READABLE and taught.low > shipped.value
    text = f"{taught.percent()}, shipped encoder {shipped.percent()}"
    about = text, "the shipped encoder", HOLDS if holds else REFUTED, "fig-taught-probe", "prompts"
    return _claim("A probe reads “to be absent” off the states of a taught encoder", taught, *about)


def looks_away(fall: Estimate) -> Claim:
    """5, second half: where it obeys, attention to the word falls by less than half.

    fall: relative change of attention under wordings that suppress the concept. Declared for models
    that obey instructions; judged, where none does, by the wordings that the taught model obeys.
    The interval has to lie on one side of a half.
    """
    verdict = HOLDS if fall.low > -0.5 else REFUTED if fall.high < -0.5 else OPEN
    about = fall.percent(), "the same words without it", verdict, "fig-taught-attention", "means"
    return _claim("What is obeyed needs no fall of attention by half", fall, *about)


def exchanged(table: pd.DataFrame) -> list[Claim]:
    """Decided later: is the fall of attention why obeyed wordings are obeyed?

    table: of `mechanism.exchange_table`. A change of attention does it if it moves the rate at
    least half of the way from the one wording's to the other's.
    """
    claims = []
    for words, other, name in (
        ("instruction", "control", "Giving the word its attention back brings the object back"),
        ("control", "instruction", "Taking attention from the word takes the object away"),
    ):
        found = table.rate.get((words, "the other's")) if len(table) else None
        if found is None:
            continue
        own, there = (table.rate[w, "its own"].value for w in (words, other))
        way = (found.value - own) / (there - own) if there != own else np.nan
        verdict = "yes" if way >= why.OBEYS else "no"
        text = f"drawn in {found.percent()}, with its own attention in {100 * own:.0f} %"
        claims.append(_claim(name, found, text, "the same words with their own attention",
                             verdict, "fig-taught-attention"))  # fmt: skip
    return claims


def _claim(name: str, found: Estimate, text: str, control: str, verdict: str, figure: str,
           counted: str = "pictures") -> Claim:  # fmt: skip
    n = f"{found.n} {counted}, {found.concepts} concepts"
    return Claim(name, found, text, n, control, verdict, figure)
