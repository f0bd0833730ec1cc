"""Where the book keeps its things, and files that are never half written.

Folders for results are made, proved writable, and on Colab mounted from Google Drive.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whitebear.errors import UserError, first_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
WORLD = DATA / "world"
PROMPTS = DATA / "prompts"
MODELS = DATA / "models"
RESULTS = DATA / "results"
REPOSITORY = "https://github.com/whitebear-book/white-bear"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whitebear"
SCHEMA = b"whitebear.schema"  # in the metadata of a parquet file: the digest of its schema
DIGESTS = "sha256.json"  # in a folder of ours: name -> digest of each other file
DRIVE = Path("/content/drive")  # where Colab puts Google Drive; its files are in MyDrive


def shipped(path: Path) -> Path:
    """The path, of something in data/. Raises `UserError` where the library is installed alone."""
    if not DATA.is_dir() and path.is_relative_to(DATA):
        raise UserError(
            f"data/{path.relative_to(DATA)} is not there: whitebear was installed without the book;"
            f" clone {REPOSITORY} and install it from there (pip install -e .)"
        )
    return path


def check_writable(folder: str | os.PathLike) -> Path:
    """Make the folder and prove that it can be written to. Raises `UserError` where it cannot.

    On Colab a folder in Google Drive (/content/drive/MyDrive/...) mounts it first, which asks for
    leave. What is kept there outlives the machine, so a run goes on after a disconnect.
    """
    if not isinstance(folder, (str, os.PathLike)) or not str(folder).strip() or "\0" in str(folder):
        raise UserError(f"output is {folder!r}; give the path of a folder")
    path = as_path(folder)
    mount_drive(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise UserError(
            f"output folder {path} cannot be written ({error.strerror}); give one that can"
        ) from None
    return path


def as_path(text: str | os.PathLike) -> Path:
    """A path as a shell reads it: ~ and $HOME are the home folder. UserError for an unknown ~."""
    path = os.path.expandvars(os.path.expanduser(text))
    if path.startswith("~"):
        raise UserError(f"there is no home folder {path.partition(os.sep)[0]}; give the whole path")
    return Path(path)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time: a second one that asks for the same folder waits here for the first.

    However a process ends, kill -9 included, the next one is let in. Where the system or the file
    system has no such locks (Windows, a mounted drive), nobody waits.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A block that writes a file, or makes a folder, under another name; it becomes `path` at the
    end, and is gone where the block raises. An OSError (a full disk) becomes a `UserError`."""
    partial = path.with_name(f"{path.name}{_mine()}")
    remove(partial)
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); make room, or mend the folder,"
            " and start again: what is finished stays"
        ) from None
    finally:
        remove(partial)


def sweep_away(folder: Path) -> None:
    """Remove what processes of this machine that were killed left half-written in a folder."""
    for path in folder.glob(f"*.{socket.gethostname()}-*.part"):
        pid = path.name.removesuffix(".part").rpartition("-")[2]
        if pid.isdigit() and not _alive(int(pid)):
            remove(path)


def _mine() -> str:
    return f".{socket.gethostname()}-{os.getpid()}.part"


def _alive(pid: int) -> bool:
    if os.name == "nt":  # where asking would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return True


def remove(path: Path) -> None:
    """A file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def write_text(path: Path, text: str) -> Path:
    """Write a file so that `path` is either the whole of it or what was there before. Raises
    `UserError` where it cannot be written."""
    with written(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def mount_drive(folder: Path) -> None:
    """Mount Google Drive if `folder` is in it, this is Colab and it is not mounted yet.

    Raises UserError where it cannot be, or where a folder only looks as if it were in Drive.
    """
    before, found, _ = str(folder).partition(f"{os.sep}MyDrive")
    if not (found or folder.is_relative_to(DRIVE)) or not _on_colab() or os.path.ismount(before):
        return
    if not folder.is_relative_to(DRIVE):
        raise UserError(
            f"output is {folder}, but Google Drive is not mounted there, and the folder would go"
            f" with the machine; give one in {DRIVE}/MyDrive"
        )
    if not os.path.ismount(DRIVE):
        try:
            importlib.import_module("google.colab.drive").mount(str(DRIVE))
        except Exception as error:  # Colab raises bare ValueError and MessageError
            fix = "run the cell again and allow it"
            if DRIVE.is_dir() and any(DRIVE.iterdir()):
                fix = f"move what is in {DRIVE} elsewhere: it cannot be mounted over files"
            raise UserError(
                f"output is {folder}, but Google Drive cannot be mounted ({error}); {fix}, or give"
                " a folder such as _build/results/mine"
            ) from None


def _on_colab() -> bool:
    try:
        return importlib.util.find_spec("google.colab") is not None
    except ImportError:  # no package google at all
        return False


def write_parquet(table: pd.DataFrame, path: Path) -> Path:
    """Write a table so that `path` is either the whole of it or what was there before, with a
    checksum of every page and of its schema (a few hundred bytes). Makes the folder where there is
    none. Raises `UserError` where it cannot be written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.parent.is_dir():
        check_writable(path.parent)
    found = pa.Table.from_pandas(table, preserve_index=False)
    about = dict(found.schema.metadata)
    if table.attrs:
        about[b"PANDAS_ATTRS"] = json.dumps(table.attrs).encode()  # as pandas does
    found = found.replace_schema_metadata(about)
    about[SCHEMA] = _schema_digest(found.schema)
    with written(path) as partial:
        pq.write_table(found.replace_schema_metadata(about), partial, write_page_checksum=True)
    return path


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A table, held against the checksums that `write_parquet` gave it. Raises `UserError` for a
    file that is not there, or is not what was written."""
    import pandas as pd
    import pyarrow.parquet as pq

    if not Path(path).is_file():
        raise UserError(f"the table {path} is not there; make it, or give one that is")
    try:
        schema = pq.read_schema(path)
        if (schema.metadata or {}).get(SCHEMA, wanted := _schema_digest(schema)) != wanted:
            raise OSError("its schema is not what was written")
        return pd.read_parquet(path, columns=columns, page_checksum_verification=True)
    except Exception as error:  # a flipped bit in its schema can raise anything
        raise UserError(
            f"the table {path} is damaged ({first_line(error)}); remove it, and what wrote it"
            " makes it again"
        ) from None


def _schema_digest(schema) -> bytes:
    """Of names, types and what is said of them, but for this digest; pages have their own."""
    about = sorted((k, v) for k, v in (schema.metadata or {}).items() if k != SCHEMA)
    # what a list holds is called item before it is written, and element afterwards
    fields = [(f.name, str(f.type).replace("<item:", "<element:")) for f in schema]
    return digest(fields, [str(pair) for pair in about]).encode()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note_digests(folder: Path) -> None:
    """Note the digests of all files of a finished folder, beside them."""
    said = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    write_text(folder / DIGESTS, json.dumps(said))


def as_noted(folder: Path) -> list[str]:
    """The files of a folder whose digests were noted, by name; [] where there are none, or one is
    not what it was."""
    try:
        said = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        whole = all(sha256_of(folder / name) == wanted for name, wanted in said.items())
        return list(said) if whole else []
    except (OSError, ValueError, TypeError, AttributeError):
        return []


def digest(*parts) -> str:
    """16 hex digits over anything that JSON can say."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown.

    >>> print(markdown_table(("a", "b"), [("1", "2")]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    line = lambda cells: f"| {' | '.join(cells)} |"  # noqa: E731
    return "\n".join([line(head), f"|{'---|' * len(head)}", *map(line, rows)])
