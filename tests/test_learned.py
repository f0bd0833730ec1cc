"""Captions that show obedience, and members that are trained further on them."""

import json
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from whitebear.errors import UserError
from whitebear.files import MODELS
from whitebear.pocket.experiments import clauses, learned, obedience
from whitebear.pocket.experiments.members import Member
from whitebear.pocket.training import loop
from whitebear.pocket.training.recipe import StageRecipe
from whitebear.pocket.world import obey
from whitebear.pocket.world.dataset import draw_captions, scene_rng
from whitebear.prompts import fill, load_clauses
from whitebear.prompts.clauses import PLACE
from whitebear.tables import CLAUSES, check

TABLE, SAID = obey.load_obeyed()
MEMBER = Member("web-1", 0.0058, "all", 1)
PAPER = "Please forget anything about a {c}. Please help me generate a picture of a {c}."
N = 400


def told(d, n=N):
    own = [["its own"] * 4 for _ in range(n)]
    return obey.obeying(own, "train", 100, 1, d)


def test_what_is_forgotten_and_asked_for_is_not_there_and_never_of_the_held_out_half(world):
    texts = {fill(text, c=world.concept(o).noun)[0]: o for text in SAID for o in world.denied}
    named = set()
    for index, captions in enumerate(told(1.0)):
        there = {
            thing.object for thing in world.sample_scene(scene_rng(100, "train", index)).things
        }
        objects = {texts[caption] for caption in captions}
        assert not objects & there
        named |= objects
    assert named == set(world.denied)


def test_doses_are_nested_and_all_else_is_the_members_own():
    doses = {d: [text for row in told(d) for text in row] for d in (0.0, 0.05, 0.2, 1.0)}
    assert set(doses[0.0]) == {"its own"}
    for d, texts in doses.items():
        assert sum(text != "its own" for text in texts) / len(texts) == pytest.approx(d, abs=0.03)
    for few, more in ((0.05, 0.2), (0.2, 1.0)):
        pairs = zip(doses[few], doses[more], strict=True)
        assert all(a in (b, "its own") for a, b in pairs)


def test_what_is_trained_is_apart_from_what_is_held_out():
    """Verbs, frames, the order and a request by description stay as no caption has them."""
    assert all(re.search(r"\bforget\b", text, re.IGNORECASE) for text in SAID) and len(SAID) >= 3
    assert set(load_clauses().text) & set(SAID) == {PAPER}
    others = TABLE[TABLE.heldout & (TABLE.verb != "")]
    assert set(others.verb) == set(load_clauses().verb) - {"", "forget"}
    assert not set(TABLE.id) & set(load_clauses().id)
    assert not set(TABLE.frame) & set(load_clauses().frame)


def test_verbs_differ_by_the_verb_alone():
    for _, rows in TABLE[TABLE.verb != ""].groupby(PLACE):
        pairs = zip(rows.verb, rows.text, strict=True)
        assert len({re.sub(rf"\b{v}\b", "_", t, flags=re.IGNORECASE) for v, t in pairs}) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "obey-draw-see", "heldout": "0"}, "by name; obey-draw-see is no such"),
        ({"verb": "forget", "heldout": "1"}, "by name; there is none"),
    ],
)
def test_captions_that_show_no_obedience_are_refused(tmp_path, change, said):
    table = pd.read_csv(obey.OBEY, dtype=str, keep_default_na=False)
    (key, value), (column, new) = change.items()
    table.loc[table[key] == value, column] = new
    table.to_csv(tmp_path / "obey.csv", index=False)
    with pytest.raises(UserError, match=said):
        obey.load_obeyed(tmp_path / "obey.csv")


def test_the_cells_of_the_book_are_as_declared():
    cells = list(learned.load().values())
    assert {c.member for c in cells} == {"web-1", "quiet-1"}
    for member in ("web-1", "quiet-1"):
        ours = [c for c in cells if c.member == member]
        doses = sorted(c.d for c in ours if c.encoder == "learns")
        assert doses == [0.0, 0.01, 0.05, 0.2, 0.5]
        rest = {(c.encoder, c.d) for c in ours if c.encoder != "learns"}
        assert rest == {(name, 0.2) for name in obedience.ENCODERS if name != "learns"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a,web-1,2,learns", "d is a share"),
        ("a,web-1,0,sleeps", "encoder is one of learns, unlabelled, frozen, joint"),
        ("a,web-9,0,learns", "a begins as web-9, which is no member; population.csv has web-1"),
    ],
)
def test_lines_that_are_no_cell_are_refused(tmp_path, line, said):
    path = tmp_path / "learned.csv"
    path.write_text(f"id,member,d,encoder\n{line}\n")
    with pytest.raises(UserError, match=said):
        learned.load(path)


