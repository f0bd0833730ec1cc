"""Claims and quoted numbers made again from the published tables, without drawing a picture:

    python tests/remake.py 03_told_to_forget 04_every_wording

For a rule, a sentence or an interval that has changed since a chapter was published. It calls what
the chapter calls, on the tables that the chapter published; what needs a model's weights stays.
"""

import json
import sys

import pandas as pd

from whitebear import stats
from whitebear.book.chapters import (
    another_encoder,
    attention_and_pictures,
    beyond_words,
    every_wording,
    text_encoder,
    told_to_forget,
    watching_the_words,
    what_captions_said,
    where_the_word_travels,
    why_it_fails,
)
from whitebear.book.chapters.what_captions_said import hypotheses
from whitebear.book.report.arena import verdicts
from whitebear.book.report.claim import Claim, as_records
from whitebear.book.report.published import FILE, read_published
from whitebear.files import RESULTS, write_text
from whitebear.measures import attention, heads, swaps, text_states
from whitebear.pocket.experiments import arena_results, law, results as why
from whitebear.pocket.experiments.dose import DOSE
from whitebear.pocket.experiments.members import load_members
from whitebear.pocket.experiments.repair import REPAIRS, Repair
from whitebear.pocket.experiments.teach import load_cells

Remade = tuple[list[Claim], dict[str, int | str]]


def scores(chapter: str) -> pd.DataFrame:
    return pd.read_parquet(RESULTS / f"{chapter}.parquet")


def of_told_to_forget() -> Remade:
    table = scores("03_told_to_forget")
    return told_to_forget.claims(table), told_to_forget.numbers(table)


def of_every_wording() -> Remade:
    table = scores("04_every_wording")
    objects, others = table[table.kind == "object"], table[table.kind != "object"]
    wordings = stats.by_wording(objects)
    claims = every_wording.claims(objects, wordings)
    return claims, every_wording.numbers(objects, wordings, others)


def measured(chapter: str, name: str) -> pd.DataFrame | None:
    """What a chapter published beside pictures; None where it has not yet."""
    path = RESULTS / f"{chapter}_{name}.parquet"
    return pd.read_parquet(path) if path.is_file() else None


def of_text_encoder() -> Remade:
    similar = text_states.add_standardised(measured("05_text_encoder", "similarity"))
    probe = measured("05_text_encoder", "probe")
    found = text_states.changes(similar), text_states.wording_changes(similar), probe
    answer = text_encoder.answer(*found, "forget_then_request")
    prompts = len(similar[["concept", "wording", "seed"]].drop_duplicates())
    return text_encoder.claims(*found), {"answer": answer, "prompts": prompts}


def of_watching_the_words() -> Remade:
    rows = scores("06_watching_the_words")
    found = attention.changes(rows), attention.changes(rows, by="wording")
    claims = watching_the_words.claims(*found)
    if (lines := measured("06_watching_the_words", "curves")) is not None:
        claims += watching_the_words.lasting_claims(attention.lasting(lines))
    if (controls := measured("06_watching_the_words", "controls")) is not None:
        claims += watching_the_words.control_claims(controls)
    return claims, {"answer": watching_the_words.answer(*found), "images": len(rows)}


def of_attention_and_pictures() -> Remade:
    chapter = "07_attention_and_pictures"
    table, tokens, by_head = (
        scores(chapter),
        measured(chapter, "tokens"),
        measured(chapter, "heads"),
    )
    changes = heads.by_wording(table, by_head)
    shares = heads.by_denominator(tokens), heads.by_denominator(tokens, by="wording")
    rho = heads.rank_correlation(changes)
    claims = attention_and_pictures.claims(*shares, heads.by_layer(by_head), rho)
    answer = attention_and_pictures.answer(*shares, changes)
    return claims, {"answer": answer, "images": len(table)}


def of_where_the_word_travels() -> Remade:
    found = scores("08_where_the_word_travels")
    shares = swaps.shares(found)
    answer = where_the_word_travels.answer(shares)
    return where_the_word_travels.claims(shares), {"answer": answer, "images": len(found)}


def of_why_it_fails() -> Remade:
    results = why.load_results(load_cells())
    repairs = why.load_results(load_cells(REPAIRS, Repair))
    asked = why.quality(results["shipped"])
    again = why_it_fails.repair(repairs, asked, why.PLAIN, "a plain “without”")
    claims = [*why_it_fails.claims(results, repairs, asked), *why_it_fails.plain(results), again]
    models = len(results) + len(repairs)
    return claims, {"answer": why_it_fails.answer(results), "models": models}


def of_what_captions_said() -> Remade:
    found = load_members()
    rates = law.beside_law(law.member_rates(found.values()), pd.read_parquet(DOSE))
    claims = hypotheses.claims(found, rates)
    answer = what_captions_said.answer(found, rates)
    return claims, {"answer": answer, "models": len(found)}


def of_another_encoder() -> Remade:
    drawn = scores("11_another_encoder")
    own, other = (drawn[drawn.encoder == name].reset_index(drop=True) for name in ("own", "other"))
    wordings = another_encoder.by_wording(own, other)
    answer = another_encoder.answer(another_encoder.changes(own, other), wordings)
    return another_encoder.predictions(wordings), {"answer": answer, "images": len(drawn)}


def of_beyond_words() -> Remade:
    parts = arena_results.load_published()
    table = arena_results.summary(parts)
    words = verdicts(table)
    claims = beyond_words.claims(table, words, beyond_words.judged(parts))
    answer = beyond_words.answer(parts, table, words)
    return claims, {"answer": answer, "methods": len(beyond_words.methods(table))}


REMADE = {
    "03_told_to_forget": of_told_to_forget,
    "04_every_wording": of_every_wording,
    "05_text_encoder": of_text_encoder,
    "06_watching_the_words": of_watching_the_words,
    "07_attention_and_pictures": of_attention_and_pictures,
    "08_where_the_word_travels": of_where_the_word_travels,
    "09_why_it_fails": of_why_it_fails,
    "10_what_captions_said": of_what_captions_said,
    "11_another_encoder": of_another_encoder,
    "12_beyond_words": of_beyond_words,
}
NEED = {"07_attention_and_pictures": ("tokens", "heads")}  # without which nothing is made again
REMADE = {
    chapter: function
    for chapter, function in REMADE.items()
    if all((RESULTS / f"{chapter}_{name}.parquet").is_file() for name in NEED.get(chapter, ()))
}
# Claims that stay as they are while the table that they follow from has not been published.
NEED_WEIGHTS = {
    "06_watching_the_words": ("Weight", "Negative"),
    "09_why_it_fails": ("A probe", "What is obeyed", "Giving", "Taking"),
}


def main(chapters: list[str]) -> None:
    record = read_published()
    for chapter in chapters:
        claims, numbers = REMADE[chapter]()
        old, stay = record[chapter], NEED_WEIGHTS.get(chapter)
        made = {claim.claim for claim in claims}
        kept = [c for c in old["claims"]
                if stay and c["claim"].startswith(stay) and c["claim"] not in made]  # fmt: skip
        old |= {"claims": as_records(claims) + kept, "numbers": old["numbers"] | numbers}
    write_text(FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
