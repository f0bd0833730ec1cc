"""Arenas with known answers: tables and records as the command publishes them, with no picture
drawn. Nothing of this is ever a result."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd

from whitebear.arena.entries import OTHER_SEEDS, REFERENCES, load_entries
from whitebear.arena.prompts import PLACEBO, UNASKED
from whitebear.draw.grid import png
from whitebear.files import write_parquet
from whitebear.pocket.experiments.arena import FIXED, SCORED, TUNING, Plan, plan_of

# What is left of the concept where it is named, described, and of what should stay.
LEFT = {
    "instruction": (0.98, 0.98, 1.0), "negative-prompt": (0.45, 0.9, 1.0),
    "suppress-states": (0.0, 0.9, 0.4), "name-states": (0.75, 0.9, 1.0),
    "name-values": (0.0, 0.9, 1.0), "safree": (0.7, 0.9, 1.0), "safree-published": (0.1, 0.7, 1.0),
    "adavd": (0.98, 0.9, 1.0), "uce-2025": (0.98, 0.95, 1.0), "uce-2023": (0.05, 0.6, 1.0),
    "uce-carrier": (0.1, 0.7, 0.95), "esd": (0.2, 0.5, 0.9),
}  # fmt: skip


def plant(folder, names=tuple(LEFT), plan: Plan | None = None, left=LEFT):
    """Publish references and methods into a folder; returns it."""
    plan = plan or plan_of(4, only=SCORED)
    for name in (*REFERENCES, *names):
        entry = (REFERENCES | load_entries())[name]
        untuned = entry.strengths[-1] if entry.fixed is None else entry.fixed
        strength = entry.strengths[-1] if TUNING in plan.seeds else untuned
        tables = [table(name, plan, TUNING, s, left) for s in entry.strengths
                  if TUNING in plan.seeds]  # fmt: skip
        if SCORED in plan.seeds:
            tables.append(table(name, plan, SCORED, strength, left, entry.runs))
            if TUNING in plan.seeds and entry.fixed not in (None, strength):
                tables.append(table(name, plan, FIXED, entry.fixed, left, entry.runs))
        rows = pd.concat(tables, ignore_index=True)
        write_parquet(rows, folder / f"{name}.parquet")
        tuned = {"strength": strength, "spares": left.get(name, (0, 0, 1))[2] > 0.95}
        about = {"entry": asdict(entry), "concepts": plan.concepts, "seeds": plan.seeds,
                 "small": plan.small, "model": "m", "detector": "d", "steps": 20, "guidance": 4.0,
                 "tuned": tuned}  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(about))
    return folder


def grid_of(plan, use, references, known={}):  # noqa: B006  # a grid takes a second
    key = str((plan, use, references))
    if key not in known:
        known[key] = plan.grid(use, references).rename(columns={"condition": "family"})
    return known[key]


def table(name, plan, use, strength, left, runs=1):
    """Table `arena` of one method, from its LEFT and from chance that all methods share."""
    whole, grid = grid_of(plan, use, False), grid_of(plan, use, name in REFERENCES)
    named, described, stays = left.get(name, (1.0, 1.0, 1.0))
    parts = []
    for run in range(runs):
        rng = np.random.default_rng(run)  # the same luck for every method
        luck = rng.random((len(whole), 4))
        luck = luck if len(grid) == len(whole) else luck[whole.family != PLACEBO]
        away = np.where(grid.family == "description", described, named)
        away = np.where(grid.family == PLACEBO, 1.0, away)
        asked = ~grid.family.isin(UNASKED)
        shift = 0.37 * (name == OTHER_SEEDS.id)
        drawn = (luck + shift) % 1
        flags = lambda where, found: pd.array(np.where(where, found, None), "boolean")  # noqa: E731
        parts.append(grid.assign(
            method=name, options="{}", strength=float(strength), run=run, use=use,
            noise=500 * (name == OTHER_SEEDS.id), p_asked=0.5,
            present=asked & (drawn[:, 0] < 0.97 * away), p_other=0.5,
            other_present=flags(grid.other != "", drawn[:, 1] < 0.9 * stays),
            colour_present=flags(grid.colour != "", drawn[:, 2] < 0.8),
            place_present=flags(grid.background != "", drawn[:, 3] < 0.95), objects=1,
            entropy=0.01, change=0.0 if name == "untouched" else 0.1, picture="0" * 16,
            blocked=False, passes=2.0, seconds=0.5, prepared=0.1,
            png=[png(np.full((64, 64, 3), 40 * run + 90, np.uint8)) if seed % 1000 == 0 else None
                 for seed in grid.seed],
        ))  # fmt: skip
    return pd.concat(parts).drop(columns=["kind", "control", "spans"])