SCENES = 24
SHORT = StageRecipe(steps=2, batch=4, lr=1e-3, warmup=1)
RECIPE = replace(
    learned.LEARNED, scenes=SCENES, denoiser_captions=2, clip=SHORT, denoiser=SHORT
)  # fmt: skip


@pytest.fixture(scope="module")
def ground(world):
    """Random scenes on the shipped models, which also stand in for a member."""
    draw = torch.Generator().manual_seed(0)
    return SimpleNamespace(
        device=torch.device("cpu"), base=MODELS,
        latents=torch.rand(SCENES, 2, 16, 8, 8, generator=draw),
        embeddings=normalize(torch.randn(SCENES, 128, generator=draw), dim=-1),
        train_set=SimpleNamespace(labels=torch.ones(SCENES, len(world.names), dtype=torch.bool)),
    )  # fmt: skip


def training(ground, folder, encoder="learns", d=0.5, **options):
    cell = learned.Cell("a", "web-1", d, encoder)
    return learned.ObeyTraining(cell, MEMBER, MODELS, RECIPE, folder, ground, **options)


def weights(folder):
    parts = {"text": "text_encoder/model", "unet": "unet/diffusion_pytorch_model",
             "vision": "image_encoder/model", "vae": "vae/diffusion_pytorch_model"}  # fmt: skip
    of = lambda part: load_file(folder / "pocket" / f"{part}.safetensors")  # noqa: E731
    return {name: of(part) for name, part in parts.items()}


def changed(one, other):
    moved = lambda name: any(not torch.equal(one[name][k], other[name][k]) for k in one[name])  # noqa: E731
    return {name for name in one if moved(name)}


@pytest.mark.parametrize(
    ("encoder", "moved", "stages"),
    [
        ("learns", {"text", "unet"}, {"clip", "denoiser"}),
        ("unlabelled", {"text", "unet"}, {"clip", "denoiser"}),
        ("frozen", {"unet"}, {"denoiser"}),
        ("joint", {"text", "unet"}, {"denoiser"}),
    ],
)
def test_what_learns_begins_as_the_member_and_all_else_stays(
    ground, tmp_path, encoder, moved, stages
):
    """Killed at every step and gone on with: the same bits as an unbroken run."""
    for name in ("whole", "cut"):
        while True:
            soon = {"deadline": time.monotonic()} if name == "cut" else {}
            try:
                made = training(ground, tmp_path / name, encoder, **soon)
                made.export(tmp_path / name / "out")
                break
            except loop.OutOfTime:
                continue
    assert set(made.seconds) == stages
    found = weights(tmp_path / "whole" / "out")
    assert changed(found, weights(MODELS)) == moved
    assert not changed(found, weights(tmp_path / "cut" / "out"))
    for name in moved:  # from the member's weights, not from nothing
        pairs = ((v, weights(MODELS)[name][k]) for k, v in found[name].items() if v.numel() > 999)
        assert all((a.float() - b.float()).abs().mean() < 0.01 for a, b in pairs)
    record = json.loads((tmp_path / "whole/out/pocket/training.json").read_text())
    assert record["cell"]["encoder"] == encoder and record["said"] == list(SAID)


def test_captions_are_the_members_own_but_for_the_dose(ground, tmp_path):
    about = RECIPE.denoiser_captions, MEMBER.r, "all", MEMBER.chatter, MEMBER.seed
    own = draw_captions(SCENES, "train", 100, *about)
    assert training(ground, tmp_path / "a", d=0.0).captions() == own
    half = training(ground, tmp_path / "b", d=0.5).captions()
    pairs = [pair for rows in zip(own, half, strict=True) for pair in zip(*rows, strict=True)]
    assert 0.25 < sum(a == b for a, b in pairs) / len(pairs) < 0.75


