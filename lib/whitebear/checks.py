"""Renew the stored outputs of a notebook's check cells, which the tests compare with a fresh run.

    python -m whitebear.checks notebooks/03_told_to_forget.ipynb

Do it after a change that is meant to change a conclusion, and read the diff before you commit.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat

from whitebear.errors import UserError, exit_on_user_error
from whitebear.execute import execute, read_notebook

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
    """`python -m whitebear.checks NOTEBOOK ...`: run each with its defaults, store its checks."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        raise UserError("give one notebook or more, as in notebooks/03_told_to_forget.ipynb")
    for path in map(Path, arguments):
        source = read_notebook(path)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, path.name)
            execute(path, copy, {})
            checks = stored(read_notebook(copy), source)
        partial = path.with_suffix(".part")
        nbformat.write(source, partial)
        os.replace(partial, path)
        print(f"{path}: {checks} check cells stored")


if __name__ == "__main__":
    main()
