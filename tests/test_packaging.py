"""One truth about versions, names and places: pyproject.toml; the rest is held against it."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, version

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import whitebear
from whitebear.book.build import colab
from whitebear.files import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWNERS = packages_distributions()
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())


EXTRAS = PROJECT["optional-dependencies"]
CORE = {Requirement(r).name for r in PROJECT["dependencies"]}
UNLOCKED = {"lab", "sweep"}  # what neither the book nor its tests need


def needs(extra: str) -> list[Requirement]:
    """The requirements of an extra, with those of the extras that it names."""
    found = []
    for requirement in map(Requirement, EXTRAS[extra]):
        own = requirement.name == PROJECT["name"]
        found += [r for e in requirement.extras for r in needs(e)] if own else [requirement]
    return found


def requirements() -> list[Requirement]:
    """What is locked."""
    extras = [r for extra in EXTRAS if extra not in UNLOCKED for r in needs(extra)]
    return list(dict.fromkeys([*map(Requirement, PROJECT["dependencies"]), *extras]))


def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins), (
        "exact pins only"
    )
    return {canonicalize_name(name): pin for name, pin in (pin.split("==") for pin in pins)}


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_the_lock_file_satisfies_pyproject(requirement):
    assert requirement.specifier.contains(lock()[canonicalize_name(requirement.name)])


def test_torch_is_pinned_without_a_build_tag():
    assert "\ntorch==2.13.0\n" in (ROOT / "requirements.txt").read_text()


def test_what_is_installed_is_what_is_locked():
    wrong = {
        name: (version(name), pin)
        for name, pin in lock().items()
        if version(name).partition("+")[0] != pin
    }
    assert not wrong, "run `make book`; installed and locked differ"


def test_the_lock_file_is_complete():
    """Whatever a locked package needs on this platform is locked too."""
    from importlib.metadata import requires

    pins, missing = lock(), {}
    for name in pins:
        for need in map(Requirement, requires(name) or []):
            wanted = need.marker is None or need.marker.evaluate({"extra": ""})
            if wanted and canonicalize_name(need.name) not in pins:
                missing[name] = need.name
    nvidia = {name: need for name, need in missing.items() if re.match("nvidia|cuda|triton", need)}
    assert missing == nvidia  # those come with torch's own wheel, and only with the GPU build


ROOM = {  # folder of the library -> the extra that brings what it imports beside the core
    "book": "book",
    "interventions": "arena",
    "pocket": "train",
    "sweep": "sweep",
}
ALONE = ("hooks", "models")  # these need no extra; all others at least that of drawing
LIBRARY = ROOT / "lib" / "whitebear"


@pytest.mark.parametrize("room", sorted(path.name for path in LIBRARY.iterdir() if path.is_dir()))
def test_what_a_room_imports_is_declared_where_it_belongs(room):
    """Hooks stand on the dependencies alone, what draws on one extra, each annex on one more."""
    extra = [] if room in ALONE else needs(ROOM.get(room, "draw"))
    declared = {canonicalize_name(name) for name in CORE | {r.name for r in extra}}
    undeclared = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (LIBRARY / room).rglob("*.py")
        for name in imported(path.read_text()) - set(sys.stdlib_module_names) - {"whitebear"}
        if not {canonicalize_name(owner) for owner in OWNERS.get(name, [])} & declared
        and path.name != "mathml.py"  # Sphinx and docutils come with Jupyter Book
    }
    assert not undeclared


def test_the_core_needs_what_hooks_and_models_import():
    through_others = {"huggingface_hub", "tokenizers"}  # with a range of its own each
    assert CORE - through_others <= owners_of(*ALONE)


def test_what_draws_needs_nothing_of_the_book():
    extra = {r.name for r in needs("draw")} - {"accelerate"}  # diffusers loads weights with it
    rooms = {path.relative_to(LIBRARY).parts[0] for path in LIBRARY.rglob("*.py")} - ROOM.keys()
    assert extra <= owners_of(*rooms)


def owners_of(*rooms: str) -> set[str]:
    """The packages that some folders or modules of the library import."""
    paths = [p for p in LIBRARY.rglob("*.py") if p.relative_to(LIBRARY).parts[0] in rooms]
    names = {name for path in paths for name in imported(path.read_text())}
    return {owner for name in names for owner in OWNERS.get(name, [])}


def test_a_chapter_on_colab_finds_what_it_loads():
    book = {r.name for r in needs("book")} - {r.name for r in needs("draw")}
    rooms = ("book/chapters", "book/explorer", "book/figures", "book/report", "pocket")
    sources = [path.read_text() for room in rooms for path in (LIBRARY / room).rglob("*.py")]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        sources += [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    loaded = {owner for s in sources for name in imported(s) for owner in OWNERS.get(name, [])}
    assert loaded & book == set(colab.CHAPTERS)


def imported(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_the_conda_environment_has_no_cuda_and_opens_notebooks():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    *conda, pip = environment["dependencies"]
    python = next(d for d in conda if d.startswith("python=")).removeprefix("python=")
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)
    torch = next(Requirement(r) for r in PROJECT["dependencies"] if r.startswith("torch"))
    assert f"pytorch-cpu{torch.specifier}" in conda  # pip finds it there, and takes no other
    assert pip == {"pip": ["-e .[book,lab]"]} and {"book", "lab"} <= EXTRAS.keys()


def test_one_version_everywhere():
    release = PROJECT["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert whitebear.__version__ == citation["version"] == version("whitebear") == release
    assert CONFIG["repository"]["branch"] in ("main", f"v{release}")  # a tag only once it is there
    assert f"\n## {release}" in (ROOT / "CHANGELOG.md").read_text()


def test_one_address_everywhere():
    url = CONFIG["repository"]["url"]
    assert PROJECT["urls"]["Source"] == url
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["repository-code"] == url
    for page in ("README.md", "CONTRIBUTING.md"):
        for found in re.findall(
            r"https://github\.com/[\w-]+/white-bear", (ROOT / page).read_text()
        ):
            assert found == url


def test_the_citation_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["authors"]
    assert any("2604.01514" in reference["url"] for reference in citation["references"])


def test_licences_are_there_and_said_plainly():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "Attribution 4.0 International" in (ROOT / "LICENSE-CC-BY-4.0").read_text()
    readme = (ROOT / "README.md").read_text()
    assert "Apache-2.0" in readme and "CC BY 4.0" in readme


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md"])
def test_files_and_targets_that_the_guides_name_exist(path):
    text = (ROOT / path).read_text()
    links = [t for t in re.findall(r"\]\(([^)#]+)", text) if not t.startswith("https://")]
    assert links and not [t for t in links if not (ROOT / t).exists()]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    assert {"book", "test"} <= targets