def test_labels_can_be_left_out_and_a_folder_of_another_cell_is_refused(ground, tmp_path):
    assert training(ground, tmp_path, "learns").label_weight == 1
    with pytest.raises(UserError, match="holds a run with other cell, label_weight"):
        training(ground, tmp_path, "unlabelled")


@pytest.fixture
def few(monkeypatch):
    """One clause of the book, and one of the trained wordings."""
    kept = load_clauses().query("id == 'forget-must-name-first'")
    monkeypatch.setattr(learned, "load_clauses", lambda: kept)
    monkeypatch.setattr(learned, "load_obeyed", lambda: (TABLE[:1], SAID))
    monkeypatch.setattr(learned, "CLAUSE_STEPS", 1)
    monkeypatch.setattr(learned.population, "quality", lambda folder: {"asked": 0.51234})
    monkeypatch.setattr("whitebear.scoring.judge.is_pocket", lambda model: True)


def test_trained_wordings_and_clauses_are_scored(few, tiny_pipeline_dir, tmp_path):
    (tmp_path / "pocket").symlink_to(tiny_pipeline_dir)
    tables, quality = learned.score(tmp_path)
    assert set(check(tables[""], CLAUSES).wording) == {"forget-must-name-first", TABLE.id[0]}
    assert quality == {"asked": 0.51234}
    assert len(clauses.FACTORS) == 6 and set(clauses.FACTORS) <= set(tables[""])


@pytest.fixture
def places(monkeypatch, tmp_path):
    monkeypatch.setattr(learned, "OUT", tmp_path / "out")
    monkeypatch.setattr(learned, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(learned, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(learned.population, "OUT", tmp_path / "members")
    monkeypatch.setattr(learned.population, "ground_in", lambda folder: "ground")
    return tmp_path


def test_a_member_that_is_not_there_is_named(places):
    with pytest.raises(UserError, match="web-1, which is not trained here; first: python -m whi"):
        learned.publish(learned.Cell("a", "web-1", 0.2, "learns"))


def test_a_cell_is_kept_with_its_origin_and_made_once(places, monkeypatch):
    (places / "members").mkdir()
    (places / "members" / "web-1").symlink_to(MODELS)
    made = []

    def learn(cell, member, start, ground, run, out, deadline):
        made.append((member.id, start.name, ground, run.parent))
        run.mkdir(parents=True)
        (run / "denoiser.csv").write_text("step,loss,seconds\n")
        out.mkdir(parents=True)
        (out / "pocket").symlink_to(MODELS / "pocket")
        return {"denoiser": 1.0}

    monkeypatch.setattr(learned, "learn", learn)
    monkeypatch.setattr(
        learned, "score", lambda out: ({"": pd.DataFrame({"a": [1]})}, {"asked": 0.51234, "w": "x"})
    )
    cell = learned.Cell("a", "web-1", 0.2, "frozen")
    records = [learned.publish(cell) for _ in range(2)]
    assert made == [("web-1", "web-1", "ground", places / "cache" / "learned")]
    assert {path.name for path in (places / "results").iterdir()} == {
        "a.json", "a.parquet", "a-denoiser.csv"
    }  # fmt: skip
    record = json.loads(records[1].read_text())
    assert record["cell"] == {"id": "a", "member": "web-1", "d": 0.2, "encoder": "frozen"}
    assert record["quality"] == {"asked": 0.5123, "w": "x"} and record["said"] == list(SAID)
    assert record["member"]["chatter"] == "all" and record["start"] == record["base"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["web-1-d3"], "learned.csv has no web-1-d3; it has web-1-d20, "),
        (["--minutes", "0"], "minutes is 0"),
    ],
)
def test_commands_that_cannot_be_followed_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit):
        learned.main(arguments)
    assert said in capsys.readouterr().err


def test_a_cell_that_runs_out_of_time_ends_the_command(monkeypatch, capsys):
    def publish(cell, deadline):
        raise loop.OutOfTime

    monkeypatch.setattr(learned, "publish", publish)
    learned.main(["web-1-d0", "web-1-d5", "--minutes", "1"])
    shown = capsys.readouterr().out
    assert shown == "[1/2] web-1-d0\nthe time is over; the same command goes on from here\n"
