"""Every published claim computed again, from the tables in data/results and nothing else.

This file shares no code with the library: numpy and pandas, the formulas written out. A function a
kind of claim says which tables it needs; where one has not been published yet, it is not called.
Intervals resample concepts; those of a kind of instruction are an analysis of variance of wordings
by concepts; that of a rank correlation is not computed, nor are those where models were trained
several times.
"""

import json
import re
from collections import namedtuple
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
from scipy.special import expit, logit, ndtr, ndtri, stdtrit
from scipy.stats import chi2

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"
WHY = RESULTS.parent / "why"
PROMPTS = RESULTS.parent / "prompts" / "eval.csv"
RESAMPLES = 20_000
TEXTS = {"text", "prompt", "spans", "other", "background", "versions", "revision"}
SAID = {
    "negate": "Asked to leave it out",
    "forget_only": "Forget it, draw the place",
    "forget_then_request": "Forget it, then draw it",
    "reinforced": "Forget it, insistently",
    "role": "Forbidden by a role",
    "implicit": "Described, to be forgotten",
    "mention": "Named in passing",
}

# value; low, high: the interval, None where it is not computed; said: every number that the text of
# the estimate prints outside brackets, None for the value alone; verdict: None where not computed.
Found = namedtuple("Found", "value low high said verdict", defaults=(None, None, None, None))
MAKERS = []  # (chapter, tables, function)


def of(chapter: str, *tables: str):
    """Register a function that gives {claim: Found} from these tables (names without the chapter;
    "" is the table of pictures)."""

    def keep(function):
        MAKERS.append((chapter, tuple(map(path_of(chapter), tables)), function))
        return function

    return keep


def path_of(chapter: str):
    return lambda name: RESULTS / f"{chapter}{'_' * bool(name)}{name}.parquet"


def claims(chapter: str) -> dict[str, Found]:
    """All claims of a chapter that the tables that exist allow to compute."""
    found = {}
    for name, paths, function in MAKERS:
        if name == chapter and all(path.is_file() for path in paths):
            found |= function(*map(read, paths))
    return found


def read(path: Path) -> pd.DataFrame:
    """A table without what no number comes from, and what takes long to read."""
    names = pyarrow.parquet.read_schema(path).names
    return pd.read_parquet(path, columns=[name for name in names if name not in TEXTS])


# --- rates, differences, intervals ---------------------------------------------------------------


@cache
def weights(clusters: int) -> np.ndarray:
    """(resamples, clusters): how often each concept is drawn."""
    drawn = np.random.default_rng(7).integers(clusters, size=(RESAMPLES, clusters))
    return np.stack([(drawn == one).sum(1) for one in range(clusters)], axis=1).astype(float)


