"""The pictures that the live page shows before anything is loaded, drawn when the book is built."""

import contextlib
import io
import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
from PIL import Image

from whitebear.book.live import examples
from whitebear.book.live.examples import A_ROW, CONCEPT, SEEDS, SENTENCES
from whitebear.book.live.graphs import taught
from whitebear.draw.artist import Artist
from whitebear.hooks import steer_attention


def pictures() -> Iterator[tuple[str, bytes]]:
    """(file name, bytes) of strips of A_ROW pictures, of LIST and of FRAME_LIST."""
    artist = Artist("pocket", device="cpu")
    yield from _examples(artist)
    there = {}
    for chapter, frame in examples.FRAMES.items():
        images, there[chapter] = _drawn(artist, frame)
        yield examples.frame_file(chapter), strip(images)
    yield examples.FRAME_LIST, json.dumps(there).encode()


def _drawn(artist: Artist, frame: examples.Frame) -> tuple[np.ndarray, list[bool]]:
    """A_ROW pictures of a frame, and whether the bear is in each."""
    if frame.model == "taught":
        artist = taught(artist)
    rows = pd.DataFrame({"concept": CONCEPT, "seed": range(A_ROW), "prompt": frame.text})
    with contextlib.ExitStack() as hooks:
        for word, factor in frame.weigh.items():
            where = {"renormalize": True, "prompts": list(rows.prompt)}
            hooks.enter_context(steer_attention(artist.pipe, [word], factor, **where))
        images = artist.draw(rows, progress=False)
    return images, artist.judged(rows, images).present.tolist()


def _examples(artist: Artist) -> Iterator[tuple[str, bytes]]:
    grid = [(CONCEPT, seed, text) for text in SENTENCES for seed in range(SEEDS)]
    rows = pd.DataFrame(grid, columns=["concept", "seed", "prompt"])
    images = artist.draw(rows, progress=False)
    present = artist.judged(rows, images).present.to_numpy()
    found = []
    for i, text in enumerate(SENTENCES):
        own = slice(i * SEEDS, (i + 1) * SEEDS)
        names = [f"example-{i}-{start // A_ROW}.webp" for start in range(0, SEEDS, A_ROW)]
        for name, start in zip(names, range(0, SEEDS, A_ROW), strict=True):
            yield name, strip(images[own][start : start + A_ROW])
        found.append([text, names, present[own].tolist()])
    yield examples.LIST, json.dumps(found).encode()


def strip(images: np.ndarray) -> bytes:
    """Pictures side by side as one WebP without loss. images: uint8 (n, height, width, 3)."""
    out = io.BytesIO()
    least = {"lossless": True, "method": 6, "quality": 100}  # of effort; nothing is lost at any
    Image.fromarray(np.concatenate(list(images), axis=1)).save(out, "WEBP", **least)
    return out.getvalue()
