"""Numbers that prose pages quote of the published tables themselves, without a notebook between:
how often one wording shows its concept in one model, and what one instruction changes in it.

A page says `{{ table_shipped_negate_no_rate }}` ("0 %") or `{{ table_shipped_negate_no_change }}`
("−96 points [−98, −93]"); a new number is an entry of RATES or CHANGES.
"""

from pathlib import Path

import pandas as pd

from whitebear import stats
from whitebear.book.report import rules
from whitebear.book.report.phrases import points, signed
from whitebear.book.report.published import FILE, read_published
from whitebear.errors import UserError
from whitebear.files import RESULTS, read_parquet
from whitebear.pocket.experiments.results import INSTRUCTIONS, Pick, Result, effect, load_results

SHIPPED = "04_every_wording.parquet"
TAUGHT = 0.2  # share of negated captions that a taught part read
RATES = {
    "shipped": ("affirm-with", "omit-picture", "negate-no", "negate-without", "negate-not-draw",
                "mention-paper", "forget-only-paper", "forget-only-look", "forget-only-memory",
                "forget-paper"),
    "second": ("affirm-with", "negate-without", "forget-paper"),
    "taught": ("affirm-with", "negate-without", "mention-paper", "forget-only-paper",
               "forget-paper"),
    "own": ("affirm-pair-with", "negate-pair-without"),
    "exchanged": ("affirm-pair-with", "negate-pair-without"),
}  # fmt: skip
COUNTED = ("shipped", "second", "taught", "exchanged")  # models whose pictures a wording are said
CHANGES = {
    "shipped": (
        "negate-no",
        "negate-without",
        "negate-not-draw",
        "forget-only-paper",
        "forget-only-look",
        "forget-only-memory",
        "forget-paper",
    ),
    "taught": ("forget-only-paper",),
}
# what attention to the word loses, as a share
ATTENTION = ("forget-paper", "negate-no", "negate-pair-without")
HYPOTHESES = (  # the claims that judge the six of data/why/declared.md, part 1, in their order
    ("Obedience to instructions grows with the share of negated captions",),
    ("Wordings that training never held suppress less",),
    ("The denoiser has to be taught, and the encoder need not",),
    ("Objects that these captions never denied are suppressed as well",),
    ("A probe reads “to be absent” off the states of a taught encoder",
     "What is obeyed needs no fall of attention by half"),
    ("A short training of one part restores obedience to instructions",),
)  # fmt: skip
CLAIMS = {  # name on a page -> chapter and claim whose published estimate it quotes
    "text_forget": (
        "05_text_encoder",
        "“Forget it, then draw it” moves the end token away from the concept",
    ),
    "text_negate": (
        "05_text_encoder",
        "“Asked to leave it out” moves the end token away from the concept",
    ),
    "attention_negate": (
        "06_watching_the_words",
        "“Asked to leave it out” lowers attention to the word",
    ),
    "attention_forget": (
        "06_watching_the_words",
        "“Forget it, then draw it” lowers attention to the word",
    ),
}


def numbers(results: Path = RESULTS) -> dict[str, str]:
    """Name on a page -> text, of the tables in a folder of results; {} where nothing is published.

    Raises `UserError` for a wording or a claim that the tables lack.
    """
    if not (results / SHIPPED).is_file():
        return {}
    known = models(results)
    found = {"taught_models": str(len(known["taught"]))}
    for model, wordings in RATES.items():
        found |= {_name(model, w, "rate"): rate(known[model], w) for w in wordings}
        if model in COUNTED:
            found[f"{model}_n"] = str(_counted(known[model], wordings[0]))
    for model, wordings in CHANGES.items():
        found |= {_name(model, w, "change"): points(change(known[model], w)) for w in wordings}
    found |= {f"attention_{w.replace('-', '_')}": text for w, text in _attention(results).items()}
    found |= unchanged(known) | claimed(results)
    pairs = stats.add_control(known["shipped"][0].scores, "clip_score")
    pairs = pairs[pairs.condition == "forget_then_request"]
    found["clip_score_forget"] = signed(stats.paired_difference(pairs, over=stats.KIND), 4)
    return {f"table_{name}": text for name, text in found.items()}


