"""Execute a notebook with checked parameters; keep the result until what it depends on changes.

Also a command, for one chapter with values of one's own:

    python -m whitebear execute notebooks/03_told_to_forget.ipynb run.ipynb seeds=64 output=run
"""

import argparse
import ast
import hashlib
import itertools
import json
import logging
import os
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import nbformat
import papermill
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_client import KernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from whitebear.book.build.kernels import Kernels, Stopped
from whitebear.book.build.progress import progress
from whitebear.book.report.numbers import tables_of
from whitebear.code import Code
from whitebear.errors import UserError, exit_on_user_error
from whitebear.files import ROOT

OR_NONE = " | None"
CELL_TIMEOUT = 3600  # seconds; papermill's own default is to wait for ever
ON_COLAB = "if 'google.colab' in sys.modules:"
JSON_TYPES = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}


FAILURES = PapermillExecutionError, CellTimeoutError, DeadKernelError


class NotebookError(UserError):
    """A notebook that stopped: which, at which cell, and why."""


# --- parameters ----------------------------------------------------------------------------------


def parameters_of(notebook: nbformat.NotebookNode, name: str) -> dict[str, str]:
    """Name -> type of each parameter, read from lines like `seeds: int = 2  # images per cell` or
    `steps: int | None = None  # ...`.

    Raises `UserError` for a missing cell tagged `parameters` or an assignment without a type.
    """
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise UserError(
            f"notebook {name} has {len(tagged)} cells tagged parameters; tag exactly one"
        )
    types = {}
    for line in ast.parse(tagged[0].source).body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            raise UserError(
                f"notebook {name}, parameters cell: {ast.unparse(line)!r} cannot be checked;"
                " write one `name: type = value` a line"
            )
        kind = ast.unparse(line.annotation).partition("[")[0]
        if kind.removesuffix(OR_NONE) not in JSON_TYPES:
            raise UserError(
                f"notebook {name}, parameter {line.target.id} has type {kind};"
                f" use one of {', '.join(JSON_TYPES)}"
            )
        types[line.target.id] = kind
    return types


def check_parameters(notebook: nbformat.NotebookNode, name: str, parameters: dict) -> None:
    """Refuse unknown names and wrong types before a kernel starts; papermill only logs them."""
    types = parameters_of(notebook, name)
    for parameter, value in parameters.items():
        if parameter not in types:
            raise UserError(
                f"notebook {name} has no parameter {parameter!r}; it has {', '.join(types)}"
            )
        kind = types[parameter].removesuffix(OR_NONE)
        if value is None and kind != types[parameter]:
            continue
        expected, wrong_bool = JSON_TYPES[kind], isinstance(value, bool) and kind != "bool"
        if wrong_bool or not isinstance(value, expected):
            raise UserError(
                f"notebook {name}, parameter {parameter} is {value!r} ({type(value).__name__});"
                f" expected {types[parameter]}"
            )
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise UserError(
                f"notebook {name}, parameter {parameter} is {value!r}; expected only numbers,"
                " strings, booleans, lists and mappings with string keys"
            ) from None


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """The notebook as nbformat 4. Raises `UserError` when there is none or it cannot be read."""
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise UserError(
            f"notebook {path} does not exist; give the path of an .ipynb file"
        ) from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, OSError, ValueError) as error:
        raise UserError(
            f"notebook {path} cannot be read ({type(error).__name__}); save it again"
        ) from None


# --- execution -----------------------------------------------------------------------------------


def execute(
    source: Path,
    target: Path,
    parameters: dict,
    failed: Path | None = None,
    root: Path = ROOT,
    kernels: Kernels | None = None,
    told: Callable[[float], None] = lambda share: None,
) -> None:
    """Run `source` in the folder `root` and move the finished copy to `target`.

    Until then it is `<target>.part.ipynb`, so `target` is never half-run. When a cell fails, the
    half-run copy goes to `failed` and `NotebookError` names notebook, cell and error.
    told: is called after each code cell with the share that is done.
    """
    check_parameters(read_notebook(source), source.name, parameters)
    partial = target.with_suffix(".part.ipynb")
    partial.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it would say, our error says
    kernels = kernels or Kernels()
    try:
        with kernels.start(root) as kernel:
            _papermill(source, partial, parameters, kernel, told)
    except BaseException as error:
        if kernels.stopped or not isinstance(error, FAILURES):
            partial.unlink(missing_ok=True)
            raise Stopped if kernels.stopped else error from None
        failed = failed or target.with_suffix(".failed.ipynb")
        failed.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, failed)
        raise NotebookError(
            f"notebook {source.name} failed in cell {_cell_number(failed)}: {_reason(error)};"
            f" the half-run notebook is {_shown(failed)}"
        ) from None
    os.replace(partial, target)


def _papermill(source, partial, parameters, kernel: KernelManager, told) -> None:
    cells = [c for c in read_notebook(source).cells if c.cell_type == "code" and c.source.strip()]
    total = len(cells) + bool(parameters)  # papermill adds a cell for them
    done = itertools.count(1)
    papermill.execute_notebook(
        str(source),
        str(partial),
        parameters=parameters,
        kernel_name="python3",
        execution_timeout=CELL_TIMEOUT,
        progress_bar=False,
        km=kernel,
        on_cell_complete=lambda **_: told(next(done) / total),
    )


def _cell_number(failed: Path) -> int:
    """Which cell of the source failed, counted from 1: the last one that was started."""
    number, last = 0, 0
    for cell in nbformat.read(failed, as_version=4).cells:
        added = {"injected-parameters", "papermill-error-cell-tag"} & set(
            cell.metadata.get("tags", [])
        )
        number += not added
        if cell.metadata.get("papermill", {}).get("start_time"):
            last = number
    return last


