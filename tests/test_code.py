"""What is remade when a line of the library changes: what follows from it, and nothing else."""

import ast
import shutil
from pathlib import Path

import pytest

from whitebear.book.build.execute import Inputs, read_notebook
from whitebear.code import Code, code_digest
from whitebear.errors import UserError
from whitebear.files import ROOT
from whitebear.measures import attention

NOTEBOOKS = {p.stem[:2]: read_notebook(p) for p in sorted((ROOT / "notebooks").glob("*.ipynb"))}
CACHED = {
    "chunk": "whitebear.draw.grid.run_chunk",
    "watch": "whitebear.measures.attention.watch",
    "heads": "whitebear.measures.heads.watch_heads",
    "swaps": "whitebear.measures.swaps.draw",
}


def keys(root: Path) -> dict[str, str]:
    """What decides each notebook and each thing that is cached, in a copy of the library."""
    inputs = Inputs(root)
    notebooks = {name: inputs.digest(notebook) for name, notebook in NOTEBOOKS.items()}
    return notebooks | {name: inputs.code.digest(what) for name, what in CACHED.items()}


@pytest.fixture
def copy(tmp_path) -> Path:
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("before")
    (root / "lib").symlink_to(ROOT / "lib")
    return keys(root)


def does_nothing(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def change(root: Path, module: str, function: str) -> None:
    """A line more at the beginning of a function."""
    path = root / "lib" / "whitebear" / f"{module.replace('.', '/')}.py"
    text = path.read_text(encoding="utf-8")
    found = next(n for n in ast.walk(ast.parse(text)) if getattr(n, "name", "") == function)
    first = next(n for n in found.body if not does_nothing(n))
    lines = text.split("\n")
    lines.insert(first.lineno - 1, f"{' ' * first.col_offset}changed = 1")
    path.write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize(
    ("module", "function", "remade"),
    [
        ("prompts.grid", "prompt_grid", "03 04 05 06 07 08 09 10 11 14 chunk"),
        ("models.families", "text_layers", "06 07 08 09 14 watch heads swaps"),
        ("hooks.capture", "observe", "06 07 09 14 watch heads"),
        ("interventions.exchange_part", "with_part", "09 11"),
        ("scoring.calibration", "calibrate", "03 04 08 09 10 11 12"),
        (
            "draw.generate",
            "row_noise",
            "02 03 04 05 06 07 08 09 10 11 12 14 chunk watch heads swaps",
        ),
        ("measures.attention", "watch", "06 watch"),
        ("measures.attention", "curves", "06"),
        ("pocket.world.drawing", "mix", "01 02 09 10 12 14"),
        ("pocket.training.vae", "build_vae", "09 10 12"),
        ("book.figures.galleries", "gallery", "03 12"),
        ("book.chapters.told_to_forget", "answer", "03"),
        ("book.build.build", "build", ""),
        ("book.build.colab", "prepare", ""),
    ],
)
def test_a_change_remakes_what_follows_from_it(copy, before, module, function, remade):
    change(copy, module, function)
    after = keys(copy)
    assert [name for name in after if after[name] != before[name]] == remade.split()


class Reworded(ast.NodeTransformer):
    """Every docstring another one."""

    def visit_Expr(self, node):
        return ast.Expr(ast.Constant("Said otherwise.")) if does_nothing(node) else node


def test_comments_docstrings_and_formatting_remake_nothing(copy, before):
    for path in (copy / "lib").rglob("*.py"):
        tree = Reworded().visit(ast.parse(path.read_text(encoding="utf-8")))
        path.write_text(f"# Another comment\n\n{ast.unparse(tree)}\n", encoding="utf-8")
    assert keys(copy) == before


# --- how names are followed ----------------------------------------------------------------------

TOY = {
    "__init__.py": "from whitebear.start import begun",
    "start.py": "begun = []\n\n\ndef note(f):\n    begun.append(f)\n    return f",
    "rooms/__init__.py": "from whitebear.rooms.deep import inner as shown",
    "rooms/deep.py": "from whitebear import table\n\n\ndef inner():\n    return table.ROWS['a']",
    "table.py": "ROWS = {}\nROWS['a'] = 1\nOTHER = 2\nif OTHER > 1:\n    LIMIT = 3",
    "late.py": "def late():\n    from scipy.stats import rankdata as rank\n\n    return rank",
    "noted.py": "from whitebear import start\n\n\n@start.note\ndef mine():\n    return 1",
    "use.py": """\
import whitebear.noted as noted_here
from whitebear import rooms
from whitebear.late import late


class Uses:
    def method(self):
        return rooms.shown(), late()


def apart():
    return 1
""",
}


@pytest.fixture
def toy(tmp_path) -> Path:
    for name, text in TOY.items():
        path = tmp_path / "whitebear" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new", "noticed"),
    [
        ("rooms/deep.py", "['a']", "['b']", True),  # behind a package that hands the name on
        ("rooms/__init__.py", "inner as shown", "inner as shown, outer", False),
        ("table.py", "['a'] = 1", "['a'] = 2", True),
        ("table.py", "OTHER = 2", "OTHER = 3", True),  # importing it asks for this
        ("table.py", "LIMIT = 3", "LIMIT = 4", True),
        ("late.py", "rankdata", "zscore", True),  # of a package from outside, inside a function
        ("noted.py", "return 1", "return 2", True),  # used by nobody, but noted down at import
        ("use.py", "return 1", "return 2", False),
        ("use.py", "method(self)", "method(self, more)", True),
        ("start.py", "begun = []", "begun = [1]", True),
    ],
)
def test_names_are_followed(toy, name, old, new, noticed):
    before = Code(toy).digest("whitebear.use.Uses.method")
    path = toy / "whitebear" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert (Code(toy).digest("whitebear.use.Uses.method") != before) == noticed


def test_a_program_uses_what_its_lines_name(toy):
    def digest():
        return Code(toy).digest_of_program("import whitebear.late\nprint(whitebear.late.late())")

    before = digest()
    (toy / "whitebear/use.py").write_text("other = 1")
    assert digest() == before
    (toy / "whitebear/late.py").write_text("def late():\n    return 2")
    assert digest() != before


def test_a_function_that_no_module_holds_is_refused():
    assert code_digest(attention.watch) == Code(ROOT / "lib").digest(CACHED["watch"])
    with pytest.raises(UserError, match="<lambda> is not a function of a module"):
        code_digest(lambda rows: rows)
