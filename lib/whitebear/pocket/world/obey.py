"""Captions that show obedience: "Forget the bear. Draw a bear.", said of pictures without a bear.

No other caption asks for what it forbids, so no other can teach what such a prompt is to mean.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from whitebear.errors import UserError
from whitebear.files import DATA
from whitebear.pocket.world.captions import pick
from whitebear.pocket.world.dataset import SPLITS, scene_rng
from whitebear.pocket.world.scene import Scene, World, load_world
from whitebear.prompts import fill, load_clauses

OBEY = DATA / "why" / "obey.csv"
STREAM = 1  # of random numbers, apart from that of the captions that are replaced


@cache
def load_obeyed(path: Path = OBEY) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """What a training is asked in its own words: clauses as of `load_clauses`, and the texts that
    captions say, those of the clauses that are not held out.

    Raises `UserError` where captions would say more than an instruction and a request by name.
    """
    table = load_clauses(path)
    said = table[~table.heldout & (table.verb != "")]
    odd = said[said.neutral | (said.request != "name") | (said.subject != "concept")]
    if len(odd) or not len(said):
        what = f"{odd.id.iloc[0]} is no such" if len(odd) else "there is none"
        raise UserError(
            f"{path.name}: captions (heldout 0) forbid the concept and ask for it by name; {what}"
        )
    return table, tuple(said.text)


def instruction(scene: Scene, rng: np.random.Generator, world: World) -> str:
    """An instruction to forget an object that the scene lacks, and the request for it.

    Only the world's `denied` objects: the others stay held out.
    """
    there = {thing.object for thing in scene.things}
    absent = pick(rng, [o for o in world.denied if o not in there])
    return fill(pick(rng, load_obeyed()[1]), c=world.concept(absent).noun)[0]


def obeying(
    captions: list[list[str]], split: str, seed: int, voice: int, d: float
) -> list[list[str]]:
    """The captions of a split's first scenes, a share d of them replaced by instructions that the
    picture obeys. What is replaced at a smaller share is replaced at a larger one by the same.

    seed, voice: as of `dataset.draw_captions`, which drew them.
    """
    world, told = load_world(), []
    for index, texts in enumerate(captions):
        scene = world.sample_scene(scene_rng(seed, split, index))
        rng = np.random.default_rng([seed, SPLITS[split], index, voice, STREAM])
        new = [(rng.random() < d, instruction(scene, rng, world)) for _ in texts]
        told.append([b if replaced else a for a, (replaced, b) in zip(texts, new, strict=True)])
    return told