def _reason(error: Exception) -> str:
    if isinstance(error, PapermillExecutionError):
        return f"{error.ename}: {error.evalue}"
    if isinstance(error, CellTimeoutError):
        limit = f"{CELL_TIMEOUT // 60} minutes, the limit of a cell"
        return f"still running after {limit}; what it has drawn is kept: the same command goes on"
    return "its kernel died, as when memory runs out"


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


# --- reuse ---------------------------------------------------------------------------------------


class Inputs:
    """What notebooks depend on beside their own cells: code of the library, data, the lock file.

    results: whether the published tables of chapters count, the files of data/results; what
    produces them cannot depend on them. Its folders hold results that chapters read.
    """

    def __init__(self, root: Path = ROOT, results: bool = True):
        self.root, self.results, self.code = root, results, Code(root / "lib")

    @cached_property
    def files(self) -> str:
        """Digest of data/ and of the lock file."""
        digest = hashlib.sha256()
        for path in (*sorted((self.root / "data").rglob("*")), self.root / "requirements.txt"):
            name = path.relative_to(self.root)
            published = name.parent.as_posix() == "data/results" and not self.results
            if path.is_file() and not published and not any(p.startswith(".") for p in name.parts):
                digest.update(f"{name.as_posix()}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def digest(self, notebook: nbformat.NotebookNode) -> str:
        """Digest of the files and of the code that the notebook's cells use, to the end."""
        code = self.code.digest_of_program("\n".join(_python(c) for c in notebook.cells))
        return hashlib.sha256(f"{self.files}{code}".encode()).hexdigest()


def _python(cell: nbformat.NotebookNode) -> str:
    """A cell as plain Python; what it does on Colab only, and what Python cannot read, is none."""
    if cell.cell_type != "code":
        return ""
    try:
        body = ast.parse(TransformerManager().transform_cell(cell.source)).body
    except SyntaxError:  # its execution says so
        return ""
    return "\n".join(line for line in map(ast.unparse, body) if not line.startswith(ON_COLAB))


def reuse_key(notebook: nbformat.NotebookNode, parameters: dict, inputs: Inputs) -> str:
    """Digest of a notebook's cells (not its outputs), its parameters and its inputs."""
    cells = [(c.cell_type, c.source, c.metadata) for c in notebook.cells]
    text = json.dumps([cells, parameters, inputs.digest(notebook)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def reused(source: Path, target: Path, parameters: dict, inputs: Inputs) -> float | None:
    """The seconds that `target` took to execute, where it is up to date; else None.

    The key is stored inside the executed notebook, so the two cannot disagree.
    """
    cached = _cached(target)
    same = cached.get("key") == reuse_key(read_notebook(source), parameters, inputs)
    return cached["seconds"] if same else None


def renew(
    source: Path,
    target: Path,
    parameters: dict,
    inputs: Inputs,
    failed: Path,
    root: Path,
    **run,
) -> float:
    """`execute` and keep `target` with its key and numbers; returns the seconds it took."""
    numbers = root / parameters["output"] / f"{source.stem}.json"
    for old in (numbers, *tables_of(numbers.parent, source.stem)):
        old.unlink(missing_ok=True)  # a number that this run does not save must not survive it
    start = time.monotonic()
    finished = target.with_suffix(".run.ipynb")
    execute(source, finished, parameters, failed, root, **run)
    seconds = round(time.monotonic() - start, 1)
    _sign(finished, reuse_key(read_notebook(source), parameters, inputs), seconds, numbers)
    os.replace(finished, target)
    failed.unlink(missing_ok=True)
    return seconds


def _sign(finished: Path, key: str, seconds: float, numbers: Path) -> None:
    notebook = nbformat.read(finished, as_version=4)
    saved = json.loads(numbers.read_text(encoding="utf-8")) if numbers.exists() else {}
    notebook.metadata["whitebear"] = {"key": key, "seconds": seconds, "numbers": saved}
    nbformat.write(notebook, finished)


def _cached(executed: Path) -> dict:
    try:
        return nbformat.read(executed, as_version=4).metadata.get("whitebear", {})
    except (OSError, ValueError, nbformat.ValidationError, nbformat.reader.NotJSONError):
        return {}


def recorded_seconds(executed: Path) -> float:
    """What a notebook took when it was executed, up to date or not; 0 where it never was."""
    return _cached(executed).get("seconds", 0)


def numbers_of(executed: Path) -> dict:
    """The numbers that an executed notebook saved for the pages."""
    return _cached(executed).get("numbers", {})


# --- command -------------------------------------------------------------------------------------


def _value(text: str):
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear execute NOTEBOOK COPY name=value ...`; values are JSON, or else text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="NOTEBOOK COPY name=value ...")
    words = parser.parse_args(arguments).words
    pairs = [text.partition("=") for text in words[2:]]
    if len(words) < 2 or not all(equals for _, equals, _ in pairs):
        raise UserError(
            "give NOTEBOOK COPY name=value ...; as in notebooks/a.ipynb run.ipynb seeds=4"
        )
    source, target = (Path(text).resolve() for text in words[:2])
    if target.suffix != ".ipynb" or target == source:
        raise UserError(f"the copy {target.name} must be another file that ends in .ipynb")
    told = progress([source.stem])
    told.started(source.stem)
    values = {name: _value(text) for name, _, text in pairs}
    execute(source, target, values, told=lambda share: told.reached(source.stem, share))
    told.close()
    print(f"executed copy: {target}")
