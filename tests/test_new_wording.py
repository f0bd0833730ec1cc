"""A wording is one line of eval.csv, and no count of wordings or concepts is typed anywhere."""

import json
import os
import re
import shutil
import subprocess
import sys

from whitebear.files import ROOT

# What is said about wordings: their grid, answers, figures and tables.
ABOUT = (
    "test_prompts.py",
    "test_grid_answers.py",
    "test_why_answers.py",
    "test_captions.py::test_half_of_the_wordings_of_every_instruction_are_held_out",
)
NUMBER = r"(?:\d+|(?:twenty|thirty|forty|sixty|ninety)(?:-\w+)?|eleven|twelve|thirteen)"
TYPED = re.compile(rf"\b{NUMBER} (?:\w+ )?(?:wordings|instructions|concepts|objects)\b", re.I)
OTHERS = ("10 concepts with 8 images",)  # numbers of other people's experiments


def example() -> str:
    """The first line that CONTRIBUTING.md shows."""
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(r"^    (negate-.*)$", guide, re.MULTILINE)[0]


def test_the_guides_line_is_all_that_a_new_wording_needs(tmp_path):
    """Tests about wordings hold in a copy of the repository with this line added."""
    for name in ("lib", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.name not in ("lib", "tests", "data", ".git"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "data").mkdir()
    for path in (ROOT / "data").iterdir():
        if path.name != "prompts":
            (tmp_path / "data" / path.name).symlink_to(path)
    shutil.copytree(ROOT / "data" / "prompts", tmp_path / "data" / "prompts")
    wordings = tmp_path / "data/prompts/eval.csv"
    lines = [x for x in wordings.read_text(encoding="utf-8").splitlines() if x != example()]
    wordings.write_text("\n".join([*lines, example()]) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
         *(f"tests/{name}" for name in ABOUT)],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path / "lib")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def prose():
    """(where, text) of every page, notebook cell and caption, and of what check cells print."""
    for path in [*(ROOT / "book").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        yield path.name, path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            where = f"{path.name} {cell['id']}"
            if cell["cell_type"] == "markdown":
                yield where, "".join(cell["source"])
            yield where, json.dumps(cell["metadata"], ensure_ascii=False)
            for output in cell.get("outputs", []):
                yield where, "".join(output.get("text", []))


def test_no_count_of_wordings_or_concepts_is_typed():
    typed = [f"{where}: {found}" for where, text in prose() for found in TYPED.findall(text)
             if not any(other in text and found in other for other in OTHERS)]  # fmt: skip
    assert not typed, "\n".join(typed)


def test_a_typed_count_would_be_found():
    assert TYPED.search("six kinds in 26 wordings") and TYPED.search("of twenty-four objects")
