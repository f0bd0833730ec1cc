"""The site: a tree that mirrors the repository with executed notebooks, built by Jupyter Book."""

import copy
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

from whitebear.claims import table as claims_table
from whitebear.errors import UserError
from whitebear.execute import numbers_of
from whitebear.numbers import CLAIMS, page_names
from whitebear.published import FILE, read_published

# Cells that the page folds away, and what the fold says.
FOLDED = {
    "parameters": "Parameters, with the defaults of the notebook",
    "injected-parameters": "Parameters of the run shown on this page",
}
WIDGET = "application/vnd.jupyter.widget-view+json"


def toc_notebooks(root: Path) -> list[Path]:
    """The notebooks of `_toc.yml` in reading order. Raises `UserError` for a missing page."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"], *_files(toc)]
    found = []
    for name in names:
        page, notebook = root / f"{name}.md", root / f"{name}.ipynb"
        if not page.is_file() and not notebook.is_file():
            raise UserError(f"_toc.yml names {name}, which is neither a .md nor an .ipynb file")
        if notebook.is_file():
            found.append(notebook)
    return found


def _files(node) -> list[str]:
    if isinstance(node, list):
        return [name for child in node for name in _files(child)]
    if isinstance(node, dict):
        own = [node["file"]] if "file" in node else []
        return own + [n for k in ("parts", "chapters", "sections") for n in _files(node.get(k, []))]
    return []


def stage(root: Path, executed: Path, stage_dir: Path) -> None:
    """Lay out `stage_dir` like the repository: book/, executed notebooks, _config.yml, _toc.yml.

    Numbers that notebooks saved become substitutions, as `{{ told_to_forget_rate }}` on a page.
    """
    shutil.rmtree(stage_dir, ignore_errors=True)
    shutil.copytree(root / "book", stage_dir / "book")
    numbers, claims = published_numbers(root), {}
    for source in toc_notebooks(root):
        done = executed / source.name
        target = stage_dir / source.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        notebook = nbformat.read(done, as_version=4)
        nbformat.write(for_page(notebook), target)
        saved = numbers_of(done)
        numbers |= page_names(source.stem, saved)
        claims[title_of(notebook)] = saved.get(CLAIMS, [])
    numbers["claims"] = claims_table(claims)
    check_numbers(stage_dir, numbers)
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    config.setdefault("parse", {})["myst_substitutions"] = numbers
    (stage_dir / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=True), encoding="utf-8")
    shutil.copy(root / "_toc.yml", stage_dir / "_toc.yml")


def published_numbers(root: Path) -> dict[str, str]:
    """What pages may quote of the published run, as `{{ published_every_wording_answer }}`."""
    chapters = read_published(root / "data" / "results" / FILE.name)
    found = {}
    for chapter, record in chapters.items():
        found |= page_names(chapter, record["numbers"])
    return {f"published_{name}": text for name, text in found.items()}


def title_of(notebook: nbformat.NotebookNode) -> str:
    """The first heading of a notebook."""
    return notebook.cells[0].source.partition("\n")[0].lstrip("# ")


def for_page(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy for the page: parameters folded away, no progress bars, no widgets, no run times."""
    notebook = copy.deepcopy(notebook)
    for key in ("widgets", "whitebear", "papermill"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        for tag in FOLDED.keys() & set(cell.metadata.get("tags", [])):
            cell.metadata.tags.append("hide-input")
            cell.metadata.setdefault("mystnb", {})["code_prompt_show"] = FOLDED[tag]
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if not _is_progress(o)]
    return notebook


def _is_progress(output) -> bool:
    return output.get("name") == "stderr" or WIDGET in output.get("data", {})


def check_numbers(stage_dir: Path, numbers: dict) -> None:
    """Every `{{ name }}` of a prose page must be a number that a notebook saved, or `UserError`."""
    for page in sorted(stage_dir.rglob("*.md")):
        for name in re.findall(r"{{\s*(\w+)\s*}}", page.read_text(encoding="utf-8")):
            if name not in numbers:
                known = ", ".join(sorted(numbers)) or "none"
                raise UserError(
                    f"page {page.relative_to(stage_dir)} quotes {{{{ {name} }}}},"
                    f" which no notebook saved; saved are: {known}"
                )


def tree_digest(folder: Path) -> str:
    """One digest of all files below `folder`, names and contents."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def build_site(stage_dir: Path, html: Path) -> bool:
    """Build `html` from the staged tree, warnings as errors; False where it was already up to date.

    The site is built beside `html` and moved there when complete: no page of an older build stays,
    and a failed build leaves the last good site. Raises `UserError` with Sphinx's own complaints.
    """
    # The toolchain is part of what the site depends on: its versions are in the lock file.
    lock = (stage_dir.parents[1] / "requirements.txt").read_bytes()
    key = tree_digest(stage_dir) + hashlib.sha256(lock).hexdigest()
    mark = html / ".built-from"
    if mark.is_file() and mark.read_text() == key:
        return False
    work = html.with_name("site.part")
    shutil.rmtree(work, ignore_errors=True)
    log = _jupyter_book(stage_dir, work)
    fresh = work / "_build" / "html"
    if log.returncode or not (fresh / "index.html").is_file():
        raise UserError(f"the site could not be built: {_complaints(log.stdout)}")
    (fresh / mark.name).write_text(key)
    shutil.rmtree(html, ignore_errors=True)
    os.replace(fresh, html)
    shutil.rmtree(work, ignore_errors=True)
    return True


def _jupyter_book(stage_dir: Path, work: Path) -> subprocess.CompletedProcess:
    command = [
        *(sys.executable, "-c", "from jupyter_book.cli.main import main; main()"),
        *("build", str(stage_dir)),
        *("--config", str(stage_dir / "_config.yml"), "--toc", str(stage_dir / "_toc.yml")),
        *("--path-output", str(work), "-W", "-n", "--keep-going"),
    ]
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )


def _complaints(log: str) -> str:
    log = re.sub(r"\x1b\[[0-9;]*m", "", log)
    lines = [line for line in log.splitlines() if re.search(r"WARNING|ERROR|[Ee]rror:", line)]
    return " | ".join(lines or log.splitlines()[-5:])
