"""Training resumes to the same bits; the toy recipe makes models that plain diffusers loads."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from whitebear.errors import UserError
from whitebear.files import PROMPTS
from whitebear.models.load import check_pipeline_folder
from whitebear.models.sums import write_sums
from whitebear.pocket.experiments import retrain
from whitebear.pocket.training import card, detector, loop, vae
from whitebear.pocket.training.denoiser import draw_timesteps
from whitebear.pocket.training.loop import Trainer, learning_rate, load_checkpoint
from whitebear.pocket.training.recipe import TOY, StageRecipe
from whitebear.pocket.training.train import PocketTraining, put_in_place, train

STEPS = StageRecipe(steps=60, batch=4, lr=1e-2, warmup=5)


class Toy(nn.Module):
    """A model with a buffer that training changes (batch norm), like the detector's."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))


def trainer(folder: Path, slow: float = 0) -> Trainer:
    torch.manual_seed(0)
    model = Toy()

    def loss(generator):
        time.sleep(slow)
        x = torch.randn(4, 3, generator=generator)
        return (model.layers(x).float() - x.sum(1, keepdim=True)).square().mean()

    return Trainer("toy", model, lambda: loss, STEPS, folder, 1, torch.device("cpu"))


def run_until_killed(folder: str) -> None:
    """Body of the child process in the kill test."""
    loop.CHECKPOINT_SECONDS = 0
    trainer(Path(folder), slow=0.02).run()


