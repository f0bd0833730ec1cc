"""What the inside of the model says (text states, attention, patches), in words chosen by numbers.

The margins were declared before any result: a state that moves by less than a tenth of the way to
another concept, or an attention that changes by less than a tenth, stays as it was; a part of the
text carries a concept if swapping it goes at least half of the way.
"""

import pandas as pd

from whitebear import stats
from whitebear.book.chapters.told_to_forget import direction_of
from whitebear.book.report.claim import Claim
from whitebear.measures.text_states import FINAL, PLACE_NAMES, SPLITS
from whitebear.prompts import name_of
from whitebear.stats import Estimate

MARGIN = 0.10
HALF = 0.5
READABLE = 0.75  # of probes on new concepts and new wordings; chance is one half


def signed(found: Estimate, digits: int = 3) -> str:
    """ "+0.030 [-0.012, 0.071]" with proper minus signs."""
    text = f"{found.value:+.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
    return text.replace("-", "−")


def moves(found: Estimate, margin: float = MARGIN) -> str:
    """The word for a change: "stays", "falls", "rises" beyond the margin, or "undecided"."""
    if -margin < found.low and found.high < margin:
        return "stays"
    if found.high < 0 and found.value <= -margin:
        return "falls"
    if found.low > 0 and found.value >= margin:
        return "rises"
    return "undecided"


def carries(found: Estimate) -> str:
    """Whether a part of the text carries the concept: "carries it", "does not", "in part"; with no
    interval, "undecided"."""
    if pd.isna(found.low):
        return "undecided"
    if found.low >= HALF:
        return "carries it"
    return "does not carry it" if found.high < HALF else "in part"


# --- text encoder --------------------------------------------------------------------------------


def encoder_answer(changes: pd.DataFrame, found: pd.DataFrame, condition: str) -> str:
    """One sentence: what an instruction does to the end token, and whether a probe can read it."""
    row = changes.loc[condition, FINAL, "eos"]
    words = {"stays": "hardly moves", "falls": "moves away", "rises": "moves closer"}
    how = words.get(moves(row.difference), "moves by an undecided amount")
    best = max((_accuracy(found, place, SPLITS[2]) for place in dict.fromkeys(found.place)),
               key=lambda e: e.value)  # fmt: skip
    return (
        f"Under “{name_of(condition)}”, the end token's state {how} from the plain request:"
        f" {signed(row.difference)} of the way to another concept, against the same words"
        f" without the instruction (n = {row.difference.n} pairs). Whether something is asked to"
        f" be absent is told by a linear probe in {best.percent()} of prompts about new concepts"
        " in new words; chance is 50 %."
    )


def _accuracy(found: pd.DataFrame, place: str, split: str) -> Estimate:
    return stats.rate(found[(found.place == place) & (found.split == split)])


def encoder_claims(changes: pd.DataFrame, found: pd.DataFrame) -> list[Claim]:
    """How far each instruction moves the end token, and what probes read."""
    claims = []
    for condition in dict.fromkeys(changes.index.get_level_values("condition")):
        row = changes.loc[condition, FINAL, "eos"]
        claims.append(
            Claim(
                f"“{name_of(condition).capitalize()}” moves the end token away from the concept",
                row.difference, signed(row.difference), f"{row.difference.n} pairs",
                "the same words without the instruction", moves(row.difference), "fig-ladder-text",
            )
        )  # fmt: skip
    for place in ("concept", "eos", "pad"):
        rate = _accuracy(found, place, SPLITS[2])
        verdict = "readable" if rate.low >= READABLE else "hardly" if rate.high < READABLE else "?"
        claims.append(
            Claim(
                f"“To be absent” can be read linearly off the {PLACE_NAMES[place]}",
                rate, rate.percent(), f"{rate.n} prompts", "chance, 50 %",
                {"?": "undecided"}.get(verdict, verdict), "fig-probes",
            )
        )  # fmt: skip
    return claims


# --- attention -----------------------------------------------------------------------------------


def attention_answer(table: pd.DataFrame, rho: Estimate) -> str:
    """One sentence: table of `attention_detail.by_denominator`, rho of `rank_correlation`."""
    parts = []
    for condition in dict.fromkeys(table.index.get_level_values(1)):
        some = table.xs(condition, level=1).relative
        values = sorted(100 * e.value for e in some)
        ends = dict.fromkeys(f"{v:+.0f}" for v in (values[0], values[-1]))
        parts.append(f"“{name_of(condition)}” by {' to '.join(ends)} %")
    text = (
        f"By the choice of what it is a share of, attention to the word changes under"
        f" {', under '.join(parts)}. Over the wordings, the change of attention and the change of"
        f" presence {_together(rho)} (Spearman's ρ = {signed(rho, 2)})."
    )
    return text.replace(" -", " −")


