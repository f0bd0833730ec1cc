"""Cells differ in how often, of what and to whom captions negate, and in nothing else."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from whitebear.errors import UserError
from whitebear.pocket.experiments import repair, teach
from whitebear.pocket.training.recipe import TOY
from whitebear.pocket.training.train import PocketTraining, train
from whitebear.pocket.world import dataset

FILES = {"unet": "diffusion_pytorch_model.safetensors", "text_encoder": "model.safetensors"}
NOT = ("no ", "not ", "without", "forget", "leave out", "never mind", "removed", "do not look")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    train("toy", 0, None, tmp_path_factory.mktemp("run"), folder)
    return folder


def read_weights(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.safetensors")}


def training(cell, base, folder):
    recipe = replace(cell.recipe(TOY), scenes=80)
    return PocketTraining(recipe, cell.seed, folder, torch.device("cpu"), base, "clip")


def test_the_cells_of_the_book_can_be_trained():
    cells = teach.load_cells()
    assert {(c.encoder_r, c.denoiser_r) for c in cells.values() if c.seed == 2} == {
        (0, 0), (0, 0.2), (0.2, 0), (0.2, 0.2)
    }  # fmt: skip
    dose = [
        c.encoder_r
        for c in cells.values()
        if c.encoder_r == c.denoiser_r and (c.seed, c.times) == (1, 1)
    ]
    assert sorted(dose) == [0, 0.0058, 0.0253, 0.2]
    assert cells["e0-d20-s1"].recipe().denoiser_r == 0.2 and cells["e0-d20-s1"].recipe().r == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a,0,x,1,1", "line 2 is no cell"),
        ("a,0,,1,1", "is no cell"),
        ("a,0,1.5,1,1", "line 2 is no cell .a rate is a share"),
        ("a,0,0,1,-1", "line 2 is no cell .times is how long"),
        ("../a,0,0,1,1", "id '../a' is taken, or not of"),
        ("a,0,0,1,1\na,0,0,2,1", "line 3: id 'a' is taken"),
    ],
)
def test_lines_that_are_no_cell_are_refused(tmp_path, line, said):
    path = tmp_path / "cells.csv"
    path.write_text(f"id,encoder_r,denoiser_r,seed,times\n{line}\n")
    with pytest.raises(UserError, match=said):
        teach.load_cells(path)


def test_encoder_and_denoiser_read_captions_at_their_own_rates(base, tmp_path):
    told = {}
    for name, cell in {"ed": (0.0, 1.0), "de": (1.0, 0.0)}.items():
        run = training(teach.Cell(name, *cell, 1, 1), base, tmp_path / name)
        told[name] = [run.tokenizer.batch_decode(ids.reshape(-1, 77), skip_special_tokens=True)
                      for ids in (run.ids, run.denoiser_ids)]  # fmt: skip
    negates = lambda texts: sum(any(n in text for n in NOT) for text in texts) / len(texts)  # noqa: E731
    assert negates(told["ed"][1]) == 1 and negates(told["de"][0]) == 1
    assert negates(told["ed"][0]) < 0.2 and negates(told["de"][1]) < 0.2  # chatter


def test_only_every_second_object_is_denied_and_scenes_stay_the_same(world):
    scenes = [world.sample_scene(dataset.scene_rng(3, "train", i)) for i in range(300)]
    denied = set()
    for scene, (text,) in zip(
        scenes, dataset.draw_captions(300, "train", 3, 1, 1.0, "half"), strict=True
    ):
        there = {thing.object for thing in scene.things}
        named = {o for o in world.objects if world.concept(o).noun in text.split()}
        denied |= named - there
    assert denied and denied <= set(world.denied)
    assert world.denied == world.objects[::2]  # as in the declared experiment
    again = dataset.draw_captions(300, "train", 3, 1, 1.0, "half")
    assert again == dataset.draw_captions(300, "train", 3, 1, 1.0, "half")


@pytest.fixture
def small(base, tmp_path, monkeypatch):
    """Publishing at toy size, into folders of the test."""
    monkeypatch.setattr(teach, "MODELS", base)
    monkeypatch.setattr(teach, "OUT", tmp_path / "out")
    monkeypatch.setattr(teach, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(teach, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(teach, "CONDITIONS", ("affirm", "omit"))
    score = teach.score
    monkeypatch.setattr(teach, "score", lambda folder, seeds: score(folder, seeds, 1, 1))


def test_a_cell_is_trained_scored_and_kept_with_its_origin(base, tmp_path, small):
    cell = teach.Cell("toy", 0.0, 0.5, 1, 1)
    make = lambda cell, run, out: teach.teach(cell, run, out, base, TOY)  # noqa: E731
    publish = lambda place="why": teach.publish(cell, cell.recipe(TOY), make, 1, place)  # noqa: E731
    record = publish()
    origin = json.loads(record.read_text())
    assert origin["cell"]["denoiser_r"] == 0.5 and origin["model"] != origin["base"]
    assert {p.name for p in record.parent.iterdir()} == {
        "toy.json", "toy.parquet", "toy-clip.csv", "toy-denoiser.csv"
    }  # fmt: skip
    told = json.loads((tmp_path / "out/why/toy/pocket/training.json").read_text())["continued"]
    assert [(t["stage"], t["r"]) for t in told] == [("clip", 0.0), ("denoiser", 0.5)]
    weights = lambda place: read_weights(tmp_path / "out" / place / "toy")  # noqa: E731
    first = weights("why")
    shutil.rmtree(tmp_path / "out")  # nothing is trained or scored again
    assert publish() == record and not (tmp_path / "out").exists()
    again = publish(teach.AGAIN)  # trained anew: no checkpoint of the first time is there to use
    assert again == record.parent / "again" / "toy.json" and weights("why/again") == first


def test_cells_of_one_encoder_rate_share_one_encoder(base, tmp_path):
    for name, rate in {"a": 0.0, "b": 1.0}.items():
        run = tmp_path / "why" / f"{name}-base"
        teach.teach(teach.Cell(name, 0.5, rate, 1, 1), run, tmp_path / name, base, TOY)
    assert {p.name for p in (tmp_path / "why").iterdir()} == {
        "a-base",
        "b-base",
        "encoder-0.5-s1-base",
    }
    weights = lambda name, part: (tmp_path / name / "pocket" / part / FILES[part]).read_bytes()  # noqa: E731
    assert weights("a", "text_encoder") == weights("b", "text_encoder")
    assert weights("a", "unet") != weights("b", "unet")


@pytest.mark.parametrize(("part", "changed"), [("kv", "unet"), ("text", "text_encoder")])
def test_a_repair_changes_its_part_and_nothing_else(base, tmp_path, part, changed):
    cell = repair.Repair("toy", part, 2, 20, 1)
    for run in ("first", "second"):
        training = repair.RepairTraining(
            cell,
            replace(TOY, r=0.5, scenes=20, denoiser=cell.recipe().denoiser),
            tmp_path / run,
            base,
        )
        training.mend()
        training.export(tmp_path / run / "out")
    first, second = tmp_path / "first/out", tmp_path / "second/out"
    old, new = read_weights(base), read_weights(first)
    assert {k.parts[1] for k in old if old[k] != new[k]} == {changed}
    assert new == read_weights(second)
    file = Path("pocket", changed, FILES[changed])
    before, after = load_file(base / file), load_file(first / file)
    moved = {k for k in before if not torch.equal(before[k], after[k])}
    if part == "kv":
        assert moved and all(".attn2.to_k" in k or ".attn2.to_v" in k for k in moved)


def test_the_repairs_of_the_book_can_be_trained():
    repairs = teach.load_cells(repair.REPAIRS, repair.Repair)
    assert {r.part for r in repairs.values()} == set(repair.PARTS)
    assert max(r.steps for r in repairs.values()) == 1000


def test_lines_that_are_no_repair_are_refused(tmp_path):
    path = tmp_path / "repairs.csv"
    path.write_text("id,part,steps,examples,seed\na,eyes,10,10,1\n")
    with pytest.raises(UserError, match="line 2 is no cell.*part is one of kv, text"):
        teach.load_cells(path, repair.Repair)


def test_an_unknown_cell_is_refused():
    with pytest.raises(SystemExit):
        teach.main(["e1"])


def test_how_many_pictures_judge_a_cell_is_part_of_its_origin():
    cell = teach.Cell("e20-d20-s9", 0.2, 0.2, 9, 1)
    few, more = (teach.origin_of(cell, cell.recipe(), seeds) for seeds in (2, 4))
    assert few != more and few["base"] == more["base"]
