"""Nothing corrupt is ever used: what is kept is made again, what is published or shipped is refused
in one line."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file, save_file

from whitebear.draw.artist import Artist
from whitebear.draw.cache import Cache
from whitebear.draw.grid import ChunkSpec, run_chunk
from whitebear.errors import UserError
from whitebear.files import MODELS, read_parquet, write_parquet, write_text
from whitebear.hooks import steer_attention
from whitebear.models.load import load_pipeline, locate
from whitebear.models.sums import SUMS, check_sums, write_sums
from whitebear.pocket.training.loop import load_checkpoint, save_checkpoint
from whitebear.pocket.world.dataset import draw_scenes
from whitebear.prompts import prompt_grid
from whitebear.scoring.detector import Detector
from whitebear.scoring.judge import Judge

FLIPS = 600  # of single bits, at random places of a file


def flipped(path: Path, at: int, bit: int = 0) -> None:
    """Turn one bit of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


# --- tables ---------------------------------------------------------------------------------------


def test_no_flipped_bit_of_a_table_changes_a_number_silently(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"key": [f"{i:04x}" for i in range(300)], "p": rng.random(300),
                          "present": rng.random(300) > 0.5})  # fmt: skip
    path = write_parquet(table, tmp_path / "t.parquet")
    content = path.read_bytes()
    refused = 0
    where = rng.integers(0, len(content), FLIPS), rng.integers(0, 8, FLIPS)
    for at, bit in zip(*where, strict=True):
        path.write_bytes(content)
        flipped(path, int(at), int(bit))
        try:
            found = read_parquet(path)
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            pd.testing.assert_frame_equal(found, table)
    assert refused > FLIPS / 2  # the others lie in what is only said twice, or in statistics


def test_a_table_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="is not there; make it"):
        read_parquet(tmp_path / "t.parquet")


# --- rows and chunks of a grid --------------------------------------------------------------------


@pytest.fixture
def spec(tiny_pipeline_dir, tmp_path):
    return ChunkSpec(str(tiny_pipeline_dir), "bear", ("affirm",), (0,), 1, 4.0,
                     str(tmp_path / "out"), keep_images=1)  # fmt: skip


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "flipped": lambda path: flipped(path, path.stat().st_size // 4),
    "missing": Path.unlink,
    "a folder": as_folder,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_chunks_and_rows_are_made_again(spec, damage):
    path = run_chunk(spec, progress=False)
    wanted = read_parquet(path)
    DAMAGES[damage](path)
    assert run_chunk(spec, progress=False) == path
    pd.testing.assert_frame_equal(read_parquet(path), wanted)

    (rows,) = Path(spec.output).glob("rows/*/*.parquet")
    DAMAGES[damage](rows)
    path.unlink()
    assert run_chunk(spec, progress=False) == path
    pd.testing.assert_frame_equal(read_parquet(path), wanted, atol=1e-4)


# --- cached measurements --------------------------------------------------------------------------

ASKED = []


def counted(artist, rows):
    ASKED.append(1)
    n = rows.index.to_numpy()
    return rows.assign(n=n), n[:, None], xr.Dataset({"n": ("sample", n.astype(float))})


@pytest.fixture
def cached(tmp_path):
    table = prompt_grid(["bear"], ["omit"], 2)
    ASKED.clear()
    ask = lambda: Cache(tmp_path).by_concept(counted, Artist("pocket", 2), table)  # noqa: E731
    ask()
    (folder,) = (tmp_path / "cached").iterdir()
    return ask, folder


@pytest.mark.parametrize("name", ["0.parquet", "1.npz", "2.nc", "sha256.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_measurements_are_made_again(cached, name, damage):
    ask, folder = cached
    DAMAGES[damage](folder / name)
    rows, numbers, data = ask()
    assert len(ASKED) == 2
    assert list(rows.n) == list(numbers[:, 0]) == list(data.n.values) == list(rows.index)
    ask()
    assert len(ASKED) == 2


def test_a_file_in_the_place_of_a_measurement_is_replaced(cached):
    ask, folder = cached
    shutil.rmtree(folder)
    folder.write_text("")
    ask()
    assert len(ASKED) == 2 and folder.is_dir()


def test_files_of_others_beside_measurements_are_left_alone(cached):
    ask, folder = cached
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "notes.txt").write_text("mine")
    ask()
    assert len(ASKED) == 1 and (folder / "notes.txt").exists()


# --- models ---------------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path):
    """The shipped models, in a folder of their own."""
    shutil.copytree(MODELS, tmp_path / "models")
    return tmp_path / "models"


def test_shipped_models_have_the_digests_that_lie_beside_them(models):
    before = (models / SUMS).read_bytes()
    names = ("pocket", "detector", "taught")
    assert write_sums(models, [models / name for name in names]).read_bytes() == before
    for name in names:
        check_sums(models / name)


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors",
                                  "text_encoder/model.safetensors", "tokenizer/tokenizer.json",
                                  "scheduler/scheduler_config.json"])  # fmt: skip
def test_a_flipped_bit_in_a_shipped_model_is_refused(models, name):
    path = models / "pocket" / name
    flipped(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match=f"{path.name} is missing or damaged|cannot be read|JSON"):
        locate(str(models / "pocket"))