def models(results: Path = RESULTS) -> dict[str, list[Result]]:
    """Model as pages name it -> its runs, each with the scores of objects (of those that captions
    denied where it was taught).

    shipped; second: trained from nothing with another seed; taught: those whose text encoder read
    many negations; own and exchanged: the shipped denoiser before its own and a taught encoder.
    """
    scores = read_parquet(results / SHIPPED)
    other = read_parquet(results / "11_another_encoder.parquet")
    cells = load_results([path.stem for path in (results / "why").glob("e*.json")], results / "why")
    taught = [r for r in cells.values() if r.rates[0] == TAUGHT and r.times == 1]
    return {
        "shipped": [Result({}, scores[scores.kind == "object"])],
        "second": [Result({}, read_parquet(results / "retrained" / "seed-1.parquet"))],
        "taught": [Result(r.record, r.scores[r.scores.denied]) for r in taught],
        "own": [Result({}, other[other.encoder == "own"])],
        "exchanged": [Result({}, other[other.encoder != "own"])],
    }


def rate(runs: list[Result], wording: str) -> str:
    """How often one wording shows its concept, over all runs of a model: "87 %"."""
    rows = pd.concat([_only(wording)(run.scores) for run in runs])
    if not len(rows):
        raise UserError(f"a page quotes the wording {wording!r}, which the tables lack")
    return f"{round(100 * rows.present.mean())} %"


def change(runs: list[Result], wording: str) -> stats.Estimate:
    """What one wording changes against its control, in all runs of a model."""
    return effect(runs, _only(wording))


def unchanged(known: dict[str, list[Result]]) -> dict[str, str]:
    """In how many of the wordings that tell to forget what they then ask for the instruction is
    shown to change nothing, by model: "12 of 12"."""
    found = {}
    for model in ("shipped", "second"):
        pairs = stats.add_control(known[model][0].scores)
        groups = pairs[pairs.condition.isin(INSTRUCTIONS)].groupby("wording")
        words = [rules.SAME(None, stats.paired_difference(p, level=0.90)) for _, p in groups]
        found[f"{model}_unchanged"] = f"{words.count('yes')} of {len(words)}"
    return found


def claimed(results: Path) -> dict[str, str]:
    """Published estimates of single claims, and how the declared hypotheses ended, in numbers."""
    known = {(chapter, claim["claim"]): claim for chapter, record in
             read_published(results / FILE.name).items() for claim in record["claims"]}  # fmt: skip

    def look_up(chapter: str, claim: str, part: str) -> str:
        if (chapter, claim) not in known:
            raise UserError(f"a page quotes the claim {claim!r}, which {chapter} did not publish")
        return known[chapter, claim][part]

    ended = [{look_up("09_why_it_fails", c, "verdict") for c in parts} for parts in HYPOTHESES]
    return {name: look_up(*claim, "estimate") for name, claim in CLAIMS.items()} | {
        "hypotheses": str(len(ended)),
        "hypotheses_held": str(sum(words == {rules.HOLDS} for words in ended) or "none"),
        "hypotheses_refuted": str(sum(words == {rules.REFUTED} for words in ended)),
        "hypotheses_open": str(sum(words == {rules.OPEN} for words in ended)),
        "hypotheses_split": str(sum(len(words) > 1 for words in ended)),
    }


def _attention(results: Path) -> dict[str, str]:
    pairs = stats.add_control(read_parquet(results / "06_watching_the_words.parquet"), "auc")
    found = {}
    for wording in ATTENTION:
        rows = pairs[pairs.wording == wording]
        fall = stats.paired_difference(rows).relative_to(rows.control_value.mean())
        found[wording] = fall.percent()
    return found


def _counted(runs: list[Result], wording: str) -> int:
    return sum(len(_only(wording)(run.scores)) for run in runs)


def _only(wording: str) -> Pick:
    return lambda rows: rows[rows.wording == wording]


def _name(model: str, wording: str, what: str) -> str:
    return f"{model}_{wording.replace('-', '_')}_{what}"
