"""From notebooks to a published book, in one command:

    python -m whitebear build --profile quick

Every notebook of `_toc.yml` is executed with the values of a profile in `book/profiles.yml`, or
reused when nothing that it depends on has changed; then Jupyter Book builds the site.
"""

import argparse
import time
from pathlib import Path

import yaml

from whitebear.book.build.execute import Inputs, check_parameters, read_notebook
from whitebear.book.build.side_by_side import side_by_side
from whitebear.book.build.staging import build_site, stage, toc_notebooks
from whitebear.errors import UserError, exit_on_user_error
from whitebear.files import ROOT


def load_profile(root: Path, name: str) -> dict[str, dict]:
    """Notebook name -> parameters, for the profile `name` of book/profiles.yml.

    Raises `UserError` for an unknown profile or anything that is not notebook: {parameter: value}.
    """
    try:
        profiles = yaml.safe_load((root / "book" / "profiles.yml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"book/profiles.yml cannot be read: {error}") from None
    if not isinstance(profiles, dict) or name not in profiles:
        known = ", ".join(profiles) if isinstance(profiles, dict) else "none"
        raise UserError(f"unknown profile {name!r}; book/profiles.yml has {known}")
    profile = profiles[name] or {}
    for notebook, parameters in profile.items():
        if not isinstance(parameters, dict):
            raise UserError(
                f"profile {name}, {notebook} is {parameters!r}; give lines of name: value"
            )
    return profile


def plan(root: Path, profile: str) -> list[tuple[Path, dict]]:
    """What to execute in reading order: (notebook, parameters), checked before the first runs."""
    values = load_profile(root, profile)
    notebooks = toc_notebooks(root)
    if unknown := set(values) - {path.stem for path in notebooks}:
        raise UserError(
            f"profile {profile} names {min(unknown)}, which is not in _toc.yml;"
            f" notebooks are {', '.join(path.stem for path in notebooks)}"
        )
    steps = []
    for path in notebooks:
        parameters = {"output": f"_build/results/{profile}", **values.get(path.stem, {})}
        check_parameters(read_notebook(path), path.name, parameters)
        steps.append((path, parameters))
    return steps


def build(root: Path, profile: str) -> Path:
    """Execute (or reuse) every notebook, build the site; returns the page to open."""
    out = root / "_build"
    steps = plan(root, profile)
    start = time.monotonic()
    for _ in side_by_side(steps, Inputs(root), out / "executed", root):
        pass
    site_start = time.monotonic()
    stage(root, out / "executed", out / "stage")
    fresh = build_site(out / "stage", out / "html")
    print(f"site: {f'built in {time.monotonic() - site_start:.0f} s' if fresh else 'unchanged'}")
    print(f"all together {time.monotonic() - start:.0f} s (profile {profile})")
    return out / "html" / "index.html"


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear build [--profile NAME]`."""
    parser = argparse.ArgumentParser(description="Execute the notebooks and build the book.")
    parser.add_argument("--profile", default="quick", help="values from book/profiles.yml")
    profile = parser.parse_args(arguments).profile
    print(f"open {build(ROOT, profile)}")
