"""A part of a pipeline can be exchanged for one that fits, and for no other."""

import json
import shutil

import pytest
import torch
from transformers import CLIPTextModel

from conftest import WIDTH, text_config, tiny_pipeline, tiny_tokenizer
from whitebear.draw.generate import generate
from whitebear.errors import UserError
from whitebear.interventions import with_part
from whitebear.prompts import prompt_grid


@pytest.fixture(scope="module")
def tiny():
    return tiny_pipeline(positions=256)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Another text encoder of the tiny pipeline, in a folder."""
    torch.manual_seed(7)
    folder = tmp_path_factory.mktemp("encoder") / "text_encoder"
    CLIPTextModel(text_config(tiny_tokenizer(256))).save_pretrained(folder)
    return folder


def test_the_part_is_exchanged_and_the_rest_is_shared(tiny, encoder):
    table = prompt_grid(["bear"], ["affirm"], 1).head(1)
    before = generate(tiny, table, 2, 4.0, progress=False)
    other = with_part(tiny, "text_encoder", encoder)
    assert other.unet is tiny.unet and other.text_encoder is not tiny.text_encoder
    assert (generate(other, table, 2, 4.0, progress=False) != before).any()
    assert (generate(tiny, table, 2, 4.0, progress=False) == before).all()
    assert not other.text_encoder.training


def test_the_same_part_makes_the_same_pictures(tiny, tmp_path):
    table = prompt_grid(["bear"], ["affirm"], 1).head(1)
    for part in ("text_encoder", "unet"):
        getattr(tiny, part).save_pretrained(tmp_path / part)
        other = with_part(tiny, part, tmp_path / part)
        same = [generate(pipe, table, 2, 4.0, progress=False) for pipe in (tiny, other)]
        assert (same[0] == same[1]).all()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("hidden_size", 2 * WIDTH, f"has hidden_size 32, but this pipeline needs {WIDTH}"),
        ("vocab_size", 5, "has vocab_size 5"),
        ("max_position_embeddings", 20, "has max_position_embeddings 20"),
    ],
)
def test_a_part_of_other_sizes_is_refused(tiny, encoder, tmp_path, name, value, said):
    folder = shutil.copytree(encoder, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text()) | {name: value}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=said):
        with_part(tiny, "text_encoder", folder)


def test_what_is_no_part_is_refused(tiny, encoder, tmp_path):
    with pytest.raises(UserError, match="part is 'vae'; of this pipeline text_encoder or unet"):
        with_part(tiny, "vae", encoder)
    with pytest.raises(UserError, match="there is no folder nowhere; give one with config.json"):
        with_part(tiny, "text_encoder", "nowhere")
    with pytest.raises(UserError, match="cannot be fetched .*check the id, the revision"):
        with_part(tiny, "text_encoder", "nobody/nothing", "0" * 40)
    for plan in ("model", "group"):
        pipe, cpu = tiny_pipeline(), torch.device("cpu")
        if plan == "model":
            pipe.enable_model_cpu_offload(device=cpu)
        else:
            pipe.enable_group_offload(cpu, cpu, offload_type="leaf_level")
        with pytest.raises(UserError, match="text_encoder of this pipeline waits in main memory"):
            with_part(pipe, "text_encoder", encoder)
    pickled = shutil.copytree(encoder, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(UserError, match="only pickled weights"):
        with_part(tiny, "text_encoder", pickled)
    half = shutil.copytree(encoder, tmp_path / "half")
    (half / "model.safetensors").write_bytes((encoder / "model.safetensors").read_bytes()[:99])
    with pytest.raises(UserError, match="missing or cut short"):
        with_part(tiny, "text_encoder", half)
