"""How far a sweep is: which parts are done, running, failed or missing, and why."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from whitebear.sweep.estimate import estimate
from whitebear.sweep.folder import Mark, Part, is_done, read_plan_of

STATES = ("done", "running", "failed", "missing")
SHOWN = 10  # lines of a state


def states(folder: Path, parts: list[Part]) -> dict[str, list[tuple[Part, str]]]:
    """State -> parts in it, each with what there is to say: who works on it, why it failed."""
    found = defaultdict(list)
    for part in parts:
        state, why = _state(folder, part)
        found[state].append((part, why))
    return {state: found[state] for state in STATES}


def _state(folder: Path, part: Part) -> tuple[str, str]:
    if is_done(folder, part):
        return "done", ""
    state, said = Mark(folder, part).state()
    if state == "running":
        where = f"process {said.get('pid')} of {said.get('host')}"
        return "running", f"{where} since {said.get('started')}"
    if state == "stopped":
        log = f" (logs/{said['job']}.log)" if said.get("job") else ""
        return "failed", (said.get("why") or "killed while it was made") + log
    return "missing", "not begun"


def report(folder: Path) -> str:
    """The state of a sweep in lines: counts, reasons, and what it takes."""
    about = read_plan_of(folder)
    parts, found = about["parts"], states(folder, about["parts"])
    pictures = sum(part.rows for part in parts)
    lines = [f"{folder}: {pictures:,} pictures in {len(parts)} files"]
    for state, those in found.items():
        lines.append(f"  {state:<8}{len(those):>6}")
        if state in ("running", "failed"):
            lines += [f"    {part}: {why}" for part, why in those[:SHOWN]]
            lines += [f"    and {len(those) - SHOWN} more"] if len(those) > SHOWN else []
    lines.append(f"  {estimate(folder, parts, about['plan']['group'])}")
    return "\n".join(lines)