def test_a_flipped_bit_in_the_detector_or_a_taught_part_is_refused(models):
    path = models / "detector" / "model.safetensors"
    flipped(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match="missing or damaged"):
        Detector.load(models / "detector")
    path = models / "taught" / "unet" / "diffusion_pytorch_model.safetensors"
    flipped(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match="missing or damaged"):
        check_sums(models / "taught" / "unet")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_tokenizer_is_refused(tmp_path, damage):
    """No digests lie beside this copy."""
    folder = shutil.copytree(MODELS / "pocket", tmp_path / "pocket")
    if damage == "flipped":
        pytest.skip("valid text may come of it; digests are for that")
    DAMAGES[damage](folder / "tokenizer" / "tokenizer.json")
    with pytest.raises(UserError, match="tokenizer"):
        locate(str(folder))


def test_a_tokenizer_without_words_is_refused(tmp_path):
    folder = shutil.copytree(MODELS / "pocket", tmp_path / "pocket")
    path = folder / "tokenizer" / "tokenizer.json"
    said = json.loads(path.read_text())
    said["model"] |= {"vocab": {"<|startoftext|>": 0, "<|endoftext|>": 1}, "merges": []}
    path.write_text(json.dumps(said))
    with pytest.raises(UserError, match="has no words|cannot be loaded"):
        load_pipeline(str(folder))


@pytest.mark.parametrize("weight_map", [["a"], None, {"a": "../../model.safetensors"}, {"a": 3}])
def test_a_list_of_shards_that_is_none_is_refused(tmp_path, weight_map):
    folder = shutil.copytree(MODELS / "pocket", tmp_path / "pocket")
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(UserError, match="does not say which .safetensors files"):
        locate(str(folder))


def test_a_renamed_tensor_is_refused(tmp_path):
    folder = shutil.copytree(MODELS / "pocket", tmp_path / "pocket")
    for part in ("unet/diffusion_pytorch_model", "text_encoder/model"):
        path = folder / f"{part}.safetensors"
        before, weights = path.read_bytes(), load_file(path)
        weights["renamed"] = weights.pop(min(weights))
        save_file(weights, path, metadata={"format": "pt"})
        with pytest.raises(UserError, match="does not hold|cannot be loaded"):
            load_pipeline(str(folder))
        path.write_bytes(before)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), -0.1, 1.5, "high", None, True])
def test_thresholds_that_are_no_shares_are_refused(tmp_path, threshold):
    folder = shutil.copytree(MODELS / "detector", tmp_path / "detector")
    config = json.loads((folder / "config.json").read_text())
    config["presence_thresholds"]["bear"] = threshold
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="threshold of bear is .*; give a number from 0 to 1"):
        Detector.load(folder)


@pytest.mark.parametrize("labels", [None, [], ["bear"], {"0": 1}, 3])
def test_labels_that_are_none_are_refused(tmp_path, labels):
    folder = shutil.copytree(MODELS / "detector", tmp_path / "detector")
    config = json.loads((folder / "config.json").read_text()) | {"id2label": labels}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="is no detector folder"):
        Detector.load(folder)


# --- numbers that are none ------------------------------------------------------------------------


def test_a_judge_whose_scores_are_no_numbers_is_refused(some_images):
    judge = Judge("pocket")
    with torch.no_grad():
        next(judge.trained.model.parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match="scores are no numbers"):
        judge.scores(some_images, ["bear"])


@pytest.mark.parametrize("weight", [1e308, 1e5, -1e308, 10**400, float("nan"), True, "2"])
def test_a_weight_beyond_half_precision_is_refused(weight):
    with pytest.raises(UserError, match="the weight of 'bear' is .*; give a finite number"):
        steer_attention(load_pipeline("pocket"), ["bear"], weight)


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    path = tmp_path / "unet.safetensors"
    tensors = {"w": torch.randn(100), "step": torch.tensor(3.0), "half": torch.ones(4).bfloat16()}
    save_checkpoint(path, tensors, {"step": 3})
    found, about = load_checkpoint(path)
    assert about == {"step": 3} and all(found[k].equal(tensors[k]) for k in tensors)
    flipped(path, path.stat().st_size - 8) if damage == "flipped" else DAMAGES[damage](path)
    with pytest.raises(UserError, match="is damaged; remove it"):
        load_checkpoint(path)


def test_damaged_scenes_are_drawn_again(tmp_path):
    folder = tmp_path / "calibration"
    draw = lambda: draw_scenes(4, "calibration", 0, 1, 0.0, folder)  # noqa: E731
    wanted = draw().images.clone()
    flipped(folder / "images.npy", 3000)
    assert draw().images.equal(wanted)
    (folder / "captions.json").write_text("")
    assert len(draw().captions) == 4


# --- what a disk does -----------------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_leaves_nothing_half(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    path = write_text(tmp_path / "a.json", "old")
    monkeypatch.setattr(pq, "write_table", full)
    monkeypatch.setattr(Path, "write_text", full)
    table = pd.DataFrame({"a": [1]})
    for write in (lambda: write_text(path, "new"), lambda: write_parquet(table, tmp_path / "t")):
        with pytest.raises(UserError, match="No space left on device.; make room"):
            write()
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_rows_are_named_by_all_that_they_hold(spec):
    """Other batches of the same first row do not overwrite each other."""
    run_chunk(spec, progress=False)
    more = dataclasses.replace(spec, seeds=(0, 1))
    table = read_parquet(run_chunk(more, progress=False))
    assert set(table.seed) == {0, 1} and not table.duplicated(["wording", "seed"]).any()
