"""`make full`: run every chapter at its published size, and keep its numbers in data/results.

    python -m whitebear publish                     # all chapters
    python -m whitebear publish 04_every_wording    # some of them

Chapters are executed with the profile `full`, or reused; each is published as soon as it is done.
A run that was stopped goes on with the chapter, and in a grid with the batch, that it had reached.
"""

import argparse
import datetime
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from whitebear.book.build.build import plan
from whitebear.book.build.execute import Inputs, numbers_of, read_notebook
from whitebear.book.build.side_by_side import side_by_side
from whitebear.book.report.numbers import CLAIMS, tables_of
from whitebear.book.report.published import read_published
from whitebear.errors import UserError, exit_on_user_error, nearest
from whitebear.files import ROOT, read_parquet, write_parquet, write_text
from whitebear.models.load import VERSIONS, fingerprint, locate

PROFILE = "full"


def publish(root: Path = ROOT, chapters: Sequence[str] = ()) -> Path:
    """Execute or reuse chapters of the profile (default: all); returns data/results/published.json.

    Beside that record lie the tables that the numbers are computed from: `<chapter>.parquet`, the
    score of every picture, and `<chapter>_<name>.parquet`, what else was measured. Where they come
    from is in their metadata (`pandas.read_parquet(path).attrs`).
    """
    results = root / "data" / "results"
    inputs, steps = Inputs(root, results=False), plan(root, PROFILE)
    names = [source.stem for source, _ in steps]
    if unknown := [name for name in chapters if name not in names]:
        raise UserError(f"there is no chapter {unknown[0]!r}; {nearest(unknown[0], names)}")
    steps = [step for step in steps if not chapters or step[0].stem in chapters]
    executed = root / "_build" / PROFILE
    for source, parameters, seconds in side_by_side(steps, inputs, executed, root):
        saved = numbers_of(executed / source.name)
        if saved.get(CLAIMS):
            origin = _origin(parameters, seconds, inputs.digest(read_notebook(source)))
            _keep(results, root / parameters["output"], source.stem, saved, origin)
    return results / "published.json"


def _origin(parameters: dict, seconds: float, inputs: str) -> dict:
    """Where numbers come from: weights, versions, parameters, machine, time."""
    asked = {name: value for name, value in parameters.items() if name != "output"}
    return {
        "model": fingerprint(locate(asked.get("model", "pocket"))),
        "versions": ", ".join([*VERSIONS, f"python {platform.python_version()}"]),
        "profile": PROFILE,
        "parameters": asked,
        "inputs": inputs[:16],
        "machine": f"{os.cpu_count()} CPU threads ({platform.machine()})",
        "seconds": seconds,
        "date": datetime.date.today().isoformat(),
    }


def _keep(results: Path, output: Path, chapter: str, saved: dict, origin: dict) -> None:
    """One chapter into the record, and its tables beside it."""
    record = results / "published.json"
    chapters, claims = read_published(record), saved.pop(CLAIMS)
    old = chapters.get(chapter, {"origin": {}})
    tables = {path.name: path for path in tables_of(output, chapter)}
    before = {path.name: path for path in tables_of(results, chapter)}
    same = {**old["origin"], "date": ""} == {**origin, "date": ""} and set(tables) == set(before)
    if same and (old["numbers"], old["claims"]) == (saved, claims):
        return  # the same numbers of the same run keep their date
    for name in set(before) - set(tables):
        before[name].unlink()  # no number comes from it any more
    for name, path in tables.items():
        table = read_parquet(path)
        table.attrs = origin
        write_parquet(table, results / name)
    chapters[chapter] = {"origin": origin, "numbers": saved, "claims": claims}
    write_text(
        record, json.dumps(dict(sorted(chapters.items())), indent=1, ensure_ascii=False) + "\n"
    )


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear publish [CHAPTER ...]`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="names of notebooks (default: all)")
    print(f"published: {publish(chapters=parser.parse_args(arguments).chapters)}")
