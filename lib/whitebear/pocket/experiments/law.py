"""A law: what a model draws follows from what its captions said with the words that it is given.

Each mention of X is read from the words before it (`dose.absence`): unless captions with those
words mostly lacked X, it brings X in. Of several mentions each can:

    P(X present) = 1 - product over mentions of their absence

Form and constants were chosen on half of the published wordings and models (`halves`), and declared
before the population was scored.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from whitebear import stats
from whitebear.files import RESULTS, read_parquet
from whitebear.pocket.experiments.dose import Cues, Diet, Portion, absence, mentions
from whitebear.pocket.experiments.members import Published
from whitebear.prompts import load_wordings
from whitebear.prompts.clauses import load_clauses
from whitebear.stats import Estimate

KEPT = 0.5  # weight of the captions that a model learned from before it was trained further
SHIPPED = Portion(0.0058, captions=300_000)
FURTHER = 60_000  # captions that a taught cell learns from
TRIVIAL = ("affirm", "omit")  # conditions that any reader of names gets right
SCRATCH = ("shipped", "retrained-1")  # models that learned from nothing


def presence(text: str, concept: str, cues: Cues, diet: Diet) -> float:
    """P(the picture shows the concept | text), from captions alone; 0 where it is not named."""
    of_it = [m for m in mentions(text, cues.world) if m.object == concept]
    return 1 - math.prod(absence(mention, cues, diet) for mention in of_it)


def predict(texts: Mapping[str, str], diets: Mapping[str, Diet], cues: Cues) -> pd.DataFrame:
    """The law's prediction for each text, filled with the first object, and each diet.

    Columns: model (the diet's key), wording (the text's key), predicted (0 to 1).
    """
    concept = cues.world.objects[0]
    known = {
        (t, d): presence(texts[t], concept, cues, d) for d in set(diets.values()) for t in texts
    }
    rows = [(m, t, known[t, d]) for m, d in diets.items() for t in texts]
    return pd.DataFrame(rows, columns=["model", "wording", "predicted"])


def published_diets() -> dict[str, Diet]:
    """What each published model learned from: the shipped one, the retrained one, taught cells (by
    the captions of their text encoder, which is what they obey)."""
    diets: dict[str, Diet] = dict.fromkeys(SCRATCH, (SHIPPED,))
    before = Portion(SHIPPED.r, captions=KEPT * SHIPPED.captions)
    for path in sorted((RESULTS / "why").glob("**/*.json")):
        cell = json.loads(path.read_text(encoding="utf-8")).get("cell", {})
        if cell.get("times"):
            name = path.relative_to(RESULTS / "why").with_suffix("").as_posix()
            diets[name] = (Portion(cell["encoder_r"], captions=FURTHER), before)
    return diets


def observed(models: Sequence[str]) -> pd.DataFrame:
    """How often the pictures of published models show the concept, by wording and group.

    group: "denied" and "never" are the objects that a cell's further captions deny or never do;
    "all" for models from nothing. Columns: model, group, condition, wording, rate, n.
    """
    parts = []
    for model in models:
        rows = pd.concat([read_parquet(path) for path in _scores_of(model)])
        rows = rows[rows.kind == "object"].drop_duplicates(["concept", "wording", "seed"])
        group = "all"
        if model not in SCRATCH:
            record = json.loads((RESULTS / "why" / f"{model}.json").read_text(encoding="utf-8"))
            group = np.where(rows.concept.isin(record["denied"]), "denied", "never")
        parts.append(rows.assign(model=model, group=group))
    keys = ["model", "group", "condition", "wording"]
    rates = pd.concat(parts).groupby(keys, sort=False).present.agg(rate="mean", n="size")
    return rates.reset_index()


def _scores_of(model: str):
    if model == "shipped":
        return [RESULTS / "03_told_to_forget.parquet", RESULTS / "04_every_wording.parquet"]
    folder, name = ("retrained", "seed-1") if model == "retrained-1" else ("why", model)
    return [RESULTS / folder / f"{name}.parquet"]


def chosen(names: Sequence[str]) -> set[str]:
    """The half of these names (rounded up) on which form and constants were chosen; wordings are
    halved within each condition, models within those from nothing and those trained further."""
    order = sorted(set(names), key=lambda n: hashlib.sha256(f"law 1\0{n}".encode()).digest())
    return set(order[: (len(order) + 1) // 2])


def halves(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `old_wording` and `old_model`: whether the law was chosen on it."""
    wordings = set().union(*table.groupby("condition").wording.unique().map(chosen))
    scratch = set(table.model) & set(SCRATCH)
    models = chosen(scratch) | chosen(set(table.model) - scratch)
    return table.assign(
        old_wording=table.wording.isin(wordings), old_model=table.model.isin(models)
    )


