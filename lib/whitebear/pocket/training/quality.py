"""Does the pocket model obey ordinary prompts? `python -m whitebear quality` measures it.

Held-out scenes judge the detector, the VAE and CLIP; images of evaluation wordings, made with the
default sampler and guidance and judged by the detector, judge the whole. The table goes into the
model card.
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from diffusers import DiffusionPipeline

from whitebear.draw.generate import generate
from whitebear.errors import exit_on_user_error
from whitebear.files import MODELS
from whitebear.models.load import REGISTRY, load_pipeline
from whitebear.pocket.training.card import ASKED, BOTH, UNASKED, quality_table, write_cards
from whitebear.pocket.training.detector import logits_of
from whitebear.pocket.training.vae import rebuild
from whitebear.pocket.world.captions import describe, fix_articles
from whitebear.pocket.world.dataset import SceneSet, draw_scenes, scene_rng
from whitebear.pocket.world.scene import World, load_world
from whitebear.prompts import fill, load_wordings
from whitebear.scoring.clip import Clip, load_clip
from whitebear.scoring.detector import Detector

BINS = 10


def balanced_accuracy(said: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(sensitivity + specificity) / 2 per column of two bool arrays (N, C)."""
    sensitivity = (said & truth).sum(0) / truth.sum(0)
    specificity = (~said & ~truth).sum(0) / (~truth).sum(0)
    return (sensitivity + specificity) / 2


