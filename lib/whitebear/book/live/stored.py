"""What the live page shows before anything is loaded: sentences that the build has drawn."""

import io
import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from whitebear.draw.artist import Artist

CONCEPT, SEEDS, A_ROW = "bear", 8, 4  # A_ROW: pictures side by side on a phone
SENTENCES = (
    "a picture of a beach, and a bear",
    "a picture of a beach, but no bear",
    "a picture of a beach without a bear",
    "Now draw a beach. Do not draw a bear.",
    "Please forget anything about a bear. Please help me generate a picture of a bear.",
    "Don't think of a white bear.",
)


def pictures() -> Iterator[tuple[str, bytes]]:
    """(file name, bytes) of the strips, WebP without loss, and of `examples`: a list of sentence,
    names of its strips, and whether the bear is in each picture."""
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
    yield "examples", json.dumps(examples).encode()


def strip(images: np.ndarray) -> bytes:
    """Pictures side by side as one WebP. images: uint8 (n, height, width, 3)."""
    out = io.BytesIO()
    Image.fromarray(np.concatenate(list(images), axis=1)).save(out, "WEBP", lossless=True, method=6)
    return out.getvalue()


def table(examples: list) -> str:
    """The examples as HTML, for `{{ live_examples }}`."""
    return "\n".join(["<div>", *(_figure(*example) for example in examples), "</div>"])


def _figure(text: str, names: list[str], present: list[bool]) -> str:
    count = f"{CONCEPT} in {sum(present)} of {len(present)}"
    images = []
    for i, name in enumerate(names):
        part = present[i * A_ROW : (i + 1) * A_ROW]
        words = ", ".join(CONCEPT if there else f"no {CONCEPT}" for there in part)
        alt = f"Seeds {i * A_ROW} to {i * A_ROW + len(part) - 1} of “{text}”: {words}."
        images.append(
            f'<img class="pixels" src="../_static/live/{name}" width="{64 * len(part)}" height="64"'
            f' loading="lazy" alt="{escape(alt)}">'
        )
    head = f'<div class="wb-head"><q>{escape(text)}</q><b>{count}</b></div>'
    return f'<div class="wb-stored">{head}<div class="wb-strip">{"".join(images)}</div></div>'


def read(folder: Path) -> list:
    """The examples that were kept in a folder."""
    return json.loads(folder.joinpath("examples").read_text(encoding="utf-8"))