def member_rates(found: Iterable[Published]) -> pd.DataFrame:
    """How often members of the population show the concept, where the law is tested: in wordings
    that are no plain request and no omission, and in clauses that forbid.

    Columns: set (wordings, clauses), model, r, chatter, condition, wording, rate, n.
    """
    parts = []
    for published in found:
        member, scores, clauses = published.member, published.scores, published.clauses
        about = {"model": member.id, "r": member.r, "chatter": member.chatter}
        forbids = (clauses.verb != "") & ~clauses.neutral.astype(bool)
        for name, rows in (
            ("wordings", scores[~scores.condition.isin(TRIVIAL)]),
            ("clauses", clauses[forbids]),
        ):
            rates = rows.groupby(["condition", "wording"], sort=False).present
            rates = rates.agg(rate="mean", n="size").reset_index()
            parts.append(rates.assign(set=name, **about))
    return pd.concat(parts, ignore_index=True)


def texts() -> pd.Series:
    """The text of each wording that the law is held against, by id: eval.csv and clauses.csv."""
    return pd.concat([load_wordings(), load_clauses()]).set_index("id").text


REQUEST = re.compile(r"\b(picture of|draw|with|and also) (a \{c\}|\{d\})", re.IGNORECASE)
FORBIDS = re.compile(r"\b(not|no|never|without)\b", re.IGNORECASE)


def requested(text: str) -> bool:
    """Whether a sentence of this wording asks for the concept, by name or description.

    >>> requested("Forget the {c}. Draw a {c}."), requested("Draw {b}. Do not draw a {c}.")
    (True, False)
    """
    sentences = re.split(r"[.!:] ?", text)
    return any(REQUEST.search(s) and not FORBIDS.search(s) for s in sentences)


def beside_law(rates: pd.DataFrame, dose: pd.DataFrame) -> pd.DataFrame:
    """The rates (columns r, chatter, wording, rate) with what the law says of them, `predicted`,
    and its rivals: `named`, to which an unread cue brings X in, and `share`, the best fit of r
    alone; and one that was not declared, `requested`: 1 for what is asked for, else 0.

    dose: `tables.DOSE`; a wording that is not in it does not mention the concept.
    """
    keys = ["r", "chatter", "wording"]
    by = dose.groupby(keys)
    said = pd.DataFrame({"predicted": 1 - by.absence.prod(), "named": 1 - by.absence_named.prod()})
    found = rates.join(said, on=keys).fillna({"predicted": 0.0, "named": 0.0})
    return found.assign(
        share=found.groupby("r").rate.transform("mean"),
        requested=found.wording.map(texts()).map(requested).astype(float),
    )


def r_squared(table: pd.DataFrame, column: str = "predicted") -> float:
    """1 - sum of squared errors / sum of squares of the rates about their mean."""
    y = table.rate
    return float(1 - ((y - table[column]) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def explained(table: pd.DataFrame, column: str = "predicted") -> Estimate:
    """`r_squared` with its interval.

    Interval: 95 %, for other wordings and other models, crossed (`stats.crossed_interval`); with
    two models it can say little about others. n: rows; runs: models.

    >>> explained(beside_law(member_rates(found.values()), dose)).beyond()  # doctest: +SKIP
    ('wordings', 'runs')
    """
    y = table.rate
    rows = table.assign(run=table.model, error=(y - table[column]) ** 2, square=y**2, one=1.0)
    levels = [sorted(rows.run.unique()), sorted(rows.wording.unique()), None]
    sums = stats.crossed_sums(rows, ["error", "square", "rate", "one"], levels)

    def statistic(totals: np.ndarray) -> np.ndarray:
        error, square, total, n = np.moveaxis(totals, -1, 0)
        return 1 - error / (square - total**2 / n)

    found = stats.crossed_interval(sums, statistic, ends=stats.within(-np.inf, 1))
    return Estimate(*found, len(rows), 1, *reversed(sums.shape[:2]))
