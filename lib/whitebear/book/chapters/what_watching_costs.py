"""Chapter 13: what a benchmark of tools that watch attention says."""

import numpy as np
import pandas as pd

from whitebear import stats


def overheads(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """What contenders of a benchmark cost: each time divided by the reference's in its own round.

    rows: columns shape, round, contender, cpu (seconds), kept and peak (bytes). Returns a row a
    (shape, contender): median ratio with its bootstrap interval over rounds, n rounds, kept in MiB
    a step and the median peak memory as a ratio to the reference's.
    """
    keys = ["shape", "round"]
    base = rows[rows.contender == reference].set_index(keys)[["cpu", "peak"]]
    rows = rows.join(base, on=keys, rsuffix="_of_reference")
    table = {}
    for key, some in rows.groupby(["shape", "contender"], sort=False):
        ratios = (some.cpu / some.cpu_of_reference).to_numpy()
        drawn = np.random.default_rng(stats.SEED).choice(ratios, (stats.RESAMPLES, len(ratios)))
        ends = np.quantile(np.median(drawn, axis=1), [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2])
        peak = (some.peak / some.peak_of_reference).median()
        table[key] = (np.median(ratios), *ends, len(ratios), some.kept.median() / 2**20, peak)
    columns = ["ratio", "low", "high", "n", "kept_mib", "peak"]
    frame = pd.DataFrame.from_dict(table, orient="index", columns=columns)
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=["shape", "contender"])
    return frame


def answer(table: pd.DataFrame) -> str:
    """One line a shape of `overheads`: ours, the bare pipeline again, and the peers."""
    lines = []
    for shape in dict.fromkeys(table.index.get_level_values("shape")):
        costs = table.loc[shape]
        ours, again = costs.loc["ours, mass and map"], costs.loc["bare again (A/A)"]
        peers = costs[~costs.index.str.startswith(("bare", "ours"))].ratio
        line = f"- {shape}: {ours.ratio:.3f} times as long as without watching "
        line += f"[{ours.low:.3f}, {ours.high:.3f}]; the bare pipeline again: {again.ratio:.3f}"
        if len(peers):
            line += f"; the quickest peer {peers.min():.2f}, the slowest {peers.max():.2f}"
        lines.append(f"{line}.")
    return "\n".join(lines)
