"""The site: a tree that mirrors the repository with executed notebooks, built by Jupyter Book."""

import copy
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

from whitebear import tables
from whitebear.book.build import heads, pages
from whitebear.book.build.execute import numbers_of
from whitebear.book.live import examples, scripts
from whitebear.book.live.keep import kept
from whitebear.book.report import from_tables, rules
from whitebear.book.report.claim import table as claims_table
from whitebear.book.report.numbers import CLAIMS, page_names
from whitebear.book.report.published import FILE, read_published
from whitebear.errors import UserError

# Cells that the page folds away, and what the fold says.
FOLDED = {
    "parameters": "Parameters, with the defaults of the notebook",
    "injected-parameters": "Parameters of the run shown on this page",
}
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
KEPT = "stored-widget"  # tag of a cell whose widgets work in a page, without Python


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

    Numbers that notebooks saved, and those of published tables, become substitutions, as
    `{{ told_to_forget_rate }}` on a page; of an answer there is a short form, a sentence without
    intervals, as `{{ why_it_fails_short }}`.
    """
    shutil.rmtree(stage_dir, ignore_errors=True)
    shutil.copytree(root / "book", stage_dir / "book")
    numbers, claims, frames = published_numbers(root), {}, {}
    if (root / "book" / "live").is_dir():
        numbers["live_examples"], frames = live_page(root, stage_dir)
    for source in toc_notebooks(root):
        done = executed / source.name
        target = stage_dir / source.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        notebook = nbformat.read(done, as_version=4)
        nbformat.write(for_page(notebook, frames.get(source.stem, "")), target)
        saved = numbers_of(done)
        numbers |= page_names(source.stem, saved)
        claims[title_of(notebook)] = saved.get(CLAIMS, [])
    numbers |= from_tables.numbers(root / "data" / "results")
    numbers |= short_answers(numbers)
    numbers |= {"claims": claims_table(claims), "rules": rules.table(), "tables": tables.page()}
    check_numbers(stage_dir, numbers)
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    config.setdefault("parse", {})["myst_substitutions"] = numbers
    (stage_dir / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=True), encoding="utf-8")
    shutil.copy(root / "_toc.yml", stage_dir / "_toc.yml")


def live_page(root: Path, stage_dir: Path) -> tuple[str, dict[str, str]]:
    """Put the scripts of the page that draws where the site finds them; its stored pictures, and
    chapter -> the smaller frame of it there, as HTML. The models are exported where they are new,
    else taken from `_build/live`."""
    cache, target = root / "_build" / "live", stage_dir / "book" / "_static" / "live"
    scripts.write(root, kept(cache, "graphs", "graphs"), target)
    pictures = kept(cache, "stored", "pictures")
    for path in pictures.glob("*.webp"):
        shutil.copy(path, target)
    return examples.table(pictures), examples.frames(pictures)


def published_numbers(root: Path) -> dict[str, str]:
    """What pages may quote of the published run, as `{{ published_every_wording_answer }}`."""
    chapters = read_published(root / "data" / "results" / FILE.name)
    found = {}
    for chapter, record in chapters.items():
        found |= page_names(chapter, record["numbers"])
    found |= short_answers(found)
    return {f"published_{name}": text for name, text in found.items()}


def short_answers(numbers: dict[str, str]) -> dict[str, str]:
    """{"toy_answer": "It does [1, 2]. Not always."} -> {"toy_short": "It does."}"""
    ends = [name for name in numbers if name.endswith("_answer")]
    return {f"{name.removesuffix('_answer')}_short": heads.lead(numbers[name]) for name in ends}


def title_of(notebook: nbformat.NotebookNode) -> str:
    """The first heading of a notebook."""
    return notebook.cells[0].source.partition("\n")[0].lstrip("# ")


def for_page(notebook: nbformat.NotebookNode, frame: str = "") -> nbformat.NotebookNode:
    """A copy for the page: question and answer first (`heads.begin`), code folded away but for
    cells tagged `heads.SHOWN`, no progress bars, no run times, and no widgets but those of cells
    tagged KEPT. frame: HTML that stands below the answer."""
    notebook = copy.deepcopy(notebook)
    state = notebook.metadata.pop("widgets", {}).get(WIDGET_STATE, {})
    for key in ("whitebear", "papermill"):
        notebook.metadata.pop(key, None)
    kept = set()
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        tags = cell.metadata.setdefault("tags", [])
        for tag in FOLDED.keys() & set(tags):
            cell.metadata.setdefault("mystnb", {})["code_prompt_show"] = FOLDED[tag]
        if cell.cell_type == "code":
            if not {heads.SHOWN, "hide-input", "hide-cell"} & set(tags):
                tags.append("hide-input")
            cell.outputs = [o for o in cell.outputs if not _is_progress(o, KEPT in tags)]
            kept |= {
                o.data[WIDGET]["model_id"] for o in cell.outputs if WIDGET in o.get("data", {})
            }
    notebook.cells = heads.begin(notebook.cells, frame, FOLDED)
    if kept:
        models = widgets_behind(state.get("state", {}), kept)
        notebook.metadata["widgets"] = {WIDGET_STATE: {**state, "state": models}}
    return notebook


def _is_progress(output, keep_widgets: bool) -> bool:
    return output.get("name") == "stderr" or (WIDGET in output.get("data", {}) and not keep_widgets)


def widgets_behind(state: dict, shown: set[str]) -> dict:
    """The part of a notebook's widget state that its shown widgets need, by model id: themselves,
    what they are made of, and the links between those. Raises `UserError` where one has no state.
    """
    links = {name for name, m in state.items() if m["model_name"].endswith("LinkModel")}
    needed, open_ends = set(), set(shown)
    while open_ends:
        if lost := open_ends - set(state):
            raise UserError(
                f"the notebook shows a widget without its state ({min(lost)}); run it again"
            )
        needed |= open_ends
        joined = {name for name in links if _parts(state[name]) <= needed}
        open_ends = (joined | {part for name in open_ends for part in _parts(state[name])}) - needed
    return {name: model for name, model in state.items() if name in needed}


def _parts(model: dict) -> set[str]:
    """Ids of the models that a widget's state refers to."""
    return set(re.findall(r"IPY_MODEL_(\w+)", json.dumps(model["state"])))


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
    tools = (stage_dir.parents[1] / "requirements.txt").read_bytes()
    tools += Path(pages.__file__).read_bytes()
    key = tree_digest(stage_dir) + hashlib.sha256(tools).hexdigest()
    mark = html / ".built-from"
    if mark.is_file() and mark.read_text() == key:
        return False
    work = html.with_name("site.part")
    shutil.rmtree(work, ignore_errors=True)
    log = _jupyter_book(stage_dir, work)
    fresh = work / "_build" / "html"
    if log.returncode or not (fresh / "index.html").is_file():
        raise UserError(f"the site could not be built: {_complaints(log.stdout)}")
    pages.mend_site(fresh)
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
