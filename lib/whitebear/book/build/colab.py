"""What the first cell of every chapter does on Colab once the book is there.

Imports nothing but the standard library: what it may have to install must not be loaded yet.
"""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from whitebear.errors import UserError

KEPT = ("torch", "diffusers", "transformers")  # worth naming: they decide what the pictures are

CHAPTERS = (
    "ipython",
    "ipywidgets",
    "matplotlib",
    "resvg_py",
    "seaborn",
)  # of the extra book, what they load

ABSENT = "not there"


def installed(name: str) -> str | None:
    """The version of a package, None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def lacking(root: Path, version_of: Callable[[str], str | None] = installed) -> dict[str, str]:
    """Requirements to install ("diffusers==0.42.1") and why ("0.30.0 is too old").

    Of the dependencies of the library, of drawing and of chapters, those that are missing or older
    than pyproject.toml allows, at the versions of the lock file. Never torch: the one that is there
    was built for this machine.
    Raises `UserError` where that one is too old.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (root / "requirements.txt").read_text(encoding="utf-8").split()
    pins = {_plain(pin.partition("==")[0]): pin for pin in lock if "==" in pin}
    found = {}
    extras = project["optional-dependencies"]
    chapters = [r for r in extras["book"] if r.startswith(CHAPTERS)]
    for requirement in project["dependencies"] + extras["draw"] + chapters:
        name, least = re.match(r"([\w.-]+)>=([\d.]+)", requirement).groups()
        have = version_of(name)
        if have is not None and _numbers(have) >= _numbers(least):
            continue
        if name == "torch":
            raise UserError(
                f"torch is {have or 'missing'}, but the book needs {least} or newer; choose the"
                " latest runtime version (menu Runtime, Change runtime type)"
            )
        found[pins[_plain(name)]] = ABSENT if have is None else f"{have} is too old"
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _numbers(version: str) -> tuple[int, ...]:
    """2.11.0+cu128 -> (2, 11, 0); enough to compare releases."""
    return tuple(int(part) for part in re.match(r"\d+(?:\.\d+)*", version)[0].split("."))


def prepare(root: str | Path, version_of: Callable[[str], str | None] = installed) -> None:
    """Say in one line what is kept and what is installed, and install it with pip."""
    root = Path(root)
    missing = lacking(root, version_of)
    kept = [f"{name} {version_of(name)}" for name in KEPT if _plain(name) not in
            {_plain(pin.partition("==")[0]) for pin in missing}]  # fmt: skip
    adds = [f"{pin.replace('==', ' ')} ({why})" for pin, why in missing.items()]
    print(f"White Bear is in {root}. Kept: {', '.join(kept)}. Installed: {', '.join(adds) or '-'}.")
    if not missing:
        return
    # naming the torch that is there keeps pip from taking another one along
    wanted = [*missing, f"torch=={version_of('torch')}"]
    done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", *wanted])
    if done is not None and done.returncode:
        raise UserError("pip could not install them, see above; run the cell again")
    replaced = [pin.partition("==")[0] for pin, why in missing.items() if why != ABSENT]
    stale = [name for name in replaced if name in sys.modules]
    if stale:
        print(f"{', '.join(stale)} was loaded before: restart the session and run all cells.")
