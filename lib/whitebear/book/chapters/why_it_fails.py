"""Chapter 09: the declared hypotheses about the taught cells, each judged by the rule that was
declared for it (data/why/declared.md, numbered as there; 5, the mechanism, is measured on live
weights), and the chapter's tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from whitebear import stats
from whitebear.book.figures.taught import PARTS, percent
from whitebear.book.report import rules
from whitebear.book.report.claim import Claim, made
from whitebear.book.report.phrases import points
from whitebear.pocket.experiments import results as why
from whitebear.pocket.experiments.results import (
    HELD_OUT,
    PLAIN,
    TRAINED,
    Pick,
    Result,
    instructions,
)
from whitebear.pocket.training.card import BOTH, UNASKED
from whitebear.prompts import load_wordings, name_of
from whitebear.stats import Estimate

TAUGHT = 0.2  # the rate of the cells that were taught
NATURAL, RARE = 0.0058, 0.0253  # as in two sets of captions of the web
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
    verdict = rules.DOSE(**_ends(none=none, natural=natural, much=much))
    text = f"{none.percent()} at 0, {natural.percent()} at 0.58 %, {much.percent()} at 20 %"
    return _claim("Obedience to instructions grows with the share of negated captions", much, text,
                  "the same training without negated captions", verdict, "fig-dose")  # fmt: skip


def _ends(**found: Estimate) -> dict[str, float]:
    """The ends of intervals under the names that rules give them: "much_low", "much_high"."""
    return {
        f"{name}_{end}": getattr(e, end) for name, e in found.items() for end in ("low", "high")
    }


def habit(results: dict[str, Result]) -> Claim:
    """2: held-out wordings suppress less than trained ones."""
    runs = why.runs_of(results, TAUGHT, TAUGHT)
    terms = (1, runs, HELD_OUT), (-1, runs, TRAINED)
    found = why.contrast(*terms)
    verdict = rules.HABIT(found, why.contrast(*terms, level=0.90))
    return _claim("Wordings that training never held suppress less", found, points(found),
                  "the wordings of training, same model", verdict, "fig-generalises")  # fmt: skip


def where(results: dict[str, Result]) -> Claim:
    """3: the denoiser has to be taught, and the encoder need not."""
    encoder, denoiser = (
        why.suppression(why.runs_of(results, *cell), TRAINED)
        for cell in ((TAUGHT, 0.0), (0.0, TAUGHT))
    )
    verdict = rules.WHERE(**_ends(encoder=encoder, denoiser=denoiser))
    interaction = why.factorial(results, TRAINED)["interaction"]
    text = (f"{denoiser.percent()} with the denoiser taught alone, {encoder.percent()} with the"
            f" encoder alone; interaction {points(interaction)}")  # fmt: skip
    return _claim("The denoiser has to be taught, and the encoder need not", denoiser, text,
                  "the other part taught alone", verdict, "fig-where")  # fmt: skip


def rule(results: dict[str, Result]) -> Claim:
    """4: objects that were never denied are suppressed as much as those that were."""
    runs = why.runs_of(results, TAUGHT, TAUGHT)
    terms = (1, runs, NEVER_DENIED), (-1, runs, TRAINED)
    found = why.contrast(*terms)
    verdict = rules.CARRIES_OVER(found, why.contrast(*terms, level=0.90))
    name = "Objects that these captions never denied are suppressed as well"
    about = points(found), "objects that they did deny", verdict, "fig-generalises"
    return _claim(name, found, *about)


def repair(
    repairs: dict[str, Result], asked: float, pick: Pick = TRAINED, what: str = "instructions"
) -> Claim:
    """6: a short training of one part alone restores obedience (to what `pick` takes) at a small
    cost. Declared for instructions; for a plain “without” it was decided later."""
    found = {name: why.suppression([result], pick) for name, result in repairs.items()}
    kept = {name for name in found if why.keeps_quality(repairs[name], asked)}
    words = {name: rules.OBEYS(e) for name, e in found.items()}
    good = [name for name, word in words.items() if word == "obeys" and name in kept]
    failed = [name for name, word in words.items() if word == "does not obey" or name not in kept]
    if good:
        size = lambda name: [repairs[name].record["cell"][k] for k in ("steps", "examples")]  # noqa: E731
        least = min(good, key=size)
        text = f"{least}: {found[least].percent()}, asked objects in " + (
            f"{100 * why.quality(repairs[least]):.0f} % of pictures, both of a pair in"
            f" {100 * repairs[least].record['quality'][BOTH]:.0f} %"
        )
        best = found[least]
    elif found:
        least = max(found, key=lambda name: found[name].value)
        best = found[least]
        text = f"at best {least}: {best.percent()}"
    else:
        best, text = Estimate(np.nan, np.nan, np.nan, 0, 0), "not run"
    verdict = rules.REPAIR(good=len(good), tried=len(found), failed=len(failed))
    name = f"A short training of one part restores obedience to {what}"
    return _claim(name, best, text, "the shipped model", verdict, "fig-repair")


def plain(results: dict[str, Result]) -> list[Claim]:
    """Decided later: a plain "without" (trained wordings, denied objects), by what was taught. Of
    the models named: others, of the same captions, may do otherwise, and one from nothing does."""
    results, claims = why.usable(results), []
    for cell, who in (
        ((NATURAL, NATURAL), "The shipped model, trained further where 0.58 % of captions negate,"),
        ((RARE, RARE), "The shipped model, trained further where 2.53 % of captions negate,"),
        ((TAUGHT, TAUGHT), "The shipped model, trained further where 20 % of captions negate,"),
        ((TAUGHT, 0.0), "The same with 20 % in the captions of the text encoder alone"),
        ((0.0, TAUGHT), "The same with 20 % in the captions of the denoiser alone"),
    ):
        found = why.effect(why.runs_of(results, *cell), PLAIN)
        about = points(found), "the same words with “with”", rules.PLAIN(found), "fig-where-effects"
        claims.append(_claim(f"{who} obeys a plain “without”", found, *about))
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
              if rules.PLAIN(e) == "yes"]  # fmt: skip
    parts = {
        0: "either part alone is not shown to be enough",
        1: f"{''.join(enough)} alone is enough",
        2: "either part alone is enough",
    }[len(enough)]
    runs, word = why.runs_of(results, TAUGHT, TAUGHT), rules.OBEYS(told)
    word = "is not shown to obey" if word == rules.OPEN else word
    words = {w for run in runs for w in PLAIN(run.scores).wording}
    return (
        "Where 20 % of the further training captions negated, “without” changes how often the"
        f" object is drawn by {points(both)}, where none of them did by {points(none)}, each"
        f" against the same words with “with”; in these models, to teach {parts} (text encoder"
        f" {points(encoder)}, denoiser {points(denoiser)}); this was found by exploring, not"
        f" declared: it rests on {len(words)} wording{'s' * (len(words) != 1)},"
        f" {both.concepts} objects and {len(runs)} training run{'s' * (len(runs) != 1)} of each"
        f" kind. The model that learned both {word} an instruction to forget what it"
        f" is then asked to draw: {told.percent()} of it is suppressed. Its captions did say"
        " “forget the bear”, but none of them was such a prompt."
    )


def reads(shipped: Estimate, taught: Estimate) -> Claim:
    """5, first half: a probe reads "to be absent" off states of the taught encoder.

    shipped, taught: accuracy on new concepts and new wordings, at the better of the concept's and
    the end token's state.
    """
    verdict = rules.TAUGHT_READ(taught, shipped_low=shipped.low, shipped_high=shipped.high)
    text = f"{taught.percent()}, shipped encoder {shipped.percent()}"
    about = text, "the shipped encoder", verdict, "fig-taught-probe", "prompts"
    return _claim("A probe reads “to be absent” off the states of a taught encoder", taught, *about)


def looks_away(fall: Estimate) -> Claim:
    """5, second half: where it obeys, attention to the word falls by less than half.

    fall: relative change of attention under wordings that suppress the concept. Declared for models
    that obey instructions; judged, where none does, by the wordings that the taught model obeys.
    The interval has to lie on one side of a half.
    """
    about = (
        fall.percent(),
        "the same words without it",
        rules.NO_FALL(fall),
        "fig-taught-attention",
        "means",
    )
    return _claim("What is obeyed needs no fall of attention by half", fall, *about)


def exchanged(table: pd.DataFrame) -> list[Claim]:
    """Decided later: is the fall of attention why obeyed wordings are obeyed?

    table: of `mechanism.exchange_table`. A change of attention does it if it moves the rate at
    least half of the way from the one wording's to the other's, by the interval of the moved rate.
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
        ends = [
            (e - own) / (there - own) if there != own else np.nan for e in (found.low, found.high)
        ]
        verdict = rules.EXCHANGE(way_low=min(ends), way_high=max(ends))
        text = f"drawn in {found.percent()}, with its own attention in {100 * own:.0f} %"
        claims.append(_claim(name, found, text, "the same words with their own attention",
                             verdict, "fig-taught-attention"))  # fmt: skip
    return claims


