"""What the live page draws with: graphs of both models, and plain facts."""

import gzip
import json
import logging
from collections.abc import Iterator

import torch

from whitebear.book.live.export import to_onnx
from whitebear.book.live.parts import Decoder, Denoiser, Detects, Text
from whitebear.draw.artist import Artist, artist_with_part
from whitebear.draw.generate import noise_seed
from whitebear.interventions.exchange_part import PARTS, TAUGHT
from whitebear.prompts.concepts import load_concepts
from whitebear.scoring.detector import Detector

SEEDS = 64  # noises on offer for each object
POSITIONS, LATENTS, PIXELS = 77, (16, 8, 8), (3, 64, 64)


def graphs() -> Iterator[tuple[str, bytes]]:
    """(file name, gzipped bytes) of what is known beside weights, and of every graph: decoder,
    detector, and of each model ("shipped", "taught") its text encoder and denoiser."""
    for name, content in _graphs():
        yield f"{name}.gz", gzip.compress(content, mtime=0)


def _graphs() -> Iterator[tuple[str, bytes]]:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # speaks of torchvision, unused here
    artist, judge = Artist("pocket", device="cpu"), Detector.load()
    yield "facts", json.dumps(facts(artist, judge)).encode()
    latents = torch.zeros(1, *LATENTS)
    yield "decoder", to_onnx(Decoder(artist.pipe.vae), {"latents": latents}, ["picture"])
    picture = torch.zeros(1, *PIXELS)
    yield "detector", to_onnx(Detects(judge.model), {"picture": picture}, ["probability"])
    for name, one in {"shipped": artist, "taught": taught(artist)}.items():
        yield from _of_model(name, one)


def taught(artist: Artist) -> Artist:
    """The artist with both parts that were taught what negation means."""
    for part in PARTS:
        artist = artist_with_part(artist, part, TAUGHT / part)
    return artist


def facts(artist: Artist, judge: Detector) -> dict:
    """What is known beside weights: tokenizer, names and thresholds of the detector, and for each
    object the 32 bits that seed the noise of its pictures."""
    tokenizer = artist.folder / "tokenizer"
    read = lambda name: json.loads(tokenizer.joinpath(name).read_text(encoding="utf-8"))  # noqa: E731
    return {
        "tokenizer": read("tokenizer.json"),
        "tokenizer_config": read("tokenizer_config.json"),
        "concepts": judge.concepts,
        "thresholds": judge.thresholds.to_dict(),
        "seeds": {
            name: [noise_seed(name, seed) % 2**32 for seed in range(SEEDS)]
            for name in load_concepts().objects
        },
    }


def _of_model(name: str, artist: Artist) -> Iterator[tuple[str, bytes]]:
    encoder, unet = artist.pipe.text_encoder, artist.pipe.unet
    encoder.set_attn_implementation("eager")
    ids = torch.zeros(1, POSITIONS, dtype=torch.int64)
    yield f"{name}-text", to_onnx(Text(encoder), {"ids": ids}, ["states"])
    given = {
        "latents": torch.zeros(2, *LATENTS),
        "timestep": torch.tensor([999]),
        "states": torch.zeros(2, POSITIONS, encoder.config.hidden_size),
        "weights": torch.ones(2, POSITIONS),
    }
    yield f"{name}-denoiser", to_onnx(Denoiser(unet), given, ["predicted", "mass", "map"])