def _together(rho: Estimate) -> str:
    if rho.low > 0:
        return "rise and fall together"
    return "go against each other" if rho.high < 0 else "have no order in common that can be shown"


def watching_claims(found: pd.DataFrame, controls: pd.DataFrame) -> list[Claim]:
    """Attention under instructions (`attention.changes`) and under the positive controls."""
    claims = [
        Claim(
            f"“{name_of(condition).capitalize()}” lowers attention to the word in a sustained way",
            row.difference, signed(row.difference, 4), f"{row.difference.n} pairs",
            "the same words without the instruction",
            "sustained drop" if row.sustained else "no sustained drop", "fig-curves",
        )
        for condition, row in found.iterrows()
    ]  # fmt: skip
    plain = controls[controls.what == "as it is"].set_index(["concept", "seed"]).auc
    for what in dict.fromkeys(controls.what[controls.what != "as it is"]):
        rows = controls[controls.what == what].join(plain.rename("plain"), on=["concept", "seed"])
        change = stats.paired_difference(rows.assign(difference=rows.auc - rows.plain))
        none = "no change" if moves(change, MARGIN * plain.mean()) == "stays" else "undecided"
        direction = direction_of(change)
        verdict = f"{direction} it" if direction else none
        claims.append(
            Claim(
                f"{what.capitalize()}, a positive control, lowers attention to the word", change,
                signed(change, 4), f"{change.n} pairs", "a plain request", verdict, "fig-controls",
            )
        )  # fmt: skip
    return claims


def attention_claims(table: pd.DataFrame, layers: pd.DataFrame, rho: Estimate) -> list[Claim]:
    """The change under each condition and denominator, layer by layer, and the relation."""
    claims = []
    for what, condition in table.index:
        found = table.relative[what, condition]
        claims.append(
            Claim(
                f"“{name_of(condition).capitalize()}” lowers attention to the word ({what})",
                found, f"{found.percent()} of the control", f"{found.n} pairs",
                "the same words without the instruction", moves(found), "fig-denominators",
            )
        )  # fmt: skip
    for condition in dict.fromkeys(layers.index.get_level_values(1)):
        some = layers.xs(condition, level=1).relative
        down = [name for name, found in some.items() if moves(found) == "falls"]
        claims.append(
            Claim(
                f"Under “{name_of(condition)}” attention to the word falls in every layer",
                stats.counted(len(down), len(some)), f"it falls in {len(down)} of {len(some)}",
                f"{some.iloc[0].n} pairs a layer",
                "the same words without the instruction",
                "yes" if len(down) == len(some) else "no", "fig-denominators",
            )
        )  # fmt: skip
    claims.append(
        Claim(
            "Wordings that lower attention to the word lower its presence", rho,
            f"ρ = {signed(rho, 2)}", f"{rho.n} wordings and concepts", "no relation",
            _together(rho), "fig-relation",
        )
    )  # fmt: skip
    return claims


# --- patching ------------------------------------------------------------------------------------


def patching_answer(table: pd.DataFrame) -> str:
    """One sentence on which states bring a concept, or take it away: `patching.shares`."""
    share = lambda *key: table.share[key].percent()  # noqa: E731
    bring, take = ("negate-no", "affirm-and"), ("affirm-and", "negate-no")
    after = "end token and padding"
    silence = (
        f"Drawn into a prompt that never names the concept, the end token and the padding of the"
        f" prompt that says “and a” go {share('omit-picture', 'affirm-and', after)} of the way."
    )
    if pd.isna(table.share[(*bring, "concept")].value):
        return f"“But no” and “and a” are drawn equally often; their states tell nothing. {silence}"
    return (
        f"Give the prompt that says “but no” the concept's own token states from the prompt that"
        f" says “and a”, and the picture goes {share(*bring, 'concept')} of the way to it; with the"
        f" end token and the padding instead, {share(*bring, after)}. The other way round it goes"
        f" {share(*take, 'concept')} and {share(*take, after)} of the way. {silence}"
    )


def patching_claims(table: pd.DataFrame) -> list[Claim]:
    """One claim a swap."""
    names = {"negate-no": "“but no”", "affirm-and": "“and a”", "omit-picture": "silence"}
    return [
        Claim(
            f"{part.capitalize()} of {names[source]} drawn into {names[base]} decides the picture",
            row.share, f"{row.share.percent()} of the way", f"{row.share.n} pictures",
            f"{names[base]} and {names[source]} undisturbed", carries(row.share), "fig-swaps",
        )
        for (base, source, part), row in table.iterrows()
    ]  # fmt: skip