def _claim(name: str, found: Estimate, text: str, control: str, verdict: str, figure: str,
           counted: str = "pictures") -> Claim:  # fmt: skip
    of = f"{counted}, {found.concepts} concepts"
    return made(name, found, verdict, figure, text, of=of, control=control)


# --- tables --------------------------------------------------------------------------------------


def cells(results: dict[str, Result], asked: float) -> pd.DataFrame:
    """One row a model: what it was trained on, what that cost in plain requests, and the time; its
    training seed is the -s of its name.

    asked: how often the shipped model draws an asked object; quality is kept by the declared rule.
    """
    rows = {}
    for name, result in results.items():
        cell, quality = result.record["cell"], result.record["quality"]
        rows[name] = {
            "encoder": percent(cell["encoder_r"]), "denoiser": percent(cell["denoiser_r"]),
            **_cost(result),
            "not asked for, drawn": f"{100 * quality[UNASKED]:.1f} %",
            "quality kept": "yes" if why.keeps_quality(result, asked) else "no",
            "minutes": round(sum(result.record["seconds"].values()) / 60),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("cell")


def _cost(result: Result) -> dict[str, str]:
    """How often a model draws what it is plainly asked for: one object, or both of a pair."""
    pair = result.record["quality"][BOTH]
    return {"asked for, drawn": f"{100 * why.quality(result):.0f} %",
            "both of a pair": f"{100 * pair:.0f} %"}  # fmt: skip


def again(results: dict[str, Result], repeated: dict[str, Result]) -> pd.DataFrame:
    """One row a measure of each cell that was trained a second time: as published with its
    interval, as found again, and whether that lies within the interval."""
    measures = {"asked for, drawn": lambda runs: stats.rate(instructions("affirm")(runs[0].scores))}
    picks = {"a plain “without”": PLAIN, "instructions": TRAINED, "held-out instructions": HELD_OUT}
    for name, pick in picks.items():
        measures[f"{name} suppressed"] = lambda runs, pick=pick: why.suppression(runs, pick)
    rows = []
    for cell in (name for name in results if name in repeated):
        for name, measure in measures.items():
            found, new = measure([results[cell]]), measure([repeated[cell]])
            within = found.low <= new.value <= found.high
            rows.append((cell, name, found.percent(), f"{100 * new.value:.1f} %", within))
    columns = ["cell", "measure", "published", "again", "within"]
    return pd.DataFrame(rows, columns=columns).set_index(columns[:2])


def rates(results: dict[str, Result], conditions: Sequence[str]) -> pd.DataFrame:
    """How often a denied object is drawn, in trained wordings with one object: a row a condition, a
    column a pair of rates, over its training seeds."""
    picks = {name_of(c): instructions(c, heldout=False, taught=True) for c in conditions}
    return _by_cell(results, picks)


def wordings(results: dict[str, Result], condition: str, taught: bool = True) -> pd.DataFrame:
    """The same, a row a wording of one condition, of training or held out; taught: objects that
    captions denied, or the others. A wording that the models were never asked has no row."""
    known, asked = load_wordings(), {w for r in results.values() for w in r.scores.wording}
    known = known[(known.condition == condition) & (known.kind == "object") & ~known.pair]
    known = known[known.id.isin(asked)]
    picks = {
        f"{row.text}{' (held out)' if row.heldout else ''}":
            instructions(condition, taught=taught, wording=row.id)
        for row in known.itertuples()
    }  # fmt: skip
    return _by_cell(results, picks)


def _by_cell(results: dict[str, Result], picks: dict[str, Pick]) -> pd.DataFrame:
    found = {}
    for cell in sorted({result.rates for result in results.values()}):
        if runs := why.runs_of(results, *cell):
            every = pd.concat([run.scores for run in runs])
            column = tuple(percent(rate) for rate in cell)
            found[column] = {
                n: stats.rate(pick(every), over=stats.KIND).percent() for n, pick in picks.items()
            }
    return pd.DataFrame(found).rename_axis(columns=["encoder", "denoiser"])


def factorial(results: dict[str, Result], r: float = 0.2) -> pd.DataFrame:
    """Effects on suppression of teaching the encoder, the denoiser, and both beyond their sum."""
    groups = {"a plain “without”": PLAIN, "instructions to forget": TRAINED}
    found = {name: why.factorial(results, pick, r) for name, pick in groups.items()}
    return pd.DataFrame(found).T.map(points)


def repairs_table(results: dict[str, Result]) -> pd.DataFrame:
    """One row a repair: what it took, what it gives, and what it costs."""
    rows = {}
    for name, result in results.items():
        cell = result.record["cell"]
        rows[name] = {
            "trained": PARTS[cell["part"]].removesuffix(" of cross-attention"),
            "steps": cell["steps"], "scenes": cell["examples"],
            "instructions suppressed":
                why.suppression([result], TRAINED).percent(),
            "“without” suppressed":
                why.suppression([result], PLAIN).percent(),
            **_cost(result),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("repair")
