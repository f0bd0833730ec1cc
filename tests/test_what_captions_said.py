"""Hypotheses 7 to 12 are judged by the rules that were declared, whatever the models do."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from whitebear.book.chapters import what_captions_said as chapter
from whitebear.book.chapters.what_captions_said import hypotheses
from whitebear.book.figures import population as figures
from whitebear.pocket.experiments import groups
from whitebear.pocket.experiments.members import GROUPS, Member, Published
from whitebear.prompts import load_wordings, prompt_grid
from whitebear.prompts.clauses import FACTORS, load_clauses

TOLD = ("forget", "leave out")


def member(name, group="web", seed=1, **behaviour):
    """A member whose pictures follow `obeys(row)`: the probability of the concept in each row."""
    obeys = {"clause": lambda row: 0.9, "wording": lambda row: 0.9} | behaviour
    rng, known = np.random.default_rng(seed), load_clauses()
    clauses = prompt_grid([], list(dict.fromkeys(known.condition)), 1, wordings=known)
    clauses = clauses.join(known.set_index("id")[FACTORS], on="wording")
    table = load_wordings()
    conditions = obeys.pop("conditions", ["affirm", "negate", "mention", "forget_only"])
    scores = prompt_grid([], conditions, 1, wordings=table)
    tables = {}
    for kind, rows in (("clause", clauses), ("wording", scores)):
        p = np.array([obeys[kind](row) for row in rows.itertuples()])
        tables[kind] = rows.assign(present=rng.random(len(rows)) < p)
    quality = {"affirm, object present": 0.95, "pair, both present": 0.8}
    record = {"quality": quality, "seconds": {"clip": 600, "denoiser": 1200}, "hardware": "a CPU"}
    about = Member(name, 0.0058, "quiet" if group == "quiet" else "all", seed)
    return Published(about, record, tables["wording"], tables["clause"])


def acts_elsewhere(row):
    if row.verb in TOLD and row.subject == "concept" and row.request in ("place", "other"):
        return 0.05
    return 0.8


def without_obeyed(row):
    return 0.0 if row.wording in groups.WITHOUT else 0.9


def verdict(claims, words):
    (found,) = [c.verdict for c in claims if words in c.claim]
    return found


@pytest.fixture(scope="module")
def found():
    made = [
        member("web-1", clause=acts_elsewhere),
        member("quiet-1", "quiet", clause=acts_elsewhere, wording=without_obeyed),
        member("none-1", "none"),
    ]
    return {p.member.id: p for p in made}


def rates(predicted):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"rate": rng.random(60), "model": ["a", "b"] * 30, "set": "wordings"})
    wordings = load_wordings().id.head(30).repeat(2).to_numpy()
    return table.assign(
        wording=wordings, predicted=predicted(table.rate), share=table.rate.mean(), named=0.5,
        requested=(table.index % 2).astype(float),
    )  # fmt: skip


def test_hypotheses_are_judged_a_group_each(found):
    claims = hypotheses.claims(found, rates(lambda rate: rate))
    assert verdict(claims, "“Forget” takes away half or more where something else is asked for: "
                   + GROUPS["quiet"]) == "holds"  # fmt: skip
    assert verdict(claims, "“Forget” (not declared) is obeyed") == "obeys"
    assert verdict(claims, "“Leave out” does not take away half or more where something else is"
                   " asked for: " + GROUPS["none"]) == "holds"  # fmt: skip
    assert verdict(claims, "“Forget” changes nothing where it is then asked for by name: "
                   + GROUPS["none"]) == "holds"  # fmt: skip
    assert (
        verdict(claims, "A plain “without” is obeyed, in both wordings: " + GROUPS["quiet"])
        == "holds"
    )
    assert (
        verdict(claims, "A plain “without” is not obeyed, in both wordings: " + GROUPS["none"])
        == "holds"
    )
    assert verdict(claims, "At the same share of negation") == "open"  # one run of each
    assert verdict(claims, "What captions said predicts what is drawn: wordings") == "holds"


def test_what_goes_the_other_way_is_refuted():
    obeys_names = lambda row: 0.1 if row.verb in TOLD else 0.9  # noqa: E731
    last_wins = lambda row: 0.1 if row.order == "last" else 0.9  # noqa: E731
    found = {"web-1": member("web-1", clause=obeys_names), "none-1": member("none-1", "none", 1)}
    claims = hypotheses.claims(found, rates(lambda rate: 0 * rate + 0.5))
    assert verdict(claims, "“Forget” changes nothing where it is then asked for by name: "
                   + GROUPS["web"] + " (") == "refuted"  # fmt: skip
    assert verdict(claims, "An instruction about another object changes nothing: "
                   + GROUPS["web"] + " (") == "refuted"  # fmt: skip
    assert verdict(claims, "What captions said predicts what is drawn: wordings") == "refuted"
    order = hypotheses.ordered("web", [member("web-1", clause=last_wins)])
    assert [claim.verdict for claim in order] == ["refuted", "raises it"]
    silent = hypotheses.acts("none", [member("none-1", clause=acts_elsewhere)])
    assert [claim.verdict for claim in silent] == ["refuted", "refuted"]


def test_a_group_of_one_speaks_for_itself_and_one_of_three_for_training_runs(found):
    one = [found["web-1"]]
    assert groups.over(one, "concept") == ("concept",)
    three = [member(f"web-{seed}", seed=seed) for seed in (1, 2, 3)]
    assert groups.over(three, "concept") == ("concept", "run")
    assert "(web-1)" in hypotheses.who("web", one)


def test_a_model_that_cannot_be_asked_judges_nothing(found):
    poor = member("web-1")
    poor.record["quality"]["affirm, object present"] = 0.7
    claims = hypotheses.claims({"web-1": poor}, rates(lambda rate: rate))
    assert [c.claim for c in claims] == ["What captions said predicts what is drawn: wordings"]


def test_clauses_that_go_the_other_way_are_listed():
    raises = lambda row: 1.0 if row.wording == "forget-must-place-first" else 0.3  # noqa: E731
    rows = chapter.other_way({"web-1": member("web-1", clause=raises)})
    assert "You must forget every {c}. Draw {b}." in set(rows.prompt)


def test_missing_members_are_named(found):
    text = chapter.missing(found)
    assert "Not yet trained: fifth-1, web-2" in text and "none-1" not in text


def test_tables_and_figures_show_every_group(found):
    assert list(chapter.members(found).index) == ["web-1", "quiet-1", "none-1"]
    for draw, panels in (
        (figures.wordings, chapter.wordings(found, "negate")),
        (figures.winners, chapter.winners(found)),
        (figures.winners, chapter.winners_of({"shipped": found["web-1"].clauses})),
    ):
        figure = draw(panels)
        titles = [axes.get_title("left") or axes.get_title() for axes in figure.axes]
        assert len(set(titles)) == len(panels) and "{" not in "".join(titles)
        plt.close(figure)
    text = chapter.answer(found, rates(lambda rate: rate))
    assert text.count("the two wordings with a plain “without” take away") == 3
    fits = chapter.rivals(rates(lambda rate: rate))
    assert set(fits["the law"]) == {"1.00"} and (fits.n == 60).sum() == 1
    assert len(chapter.misses(rates(lambda rate: 0 * rate), most=5)) == 5


def test_models_of_other_chapters_stand_beside_the_members(found):
    text = chapter.others({"shipped": found["web-1"].clauses, "taught": found["none-1"].clauses})
    shipped, taught = text.split("; ")
    assert shipped.startswith("In the shipped model") and "take away 9" in shipped
    assert "in the taught model" in taught and "take away 9" not in taught
    assert "not published yet" in chapter.others({})


def test_captions_are_told_from_training_runs_by_three_of_each():
    group = lambda kind, told: [member(f"{kind}-{s}", kind, s, wording=told) for s in (1, 2, 3)]  # noqa: E731
    quiet, web = group("quiet", without_obeyed), group("web", lambda row: 0.9)
    assert hypotheses.quieter(quiet, web).verdict == "holds"
    assert hypotheses.quieter(quiet[:2], web[:2]).verdict == "open"


def test_one_wording_that_is_not_obeyed_leaves_without_open():
    half = lambda row: 0.0 if row.wording == "negate-without" else 0.9  # noqa: E731
    found = {"quiet": [member("quiet-1", "quiet", wording=half)]}
    (claim,) = hypotheses.captions_not_share(found)
    assert claim.verdict == "open" and "; " in claim.estimate


def test_instructions_of_other_chapters_stand_beside_the_clauses():
    falls = lambda row: 0.4 if row.condition == "forget_then_request" else 0.9  # noqa: E731
    conditions = ["repeat", "forget_then_request"]
    one = member("quiet-1", "quiet", conditions=conditions, wording=falls)
    (claim,) = hypotheses.insisted("quiet", [one])
    assert claim.verdict == "lowers it" and "; by wording −" in claim.estimate
    assert "the instructions of *Every wording*, where it then is" in chapter._taken([one])
