"""The rooms of the library, and who may import whom."""

import ast
import re

import nbformat
import pytest

import whitebear
from whitebear.files import ROOT

LIBRARY = ROOT / "lib" / "whitebear"
# Lower layers never import higher ones; rooms of one layer do not import each other.
LAYERS = (
    {"errors"},
    {"files", "stats", "code", "tables"},
    {"prompts", "models"},
    {"hooks", "scoring"},
    {"interventions"},
    {"draw"},
    {"measures", "arena", "sweep"},
    {"pocket"},
    {"book"},
    {"__main__"},
)
LAYER = {room: i for i, layer in enumerate(LAYERS) for room in layer}
ONLY_IN = {  # package from outside -> the rooms that may import it
    "matplotlib": ("book/figures", "book/explorer"),
    "seaborn": ("book/figures",),
    "resvg_py": ("pocket/world",),
    "onnx": ("book/live",),
    "bs4": ("book/build",),
    "papermill": ("book/build",),
    "yaml": ("book/build", "sweep"),
    "sphinx": ("book/build",),
    "docutils": ("book/build",),
    "ipywidgets": ("book/explorer",),
}
MODULES = sorted(LIBRARY.rglob("*.py"))


def imports_of(source: str, place: str) -> list[tuple[int, str]]:
    """(line, dotted module) of everything that a module imports, anywhere in it.

    place: its path below the library, from which relative imports are counted.
    """
    found, here = [], ["whitebear", *place.split("/")]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = here[: -node.level] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{start}.{name.name}") for name in node.names]
    return found


def room_of(place: str) -> str:
    return place.partition("/")[0].removesuffix(".py")


def offences(source: str, place: str) -> list[str]:
    """A line for each import that the order of rooms does not allow."""
    room, wrong = room_of(place), []
    for line, name in imports_of(source, place):
        parts = name.split(".")
        if parts[0] == "whitebear" and room != "__init__" and parts[1] in LAYER:
            other = parts[1]
            if other != room and LAYER[other] >= LAYER[room]:
                wrong.append(f"{place}:{line} imports {name}, but {room} may not use {other}")
            if parts[1:3] == ["book", "chapters"]:
                wrong.append(f"{place}:{line} imports {name}; only its notebook uses a chapter")
        elif parts[0] in ONLY_IN and not place.startswith(ONLY_IN[parts[0]]):
            wrong.append(f"{place}:{line} imports {name}; only {ONLY_IN[parts[0]]} may")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(LIBRARY).as_posix())
def test_imports_go_one_way(path):
    wrong = offences(path.read_text(encoding="utf-8"), path.relative_to(LIBRARY).as_posix())
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("place", "source", "said"),
    [
        ("hooks/steer.py", "import torch\nfrom whitebear import draw", ":2 .* may not use draw"),
        ("hooks/steer.py", "import whitebear.scoring.judge", "hooks may not use scoring"),
        ("hooks/steer.py", "from ..draw import artist", "hooks may not use draw"),
        (
            "stats.py",
            "def f():\n    from whitebear.files import ROOT",
            "stats.py:2 .*not use files",
        ),
        ("measures/heads.py", "from whitebear.pocket.world import scene", "not use pocket"),
        ("pocket/world/scene.py", "import whitebear.book.build.build", "not use book"),
        ("book/report/claim.py", "from whitebear.book.chapters import a", "only its notebook"),
        ("book/chapters/a.py", "from whitebear.book.chapters import b", "only its notebook"),
        ("book/chapters/a.py", "from . import b", "only its notebook"),
        ("book/report/claim.py", "import matplotlib.pyplot as plt", "book/figures.* may"),
        ("draw/grid.py", "import resvg_py", "pocket/world.* may"),
    ],
)
def test_what_goes_another_way_is_named_with_its_line(place, source, said):
    (line,) = offences(source, place)
    assert line.startswith(f"{place}:") and re.search(said, line)


def test_the_verbs_come_from_the_core():
    homes = {room_of(home.replace(".", "/")) for home in whitebear._HOME.values()}
    assert max(LAYER[home] for home in homes) < LAYER["pocket"]


def test_a_chapter_is_used_by_its_notebook_alone():
    """book/chapters/told_to_forget.py by 03_told_to_forget.ipynb."""
    wrong = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, 4).cells:
            if cell.cell_type == "code":
                for _, name in imports_of(cell.source, "notebook"):
                    chapter = re.match(r"whitebear\.book\.chapters\.(\w+)", name)
                    if chapter and chapter[1] != path.stem[3:]:
                        wrong.append(f"{path.name} imports {name}")
    assert not wrong


def test_every_room_has_its_layer():
    places = [path.relative_to(LIBRARY).as_posix() for path in MODULES]
    assert {room_of(place) for place in places} - {"__init__"} == set(LAYER)
