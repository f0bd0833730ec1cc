"""Scores against slow references; refusal of folders that are not what they should be."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import CLIPModel

from whitebear.errors import UserError
from whitebear.scoring.clip import SAME_CLIP_FOR_ALL, clip_score, load_clip
from whitebear.scoring.detector import Detector, ZeroShotDetector
from whitebear.scoring.judge import Judge, clip_source


def test_detector_scores_and_thresholds(tiny_detector_dir, world, some_images):
    detector = Detector.load(tiny_detector_dir)
    scores = detector.scores(some_images)
    assert tuple(scores.columns) == world.names
    pixels = torch.tensor(some_images[3] / 255.0 * 2 - 1, dtype=torch.float32).permute(2, 0, 1)
    with torch.no_grad():
        alone = torch.sigmoid(detector.model(pixel_values=pixels[None]).logits)[0]
    assert np.allclose(scores.iloc[3], alone, atol=1e-5)
    detector.thresholds["bear"] = float(scores.bear.max())
    detector.thresholds["owl"] = float(scores.owl.max()) + 1e-3
    present = detector.present(scores)
    assert present.bear.sum() == 1
    assert present.owl.sum() == 0
    assert present.dtypes.eq(bool).all()


def test_folders_that_are_no_detector(tiny_detector_dir, tmp_path):
    with pytest.raises(UserError, match="config.json is missing"):
        Detector.load(tmp_path / "nothing")
    copy = shutil.copytree(tiny_detector_dir, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    del config["presence_thresholds"]["bear"]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="needs presence_thresholds for every label"):
        Detector.load(copy)
    (copy / "model.safetensors").write_bytes(b"\x10")
    with pytest.raises(UserError, match="missing or cut short"):
        Detector.load(copy)


@pytest.mark.parametrize("kind", ["tiny_pipeline_dir", "tiny_clip_dir"])
def test_clip_score_is_a_cosine(kind, request, some_images):
    clip = load_clip(request.getfixturevalue(kind))
    prompts = ["a bear", "an owl", "a bear", "no bear", "forget the car"]
    scores = clip_score(some_images, prompts, clip)
    assert scores.shape == (5,)
    one = clip_score(some_images[2:3], prompts[2:3], clip)
    assert np.allclose(scores[2], one, atol=1e-5)
    assert np.abs(scores).max() <= 1
    with pytest.raises(UserError, match="5 images but 1 prompts"):
        clip_score(some_images, ["a bear"], clip)


def test_clip_scores_equal_transformers_logits(tiny_clip_dir, some_images):
    clip = load_clip(tiny_clip_dir)
    prompts = ["a bear", "an owl"]
    tokens = clip._tokenizer(prompts, padding="max_length", max_length=77, return_tensors="pt")
    pixels = torch.tensor(some_images / 127.5 - 1, dtype=torch.float32).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = CLIPModel.from_pretrained(tiny_clip_dir)(**tokens, pixel_values=pixels)
    ours = clip.scale * clip.images(some_images) @ clip.text(prompts).T
    assert np.allclose(ours, logits.logits_per_image, atol=1e-3)


def test_pipeline_clip_is_the_text_encoder_of_the_pipeline(tiny_pipeline_dir):
    from transformers import CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(tiny_pipeline_dir / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(tiny_pipeline_dir / "text_encoder")
    ids = tokenizer("a bear", return_tensors="pt")  # unpadded: padding must not matter
    with torch.no_grad():
        pooled = encoder(**ids).pooler_output[0]
    ours = load_clip(tiny_pipeline_dir).text(["a bear"])[0]
    assert torch.allclose(ours, pooled / pooled.norm(), atol=1e-5)


def test_zero_shot_is_a_softmax_against_something(tiny_clip_dir, some_images):
    clip = load_clip(tiny_clip_dir)
    detector = ZeroShotDetector(clip, ["bear", "owl"])
    scores = detector.scores(some_images)
    for concept, text in (("bear", "a picture of a bear"), ("owl", "a picture of an owl")):
        both = clip.text([text, "a picture of something"])
        logits = clip.scale * clip.images(some_images) @ both.T
        assert np.allclose(scores[concept], logits.softmax(-1)[:, 0], atol=1e-5)
    assert detector.present(scores).equals(scores >= 0.5)


def test_who_judges_whom(tiny_pipeline_dir):
    assert clip_source(str(tiny_pipeline_dir)) == str(tiny_pipeline_dir)
    assert clip_source("sd15") == SAME_CLIP_FOR_ALL
    judge = Judge(str(tiny_pipeline_dir))
    assert not judge.pocket and judge.source == str(tiny_pipeline_dir)
    images = np.zeros((2, 64, 64, 3), np.uint8)
    tables = judge.scores(images, ["bear"])
    wanted = ZeroShotDetector(load_clip(tiny_pipeline_dir), ["bear"]).scores(images)
    assert tables["p_asked"].equals(wanted) and tables["logit"].notna().all(axis=None)
    trained = Judge("pocket").scores(images, ["bear", "owl"])
    assert trained["p_asked"].columns.tolist() == ["bear", "owl"]
    assert trained["logit"].isna().all(axis=None)
    with pytest.raises(UserError, match="2 images but 1 concepts; give one concept an image"):
        judge.asked(images, ["bear"])


def test_judges_compute_where_they_are_told(tiny_clip_dir, tiny_detector_dir, some_images):
    """On a device without numbers, in place of a GPU: what is not brought there would fail."""
    clip, detector = (load(folder, "meta") for load, folder in (
        (load_clip, tiny_clip_dir), (Detector.load, tiny_detector_dir)))  # fmt: skip
    assert detector.model.device.type == "meta"
    for compute in (clip.images, detector.scores):
        with pytest.raises(RuntimeError, match="meta tensor"):
            compute(some_images)
    with pytest.raises(RuntimeError, match="meta tensor"):
        clip.text(["a bear"])


def test_what_is_not_an_image_array(tiny_detector_dir):
    with pytest.raises(UserError, match="uint8 array"):
        Detector.load(tiny_detector_dir).scores(np.zeros((2, 64, 64, 3)))


def test_folders_that_are_no_clip(tmp_path, tiny_clip_dir):
    with pytest.raises(UserError, match="config.json is missing"):
        load_clip(tmp_path)
    with pytest.raises(UserError, match="someone/some-clip cannot be fetched"):
        load_clip("someone/some-clip")
    copy = shutil.copytree(tiny_clip_dir, tmp_path / "copy")
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(UserError, match="convert to safetensors"):
        load_clip(copy)