def over_concepts(rows: pd.DataFrame, columns: list[str], statistic) -> tuple[float, float, float]:
    """A statistic of column sums with its interval over concepts: percentiles, expanded by what a
    normal interval of few clusters lacks beside Student's."""
    sums = rows.groupby("concept")[columns].sum().to_numpy(float)
    n = len(sums)
    tail = ndtr(stdtrit(n - 1, 0.025) * np.sqrt(n / (n - 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        ends = np.nanquantile(statistic((weights(n) @ sums).T), [tail, 1 - tail])
    return float(statistic(sums.sum(0))), *map(float, ends)


def wider(found: tuple[float, float, float], floor: tuple[float, float]) -> Found:
    """The interval, nowhere narrower than that of independent pictures."""
    return Found(found[0], float(np.fmin(found[1], floor[0])), float(np.fmax(found[2], floor[1])))


def wilson(k: float, n: int) -> tuple[float, float]:
    """The values of p that a score test of k in n does not reject: roots of a quadratic in p."""
    z2, p = ndtri(0.975) ** 2, k / n
    a, b, c = 1 + z2 / n, -(2 * p + z2 / n), p * p
    root = np.sqrt(max(b * b - 4 * a * c, 0))
    low, high = (-b - root) / (2 * a), (-b + root) / (2 * a)
    return (0.0 if k == 0 else low), (1.0 if k == n else high)


def agresti_min(differences: pd.Series, level: float = 0.95) -> tuple[float, float]:
    """Wald's interval for paired proportions after half a pair more in each of the four cells."""
    if not set(differences.unique()) <= {-1.0, 0.0, 1.0}:
        return np.nan, np.nan
    up, down = (differences == 1).sum() + 0.5, (differences == -1).sum() + 0.5
    n = len(differences) + 2
    mean = (up - down) / n
    half = ndtri((1 + level) / 2) * np.sqrt((up + down) / n - mean**2) / np.sqrt(n)
    return max(mean - half, -1.0), min(mean + half, 1.0)


def mean(rows: pd.DataFrame, column: str) -> tuple[float, float, float]:
    rows = rows.assign(one=1.0)
    return over_concepts(rows, [column, "one"], lambda sums: sums[0] / sums[1])


def rate(rows: pd.DataFrame) -> Found:
    rows = rows.assign(hit=rows.present.astype(float))
    return wider(mean(rows, "hit"), wilson(rows.hit.sum(), len(rows)))


def change(rows: pd.DataFrame, column: str = "present") -> Found:
    """Mean of a column under instructions minus that under their controls, pair by pair."""
    return of_pairs(paired(rows, column))


def of_pairs(pairs: pd.DataFrame) -> Found:
    return wider(mean(pairs, "difference"), agresti_min(pairs.difference))


def paired(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Instructions beside the control of the same concept and seed: own, its, difference."""
    told = rows[rows.control != ""]
    its = rows[["concept", "wording", "seed", column]].rename(
        columns={"wording": "control", column: "its"}
    )
    both = told.merge(its, on=["concept", "control", "seed"], how="left", validate="many_to_one")
    assert both.its.notna().all()
    own, its = both[column].astype(float), both.its.astype(float)
    return both.assign(own=own, its=its, difference=own - its)


def with_plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with `plain`, how often plain requests show the concept at the same seed, alone or in a
    pair as the row is."""
    keys = ["concept", "seed", "pair"]
    asked = rows[rows.condition == "affirm"].assign(plain=lambda r: r.present.astype(float))
    plain = asked.groupby(keys, as_index=False).plain.mean()
    return rows.assign(hit=rows.present.astype(float)).merge(plain, on=keys, how="left")


def suppression(rows: pd.DataFrame) -> Found:
    """1 - rate / rate of plain requests; rows: of `with_plain`."""
    found = over_concepts(rows, ["hit", "plain"], lambda sums: 1 - sums[0] / sums[1])
    low, high = wilson(rows.hit.sum(), len(rows))
    return wider(found, (1 - high / rows.plain.mean(), 1 - low / rows.plain.mean()))


# --- a kind of instruction: wordings and concepts both random ------------------------------------


def over_both(rows: pd.DataFrame, top: str, bottom: str, level=0.95) -> tuple[float, float]:
    """A ratio of column sums, and half its interval over wordings and concepts, all of which meet.

    Mean squares of the two and of what is left, each with Student's t of its own; of the two, what
    is left explains so much that it falls short of it in 30 to 50 % of cases (see stats/crossed).
    """
    sums = rows.groupby(["wording", "concept"])[[top, bottom]].sum()
    a, b = (sums[name].unstack().to_numpy(float) for name in (top, bottom))
    value, shape = a.sum() / b.sum(), np.array(a.shape)
    pull = (a - value * b) / b.sum()
    rest = pull - pull.mean(0) - pull.mean(1, keepdims=True) + pull.mean()
    df = [*(shape - 1), np.prod(shape - 1)]
    left = (rest**2).sum() * np.prod(shape / (shape - 1))
    parts = []
    for axis in (0, 1):
        some_a, some_b = a.sum(1 - axis), b.sum(1 - axis)
        without = value - (a.sum() - some_a) / (b.sum() - some_b)
        square = max((pull.sum(1 - axis) * without).sum(), 0)
        short = chi2.isf(0.5 + 0.2 / df[axis], df[axis]) / df[axis]
        parts.append(max(square - short * left, 0))
    t = stdtrit(df, (1 + level) / 2)
    return float(value), float(np.sqrt((t**2 * [*parts, left]).sum()))


def rate_of_kind(rows: pd.DataFrame) -> Found:
    if rows.wording.nunique() < 2:
        return rate(rows)
    value, half = over_both(rows.assign(hit=rows.present.astype(float), one=1.0), "hit", "one")
    centre = logit(value)
    wide = half / (value * (1 - value)) if half else 0
    ends = Found(value, float(expit(centre - wide)), float(expit(centre + wide)))
    return wider(ends, wilson(rows.present.sum(), len(rows)))


def change_of_kind(pairs: pd.DataFrame, level: float = 0.95) -> Found:
    value, half = over_both(pairs.assign(one=1.0), "difference", "one", level)
    ends = value, max(value - half, -1.0), min(value + half, 1.0)
    return wider(ends, agresti_min(pairs.difference, level))


def suppression_of_kind(rows: pd.DataFrame) -> Found:
    """1 - rate / rate of plain requests; rows: of `with_plain`."""
    kept, half = over_both(rows, "hit", "plain")
    low, high = wilson(rows.hit.sum(), len(rows))
    ends = 1 - kept, 1 - kept - half, min(1 - kept + half, 1.0)
    return wider(ends, (1 - high / rows.plain.mean(), 1 - low / rows.plain.mean()))


def extremes(values, digits: int) -> list[float]:
    """The lowest and the highest; once, where they are printed alike."""
    ends = [min(values), max(values)]
    return ends[: len({f"{end:+.{digits}f}" for end in ends})]


def moves(found: Found) -> str | None:
    """Falls or rises by a tenth, for certain, or changes by less; None where another bootstrap
    could say otherwise."""
    ends, near = (found.low, found.high), 0.06 * (found.high - found.low)
    if any(abs(abs(end) - 0.1) < near for end in ends):
        return None
    if found.low > -0.1 and found.high < 0.1:
        return "stays"
    return "falls" if found.high <= -0.1 else "rises" if found.low >= 0.1 else "undecided"


def part_of(found: Found, whole: float) -> Found:
    return Found(found.value / whole, found.low / whole, found.high / whole)


def each_wording(pairs: pd.DataFrame):
    """(its text in short, its pairs) of every wording, in no order."""
    texts = pd.read_csv(PROMPTS).set_index("id").text
    return [(f"“{in_short(texts[w])}”", some) for w, some in pairs.groupby("wording")]


def ends_of(values) -> list[float]:
    """The lowest and the highest in percent; once, where they are printed alike."""
    ends = [100 * min(values), 100 * max(values)]
    return ends[: len({round(end) for end in ends})]


def quoted(condition: str, small: bool = False) -> str:
    name = SAID[condition]
    return f"“{name[0].lower() + name[1:] if small else name}”"


# --- chapters 03 and 04: pictures ----------------------------------------------------------------


@of("03_told_to_forget", "")
def told_to_forget(rows):
    found = {
        "An object that is asked for is drawn": rate_of_kind(rows[rows.condition == "affirm"]),
        "An object that is not mentioned is drawn": rate_of_kind(rows[rows.condition == "omit"]),
    }
    pairs = paired(rows, "present")
    for condition in ("negate", "forget_then_request"):
        some = pairs[pairs.condition == condition]
        change = change_of_kind(some)
        each = some.groupby("wording").difference.mean()
        name = f"{quoted(condition)} by itself changes how often it is drawn"
        found[name] = change._replace(said=(100 * change.value, *ends_of(each)))
    return found | wordings(rows)


@of("04_every_wording", "")
def every_wording(rows):
    rows = rows[rows.kind == "object"]
    plain, pairs, found = with_plain(rows), paired(rows, "present"), {}
    for condition in SAID:
        if condition != "mention":
            some, both = (table[table.condition == condition] for table in (plain, pairs))
            gone, by_itself = suppression_of_kind(some), change_of_kind(both)
            sums = some.groupby("wording")[["hit", "plain"]].sum()
            said = (100 * gone.value, *ends_of(1 - sums.hit / sums.plain))
            said += (100 * by_itself.value, *ends_of(both.groupby("wording").difference.mean()))
            found[f"{quoted(condition)} suppresses the concept"] = gone._replace(said=said)
    return found | wordings(rows)


def wordings(rows: pd.DataFrame) -> dict[str, Found]:
    """Each wording: how often, how often its control, and the difference."""
    texts, found = pd.read_csv(PROMPTS).set_index("id").text, {}
    for wording, some in paired(rows, "present").groupby("wording"):
        by_itself = of_pairs(some)
        said = tuple(100 * value for value in (some.own.mean(), some.its.mean(), by_itself.value))
        name = f"“{in_short(texts[wording])}” changes how often X is drawn"
        found[name] = by_itself._replace(said=said)
    return found


def in_short(text: str) -> str:
    """A wording with X for the concept, Y for another object and B for a place."""
    text = re.sub(r"\b[Aa] \{([co])\}", r"{\1}", text)
    for hole, letter in {"c": "X", "o": "Y", "b": "B", "d": "{what X is}"}.items():
        text = text.replace(f"{{{hole}}}", letter)
    return text


# --- chapters 05 and 10: text states -------------------------------------------------------------


@of("05_text_encoder", "similarity")
def moved(rows):
    rows = rows[(rows.layer == "final") & (rows.place == "eos")]
    cosine, unrelated = rows.cosine.astype(float), rows.unrelated.astype(float)
    pairs = paired(rows.assign(scaled=(cosine - unrelated) / (1 - unrelated)), "scaled")
    found = {name: (of_pairs(some), ()) for name, some in each_wording(pairs)}
    for condition in ("negate", "forget_then_request", "forget_only", "reinforced", "role"):
        some = pairs[pairs.condition == condition]
        each = some.groupby("wording").difference.mean()
        found[quoted(condition)] = change_of_kind(some), extremes(each, 3)
    return {
        f"{name} moves the end token away from the concept": one._replace(
            said=(one.value, *ends), verdict=moves(one)
        )
        for name, (one, ends) in found.items()
    }


@of("05_text_encoder", "probe")
def read_off(rows):
    places = {"concept": "concept's tokens", "eos": "end token", "pad": "padding"}
    both = rows[rows.split == "both new"]
    return {
        f"“To be absent” can be read linearly off the {name}": rate_of_kind(
            both[both.place == place]
        )
        for place, name in places.items()
    }


# --- chapter 10: models that learned to read from nothing ----------------------------------------

CAPTIONS = {
    "none": "no caption negates",
    "web": "0.58 % negate",
    "quiet": "0.58 % negate, quiet chatter",
    "fifth": "20 % negate",
}
FORBID, WANTED, ELSEWHERE = ("forget", "leave out"), ("name", "description"), ("place", "other")
WITHOUT = ["negate-without", "negate-pair-without"]


@cache
def population() -> dict[str, list[tuple[str, pd.DataFrame, pd.DataFrame]]]:
    """Kind of captions -> (name, scores, clauses) of its models that show what is asked for."""
    found = {kind: [] for kind in CAPTIONS}
    for path in sorted((RESULTS / "population").glob("*.json")):
        if json.loads(path.read_text(encoding="utf-8"))["quality"][ASKED] >= 0.8:
            tables = (path.with_name(path.stem + end) for end in (".parquet", "-clauses.parquet"))
            found[path.stem.rpartition("-")[0]].append((path.stem, *map(read, tables)))
    return {kind: models for kind, models in found.items() if models}


def told_and_neutral(clauses: pd.DataFrame) -> pd.DataFrame:
    """Clauses that forbid, each with `its`, the mean of the neutral verbs in the same place."""
    keys = ["concept", "seed", "frame", "request", "order", "subject"]
    own = clauses[clauses.verb != ""].assign(own=lambda rows: rows.present.astype(float))
    neutral = own[own.neutral.astype(bool)].groupby(keys, as_index=False).own.mean()
    both = own[own.verb.isin(FORBID)].merge(neutral.rename(columns={"own": "its"}), on=keys)
    return both.assign(difference=both.own - both.its, plain=both.its, hit=both.own)


def changes_nothing(pairs: pd.DataFrame, runs: int) -> Found:
    """Where there are three runs or more the published interval speaks of these as well."""
    found, near = change_of_kind(pairs), change_of_kind(pairs, 0.90)
    if runs > 2:
        return Found(found.value)
    apart = found.high < -0.1 or found.low > 0.1
    none = near.low > -0.1 and near.high < 0.1
    return found._replace(verdict="holds" if none else "refuted" if apart else "open")


def is_obeyed(one: Found) -> bool:
    return one.value >= 0.5 and one.low > 0


def with_direction(one: Found) -> Found:
    """With the word for a paired change."""
    word = "lowers it" if one.high < 0 else "raises it" if one.low > 0 else "undecided"
    return one._replace(verdict=word)


def acts_elsewhere(rows: pd.DataFrame, kind: str) -> Found:
    """What an instruction takes away, by frame and by prompt, and the word for it."""
    each = [suppression_of_kind(some) for _, some in rows.groupby("frame", sort=False)
            if some.its.mean() >= 0.2]  # fmt: skip
    prompts = [suppression(some).value for _, some in rows.groupby(["wording", "run"])]
    whole, count = suppression_of_kind(rows), sum(map(is_obeyed, each))
    verdict = "holds" if count >= 2 else "in part" if count else (
        "refuted" if len(each) >= 2 else "open")  # fmt: skip
    if kind == "none":
        silent = "holds" if len(each) >= 2 and not count else "open"
        verdict = "refuted" if count >= 2 else silent
    if kind == "web":
        verdict = "obeys" if is_obeyed(whole) else "does not obey" if whole.high < 0.5 else "open"
    said = (*(100 * one.value for one in each), *ends_of(prompts))
    return whole._replace(said=said, verdict=verdict)


def by_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Under an instruction that comes first, minus under the same that comes last."""
    keys = ["run", "concept", "seed", "verb", "frame", "request"]
    both = rows.pivot_table(index=keys, columns="order", values="own", aggfunc="sum").reset_index()
    return both.assign(difference=both["first"] - both["last"],
                       wording=both.verb + both.frame + both.request)  # fmt: skip


@of("10_what_captions_said")
def clauses_win():
    found = {}
    for kind, models in population().items():
        who, runs = f"{CAPTIONS[kind]} ({', '.join(name for name, *_ in models)})", len(models)
        told = pd.concat(
            [told_and_neutral(clauses).assign(run=name) for name, _, clauses in models]
        )
        about = told[told.subject == "concept"]
        for verb in FORBID:
            own = about[about.verb == verb]
            for request in WANTED:
                name = f"“{verb.capitalize()}” changes nothing where it is then asked for by"
                found[f"{name} {request}: {who}"] = changes_nothing(
                    own[own.request == request], runs
                )
            name = {"web": "(not declared) is obeyed", "none": "does not take away half or more"}
            name = name.get(kind, "takes away half or more")
            name = f"“{verb.capitalize()}” {name} where something else is asked for: {who}"
            found[name] = acts_elsewhere(own[own.request.isin(ELSEWHERE)], kind)
        name = f"An instruction about another object changes nothing: {who}"
        found[name] = changes_nothing(told[told.subject == "other"], runs)
        name = f"Where it is asked for, it does not matter which clause comes first: {who}"
        found[name] = changes_nothing(by_order(about[about.request.isin(WANTED)]), runs)
        name = "Where a place is asked for, the instruction first and not last (not declared):"
        place = change_of_kind(by_order(about[about.request == "place"]))
        found[f"{name} {who}"] = with_direction(place) if runs < 3 else Found(place.value)
        pairs = pd.concat(
            [paired(scores, "present").assign(run=name) for name, scores, _ in models]
        )
        pairs = pairs[pairs.condition.isin(["forget_then_request", "reinforced", "role"])]
        name = f"Instructions of *Every wording* that then ask for it by name: {who}"
        change = change_of_kind(pairs)
        each = ends_of(pairs.groupby(["run", "wording"]).difference.mean())
        change = change._replace(said=(100 * change.value, *each))
        found[name] = with_direction(change) if runs < 3 else Found(change.value, said=change.said)
    return found


@of("10_what_captions_said")
def without_in_the_population():
    found = {}
    for kind, models in population().items():
        pairs = pd.concat([paired(scores, "present") for _, scores, _ in models])
        pairs = pairs[pairs.wording.isin(WITHOUT)].assign(
            hit=lambda p: p.own, plain=lambda p: p.its
        )
        if kind != "web":
            each = [suppression(pairs[pairs.wording == wording]) for wording in WITHOUT]
            wanted = kind != "none"
            obeys, not_so = all(map(is_obeyed, each)), all(one.high < 0.5 for one in each)
            right = obeys if wanted else not_so
            verdict = "holds" if right else "refuted" if obeys or not_so else "open"
            names = ", ".join(name for name, *_ in models)
            name = f"A plain “without” is {'' if wanted else 'not '}obeyed, in both wordings:"
            found[f"{name} {CAPTIONS[kind]} ({names})"] = each[0]._replace(
                said=tuple(100 * one.value for one in each), verdict=verdict
            )
    seeds = [{name[-1] for name, *_ in population().get(kind, [])} for kind in ("quiet", "web")]
    if both := sorted(set.intersection(*seeds)):
        keys = ["concept", "seed", "wording"]
        quiet, web = (
            pd.concat([scores for name, scores, _ in population()[kind] if name[-1] in both])
            .pipe(lambda rows: rows[rows.wording.isin(WITHOUT)])
            .groupby(keys).present.mean().astype(float)
            for kind in ("quiet", "web")
        )  # fmt: skip
        pairs = (quiet - web).rename("difference").reset_index()
        each = [pairs[pairs.wording == wording].difference.mean() for wording in WITHOUT]
        name = "At the same share of negation, “without” is obeyed more where chatter never uses"
        found[f"{name} the word: seed {', '.join(both)}"] = of_pairs(pairs)._replace(
            said=tuple(100 * one for one in each), verdict="open" if len(both) < 3 else None
        )
    return found


def asks_for_it(text: str) -> bool:
    """Whether some sentence asks for {c}, or for what it is like, {d}, and forbids nothing."""
    for sentence in re.split(r"[.!:]", text.lower()):
        words = " " + sentence.replace(",", " ").strip() + " "
        asks = any(f" {verb} {it} " in words for verb in ("picture of", "draw", "with", "and also")
                   for it in ("a {c}", "{d}"))  # fmt: skip
        if asks and not {"not", "no", "never", "without"} & set(words.split()):
            return True
    return False


@of("10_what_captions_said")
def law_of_captions():
    """1 - squares of what is left / squares about the mean, over wordings and models."""
    dose = pd.read_parquet(RESULTS / "why" / "dose.parquet")
    absence = dose.groupby(["r", "chatter", "wording"])[["absence", "absence_named"]].prod()
    sets = {"wordings": [], "clauses": []}
    for path in sorted((RESULTS / "population").glob("*.json")):
        member = json.loads(path.read_text(encoding="utf-8"))["member"]
        scores, clauses = (
            read(path.with_name(path.stem + end)) for end in (".parquet", "-clauses.parquet")
        )
        for name, rows in (
            ("wordings", scores[~scores.condition.isin(["affirm", "omit"])]),
            ("clauses", clauses[clauses.verb.isin(FORBID)]),
        ):
            rates = rows.groupby("wording").present.mean().rename("rate").reset_index()
            sets[name].append(rates.assign(r=float(member["r"]), chatter=member["chatter"]))
    rates = pd.concat([pd.concat(parts).assign(set=name) for name, parts in sets.items()])
    rates = rates.merge(
        absence.reset_index(), on=["r", "chatter", "wording"], how="left", validate="many_to_one"
    ).fillna({"absence": 1.0, "absence_named": 1.0})
    rates["of_r"] = rates.rate.groupby(rates.r).transform("mean")
    files = (RESULTS.parent / "prompts" / f"{name}.csv" for name in ("eval", "clauses"))
    texts = pd.concat(map(pd.read_csv, files))
    rates["asked"] = rates.wording.map(texts.set_index("id").text).map(asks_for_it).astype(float)
    found = {}
    for name, rows in rates.groupby("set", sort=False):
        whole = ((rows.rate - rows.rate.mean()) ** 2).sum()
        said = [
            1 - ((rows.rate - guess) ** 2).sum() / whole
            for guess in (1 - rows.absence, 1 - rows.absence_named, rows.of_r, rows.asked)
        ]
        found[f"What captions said predicts what is drawn: {name}"] = Found(
            said[0], said=tuple(said)
        )
    return found


@of("11_another_encoder", "")
def exchanged_encoder(rows):
    """Wordings that take away half of what their control shows with the other encoder, for certain,
    and less with the own, for certain; where either control shows a fifth or more."""
    found = {}
    for condition in ("negate", "forget_then_request"):
        judged = {}
        for wording in dict.fromkeys(rows.wording[rows.condition == condition]):
            gone = {}
            for name in ("own", "other"):
                some = rows[
                    (rows.encoder == name) & ((rows.wording == wording) | (rows.control == ""))
                ]
                gone[name] = paired(some, "present").assign(
                    plain=lambda r: r.its, hit=lambda r: r.own
                )
            if min(pairs.its.mean() for pairs in gone.values()) >= 0.2:
                judged[wording] = {name: suppression(pairs) for name, pairs in gone.items()}
        new = [w for w in judged.values() if w["other"].low >= 0.5 and w["own"].high < 0.5]
        spared = [w["other"].high < 0.5 or w["own"].low >= 0.5 for w in judged.values()]
        most = max((w["other"] for w in new or judged.values()), key=lambda one: one.value)
        said = [100 * w[name].value for w in new for name in ("own", "other")]
        name = (f"An exchanged encoder alone makes no wording of {quoted(condition, small=True)}"
                " obeyed that was not")  # fmt: skip
        verdict = "refuted" if new else "holds" if all(spared) else "open"
        found[name] = most._replace(said=said or [100 * most.value], verdict=verdict)
    return found


# --- chapter 12: the arena ------------------------------------------------------------------------

NEITHER = ("untouched", "other-seeds")
STAYS = {
    "pair": ("spares the second object of the prompt", "other_present"),
    "absent": ("spares other objects", "other_present"),
    "near": ("spares the nearest object", "other_present"),
}


@of("12_beyond_words")
def arena():
    parts = []
    for folder in (RESULTS / "arena", RESULTS / "arena" / "small"):
        records = {
            path.stem: json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(folder.glob("*.json"))
        }
        parts.append((records, {name: read(folder / f"{name}.parquet") for name in records}))
    return arena_claims(parts)


def arena_claims(parts) -> dict[str, Found]:
    """Claims about methods, each from the first plan that scored it, and about hypotheses, each
    from the first plan that scored all that it compares. parts: (records, tables) of plans."""
    found, hypotheses = {}, {}
    for records, tables in parts:
        scored = {name: table[table.use == "scored"] for name, table in tables.items()}
        if not all(name in scored and len(scored[name]) for name in NEITHER):
            continue
        plain = scored[NEITHER[0]]
        for name in set(scored) - set(NEITHER):
            if len(scored[name]) and f"{name} leaves the concept out" not in found:
                found |= of_method(name, scored[name], plain)
        hypotheses = arena_hypotheses(records, tables, plain) | hypotheses
    return found | hypotheses


def under(rows: pd.DataFrame, other: pd.DataFrame, family: str, column="present") -> pd.DataFrame:
    """A method's pictures of a family beside others at the same prompts and noise: hit, plain,
    difference."""
    keys = ["concept", "wording", "seed"]
    its = other[other.family == ("held-out" if family == "placebo" else family)]
    its = its[[*keys, column]].rename(columns={column: "its"})
    both = rows[rows.family == family].merge(its, on=keys, how="left", validate="many_to_one")
    hit, plain = both[column].astype(float), both.its.astype(float)
    return both.assign(present=hit, hit=hit, plain=plain, difference=hit - plain)


def in_words(one: Found) -> str:
    ways = [
        ("drawn anyway", one.high < 0.1),
        ("left out", one.low >= 0.9),
        ("mostly drawn anyway", one.high < 0.5),
        ("mostly left out", one.low >= 0.5),
    ]
    return next((word for word, true in ways if true), "undecided")


def of_method(name: str, rows: pd.DataFrame, plain: pd.DataFrame) -> dict[str, Found]:
    """What it removes, what it spares, its placebo. Of a method that was trained several times the
    value alone: the published interval speaks of trainings as well."""
    removed = suppression_of_kind(under(rows, plain, "held-out"))
    found = {f"{name} leaves the concept out": removed._replace(verdict=in_words(removed))}
    for family, (text, column) in STAYS.items():
        if (rows.family == family).any():
            both = under(rows, plain, family, column)
            change, near = change_of_kind(both), change_of_kind(both, 0.90)
            kept = near.low > -0.05 and (family == "pair" or near.high < 0.05)
            lost = change.high < 0 and change.value <= -0.05
            verdict = "spared" if kept else "harmed" if lost else "open"
            found[f"{name} {text}"] = change._replace(verdict=verdict)
    if (rows.family == "placebo").any():
        both = under(rows, plain, "placebo")
        one, near = suppression_of_kind(both), change_of_kind(both, 0.90)
        none = near.low > -0.05 and near.high < 0.05
        some = one.value >= 0.1 and one.low > 0
        verdict = "specific" if none else "unspecific" if some else "open"
        found[f"{name} takes away only what it was told to (placebo)"] = one._replace(
            verdict=verdict
        )
    several = rows.run.nunique() > 2
    return {text: Found(one.value) if several else one for text, one in found.items()}


def arena_hypotheses(records, tables, plain) -> dict[str, Found]:
    """Those whose methods are all there, at the strengths that were declared for them."""

    def rows(name):
        table, fixed = tables[name], records[name]["entry"]["fixed"]
        return table[table.use.isin(["scored", "fixed"]) & (table.strength == fixed)]

    def removed(name):
        return suppression_of_kind(under(rows(name), plain, "held-out"))

    def there(*names):
        return all(name in tables and (tables[name].use == "scored").any() for name in names)

    found = {}
    if there("uce-2025", "uce-2023", "uce-carrier"):
        bare, tail, carrier = (removed(f"uce-{form}") for form in ("2025", "2023", "carrier"))
        wrong = bare.value >= 0.5 or (tail.value < 0.5 and carrier.value < 0.5)
        right = bare.value < 0.5 and tail.value > 0.5 and carrier.value > 0.5
        found["Hypothesis 1: “UCE” is several methods"] = bare._replace(
            said=tuple(100 * one.value for one in (bare, tail, carrier)),
            verdict="refuted" if wrong else "holds" if right else "open",
        )
    if there("name-states", "suppress-states", "name-values"):
        name, whole, turned = map(removed, ("name-states", "suppress-states", "name-values"))
        more = change_of_kind(
            under(rows("name-values"), rows("suppress-states"), "pair", "other_present")
        )
        right = name.value < 0.5 and whole.value >= 0.9 and turned.value >= 0.75 and more.low > 0
        found["Hypothesis 2: the word is not where the word stands"] = name._replace(
            said=tuple(100 * one.value for one in (name, whole, turned, more)),
            verdict="holds" if right else "refuted",
        )
    if there("safree", "safree-published", "adavd"):
        helper = change_of_kind(under(rows("safree"), rows("safree-published"), "held-out"))
        gate = under(rows("adavd"), plain, "held-out")
        change, near = change_of_kind(gate), change_of_kind(gate, 0.90)
        wrong = helper.low <= 0 or change.high < -0.1
        right = near.low > -0.1 and near.high < 0.1
        found["Hypothesis 5: published rows contain a hidden helper"] = helper._replace(
            said=(100 * helper.value, 100 * change.value),
            verdict="refuted" if wrong else "holds" if right else "open",
        )
    if there("instruction"):
        one = removed("instruction")
        verdict = "holds" if one.value < 0.1 else "refuted" if one.low > 0 else "open"
        found["An instruction in words reaches none of it"] = one._replace(verdict=verdict)
    return found


# --- chapters 06 and 07: attention ---------------------------------------------------------------


@of("06_watching_the_words", "")
def watched(rows):
    pairs = paired(rows, "auc")
    found = {name: (of_pairs(some), (), some) for name, some in each_wording(pairs)}
    for condition in ("negate", "forget_then_request"):
        some = pairs[pairs.condition == condition]
        ends = extremes(some.groupby("wording").difference.mean(), 4)
        found[quoted(condition)] = change_of_kind(some), ends, some
    made = {}
    for name, (one, ends, some) in found.items():
        part = part_of(one, some.its.mean())
        said = one.value, *ends, 100 * part.value
        made[f"{name} lowers attention to the word"] = one._replace(said=said, verdict=moves(part))
    return made


@of("06_watching_the_words", "curves")
def sustained(curves):
    """At half of the steps a tenth below the control for certain, or not so for certain."""
    keys = ["condition", "wording", "concept", "step"]
    wide = curves.pivot(index=keys, columns="what", values="mass").astype(float).reset_index()
    wide = wide.assign(difference=wide.instruction - wide.control)
    found = {}
    for condition in ("negate", "forget_then_request"):
        steps = [
            part_of(change_of_kind(some), some.control.mean())
            for _, some in wide[wide.condition == condition].groupby("step")
        ]
        below = sum(one.high < -0.1 for one in steps)
        above, half = sum(one.low > -0.1 for one in steps), len(steps) / 2
        verdict = (
            "sustained drop" if below >= half else "no sustained drop" if above > half
            else "undecided"
        )  # fmt: skip
        found[f"{quoted(condition)} lowers attention to the word in a sustained way"] = Found(
            below / len(steps), said=(below, len(steps), above), verdict=verdict
        )
    return found


@of("06_watching_the_words", "controls")
def positive_controls(rows):
    wide = rows.pivot(index=["concept", "seed"], columns="what", values="auc").astype(float)
    found = {}
    for what in wide.columns.drop("as it is"):
        both = (wide[what] - wide["as it is"]).rename("difference").reset_index()
        name = f"{what.capitalize()}, a positive control, lowers attention to the word"
        found[name] = of_pairs(both)
    return found


LEFT_OUT = {
    "all tokens": [],
    "without the start token": ["<bos>"],
    "without start and end token": ["<bos>", "<eos>"],
    "words only": ["<bos>", "<eos>", "<pad>"],
}
WATCHED = ("negate", "forget_then_request", "forget_only", "role")


def relative(rows: pd.DataFrame, condition: str) -> tuple[Found, list[float]]:
    """Change of the column `part` as a share of the mean under the controls, and the lowest and the
    highest of its wordings, in percent."""
    pairs = paired(rows, "part")
    some = pairs[pairs.condition == condition]
    sums = some.groupby("wording")[["difference", "its"]].sum()
    return part_of(change_of_kind(some), some.its.mean()), ends_of(sums.difference / sums.its)


@of("07_attention_and_pictures", "tokens")
def denominators(rows):
    keys = ["concept", "wording", "condition", "seed", "control"]
    rows = rows.assign(token=rows.token.replace("concept", "its word"))  # concept is a key too
    wide = rows.pivot(index=keys, columns="token", values="mass").astype(float).reset_index()
    found = {}
    for what, tokens in LEFT_OUT.items():
        some = wide.assign(part=wide["its word"] / (1 - wide[tokens].sum(axis=1)))
        for condition in WATCHED:
            name = f"{quoted(condition)} lowers attention to the word ({what})"
            one, ends = relative(some, condition)
            found[name] = one._replace(said=(100 * one.value, *ends), verdict=moves(one))
        if what == "all tokens":
            for name, pairs in each_wording(paired(some, "part")):
                one = part_of(of_pairs(pairs), pairs.its.mean())
                claim = f"{name} lowers attention to the word ({what})"
                found[claim] = one._replace(verdict=moves(one))
    return found


@of("07_attention_and_pictures", "heads")
def layers(rows):
    keys = ["concept", "wording", "condition", "seed", "control"]
    by_layer = rows.groupby(["layer", *keys], as_index=False).mass.mean()
    by_layer = by_layer.rename(columns={"mass": "part"})
    found = {}
    for condition in WATCHED:
        changes = [relative(some, condition)[0] for _, some in by_layer.groupby("layer")]
        falls = [one.high <= -0.1 for one in changes]
        stays = [one.low > -0.1 and one.high < 0.1 or one.low >= 0.1 for one in changes]
        verdict = "yes" if all(falls) else "no" if any(stays) else "undecided"
        name = f"Under {quoted(condition, small=True)} attention to the word falls in every layer"
        said = sum(falls), len(falls)
        found[name] = Found(np.mean(falls), said=said, verdict=verdict)
    return found


@of("07_attention_and_pictures", "", "heads")
def together(pictures, rows):
    changes = log_changes(rows, pictures)
    means = changes.groupby("wording")[["attention", "presence"]].mean().rank()
    return {
        "Wordings that lower attention to the word lower its presence": Found(
            np.corrcoef(means.attention, means.presence)[0, 1]
        )
    }


def log_changes(heads: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    """Per wording and concept: change of log attention and of presence against the control."""
    keys = ["concept", "wording", "seed"]
    mass = heads.groupby(keys, as_index=False).mass.mean()
    rows = pictures.merge(mass, on=keys, validate="one_to_one")
    rows = rows.assign(log=np.log(rows.mass.astype(float)))
    log, seen = paired(rows, "log"), paired(rows, "present")
    both = log.assign(attention=log.difference, presence=seen.difference)
    return both.groupby(["wording", "concept"], as_index=False)[["attention", "presence"]].mean()


# --- chapter 08: swapped states ------------------------------------------------------------------


@of("08_where_the_word_travels", "")
def swapped(rows):
    names = {"negate-no": "“but no”", "affirm-and": "“and a”", "omit-picture": "silence"}
    keys, found = ["concept", "seed"], {}
    rows = rows.assign(hit=rows.present.astype(float))
    plain = rows[rows.part == ""].pivot(index=keys, columns="wording", values="hit")
    swaps = rows[rows.source != ""].groupby(["wording", "source", "part"], sort=False)
    for (base, source, part), some in swaps:
        some = some.set_index(keys).hit.rename("swapped").to_frame()
        some = some.join(plain[base].rename("base")).join(plain[source].rename("source"))
        way = over_concepts(
            some.reset_index(), ["swapped", "base", "source"],
            lambda sums: (sums[0] - sums[1]) / (sums[2] - sums[1]),
        )  # fmt: skip
        start, end = some.base.mean(), some.source.mean()
        ends = [(p - start) / (end - start) for p in wilson(some.swapped.sum(), len(some))]
        name = f"{part.capitalize()} of {names[source]} drawn into {names[base]}"
        found[f"{name} decides the picture"] = wider(way, (min(ends), max(ends)))
    return found


# --- chapter 09: taught models -------------------------------------------------------------------

ASKED = "affirm, object present"
PLEASE = ["forget_then_request", "reinforced", "role"]  # forget it, and then draw it


@cache
def models(file: str) -> dict[str, tuple[dict, pd.DataFrame]]:
    """Model -> its record and the rows of its pictures; denied: whether its captions denied it."""
    found = {}
    for name in pd.read_csv(WHY / file).id:
        record = json.loads((RESULTS / "why" / f"{name}.json").read_text(encoding="utf-8"))
        rows = with_plain(read(RESULTS / "why" / f"{name}.parquet"))
        found[name] = record, rows.assign(denied=rows.concept.isin(record["denied"]))
    return found


def taught(encoder: float, denoiser: float) -> list[pd.DataFrame]:
    """The pictures of the models taught at these rates, a table each; none that learned longer, or
    that no longer shows what it is asked for."""
    return [
        rows
        for record, rows in models("cells.csv").values()
        if (record["cell"]["encoder_r"], record["cell"]["denoiser_r"]) == (encoder, denoiser)
        and record["cell"]["times"] == 1
        and record["quality"][ASKED] >= 0.8
    ]


def single(rows, conditions, heldout=False, denied=True) -> pd.DataFrame:
    of_one = ~rows.pair & rows.condition.isin(conditions)
    return rows[of_one & (rows.heldout == heldout) & (rows.denied == denied)]


def gone(tables: list[pd.DataFrame], conditions=PLEASE, **which) -> float:
    """Suppression in all these models together."""
    rows = pd.concat([single(table, conditions, **which) for table in tables])
    return float(1 - rows.hit.sum() / rows.plain.sum())


@of("09_why_it_fails")
def hypotheses():
    none, natural, much = (gone(taught(r, r)) for r in (0, 0.0058, 0.2))
    both, encoder, denoiser = taught(0.2, 0.2), gone(taught(0.2, 0)), gone(taught(0, 0.2))
    beyond = much - encoder - denoiser + none
    percent = lambda *values: tuple(100 * value for value in values)  # noqa: E731
    return {
        "Obedience to instructions grows with the share of negated captions": Found(
            much, said=(*percent(none), 0, *percent(natural), 0.58, *percent(much), 20)
        ),
        "Wordings that training never held suppress less": Found(gone(both, heldout=True) - much),
        "The denoiser has to be taught, and the encoder need not": Found(
            denoiser, said=percent(denoiser, encoder, beyond)
        ),
        "Objects that these captions never denied are suppressed as well": Found(
            gone(both, denied=False) - much
        ),
    }


@of("09_why_it_fails")
def without():
    """A plain “without”: “a picture of a beach without a bear” against “... with a bear”."""
    further = "The shipped model, trained further where {} % of captions negate,"
    cells = {
        further.format(0.58): (0.0058, 0.0058),
        further.format(2.53): (0.0253, 0.0253),
        further.format(20): (0.2, 0.2),
        "The same with 20 % in the captions of the text encoder alone": (0.2, 0),
        "The same with 20 % in the captions of the denoiser alone": (0, 0.2),
    }
    found = {}
    for name, cell in cells.items():
        runs = [single(paired(rows, "present"), ["negate"]) for rows in taught(*cell)]
        made = of_pairs(pd.concat(runs))
        name = f"{name} obeys a plain “without”"
        found[name] = made if len(runs) == 1 else Found(made.value)
    return found


@of("09_why_it_fails")
def repairs():
    needed = models("cells.csv")["shipped"][0]["quality"][ASKED] - 0.05
    found = {}
    for what, conditions in {"instructions": PLEASE, "a plain “without”": ["negate"]}.items():
        all_of = {
            name: (suppression(single(rows, conditions)), record)
            for name, (record, rows) in models("repairs.csv").items()
        }
        good = [
            (record["cell"]["steps"], record["cell"]["examples"], name)
            for name, (one, record) in all_of.items()
            if one.low >= 0.5 and record["quality"][ASKED] >= needed
        ]
        if good:
            best, record = all_of[min(good)[2]]
            kept = [100 * record["quality"][what] for what in (ASKED, "pair, both present")]
            best = best._replace(said=(100 * best.value, *kept))
        else:
            best = max((one for one, _ in all_of.values()), key=lambda one: one.value)
        failed = all(
            one.high < 0.5 or record["quality"][ASKED] < needed for one, record in all_of.values()
        )
        verdict = "holds" if good else "refuted" if failed else "open"
        name = f"A short training of one part restores obedience to {what}"
        # The published interval speaks of wordings as well, this one of concepts only.
        found[name] = best._replace(low=None, high=None, verdict=verdict)
    return found


@of("09_why_it_fails", "probe")
def read_when_taught(rows):
    new = rows[(rows.split == "both new") & rows.place.isin(["concept", "eos"])]
    best = {
        model: max((rate_of_kind(at) for _, at in some.groupby("place")), key=lambda one: one.value)
        for model, some in new.groupby("model")
    }
    said = (100 * best["taught"].value, 100 * best["shipped"].value)
    name = "A probe reads “to be absent” off the states of a taught encoder"
    return {name: best["taught"]._replace(said=said)}


@of("09_why_it_fails", "parts", "heads")
def attention_falls(rows, heads):
    """Under the wordings that halve the rate of the taught model, or more."""
    rows = rows[(rows.encoder == "taught") & (rows.denoiser == "taught")]
    sums = paired(rows, "present").groupby("wording")[["own", "its"]].sum()
    obeyed = sums.index[(sums.its > 0) & (sums.own <= 0.5 * sums.its)]
    changes = log_changes(heads, rows).assign(one=1.0)
    value, half = over_both(changes[changes.wording.isin(obeyed)], "attention", "one")
    found = Found(*(float(np.expm1(end)) for end in (value, value - half, value + half)))
    return {"What is obeyed needs no fall of attention by half": found}


@of("09_why_it_fails", "exchange")
def attention_exchanged(rows):
    names = {
        "instruction": "Giving the word its attention back brings the object back",
        "control": "Taking attention from the word takes the object away",
    }
    found = {}
    for words, name in names.items():
        some = rows[rows.words == words]
        own, other = (some[some.attention == of] for of in ("its own", "the other's"))
        made = rate_of_kind(other)
        found[name] = made._replace(said=(100 * made.value, 100 * own.present.mean()))
    return found
