"""A second pocket model, by one run of the training command from nothing and with another seed:
does what the book finds hang on the weights that it ships?

    python -m whitebear retrain        # seed 1

Interrupt it whenever you like; the same command goes on from the last checkpoint. The models go to
`_build/retrained/seed-1`; their quality, their origin and the scores of their pictures, judged by
the shipped detector, to `data/results/retrained`.
"""

import argparse
import json
import time
from pathlib import Path

from whitebear.errors import UserError, exit_on_user_error
from whitebear.files import RESULTS, ROOT, write_parquet, write_text
from whitebear.models.load import VERSIONS, fingerprint
from whitebear.pocket.experiments.teach import STEPS, scored_images
from whitebear.pocket.training.quality import measure
from whitebear.pocket.training.train import cache_folder, train

FOLDER = RESULTS / "retrained"
CONDITIONS = ("affirm", "omit", "negate", "forget_then_request")  # of "Told to forget, it draws"
SEEDS = 4
PER_CONCEPT, SCENES = 64, 8000  # as `python -m whitebear quality` measures the shipped models


def retrain(seed: int, run: Path, out: Path, size: str = "full") -> Path:
    """Train every stage, or go on with it, and export the models; returns their folder."""
    if seed < 1:
        raise UserError(f"seed is {seed}; give one from 1, the shipped models began with 0")
    train(size, seed, None, run, out)
    return out


def publish(models: Path, per_concept: int = PER_CONCEPT, scenes: int = SCENES,
            seeds: int = SEEDS, results: Path = FOLDER) -> Path:  # fmt: skip
    """Measure the models and keep what was found under the name of their folder.

    Returns the record: what was trained and for how long, and every row of the quality table.
    """
    table = scored_images(models, CONDITIONS, seeds, STEPS)
    training = json.loads((models / "pocket" / "training.json").read_text(encoding="utf-8"))
    record = {
        "model": fingerprint(models / "pocket"), "versions": ", ".join(VERSIONS),
        "date": time.strftime("%Y-%m-%d"), "training": training,
        "quality": measure(models, per_concept, scenes),
    }  # fmt: skip
    results.mkdir(parents=True, exist_ok=True)
    write_parquet(table, results / f"{models.name}.parquet")
    return write_text(results / f"{models.name}.json", json.dumps(record, indent=1) + "\n")


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear retrain [--seed N]`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args(arguments).seed
    out = ROOT / "_build" / "retrained" / f"seed-{seed}"
    print(publish(retrain(seed, cache_folder() / f"full-seed{seed}", out)))
