"""The pictures that the live page shows before anything is loaded, drawn when the book is built."""

import io
import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
from PIL import Image

from whitebear.book.live.examples import A_ROW, CONCEPT, LIST, SEEDS, SENTENCES
from whitebear.draw.artist import Artist


def pictures() -> Iterator[tuple[str, bytes]]:
    """(file name, bytes) of strips of A_ROW pictures, and of LIST."""
    artist = Artist("pocket", device="cpu")
    grid = [(CONCEPT, seed, text) for text in SENTENCES for seed in range(SEEDS)]
    rows = pd.DataFrame(grid, columns=["concept", "seed", "prompt"])
    images = artist.draw(rows, progress=False)
    present = artist.judged(rows, images).present.to_numpy()
    examples = []
    for i, text in enumerate(SENTENCES):
        own = slice(i * SEEDS, (i + 1) * SEEDS)
        names = [f"example-{i}-{start // A_ROW}.webp" for start in range(0, SEEDS, A_ROW)]
        for name, start in zip(names, range(0, SEEDS, A_ROW), strict=True):
            yield name, strip(images[own][start : start + A_ROW])
        examples.append([text, names, present[own].tolist()])
    yield LIST, json.dumps(examples).encode()


def strip(images: np.ndarray) -> bytes:
    """Pictures side by side as one WebP without loss. images: uint8 (n, height, width, 3)."""
    out = io.BytesIO()
    Image.fromarray(np.concatenate(list(images), axis=1)).save(out, "WEBP", lossless=True, method=6)
    return out.getvalue()