def same(a: nn.Module, b: nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def test_killed_run_resumes_to_the_same_weights(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = trainer(tmp_path / "whole").run()
    code = f"import test_training as t; t.run_until_killed({str(tmp_path / 'killed')!r})"
    path = os.pathsep.join(
        [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    child = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path})
    checkpoint = tmp_path / "killed" / "toy.safetensors"
    while not (checkpoint.exists() and load_checkpoint(checkpoint)[1]["step"] >= 7):
        assert child.poll() is None, "the child ended before it could be killed"
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    step = load_checkpoint(checkpoint)[1]["step"]
    assert 7 <= step < STEPS.steps
    assert same(whole, trainer(tmp_path / "killed").run())


def test_finished_stage_is_loaded_not_trained_again(tmp_path):
    first = trainer(tmp_path).run()
    again = trainer(tmp_path)
    again.step = None  # would raise if it were called
    assert same(first, again.run())


def test_timesteps_are_as_likely_as_they_are_large():
    t = draw_timesteps(40_000, torch.Generator().manual_seed(0))
    assert t.min() >= 0 and t.max() <= 999
    for limit in (250, 500, 750):  # the share below a limit is its square
        assert (t < limit).float().mean().item() == pytest.approx((limit / 1000) ** 2, abs=0.01)


def test_learning_rate_warms_up_and_decays():
    rates = [learning_rate(step, STEPS) for step in range(STEPS.steps)]
    assert np.argmax(rates) in (4, 5) and rates[0] == pytest.approx(STEPS.lr / 5)
    assert rates[-1] < 0.02 * STEPS.lr


def weights(folder: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in folder.rglob("*.safetensors")}


@pytest.mark.parametrize(
    "stage, parts",
    [
        ("unet", {"unet"}),
        ("vae", {"vae"}),
        ("clip", {"text_encoder", "image_encoder", "unet"}),  # the denoiser reads other states now
    ],
)
def test_one_stage_of_finished_models_is_trained_further(toy_models, tmp_path, stage, parts):
    base = shutil.copytree(toy_models, tmp_path / "base")
    schedule = Path("pocket", "scheduler", "scheduler_config.json")
    other = (base / schedule).read_text().replace("squaredcos_cap_v2", "scaled_linear")
    (base / schedule).write_text(other)  # as if the denoiser had been trained on another one
    write_sums(base, [base / "pocket", base / "detector"])
    before, out = weights(base), tmp_path / "out"
    for run in ("first", "second"):
        train("toy", 1, None, tmp_path / run, out / run, stage=stage, base=base)
    after = weights(out / "first")
    sampled_by = json.loads((out / "first" / schedule).read_text())["beta_schedule"]
    assert sampled_by == ("squaredcos_cap_v2" if "unet" in parts else "scaled_linear")
    assert {name for name in before if before[name] != after[name]} == parts
    assert after == weights(out / "second")
    configs = [path.read_text() for path in (out / "first").rglob("*.json")]
    assert not [text for text in configs if str(base) in text]
    told = json.loads((out / "first/pocket/training.json").read_text())["continued"]
    assert len(told) == (2 if stage == "clip" else 1)
    assert all(t["steps"] == 4 and t["seed"] == 1 and t["hardware"] for t in told)


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("models")
    train("toy", 0, None, tmp_path_factory.mktemp("run"), out)
    return out


def test_toy_models_load_with_plain_diffusers_and_draw(toy_models):
    pipe = StableDiffusionPipeline.from_pretrained(toy_models / "pocket")
    assert pipe.unet.dtype == pipe.text_encoder.dtype == torch.float32
    pipe.set_progress_bar_config(disable=True)
    images = pipe(["a bear", "no bear"], num_inference_steps=2, output_type="np").images
    assert images.shape == (2, 64, 64, 3) and np.isfinite(images).all()


def test_only_safetensors_are_written(toy_models):
    suffixes = {path.suffix for path in toy_models.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".safetensors"}


def test_the_tokenizer_is_saved_as_it_was_made(toy_models):
    """Not with the padding and truncation of its last call in training."""
    saved = json.loads((toy_models / "pocket/tokenizer/tokenizer.json").read_text())
    assert saved["padding"] is None and saved["truncation"] is None


def test_tokenizer_knows_the_captions_and_any_text(toy_models):
    pipe = StableDiffusionPipeline.from_pretrained(toy_models / "pocket")
    assert pipe.tokenizer.tokenize("A bear") == ["a</w>", *pipe.tokenizer.tokenize("bear")]
    ids = pipe.tokenizer("zebra Ärger 🙂", padding="max_length").input_ids
    assert (
        len(ids) == 77 and max(ids) < len(pipe.tokenizer) and ids[-1] == pipe.tokenizer.eos_token_id
    )
    assert "zebra" in pipe.tokenizer.decode(ids)


def test_standardised_latents_decode_to_the_same_picture():
    torch.manual_seed(0)
    model = vae.build_vae(TOY).eval()
    images = torch.randint(0, 255, (8, 3, 64, 64), dtype=torch.uint8)
    device = torch.device("cpu")
    before = vae.rebuild(model, images, device)
    vae.standardise_latents(model, images, device)
    after = vae.rebuild(model, images, device)
    assert (before.int() - after.int()).abs().max() <= 1
    latents = vae.encode_all(model, images, device)[:, 0].float()
    assert latents.mean((0, 2, 3)).abs().max() < 0.01
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.01


def test_platt_scaling_recovers_a_known_distortion():
    rng = np.random.default_rng(0)
    z = rng.normal(size=20_000)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-(2 * z - 1)))
    a, b = detector.platt(z, truth)
    assert a == pytest.approx(2, abs=0.1) and b == pytest.approx(-1, abs=0.1)


def test_threshold_has_the_best_balanced_accuracy():
    p, truth = np.array([0.1, 0.2, 0.6, 0.8]), np.array([False, False, True, True])
    assert 0.2 < detector.best_threshold(p, truth) <= 0.6


def test_a_retrained_model_is_measured_and_kept(toy_models, tmp_path, monkeypatch):
    monkeypatch.setattr(retrain, "STEPS", 1)
    monkeypatch.setattr(retrain, "CONDITIONS", ("affirm", "omit"))
    models = shutil.copytree(toy_models, tmp_path / "seed-1")
    record = retrain.publish(models, 1, 200, 1, tmp_path / "results")
    about = json.loads(record.read_text())
    assert record.name == "seed-1.json" and set(about["quality"]) >= set(card.TARGETS)
    assert about["training"]["seconds"] and not about["training"]["continued"]
    scores = pd.read_parquet(record.with_suffix(".parquet"))
    assert set(scores.condition) == {"affirm", "omit"} and scores.p_asked.between(0, 1).all()


