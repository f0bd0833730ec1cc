"""What the pocket world holds and what its captions say: samples and counts."""

import re
from math import comb

import numpy as np
import pandas as pd

from whitebear.errors import UserError
from whitebear.pocket.world.captions import KINDS, caption
from whitebear.pocket.world.scene import World
from whitebear.prompts.concepts import Concept
from whitebear.stats import wilson


def sample_captions(world: World, rng: np.random.Generator, n: int, r: float) -> pd.DataFrame:
    """`n` captions of random scenes, negated with probability `r`: columns text, kind, scene.

    Raises UserError unless n is at least 1 and r is between 0 and 1.
    """
    if n < 1 or not 0 <= r <= 1:
        raise UserError(f"{n} captions at negation rate {r}; take at least 1, and a rate of 0 to 1")
    rows = []
    for _ in range(n):
        scene = world.sample_scene(rng)
        rows.append((*caption(scene, rng, r, world), scene))
    return pd.DataFrame(rows, columns=["text", "kind", "scene"])


def kinds_table(captions: pd.DataFrame, examples: int = 2) -> pd.DataFrame:
    """A row per kind of caption: how many, their share with its Wilson interval, examples."""
    rows = []
    for kind in KINDS:
        texts = captions.text[captions.kind == kind]
        low, high = wilson(len(texts), len(captions))
        share = f"{100 * len(texts) / len(captions):.2f} % [{100 * low:.2f}, {100 * high:.2f}]"
        rows.append((kind, len(texts), share, "; ".join(f"“{t}”" for t in texts.head(examples))))
    return (
        pd.DataFrame(rows, columns=["kind", "captions", "share", "examples"])
        .set_index("kind")
        .rename_axis(None)
    )


def counts(world: World) -> dict[str, int]:
    """How many concepts of each kind there are."""
    kinds = ("objects", "colours", "backgrounds", "styles")
    return {kind: len(getattr(world, kind)) for kind in kinds}


def true_negations(world: World, captions: pd.DataFrame) -> int:
    """How many of the negated captions name (or describe), besides what is there, just one object
    that is not."""
    true = 0
    for row in captions[captions.kind == "negate"].itertuples():
        named = {o for o in world.objects if _says(row.text, world.concept(o))}
        there = {thing.object for thing in row.scene.things}
        true += len(named - there) == 1 and there <= named
    return true


def _says(text: str, concept: Concept) -> bool:
    return bool(re.search(rf"\b({concept.noun}|{re.escape(concept.description)})\b", text))


def n_descriptions(world: World) -> int:
    """How many scenes differ in more than place, size and tilt."""
    things, colours = len(world.objects), len(world.colours)
    contents = 1 + things * colours + comb(things, 2) * colours**2
    return contents * len(world.backgrounds) * len(world.styles)
