"""The shipped models: small, complete, loadable without this book, as good as their cards say."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPVisionModelWithProjection, ResNetForImageClassification

from whitebear.draw.generate import generate
from whitebear.files import MODELS
from whitebear.models.load import REGISTRY, load_pipeline
from whitebear.pocket.training import card, quality
from whitebear.pocket.world.dataset import draw_scenes
from whitebear.pocket.world.scene import load_world
from whitebear.scoring.detector import Detector

WORLD = load_world()
MIB = 2**20


def test_all_models_together_are_small_and_only_safetensors():
    files = [path for path in MODELS.rglob("*") if path.is_file()]
    size = {path: path.stat().st_size for path in files}
    assert sum(size.values()) <= 40 * MIB
    instrument = [path for path in files if MODELS / "taught" not in path.parents]
    assert sum(size[path] for path in instrument) <= 24 * MIB
    assert {path.suffix for path in files} <= {".json", ".md", ".safetensors"}


def test_plain_diffusers_loads_and_draws():
    pipe = StableDiffusionPipeline.from_pretrained(MODELS / "pocket")
    assert isinstance(pipe.image_encoder, CLIPVisionModelWithProjection)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("a bear", num_inference_steps=2, output_type="np").images
    assert image.shape == (1, 64, 64, 3) and np.isfinite(image).all()


def test_plain_transformers_loads_the_detector():
    model = ResNetForImageClassification.from_pretrained(MODELS / "detector")
    assert tuple(model.config.id2label.values()) == WORLD.names
    assert set(model.config.presence_thresholds) == set(WORLD.names)


def test_cards_are_what_the_recorded_numbers_make_of_them(tmp_path):
    for name in ("pocket", "detector"):
        (tmp_path / name).mkdir()
    card.write_cards(MODELS, tmp_path)
    for name in ("pocket", "detector"):
        written, shipped = (folder / name / "README.md" for folder in (tmp_path, MODELS))
        assert written.read_text(encoding="utf-8") == shipped.read_text(encoding="utf-8")


def test_every_row_of_the_quality_table_was_measured():
    rows = card.read_quality(MODELS / "pocket")
    assert list(card.quality_table(rows).index) == list(card.TARGETS)
    assert json.loads((MODELS / "pocket" / "training.json").read_text())["seconds"]


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    return draw_scenes(300, "quality", 0, 1, 0.0, tmp_path_factory.mktemp("scenes") / "held-out")


def test_detector_is_as_good_as_its_card(held_out):
    rows, detector = card.read_quality(MODELS / "pocket"), Detector.load()
    images = np.ascontiguousarray(held_out.images.permute(0, 2, 3, 1).numpy())
    said = detector.present(detector.scores(images)).to_numpy()
    accuracy = (said == held_out.labels.numpy()).mean()
    assert accuracy >= rows["detector balanced accuracy, renders"] - 0.01


def test_autoencoder_is_as_good_as_its_card(held_out):
    rows, pipe = card.read_quality(MODELS / "pocket"), load_pipeline("pocket", "cpu")
    rebuilt = quality.rebuild(pipe.vae, held_out.images, torch.device("cpu"))
    measured = quality.psnr(held_out.images, rebuilt).mean().item()
    assert measured == pytest.approx(rows["VAE PSNR, dB"], abs=0.4)


def test_model_draws_what_it_is_asked_for():
    pipe, detector, entry = load_pipeline("pocket", "cpu"), Detector.load(), REGISTRY["pocket"]
    rows = [(c, seed, f"a picture of a {c}") for c in WORLD.objects for seed in (1000, 1001)]
    table = pd.DataFrame(rows, columns=["concept", "seed", "prompt"])
    images = generate(pipe, table, entry.steps, entry.guidance, progress=False)
    said = detector.present(detector.scores(images))
    asked = np.mean([said[c].iloc[i] for i, c in enumerate(table.concept)])
    expected = card.read_quality(MODELS / "pocket")["affirm, object present"]
    assert abs(asked - expected) < 4 * np.sqrt(expected * (1 - expected) / len(table)) + 0.02