def calibration_error(p: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error over 10 equal bins of probability (Guo et al. 2017)."""
    which = np.minimum((p * BINS).astype(int), BINS - 1)
    gaps = [
        abs(p[which == b].mean() - truth[which == b].mean()) * (which == b).mean()
        for b in range(BINS)
        if (which == b).any()
    ]
    return float(sum(gaps))


def psnr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB of each image of two uint8 batches (N, 3, H, W)."""
    error = (a.float() - b.float()).square().mean((1, 2, 3))
    return 10 * torch.log10(255**2 / error.clamp(min=1e-6))


def detector_rows(detector: Detector, images: torch.Tensor, truth: np.ndarray, on: str) -> dict:
    """Balanced accuracy (mean, worst concept) and calibration error (pooled, worst concept)."""
    model = detector.model
    p = torch.sigmoid(logits_of(model, images, next(model.parameters()).device)).numpy()
    score = balanced_accuracy(p >= detector.thresholds.to_numpy(), truth)
    worst = int(score.argmin())
    ece = [calibration_error(p[:, i], truth[:, i]) for i in range(p.shape[1])]
    return {
        f"detector balanced accuracy, {on}": score.mean(),
        f"detector balanced accuracy, {on}, worst concept": score.min(),
        f"detector worst concept, {on}": detector.concepts[worst],
        f"detector calibration error, {on}": calibration_error(p.ravel(), truth.ravel()),
        f"detector calibration error, {on}, worst concept": max(ece),
    }


def scene_quality(pipe: DiffusionPipeline, detector: Detector, scenes: SceneSet) -> dict:
    """What held-out scenes say about the detector and the VAE."""
    rebuilt, truth = rebuild(pipe.vae, scenes.images, pipe.device), scenes.labels.numpy()
    rows = detector_rows(detector, scenes.images, truth, "renders")
    rows |= detector_rows(detector, rebuilt, truth, "reconstructions")
    return rows | {"VAE PSNR, dB": psnr(scenes.images, rebuilt).mean().item()}


def distinct_scenes(world: World, n: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """n held-out scenes with different descriptions: their renders and full captions."""
    seen, images, texts, index = set(), [], [], 0
    while len(images) < n:
        rng = scene_rng(seed, "quality", 10**6 + index)
        scene, index = world.sample_scene(rng, int(rng.integers(1, 3))), index + 1
        key = (frozenset((t.object, t.colour) for t in scene.things), scene.background, scene.style)
        if key not in seen:
            seen.add(key)
            images.append(world.render(scene))
            texts.append(fix_articles(describe(scene, world, rng, full=True)))
    return np.stack(images), texts


def retrieval(clip: Clip, world: World, n: int = 100, draws: int = 10) -> dict:
    """R@1 among n scenes with different descriptions, mean of `draws` sets, both directions."""
    hits = {"text to image": [], "image to text": []}
    for seed in range(draws):
        images, texts = distinct_scenes(world, n, seed)
        scores = clip.text(texts) @ clip.images(images).T
        answer = torch.arange(n)
        hits["text to image"].append((scores.argmax(1) == answer).float().mean().item())
        hits["image to text"].append((scores.argmax(0) == answer).float().mean().item())
    return {f"CLIP R@1 of {n}, {way}": float(np.mean(values)) for way, values in hits.items()}


def request_table(world: World, per_concept: int) -> pd.DataFrame:
    """Evaluation prompts, `per_concept` a concept: test, concept, second, seed, prompt."""
    wordings = load_wordings().set_index("id").text
    single = ["affirm-picture", "affirm-showing", "affirm-request"]
    pairs = ["affirm-pair-with", "affirm-pair-and", "affirm-pair-first"]
    empty = ["omit-picture", "omit-showing", "omit-request"]
    rng, rows = np.random.default_rng(0), []
    pick = lambda options: options[int(rng.integers(len(options)))]  # noqa: E731
    noun = lambda name: world.concept(name).noun  # noqa: E731
    for seed in range(per_concept):
        base = wordings[single[seed % 3]]
        for c in world.objects:
            rows.append(("affirm", c, "", seed, fill(base, c=noun(c))[0]))
            other = pick([o for o in world.objects if o != c])
            text = wordings[pairs[seed % 3]]
            first, second = (c, other) if text.index("{c}") < text.index("{o}") else (other, c)
            rows.append(("pair", first, second, seed, fill(text, c=noun(c), o=noun(other))[0]))
        for b in world.backgrounds:
            rows.append(("empty", b, "", seed, fill(wordings[empty[seed % 3]], b=noun(b))[0]))
        for colour in world.colours:
            prompt = fill(base, c=f"{colour} {noun(pick(world.objects))}")[0]
            rows.append(("colour", colour, "", seed, prompt))
        for kind, names in (("background", world.backgrounds), ("style", world.styles)):
            for name in names:
                c = f"{noun(pick(world.objects))} {world.concept(name).place}"
                prompt = fill(base, c=c)[0]
                rows.append((kind, name, "", seed, prompt))
    return pd.DataFrame(rows, columns=["test", "concept", "second", "seed", "prompt"])


def obedience(table: pd.DataFrame, p: np.ndarray, detector: Detector, world: World) -> dict:
    """What the images of `request_table` say. p: probabilities (N, C) of the detector."""
    names, said = list(detector.concepts), p >= detector.thresholds.to_numpy()
    column = lambda name: said[:, names.index(name)]  # noqa: E731
    rows: dict[str, float | str] = {}
    affirm, pair = table.test == "affirm", table.test == "pair"
    by_object = pd.Series(
        {c: column(c)[affirm & (table.concept == c)].mean() for c in world.objects}
    )
    rows |= {ASKED: by_object.mean(), "affirm, worst object": by_object.min(),
             "affirm, name of the worst": by_object.idxmin()}  # fmt: skip
    unasked = {
        c: column(c)[(affirm & (table.concept != c)) | (table.test == "empty")].mean()
        for c in world.objects
    }
    rows |= {UNASKED: np.mean(list(unasked.values())),
             "omit, worst object": max(unasked.values())}  # fmt: skip
    at = np.flatnonzero(pair)
    first = said[at, [names.index(c) for c in table.concept[pair]]]
    second = said[at, [names.index(c) for c in table.second[pair]]]
    rows |= {BOTH: (first & second).mean(),
             "pair, first minus second": first.mean() - second.mean()}  # fmt: skip
    for kind, options in (
        ("colour", world.colours),
        ("background", world.backgrounds),
        ("style", world.styles),
    ):
        of_kind = table.test == kind
        best = np.array(options)[p[:, [names.index(o) for o in options]].argmax(1)]
        rows[f"asked {kind} right"] = (best == table.concept)[of_kind].mean()
    return rows


def beside_renders(pipe: DiffusionPipeline, world: World, n: int, seed: int) -> pd.DataFrame:
    """n held-out scenes, fully described, and what the model draws of the same words.

    Columns prompt, render, sample (both uint8 (64, 64, 3)).
    """
    renders, texts = distinct_scenes(world, n, seed)
    prompts = [f"a picture of {text}" for text in texts]
    table = pd.DataFrame({"concept": "beside renders", "seed": range(n), "prompt": prompts})
    entry = REGISTRY["pocket"]
    samples = generate(pipe, table, entry.steps, entry.guidance)
    return pd.DataFrame({"prompt": prompts, "render": list(renders), "sample": list(samples)})


def judge(pipe: DiffusionPipeline, detector: Detector, world: World, per_concept: int) -> dict:
    """How often the model does what it is asked, over `per_concept` images a concept."""
    entry, table = REGISTRY["pocket"], request_table(world, per_concept)
    images = generate(pipe, table, entry.steps, entry.guidance)
    return obedience(table, detector.scores(images).to_numpy(), detector, world)


def sampling_seconds(models: Path, n: int = 64) -> float:
    """Seconds for n guided and decoded images with the default sampler on this machine's CPU."""
    pipe, entry = load_pipeline(str(models / "pocket"), "cpu"), REGISTRY["pocket"]
    table = pd.DataFrame({"concept": "bear", "seed": range(n), "prompt": "a picture of a bear"})
    generate(pipe, table[:2], 1, entry.guidance, progress=False)
    began = time.perf_counter()
    generate(pipe, table, entry.steps, entry.guidance, batch_size=n, progress=False)
    return time.perf_counter() - began


def measure(models: Path, per_concept: int, scenes: int) -> dict:
    """Every row of the quality table, as numbers (and the names of the worst concepts)."""
    world = load_world()
    pipe = load_pipeline(str(models / "pocket"))
    detector = Detector.load(models / "detector", pipe.device)
    with TemporaryDirectory() as folder:  # drawn anew: the world may have changed
        held_out = draw_scenes(scenes, "quality", 0, 1, 0.0, Path(folder) / "scenes")
        rows = scene_quality(pipe, detector, held_out)
    rows |= retrieval(load_clip(models / "pocket"), world)
    rows |= judge(pipe, detector, world, per_concept)
    rows["detector concepts"] = len(detector.concepts)
    rows["parts"] = {
        name: part.num_parameters()
        for name, part in pipe.components.items()
        if hasattr(part, "num_parameters")
    }
    entry = REGISTRY["pocket"]
    rows |= {"steps": entry.steps, "guidance": entry.guidance, "images a concept": per_concept}
    rows["64 images on this CPU, seconds"] = sampling_seconds(models)
    return {
        k: round(float(v), 4) if isinstance(v, (float, np.floating)) else v for k, v in rows.items()
    }


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models", type=Path, default=MODELS, help="folder of pocket/ and detector/"
    )
    parser.add_argument("--per-concept", type=int, default=64, help="images a concept")
    parser.add_argument("--scenes", type=int, default=8000, help="held-out scenes")
    args = parser.parse_args(arguments)
    rows = measure(args.models, args.per_concept, args.scenes)
    (args.models / "pocket" / "quality.json").write_text(json.dumps(rows, indent=2) + "\n")
    write_cards(args.models, args.models)
    print(quality_table(rows).to_string())
