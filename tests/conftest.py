"""Small models with random weights, of the classes of the shipped ones, built once a session; a
browser, and the built site for it."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may touch a network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import contextlib
import functools
import http.server
import shutil
import threading

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ResNetConfig,
    ResNetForImageClassification,
)

from whitebear.draw.artist import Artist
from whitebear.files import ROOT
from whitebear.models import load
from whitebear.pocket.world.scene import load_world
from whitebear.prompts import prompt_grid

WIDTH = 16
HTML = ROOT / "_build" / "html"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SCHEDULE = {"prediction_type": "v_prediction", "steps_offset": 1, "clip_sample": False}


@pytest.fixture(autouse=True)
def nothing_fetched():
    """What one test's hub gave is not another's."""
    load._fetched_once.cache_clear()


def tiny_tokenizer(positions: int = 77) -> CLIPTokenizer:
    """CLIP's tokenizer over single letters: any English sentence can be spelled with it."""
    letters = [chr(i) for i in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    vocab = {word: i for i, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=positions)


def text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, projection_dim=WIDTH, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id,
        max_position_embeddings=tokenizer.model_max_length,
    )  # fmt: skip


def vision_config() -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        image_size=64, patch_size=16, projection_dim=WIDTH,
    )  # fmt: skip


def image_processor() -> CLIPImageProcessor:
    size = {"height": 64, "width": 64}
    return CLIPImageProcessor(
        do_resize=True, size=size, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )


def tiny_pipeline(positions: int = 77) -> StableDiffusionPipeline:
    """Parts and shapes of the pocket model (latents 16x8x8, images 64x64), few weights."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(positions)
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(4, 4, 4, 8), layers_per_block=1, latent_channels=16,
        norm_num_groups=2, sample_size=64,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=16, out_channels=16, layers_per_block=1,
        block_out_channels=(8, 16), norm_num_groups=4, cross_attention_dim=WIDTH,
        attention_head_dim=4, down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text_config(tokenizer)), tokenizer=tokenizer,
        unet=unet, scheduler=DDIMScheduler(**SCHEDULE), safety_checker=None,
        feature_extractor=image_processor(), requires_safety_checker=False,
        image_encoder=CLIPVisionModelWithProjection(vision_config()),
    )  # fmt: skip


def artist_of(pipe, steps: int, guidance: float = 4.0, model: str = "pocket") -> Artist:
    """An artist with this pipeline, judged as `model`."""
    return Artist(model, steps, guidance, "cpu").using(pipe)


def two_rows():
    """Two short prompts about two concepts, as rows of a grid."""
    grid = prompt_grid(["bear", "owl"], ["affirm"], 1)
    grid = grid[grid.wording == "affirm-picture"].reset_index(drop=True)
    return grid.assign(prompt=["a bear", "a white owl"], spans=[[[2, 6]], [[8, 11]]])


@pytest.fixture(scope="session")
def world():
    return load_world()


@pytest.fixture(scope="session")
def tiny_pipeline_dir(tmp_path_factory):
    """A random-weights StableDiffusionPipeline folder with its own image tower.

    It reads 256 letters, so that every prompt of the grid fits."""
    folder = tmp_path_factory.mktemp("models") / "tiny-pipeline"
    tiny_pipeline(positions=256).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="session")
def tiny_clip_dir(tmp_path_factory):
    """A random-weights CLIPModel folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    torch.manual_seed(1)
    tokenizer = tiny_tokenizer()
    config = CLIPConfig(
        text_config=text_config(tokenizer).to_dict(),
        vision_config=vision_config().to_dict(),
        projection_dim=WIDTH,
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    image_processor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_detector_dir(tmp_path_factory, world):
    """A random-weights detector folder over the names of the world."""
    folder = tmp_path_factory.mktemp("models") / "tiny-detector"
    torch.manual_seed(2)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic",
        id2label=dict(enumerate(world.names)), problem_type="multi_label_classification",
    )  # fmt: skip
    config.label2id = {name: i for i, name in enumerate(world.names)}
    config.presence_thresholds = dict.fromkeys(world.names, 0.5)
    ResNetForImageClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture
def some_images():
    """uint8 (5, 64, 64, 3)."""
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def browser():
    """Chromium; where there is none the tests are skipped, except in continuous integration."""
    from playwright.sync_api import Error, sync_playwright  # for these tests alone

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except Error as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"no Chromium to open the pages with: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def site():
    """The address of the built site on this machine."""
    with served() as address:
        yield address


@contextlib.contextmanager
def served():
    """A server of the built site on this machine; gives its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(HTML))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
