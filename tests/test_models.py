"""Loading: whole safetensors pipelines only, and one clear line for everything else."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from whitebear.errors import UserError
from whitebear.models.load import find_model, fingerprint, load_pipeline, locate

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def broken(tiny_pipeline_dir, tmp_path):
    """A copy of the tiny pipeline, to be damaged."""
    return shutil.copytree(tiny_pipeline_dir, tmp_path / "copy")


def refused(folder, line):
    with pytest.raises(UserError, match=line) as error:
        load_pipeline(str(folder))
    assert "\n" not in str(error.value)


def test_a_folder_loads_in_float32_on_the_cpu(tiny_pipeline_dir):
    pipe = load_pipeline(str(tiny_pipeline_dir), device="cpu")
    assert type(pipe).__name__ == "StableDiffusionPipeline"
    assert {p.dtype for p in pipe.unet.parameters()} == {torch.float32}
    assert pipe.image_encoder is not None
    stored = load_file(tiny_pipeline_dir / UNET)
    assert all(torch.equal(stored[name], value) for name, value in pipe.unet.state_dict().items())


def test_a_safety_checker_in_the_index_is_not_needed(broken):
    index = json.loads((broken / "model_index.json").read_text())
    assert index["safety_checker"] == [None, None]
    assert load_pipeline(str(broken), "cpu").safety_checker is None


@pytest.mark.parametrize("keep", [4, 100, -1])
def test_truncated_weights(broken, keep):
    data = (broken / UNET).read_bytes()
    (broken / UNET).write_bytes(data[:keep])
    refused(broken, "missing or cut short .*; save or download them again")


def test_missing_weights(broken):
    (broken / UNET).unlink()
    refused(broken, "unet has no .safetensors weights; save or download")


def test_a_missing_tensor_is_not_filled_with_noise(broken):
    path = broken / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[-1])
    save_file(tensors, path, metadata={"format": "pt"})
    refused(broken, r"text_encoder holds \d+ of \d+ tensors")


def test_a_pickle_is_refused(broken):
    (broken / UNET).rename(broken / "unet" / "diffusion_pytorch_model.bin")
    refused(broken, "only pickled weights .*; convert to safetensors")


def test_a_missing_component(broken):
    shutil.rmtree(broken / "vae")
    refused(broken, "lacks its component folder vae")


def test_a_missing_component_config(broken):
    (broken / "vae" / "config.json").unlink()
    refused(broken, "vae is no model folder: config.json is missing")


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_folder_that_is_no_pipeline(tmp_path, content):
    if content is not None:
        (tmp_path / "model_index.json").write_text(content)
    refused(tmp_path, "no diffusers pipeline folder")


def test_a_single_file_is_refused(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"x")
    refused(tmp_path / "model.ckpt", "is a single file; give a diffusers pipeline folder")


def test_a_pipeline_of_an_unknown_class(broken):
    index = json.loads((broken / "model_index.json").read_text())
    (broken / "model_index.json").write_text(json.dumps(index | {"_class_name": "NoSuchPipeline"}))
    refused(broken, "cannot be loaded as a pipeline")


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("pokcet", "unknown model 'pokcet'; did you mean pocket"),
        ("midjourney", "unknown model 'midjourney'; valid: pocket, sd15, sd21, sdxl, sd35, flux"),
        ("no/such/folder", "there is no model folder no/such/folder"),
        ("/nowhere/at-all", "there is no model folder"),
        ("../models", "there is no model folder"),
        ("a/" * 5000, "there is no model folder"),
        ("", "give a name"),
        (None, "give a name"),
        (3, "give a name"),
    ],
)
def test_wrong_model_names(model, line):
    with pytest.raises(UserError, match=line):
        locate(model)


def test_a_hub_id_that_cannot_be_fetched():
    assert find_model("someone/some-model").source == "someone/some-model"
    with pytest.raises(UserError, match="cannot be fetched"):
        locate("someone/some-model")


def test_fingerprint_follows_the_files(broken):
    before = fingerprint(broken)
    (broken / "README.md").write_text("a card changes nothing")
    (broken / "quality.json").write_text('{"seconds": 5.4}')  # nor does how it was measured
    assert fingerprint(broken) == before
    data = bytearray((broken / UNET).read_bytes())
    data[-1] ^= 1
    (broken / UNET).write_bytes(data)
    assert fingerprint(broken) != before
