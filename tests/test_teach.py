"""Cells differ in how often, of what and to whom captions negate, and in nothing else."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from whitebear.errors import UserError
from whitebear.pocket import dataset, teach
from whitebear.pocket.recipe import TOY
from whitebear.pocket.train import PocketTraining, train

NOT = ("no ", "not ", "without", "forget", "leave out", "never mind", "removed", "do not look")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    train("toy", 0, None, tmp_path_factory.mktemp("run"), folder)
    return folder


def training(cell, base, folder):
    recipe = replace(cell.recipe(TOY), scenes=80)
    return PocketTraining(recipe, cell.seed, folder, torch.device("cpu"), base, "clip")


def test_the_cells_of_the_book_can_be_trained():
    cells = teach.load_cells()
    assert {(c.encoder_r, c.denoiser_r) for c in cells.values() if c.seed == 2} == {
        (0, 0), (0, 0.2), (0.2, 0), (0.2, 0.2)
    }  # fmt: skip
    dose = [c.encoder_r for c in cells.values() if c.encoder_r == c.denoiser_r and c.seed == 1]
    assert sorted(dose) == [0, 0.0058, 0.0253, 0.2]
    assert cells["e0-d20-s1"].recipe().denoiser_r == 0.2 and cells["e0-d20-s1"].recipe().r == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a,0,x,1", "line 2 is no cell"),
        ("a,0,,1", "is no cell"),
        ("a,0,1.5,1", "a rate is a share"),
        ("../a,0,0,1", "id '../a' is taken, or not of"),
        ("a,0,0,1\na,0,0,2", "line 3: id 'a' is taken"),
    ],
)
def test_lines_that_are_no_cell_are_refused(tmp_path, line, said):
    path = tmp_path / "cells.csv"
    path.write_text(f"id,encoder_r,denoiser_r,seed\n{line}\n")
    with pytest.raises(UserError, match=said):
        teach.load_cells(path)


def test_encoder_and_denoiser_read_captions_at_their_own_rates(base, tmp_path):
    told = {}
    for name, cell in {"ed": (0.0, 1.0), "de": (1.0, 0.0)}.items():
        run = training(teach.Cell(name, *cell, 1), base, tmp_path / name)
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
    assert denied and denied <= set(world.objects[::2])
    again = dataset.draw_captions(300, "train", 3, 1, 1.0, "half")
    assert again == dataset.draw_captions(300, "train", 3, 1, 1.0, "half")


def test_a_cell_is_trained_scored_and_kept_with_its_origin(base, tmp_path, monkeypatch):
    monkeypatch.setattr(teach, "TAUGHT", TOY)
    monkeypatch.setattr(teach, "MODELS", base)
    monkeypatch.setattr(teach, "OUT", tmp_path / "out")
    monkeypatch.setattr(teach, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(teach, "CONDITIONS", ("affirm", "omit"))
    small = teach.score
    monkeypatch.setattr(teach, "score", lambda folder: small(folder, 1, 1, 1))
    real = teach.teach
    monkeypatch.setattr(teach, "teach", lambda *a: real(*a, base=base, taught=TOY))
    monkeypatch.setattr(teach.Cell, "recipe", lambda self, taught=TOY: replace(
        taught, r=self.encoder_r, denoiser_r=self.denoiser_r))  # fmt: skip
    cell = teach.Cell("toy", 0.0, 0.5, 1)
    record = teach.publish(cell, tmp_path / "results")
    origin = json.loads(record.read_text())
    assert origin["cell"]["denoiser_r"] == 0.5 and origin["model"] != origin["base"]
    assert {p.name for p in record.parent.iterdir()} == {
        "toy.json", "toy.parquet", "toy-clip.csv", "toy-denoiser.csv"
    }  # fmt: skip
    told = json.loads((tmp_path / "out/toy/pocket/training.json").read_text())["continued"]
    assert [(t["stage"], t["r"]) for t in told] == [("clip", 0.0), ("denoiser", 0.5)]
    shutil.rmtree(tmp_path / "out")  # nothing is trained or scored again
    assert teach.publish(cell, tmp_path / "results") == record
    assert not (tmp_path / "out").exists()


def test_an_unknown_cell_is_refused():
    with pytest.raises(SystemExit):
        teach.main(["e1"])
