"""Numbers on their way from a notebook to a page: a notebook saves them, the build puts them in.

Beside them it saves the tables that they are computed from; `make full` keeps these too.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from whitebear.book.report.claim import Claim, as_records
from whitebear.errors import UserError
from whitebear.files import check_writable, write_parquet, write_text

CLAIMS = "claims"


def save_numbers(
    folder: str | os.PathLike,
    notebook: str,
    claims: Sequence[Claim] = (),
    **numbers: int | float | str,
) -> Path:
    """Write `<folder>/<notebook>.json`: the scalars that pages may quote from this notebook, and
    its claims for the page that collects them.

    >>> import tempfile
    >>> save_numbers(tempfile.mkdtemp(), "03_told_to_forget", affirm_rate=0.95, images=640).name
    '03_told_to_forget.json'

    Pages then say `{{ told_to_forget_affirm_rate }}`. Values arrive there as they are: round them,
    or format them ("95 %"), before saving. Raises `UserError` for anything but int, float and str.
    """
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise UserError(f"number {name} is {value!r}; give an int, float or str")
    if claims:
        numbers[CLAIMS] = as_records(list(claims))
    path = check_writable(folder) / f"{notebook}.json"
    return write_text(path, json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")


def save_tables(folder: str | os.PathLike, notebook: str, **tables: pd.DataFrame) -> list[Path]:
    """Write `<folder>/<notebook>_<name>.parquet` for each: rows that numbers are computed from.

    Fractions are kept as float32, seven digits: more than any page prints. A name stands for the
    same kind of table in all chapters (`tables.MEASURED`).
    """
    paths = []
    for name, table in tables.items():
        wide = table.select_dtypes("float64").columns
        path = check_writable(folder) / f"{notebook}_{name}.parquet"
        paths.append(write_parquet(table.astype(dict.fromkeys(wide, "float32")), path))
    return paths


def tables_of(folder: Path, notebook: str) -> list[Path]:
    """The tables that a notebook has saved in a folder: its pictures first, if it scored any."""
    own = folder / f"{notebook}.parquet"
    return [path for path in (own, *sorted(folder.glob(f"{notebook}_*.parquet"))) if path.is_file()]


def page_names(notebook: str, numbers: dict) -> dict[str, str]:
    """What pages say: {"rate": 0.5} of 03_told_to_forget -> {"told_to_forget_rate": "0.5"}."""
    prefix = notebook.lstrip("0123456789").lstrip("_")
    return {f"{prefix}_{name}": str(v) for name, v in numbers.items() if name != CLAIMS}
