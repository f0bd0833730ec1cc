"""Tables of the taught cells, as the chapter shows them, and the text that declared them."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from whitebear import stats
from whitebear.book.chapters.told_to_forget import points
from whitebear.book.figures.taught import PARTS, percent
from whitebear.book.report.claim import Claim
from whitebear.files import DATA
from whitebear.pocket.experiments import results as why
from whitebear.pocket.experiments.results import (
    HELD_OUT,
    PLAIN,
    TRAINED,
    Pick,
    Result,
    instructions,
)
from whitebear.prompts import load_wordings, name_of

DECLARED = DATA / "why" / "declared.md"


def declaration(path: Path = DECLARED) -> str:
    """The declared text as Markdown for an output cell, in which headings are bold lines."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"^#+ (.*)$", r"**\1**", text, flags=re.MULTILINE)


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
            "not asked for, drawn": f"{100 * quality['omit, object not asked for']:.1f} %",
            "quality kept": "yes" if why.keeps_quality(result, asked) else "no",
            "minutes": round(sum(result.record["seconds"].values()) / 60),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("cell")


def _cost(result: Result) -> dict[str, str]:
    """How often a model draws what it is plainly asked for: one object, or both of a pair."""
    pair = result.record["quality"]["pair, both present"]
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
    captions denied, or the others."""
    known = load_wordings()
    known = known[(known.condition == condition) & (known.kind == "object") & ~known.pair]
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
            found[column] = {n: stats.rate(pick(every)).percent() for n, pick in picks.items()}
    return pd.DataFrame(found).rename_axis(columns=["encoder", "denoiser"])


def factorial(results: dict[str, Result], r: float = 0.2) -> pd.DataFrame:
    """Effects on suppression of teaching the encoder, the denoiser, and both beyond their sum."""
    groups = {"a plain “without”": PLAIN, "instructions to forget": TRAINED}
    found = {name: why.factorial(results, pick, r) for name, pick in groups.items()}
    return pd.DataFrame(found).T.map(points)


def repairs(results: dict[str, Result]) -> pd.DataFrame:
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


def verdicts(claims: Sequence[Claim]) -> pd.DataFrame:
    """One row a claim: what was declared, what was found, and the verdict."""
    rows = {c.claim: {"found": c.estimate, "n": c.n, "verdict": c.verdict} for c in claims}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("declared")
