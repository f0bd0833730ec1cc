"""What every notebook of the book keeps to, and the proof that its stored outputs are compared."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from whitebear.book.build import colab, heads
from whitebear.book.build.execute import parameters_of
from whitebear.book.build.staging import toc_notebooks
from whitebear.book.live.examples import FRAMES
from whitebear.files import ROOT

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
NOTEBOOKS = toc_notebooks(ROOT)
LONGEST_CELL = 25

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def read(path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def is_check(cell) -> bool:
    return "nbval-check-output" in tags(cell)


def test_every_notebook_is_in_the_book():
    assert sorted(NOTEBOOKS) == sorted((ROOT / "notebooks").glob("*.ipynb"))
    numbers = sorted(p.stem[:2] for p in NOTEBOOKS)  # the contents may have another order
    assert numbers == [f"{n:02}" for n in range(1, len(NOTEBOOKS) + 1)]


def test_the_first_cell_is_the_same_everywhere_and_fits_the_release():
    first = {code(path)[0].source for path in NOTEBOOKS}
    assert len(first) == 1
    (source,) = first
    repository = CONFIG["repository"]
    assert f'"{repository["url"]}"' in source and f'"{repository["branch"]}"' in source
    assert len(source.splitlines()) <= 20
    assert "pip" not in source  # what is installed is decided by whitebear.colab, and tested


def test_on_colab_the_first_cell_fetches_the_book_and_installs_little(tmp_path, monkeypatch, capfd):
    """Run it as Colab would, with a release of its own to clone; pip is only listened to."""
    release, home, asked = tmp_path / "release", tmp_path / "content", []
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "init", "-q", str(release)], check=True)
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, release)
    for command in (["add", "."], ["commit", "-q", "-m", "release"], ["branch", "-M", "v0"]):
        subprocess.run(["git", "-C", str(release), *who, *command], check=True)
    source = code(NOTEBOOKS[0])[0].source.replace("/content/white-bear", str(home))
    source = source.replace(CONFIG["repository"]["url"], release.as_uri())
    source = source.replace(f'"{CONFIG["repository"]["branch"]}"', '"v0"')
    real = subprocess.run

    def listened(command, **options):
        asked.append(command)
        return real(command, **options) if command[0] == "git" else None

    monkeypatch.setattr(subprocess, "run", listened)
    monkeypatch.setattr(colab.prepare, "__defaults__", ({"torch": "2.11.0+cu128"}.get,))
    monkeypatch.setattr(colab, "lacking", lambda *_: {"resvg_py==0.5.0": "not there"})
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the cell may be run again
        exec(source, {})
        assert Path.cwd() == home and sys.path[0] == f"{home}/lib"
        assert sys.path.count(f"{home}/lib") == 1
        (line,) = "".join(capfd.readouterr()).splitlines()  # nothing of git's
        assert line.startswith(f"White Bear is in {home}. Kept: torch 2.11.0+cu128")
    assert [command[0] for command in asked] == ["git", sys.executable, sys.executable]
    assert asked[1][-2:] == ["resvg_py==0.5.0", "torch==2.11.0+cu128"]


@pytest.mark.parametrize("left", [False, True])
def test_without_a_network_the_first_cell_says_so_in_one_line(left, tmp_path, monkeypatch):
    """left: a folder that an earlier try left behind, which git does not clone into."""
    home = tmp_path / "content"
    if left:
        (home / ".git").mkdir(parents=True)
    source = code(NOTEBOOKS[0])[0].source.replace("/content/white-bear", str(home))
    source = source.replace(CONFIG["repository"]["url"], (tmp_path / "nowhere").as_uri())
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        exec(source, {})
    said = "already exists" if left else "nowhere' does not appear"
    assert said in str(stop.value) and "run the cell again" in str(stop.value)
    assert "\n" not in str(stop.value) and Path.cwd() == tmp_path


@each
def test_a_chapter_can_be_opened_on_colab_from_its_source(path):
    """The page has a rocket for it; who reads the notebook on GitHub finds a link."""
    place = CONFIG["repository"]["url"].removeprefix("https://github.com/")
    link = f"/github/{place}/blob/{CONFIG['repository']['branch']}/notebooks/{path.name}"
    wanted = f"[Open on Colab]({CONFIG['launch_buttons']['colab_url']}{link})"
    assert read(path).cells[0].source.endswith(f"\n\n{wanted}")
    assert link in (ROOT / "README.md").read_text()


@each
def test_the_first_cell_is_not_on_the_page(path):
    assert "remove-cell" in tags(code(path)[0])


@each
def test_a_page_begins_with_question_and_answer(path):
    """One cell is the answer; what stands before it, parameters and imports, the page folds into
    one box, so it has no figure, and the words that lead to the answer there are not shown."""
    cells = read(path).cells
    (at,) = [i for i, cell in enumerate(cells) if heads.ANSWER in tags(cell)]
    assert cells[0].source.split("\n\n")[1].startswith("**"), "the question in bold"
    assert "?" in cells[0].source
    inside = [cell for cell in cells[1:at] if "remove-cell" not in tags(cell)]
    assert any("parameters" in tags(cell) for cell in inside)
    assert "**Time to run:**" in "".join(cell.source for cell in inside)
    assert not any("figure" in cell.metadata.get("mystnb", {}) for cell in inside)


@each
def test_a_page_has_a_picture_beside_its_answer(path):
    """A figure of its own, or a frame of the page that draws."""
    first = [cell for cell in code(path) if heads.FIRST in tags(cell)]
    assert all("figure" in cell.metadata.get("mystnb", {}) for cell in first)
    assert len(first) + (path.stem in FRAMES) == 1


@each
def test_what_only_maintainers_want_is_not_on_the_page(path):
    """Tests and the saving of numbers are removed; so are sentences that lead to them."""
    for cell in read(path).cells:
        kept = "remove-cell" not in tags(cell)
        saves = "save_numbers(" in cell.source or "save_tables(" in cell.source
        assert not (kept and cell.cell_type == "code" and (is_check(cell) or saves))
        assert not (kept and "tests of the book" in cell.source)


def test_few_cells_show_their_code():
    """The page folds all others; a reader of the book meets code where it teaches."""
    shown = [cell for path in NOTEBOOKS for cell in code(path) if heads.SHOWN in tags(cell)]
    assert 0 < len(shown) <= len(NOTEBOOKS)


@each
def test_a_notebook_declares_its_parameters(path):
    types = parameters_of(read(path), path.name)
    assert types["output"] == "str"
    lines = next(c for c in code(path) if "parameters" in tags(c)).source.splitlines()
    assert all("#" in line for line in lines if ":" in line.partition("#")[0]), (
        "say what each one is"
    )


@each
def test_a_notebook_has_checks_whose_outputs_are_stored_and_nothing_else_stored(path):
    checks = [cell for cell in code(path) if is_check(cell)]
    assert checks
    for cell in checks:
        assert cell.outputs and cell.execution_count
        assert all(o.output_type == "stream" and o.name == "stdout" for o in cell.outputs)
    for cell in code(path):
        if not is_check(cell):
            assert not cell.outputs and cell.execution_count is None


@each
def test_a_notebook_has_one_title_and_short_cells(path):
    prose = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    fenced = prose.split("```")[::2]
    assert sum(line.startswith("# ") for part in fenced for line in part.splitlines()) == 1
    assert read(path).cells[0].source.startswith("# ")
    for cell in code(path):
        assert len([line for line in cell.source.splitlines() if line.strip()]) <= LONGEST_CELL


@each
def test_figures_have_a_caption_and_words_for_those_who_cannot_see_them(path):
    for cell in code(path):
        meta = cell.metadata.get("mystnb", {})
        if "figure" in meta:
            assert meta["figure"]["caption"].strip().endswith(".") and meta["figure"]["name"]
            assert meta["image"]["alt"].strip()


def nbval(path) -> subprocess.CompletedProcess:
    flags = ["--nbval-lax", "--nbval-current-env", "-q", "-p", "no:cacheprovider", "--rootdir"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *flags, str(path.parent), str(path)],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_wrong_stored_output_fails(tmp_path):
    """On the quickest notebook: every check that was tampered with is reported."""
    notebook = read(min(NOTEBOOKS))
    checks = [cell for cell in notebook.cells if cell.cell_type == "code" and is_check(cell)]
    for cell in checks:
        cell.outputs[0].text = "not what it says\n"
    wrong = tmp_path / "wrong.ipynb"
    nbformat.write(notebook, wrong)
    done = nbval(wrong)
    assert done.returncode == 1, done.stdout
    assert f"{len(checks)} failed" in done.stdout
    assert "not what it says" in done.stdout


def test_no_two_figures_have_the_same_name():
    """A page links to them by name, and Sphinx stops at the second one."""
    cells = [cell for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells]
    names = re.findall(r"'name': '((?:fig|tab)-[^']+)'", " ".join(str(c.metadata) for c in cells))
    assert names and len(names) == len(set(names))
