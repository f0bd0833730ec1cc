"""Renew the stored outputs of a notebook's check cells, which the tests compare with a fresh run.

    python -m whitebear checks notebooks/03_told_to_forget.ipynb

Do it after a change that is meant to change a conclusion, and read the diff before you commit.
"""

import argparse
import os
import tempfile
from pathlib import Path

import nbformat

from whitebear.book.build.execute import execute, read_notebook
from whitebear.errors import UserError, exit_on_user_error

CHECK = "nbval-check-output"


def stored(executed: nbformat.NotebookNode, source: nbformat.NotebookNode) -> int:
    """Copy what the check cells printed into `source`, empty all other cells; returns how many.

    Raises `UserError` for a check cell that printed nothing, since it would compare nothing.
    """
    checks = 0
    for cell, done in zip(source.cells, executed.cells, strict=True):
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        if CHECK in cell.metadata.get("tags", []):
            text = "".join(o.text for o in done.outputs if o.get("name") == "stdout")
            if not text:
                raise UserError("a check cell printed nothing; print what is to be compared")
            checks += 1
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
            cell.execution_count = checks
    return checks


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear checks NOTEBOOK ...`: run each with its defaults, store its checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    notebooks = parser.parse_args(arguments).notebooks
    if not notebooks:
        raise UserError("give one notebook or more, as in notebooks/03_told_to_forget.ipynb")
    for path in notebooks:
        source = read_notebook(path)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, path.name)
            execute(path, copy, {})
            checks = stored(read_notebook(copy), source)
        partial = path.with_suffix(".part")
        nbformat.write(source, partial)
        os.replace(partial, path)
        print(f"{path}: {checks} check cells stored")
