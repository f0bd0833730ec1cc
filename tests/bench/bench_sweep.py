"""Ten million rows: `python tests/bench/bench_sweep.py [--rows 10000000]` (part of `make bench`).

Simulates the dataset of a sweep (models x interventions x concepts, all wordings of an object, 64
seeds; scores are drawn at random, the rest is what a sweep writes). Then two fresh processes read
it run by run, join every picture with its control and with its affirmation at the same noise, and
compute the statistics of *Told to forget, it draws*, with their intervals. Prints seconds, and the
most memory that they had.
"""

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from whitebear import stats
from whitebear.prompts import load_wordings, prompt_grid

SEEDS, MODELS = 64, 6
READ = ["concept", "condition", "wording", "control", "pair", "seed", "present"]


def simulate(folder: Path, rows: int) -> int:
    """A dataset of at least `rows` rows below `folder`; how many it has."""
    table = prompt_grid([], [*load_wordings().condition.unique()], SEEDS)
    chances = table.condition.map({"omit": 0.02}).fillna(0.7).to_numpy()
    tables = [(name, part.index, pa.Table.from_pandas(part, preserve_index=False))
              for name, part in table.groupby("concept", sort=False)]  # fmt: skip
    rng, made = np.random.default_rng(0), 0
    while made < rows:
        acting, model = divmod(made // len(table), MODELS)
        place = folder / f"model=m{model}" / f"intervention=i{acting}"
        place.mkdir(parents=True)
        chance = rng.random(len(table))
        for name, index, part in tables:
            p = chance[index].astype("float32")
            whole = part.append_column("p_asked", pa.array(p))
            whole = whole.append_column("present", pa.array(p < chances[index]))
            pq.write_table(whole, place / f"{name}.parquet", write_page_checksum=True)
        made += len(table)
    return made


def statistics(run: Path) -> tuple[int, int]:
    """Rows of a run, and lines of its statistics."""
    files = sorted(run.glob("*.parquet"))
    tables = [pq.ParquetFile(path).read(READ).to_pandas() for path in files]
    scores = pd.concat(tables, ignore_index=True)
    return len(scores), len(stats.summary(scores))


def measure(folder: Path) -> None:
    """Read, join and count, in two processes; print rows, lines, seconds, those of a
    processor, and GiB."""
    start = time.perf_counter()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        rows, lines = zip(*pool.map(statistics, sorted(folder.glob("*/*"))), strict=True)
    seconds = time.perf_counter() - start
    own, most = (resource.getrusage(who).ru_maxrss / 2**20
                 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # fmt: skip
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime
    print(sum(rows), sum(lines), seconds, processor, own + 2 * most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--read", type=Path, help="a dataset that is there: what reading it takes")
    args = parser.parse_args()
    if args.read:
        return measure(args.read)
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), args.rows)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
        call = [sys.executable, __file__, "--read", folder]
        said = subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()
    rows, lines, seconds, processor, most = (float(word) for word in said)
    print(f"{rows:,.0f} rows, {size / 1e9:.2f} GB; {lines:.0f} lines of statistics in")
    print(f"{seconds:.0f} s ({processor:.0f} s of a processor), {most:.2f} GiB")


if __name__ == "__main__":
    main()
