"""Hypotheses 13 to 18 are judged by the rules that were declared, whatever the models do."""

import json
from dataclasses import asdict

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from whitebear.book.chapters.what_captions_said import learning as chapter
from whitebear.book.figures import learned as figures
from whitebear.errors import UserError
from whitebear.pocket.experiments import obedience
from whitebear.pocket.world.obey import load_obeyed
from whitebear.prompts import load_clauses, prompt_grid
from whitebear.prompts.clauses import FACTORS

CELLS = obedience.load()
TABLE = pd.concat([load_clauses(), load_obeyed()[0]], ignore_index=True)
OBJECTS = ["bear", "cat", "owl", "rabbit", "car", "house"]
GRID = prompt_grid(OBJECTS, list(dict.fromkeys(TABLE.condition)), 1, wordings=TABLE).join(
    TABLE.set_index("id")[FACTORS], on="wording"
)
FRAMES = obedience.trained_frames()


def draws(row, denied):
    return True


def model(name, p=draws, asked=0.95):
    """A model that draws the object in the rows of which p(row, whether it is a trained one)."""
    denied = OBJECTS[::2]
    record = {"cell": asdict(CELLS[name]), "denied": denied,
              "quality": {"affirm, object present": asked}}  # fmt: skip
    shown = [p(row, row.concept in denied) for row in GRID.itertuples()]
    return obedience.Learned(CELLS[name], record, GRID.assign(present=shown))


def told(row, verbs=("forget",), frames=FRAMES):
    return (
        row.verb in verbs and row.frame in frames and row.request == "name"
        and row.order == "first" and row.subject == "concept"
    )  # fmt: skip


def narrow(row, denied):
    """Obeys the very wordings, about the objects that captions forbade."""
    return not (denied and told(row))


def wide(row, denied):
    """Obeys forget in every frame about every object, and “leave out”, also where another object
    was to be forgotten."""
    spoiled = row.subject == "other" and row.verb == "forget"
    return not (spoiled or told(row, ("forget", "leave out"), [*FRAMES, "plain", "must"]))


def population(behaviour, d0=draws, members=("web-1", "quiet-1")):
    """All declared doses of some members; with examples they follow `behaviour`."""
    return {
        name: model(name, behaviour if cell.d else d0)
        for name, cell in CELLS.items()
        if cell.member in members and cell.encoder == "learns"
    }


def claims(found):
    return chapter.claims(found, chapter.curves(found))


def verdicts(claims, words):
    return [claim.verdict for claim in claims if words in claim.claim]


LEARNS = "teach a model to obey"


@pytest.fixture(scope="module")
def made():
    """All doses of both members, of either kind and of models that never obey."""
    return {"narrow": population(narrow), "wide": population(wide), "never": population(draws)}


@pytest.fixture(scope="module")
def claimed(made):
    return {kind: claims(found) for kind, found in made.items()}


def test_it_can_be_learned_or_not(claimed):
    words = {kind: verdicts(made, LEARNS) for kind, made in claimed.items()}
    assert words == {"narrow": ["holds"], "wide": ["holds"], "never": ["refuted"]}


def learnable(found):
    return chapter.learnable(found, chapter.curves(found)).verdict


def test_what_one_member_learns_is_said_of_it(made):
    of = lambda kind, member: {k: v for k, v in made[kind].items() if k.startswith(member)}  # noqa: E731
    assert learnable(of("narrow", "web-1") | of("never", "quiet-1")) == "of one member"
    assert learnable(of("narrow", "web-1")) == "open"  # nothing is known of the other


def test_a_model_that_obeys_without_examples_has_not_learned_it(made):
    own = {name: m for name, m in made["narrow"].items() if not name.endswith("-d0")}
    without = {f"{member}-d0": model(f"{member}-d0", narrow) for member in ("web-1", "quiet-1")}
    assert learnable(own | without) == "open"


@pytest.mark.parametrize(
    ("words", "narrowly", "widely"),
    [
        ("about objects of which no caption", "refuted", "holds"),
        ("in frames in which no caption", "refuted", "holds"),
        ("a verb that captions did not show", "holds", "refuted"),
        ("What was not to be forgotten is drawn", "holds", "refuted"),
    ],
)
def test_what_carries_over_is_judged_both_ways(claimed, words, narrowly, widely):
    assert verdicts(claimed["narrow"], words) == [narrowly] * 2
    assert verdicts(claimed["wide"], words) == [widely] * 2
    assert not verdicts(claimed["never"], words)