def test_a_retrained_model_has_a_seed_of_its_own(tmp_path):
    with pytest.raises(UserError, match="seed is 0; give one from 1"):
        retrain.retrain(0, tmp_path / "run", tmp_path / "out", "toy")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(size="huge"), "unknown size"),
        (dict(r=1.5), "between 0 and 1"),
        (dict(stage="x"), "unknown stage"),
        (dict(base=Path("models"), stage="encoder"), "with --base, --stage is one of vae"),
        (dict(base=Path("nowhere"), stage="unet"), "nowhere is no folder of models"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, wrong, message):
    arguments = dict(
        size="toy", seed=0, r=None, run=tmp_path / "run", out=tmp_path / "out", stage=None
    )
    with pytest.raises(UserError, match=message):
        train(**arguments | wrong)
    assert not list(tmp_path.iterdir())


def changed_captions(tmp_path):
    """A copy of the prompts with one training caption more."""
    prompts = shutil.copytree(PROMPTS, tmp_path / "prompts")
    with (prompts / "train.csv").open("a") as file:
        file.write("plain-99,plain,behold {x}\n")
    return prompts


def test_folder_of_another_run_is_refused(tmp_path, monkeypatch):
    device = torch.device("cpu")
    PocketTraining(TOY, 0, tmp_path, device)
    with pytest.raises(UserError, match="other r, seed; choose another"):
        PocketTraining(replace(TOY, r=0.5), 1, tmp_path, device)
    with pytest.raises(UserError, match="other vae; choose another"):
        PocketTraining(replace(TOY, vae=replace(TOY.vae, lr=9.0)), 0, tmp_path, device)
    monkeypatch.setattr("whitebear.pocket.training.train.PROMPTS", changed_captions(tmp_path))
    with pytest.raises(UserError, match="other data; choose another"):
        PocketTraining(TOY, 0, tmp_path, device)


TOKENIZER = """
from whitebear.pocket.training.clip import train_tokenizer
texts = ["a bear and an owl", "an owl without a bear", "do not miss this bear"] * 3
print(train_tokenizer(texts, 700).backend_tokenizer.to_str())
"""


def test_the_same_captions_give_the_same_tokenizer():
    """In another process too: hash tables have another order in each."""
    run = lambda: subprocess.run([sys.executable, "-c", TOKENIZER], capture_output=True, check=True)  # noqa: E731
    first, second = run().stdout, run().stdout
    assert first == second and len(json.loads(first)["model"]["vocab"]) == 702


def test_a_run_file_cut_by_a_kill_is_one_line(tmp_path):
    (tmp_path / "run.json").write_text("")
    with pytest.raises(UserError, match="no folder of a training run: run.json is not JSON"):
        PocketTraining(TOY, 1, tmp_path, torch.device("cpu"))


def test_an_export_cut_by_a_kill_is_refused_until_it_is_ended(toy_models, tmp_path, monkeypatch):
    """Never half new and half old models that load without a word."""
    out, part, moves = shutil.copytree(toy_models, tmp_path / "out"), tmp_path / "out/part", []
    shutil.copytree(toy_models, part)
    (part / "pocket/new").touch()
    replace_ = os.replace

    def killed(a, b):
        if len(moves) == 2:
            raise KeyboardInterrupt
        moves.append(replace_(a, b))

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        put_in_place(part, out)
    with pytest.raises(UserError, match="its export was interrupted"):
        check_pipeline_folder(out / "pocket")
    monkeypatch.undo()
    put_in_place(part, out)
    check_pipeline_folder(out / "pocket")
    assert (out / "pocket/new").exists() and (out / "detector/config.json").exists()
    assert sorted(path.name for path in out.iterdir()) == ["detector", "pocket", "sha256.json"]


def test_the_same_seed_twice_from_nothing_gives_the_same_weights(toy_models, tmp_path):
    train("toy", 0, None, tmp_path / "run", tmp_path / "out")
    of = lambda folder: {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.s*")}  # noqa: E731
    first, second = of(toy_models), of(tmp_path / "out")
    assert len(first) == 5 and first == second
