"""The rooms of the library, and who may import whom."""

import ast
from pathlib import Path

import pytest

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
    {"measures"},
    {"pocket"},
    {"book"},
    {"__main__"},
)
LAYER = {room: i for i, layer in enumerate(LAYERS) for room in layer}
ONLY_IN = {  # package from outside -> the rooms that may import it
    "matplotlib": ("book/figures", "book/explorer"),
    "seaborn": ("book/figures",),
    "resvg_py": ("pocket/world",),
    "papermill": ("book/build",),
    "yaml": ("book/build",),
    "sphinx": ("book/build",),
    "docutils": ("book/build",),
    "ipywidgets": ("book/explorer",),
}
MODULES = sorted(LIBRARY.rglob("*.py"))


def imports_of(path: Path) -> list[tuple[int, str]]:
    """(line, dotted module) of everything that a module imports, anywhere in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, f"{node.module}.{name.name}") for name in node.names]
    return found


def room_of(path: Path) -> str:
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(LIBRARY).as_posix())
def test_imports_go_one_way(path):
    room, place, wrong = room_of(path), path.relative_to(LIBRARY).as_posix(), []
    for line, name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "whitebear" and room != "__init__" and parts[1] in LAYER:
            other = parts[1]
            if other != room and LAYER[other] >= LAYER[room]:
                wrong.append(f"{place}:{line} imports {name}, but {room} may not use {other}")
            if parts[1:3] == ["book", "chapters"]:
                wrong.append(f"{place}:{line} imports {name}; only its notebook uses a chapter")
        elif parts[0] in ONLY_IN and not place.startswith(ONLY_IN[parts[0]]):
            wrong.append(f"{place}:{line} imports {name}; only {ONLY_IN[parts[0]]} may")
    assert not wrong, "\n".join(wrong)


def test_every_room_has_its_layer():
    assert {room_of(path) for path in MODULES} - {"__init__"} == set(LAYER)