def test_fifty_percent_stands_in_where_only_that_is_obeyed(made):
    found = {k: v for k, v in made["never"].items() if k.startswith("web-1")}
    found["web-1-d50"] = made["narrow"]["web-1-d50"]
    panels = chapter.curves(found)
    assert chapter.judged_at(found, "web-1", panels["web-1"]) == 0.5
    carried = chapter.carried_over(found, "web-1", panels["web-1"])
    assert len(carried) == 4 and all("web-1 at 50 %" in claim.claim for claim in carried)


def test_cost_is_judged_both_ways_at_every_dose_up_to_twenty_percent(monkeypatch):
    requests = TABLE[(TABLE.verb == "") & (TABLE.request == "name")]
    table = prompt_grid([], ["affirm"], 1, wordings=requests)
    monkeypatch.setitem(globals(), "GRID", table.join(requests.set_index("id")[FACTORS],
                                                      on="wording"))  # fmt: skip
    poor = lambda row, denied: row.concept in OBJECTS  # noqa: E731
    assert [c.verdict for c in chapter.costs(population(draws))] == ["holds"] * 6
    assert [c.verdict for c in chapter.costs(population(poor))] == ["refuted"] * 6
    plain = obedience.plain(model("web-1-d0"))
    assert plain.text.nunique() == 5 and len(plain) == 5 * plain.concept.nunique()


def test_nothing_can_show_where_neutral_verbs_leave_no_room():
    absent = lambda row, denied: not (row.frame in FRAMES and row.verb)  # noqa: E731
    found = population(absent, members=["web-1"])
    one = found["web-1-d20"]
    assert chapter.without_room(one, obedience.TRAINED) == [
        f"obey-{frame}-forget" for frame in FRAMES
    ]
    assert np.isnan(chapter.taken_away(one, obedience.TRAINED).value)
    assert learnable(found) == "open"
    assert "obey-draw-forget" in chapter.models(found)["no room"]["web-1-d20"]


def test_a_model_that_cannot_be_asked_judges_its_cost_only(made):
    found = {
        name: obedience.Learned(m.cell, m.record | {"quality": {"affirm, object present": 0.7}},
                                m.clauses)
        for name, m in made["narrow"].items()
    }  # fmt: skip
    learned, *costs = claims(found)
    assert learned.verdict == "open" and len(costs) == 6
    assert all("lose at most 5 points" in claim.claim for claim in costs)


def test_with_no_model_the_page_says_so_and_draws_its_axes():
    assert claims({}) == []
    assert chapter.missing({}).startswith("None is trained yet. Not yet trained: web-1-d20, ")
    figure = figures.learned(chapter.curves({}))
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert shown.count("not trained yet") == 2
    plt.close(figure)


def test_the_figure_shows_the_doses_that_are_there(made):
    some = {name: m for name, m in made["narrow"].items() if not name.startswith("quiet-1-d5")}
    figure = figures.learned(chapter.curves(some))
    web, quiet = figure.axes
    assert [t.get_text() for t in web.get_xticklabels()] == ["0", "1", "5", "20", "50"]
    values = {line.get_label(): line.get_ydata() for line in web.lines}
    trained = values[obedience.TRAINED]
    assert trained[0] < 0.1 and all(trained[1:] > 0.8)
    missing = [text.get_text() for text in quiet.texts]
    assert missing == ["missing", "missing"]
    plt.close(figure)
    few = {name: some[name] for name in ("web-1-d0", "web-1-d20")}
    assert list(chapter.models(few).index) == list(chapter.also(few).columns) == list(few)


def write(folder, name, **changed):
    record = {"cell": asdict(CELLS[name])} | changed
    (folder / f"{name}.json").write_text(json.dumps(record))
    GRID.head(1).drop(columns="spans").to_parquet(folder / f"{name}.parquet")


def test_published_models_are_read_and_broken_ones_named(tmp_path):
    assert obedience.load_published(tmp_path) == {}
    for name in ("quiet-1-d0", "web-1-d20"):
        write(tmp_path, name)
    assert list(obedience.load_published(tmp_path)) == ["web-1-d20", "quiet-1-d0"]
    write(tmp_path, "web-1-d0", cell={"id": "web-1-d0"})
    with pytest.raises(UserError, match="web-1-d0 was trained as another one than learned.csv"):
        obedience.load_published(tmp_path)
    (tmp_path / "web-1-d0.json").unlink()
    with pytest.raises(UserError, match="web-1-d0 is broken: .* lacks web-1-d0.json; publish it"):
        obedience.load_published(tmp_path)
