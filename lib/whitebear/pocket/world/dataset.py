"""The training set: scenes drawn once into memory-mapped arrays, each with several captions.

Scene i of a split follows from (seed, split, i) alone, so the set is the same whatever the number
of worker processes, and held-out splits never share a scene seed with the training split.
"""

import json
import multiprocessing
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from whitebear.files import DIGESTS, as_noted, note_digests
from whitebear.pocket.world.captions import caption
from whitebear.pocket.world.scene import World, load_world

SPLITS = {"train": 0, "calibration": 1, "quality": 2}


@dataclass(frozen=True)
class SceneSet:
    """images uint8 (N, 3, 64, 64); labels bool (N, n_concepts); captions: N lists of K strings."""

    images: torch.Tensor
    labels: torch.Tensor
    captions: list[list[str]]

    def __len__(self) -> int:
        return len(self.images)


def scene_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """The generator that decides everything about one scene and its captions."""
    return np.random.default_rng([seed, SPLITS[split], index])


def draw_block(job: tuple) -> tuple[int, np.ndarray, np.ndarray, list[list[str]]]:
    """Draw scenes start..stop of a split (one worker's share)."""
    start, stop, seed, split, n_captions, r, denied = job
    world = load_world()
    images, labels, captions = [], [], []
    for index in range(start, stop):
        rng = scene_rng(seed, split, index)
        scene = world.sample_scene(rng)
        images.append(world.render(scene).transpose(2, 0, 1))
        labels.append(world.labels(scene))
        captions.append([caption(scene, rng, r, world, denied)[0] for _ in range(n_captions)])
    return start, np.stack(images), np.stack(labels), captions


def draw_captions(
    n: int, split: str, seed: int, n_captions: int, r: float, denied: str = "all",
    chatter: str = "all", voice: int = 1,
) -> list[list[str]]:  # fmt: skip
    """Other captions of the first n scenes of a split, which negate at a rate of their own.

    voice: whose captions they are; another voice says other things of the same scenes.
    """
    world, captions = load_world(), []
    for index in tqdm(range(n), desc=f"captions of {split} scenes", unit="scene", mininterval=2):
        scene = world.sample_scene(scene_rng(seed, split, index))
        rng = np.random.default_rng([seed, SPLITS[split], index, voice])
        about = rng, r, world, denied, chatter
        captions.append([caption(scene, *about)[0] for _ in range(n_captions)])
    return captions


def draw_scenes(
    n: int, split: str, seed: int, n_captions: int, r: float, folder: Path, denied: str = "all"
) -> SceneSet:
    """Draw n scenes of a split into `folder` (reused when it is complete) with all cores."""
    if not _is_whole(folder):
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        _draw_into(part, n, split, seed, n_captions, r, denied)
        note_digests(part)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    images = np.load(folder / "images.npy", mmap_mode="c")
    labels = np.load(folder / "labels.npy")
    captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    return SceneSet(torch.from_numpy(images), torch.from_numpy(labels), captions)


def _is_whole(folder: Path) -> bool:
    """Whether scenes are as they were drawn; those of a folder without digests count as whole."""
    if not (folder / DIGESTS).is_file():
        return (folder / "captions.json").exists()
    return bool(as_noted(folder))


def _draw_into(
    folder: Path, n: int, split: str, seed: int, n_captions: int, r: float, denied: str
) -> None:
    world: World = load_world()
    images = np.lib.format.open_memmap(
        folder / "images.npy", mode="w+", dtype=np.uint8, shape=(n, 3, 64, 64)
    )
    labels = np.zeros((n, len(world.names)), dtype=bool)
    captions: list = [None] * n
    block = 500
    about = (seed, split, n_captions, r, denied)
    jobs = [(i, min(i + block, n), *about) for i in range(0, n, block)]
    workers = min(os.cpu_count() or 1, len(jobs))
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        bar = tqdm(total=n, desc=f"drawing {split} scenes", unit="scene")
        for start, pixels, truth, texts in pool.imap_unordered(draw_block, jobs):
            stop = start + len(pixels)
            images[start:stop], labels[start:stop], captions[start:stop] = pixels, truth, texts
            bar.update(len(pixels))
        bar.close()
    images.flush()
    np.save(folder / "labels.npy", labels)
    (folder / "captions.json").write_text(json.dumps(captions), encoding="utf-8")
