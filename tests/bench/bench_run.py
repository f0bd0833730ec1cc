"""How fast is the grid? `python tests/bench/bench_run.py [--model pocket]` (part of `make bench`).

Pictures a second of a plain diffusers loop over prompts, of the pipeline at the best fixed batch
size, of `generate`, and of `run_chunk` with its scoring and bookkeeping, in turns and in a new
order each round; and the bookkeeping alone, in a store of 100,000 rows. Prints a table and writes
data/results/bench_run.parquet. Run it on a machine that has nothing else to do.
"""

import argparse
import platform
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from whitebear.draw import grid as run
from whitebear.draw.generate import generate, row_noise
from whitebear.draw.grid import ChunkSpec, run_chunk
from whitebear.files import write_parquet
from whitebear.models.load import load_pipeline
from whitebear.prompts import prompt_grid

ROOT = Path(__file__).parents[2]
STEPS, GUIDANCE, CONCEPT, CONDITIONS = 20, 4.0, "bear", ("affirm", "negate")
FEW = 8  # pictures of the plain loop, which would take too long over all
BATCHES = (16, 32, 64, 128)
STORED = 100_000


def pictures(pipe, table: pd.DataFrame, batch: int) -> int:
    """What a user writes: the pipeline called on lists of prompts."""
    noise = row_noise(table)
    for start in range(0, len(table), batch):
        rows = slice(start, start + batch)
        pipe(list(table.prompt[rows]), generator=noise[rows], num_inference_steps=STEPS,
             guidance_scale=GUIDANCE, output_type="np")  # fmt: skip
    return len(table)


def scored(model: str, seeds: int) -> int:
    """A chunk from nothing: pictures, scores, files."""
    with tempfile.TemporaryDirectory() as output:
        spec = ChunkSpec(model, CONCEPT, CONDITIONS, tuple(range(seeds)), STEPS, GUIDANCE, output)
        return len(pd.read_parquet(run_chunk(spec, progress=False)))


def race(model: str, seeds: int, rounds: int) -> pd.DataFrame:
    """Pictures a second of every contender, `rounds` times in changing order."""
    pipe = load_pipeline(model)
    pipe.set_progress_bar_config(disable=True)
    table = prompt_grid([CONCEPT], CONDITIONS, seeds, free=model != "pocket")
    contenders = {"plain loop": lambda: pictures(pipe, table.head(FEW), 1)}
    for size in BATCHES:
        contenders[f"batch of {size}"] = lambda size=size: pictures(pipe, table, size)
    contenders["generate"] = lambda: len(generate(pipe, table, STEPS, GUIDANCE, progress=False))
    contenders["run_chunk"] = lambda: scored(model, seeds)
    pictures(pipe, table.head(FEW), FEW)  # warm up
    rows, bar = [], tqdm(total=rounds * len(contenders), unit="run")
    for number in range(rounds):
        for name in random.Random(number).sample(list(contenders), len(contenders)):
            start = time.perf_counter()
            made = contenders[name]()
            rows.append((number, name, made / (time.perf_counter() - start)))
            bar.update()
    bar.close()
    return pd.DataFrame(rows, columns=["round", "contender", "images_per_second"])


def bookkeeping(model: str) -> float:
    """Milliseconds an image of everything but making and scoring, where STORED rows are kept."""
    spec = ChunkSpec(model, CONCEPT, CONDITIONS, (0, 1, 2, 3), STEPS, GUIDANCE, "")
    table = prompt_grid([CONCEPT], CONDITIONS, list(spec.seeds), free=model != "pocket")
    keys = run._row_keys(spec, table)
    old = pd.DataFrame({"key": [f"{i:016x}" for i in range(STORED)], "p_asked": 0.5, "png": None})
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder)
        write_parquet(old, kept / "all.parquet")
        start = time.perf_counter()
        missing = ~np.isin(keys, run._kept_rows(kept).index)
        for i in range(0, len(table), 64):
            part = pd.DataFrame({"key": keys[i : i + 64], "p_asked": 0.5, "png": None})
            write_parquet(part, kept / f"{part.key[0]}.parquet")
        run._kept_rows(kept).loc[keys]
        write_parquet(run._kept_rows(kept).reset_index(), kept / "all.parquet")
        return 1000 * (time.perf_counter() - start) / missing.sum()


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Medians, and the ratio to the best fixed batch of the same round with its quartiles."""
    wide = rows.pivot(index="round", columns="contender", values="images_per_second")
    best = wide[[f"batch of {size}" for size in BATCHES]].max(axis=1)
    ratios = wide.div(best, axis=0).quantile([0.25, 0.5, 0.75]).T
    ratios.columns = ["25 %", "of the best batch", "75 %"]
    return ratios.assign(images_per_second=wide.median())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "data/results/bench_run.parquet")
    args = parser.parse_args()
    rows = race(args.model, args.seeds, args.rounds).assign(
        machine=f"{torch.get_num_threads()} threads of a CPU ({platform.machine()})",
        torch=torch.__version__, bookkeeping_ms=bookkeeping(args.model),
        day=time.strftime("%Y-%m-%d"),
    )  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(rows, args.out)
    print(summary(rows).round(3).to_string())
    print(f"bookkeeping at {STORED:,} rows: {rows.bookkeeping_ms[0]:.1f} ms an image")


if __name__ == "__main__":
    main()
