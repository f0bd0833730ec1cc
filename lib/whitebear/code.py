"""Which code decides a result: a digest of a function and of all that it uses of this library.

Modules are read, not run. Names are followed from definition to definition, also through packages
that only hand names on. Comments, docstrings and formatting do not count.
"""

import ast
import hashlib
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from whitebear.errors import UserError

PACKAGE = "whitebear"
WHOLE, IMPORT = "", "<import>"  # all of a module; what it does when it is imported

Part = tuple[str, str]  # module, and a name at its top level, WHOLE or IMPORT


def code_digest(function: Callable) -> str:
    """16 hex digits that change with the code of a function, and with nothing else.

    Raises `UserError` for a function without a module of its own, as in a notebook: it can use
    variables whose values nobody sees.
    """
    module, name = function.__module__, function.__qualname__
    if module == "__main__" or "<" in name:
        raise UserError(
            f"{name} is not a function of a module, so nothing tells when what it does changes;"
            " write it into one, such as lib/whitebear/measures/mine.py"
        )
    code = _installed()
    code.read(module, Path(inspect.getsourcefile(inspect.unwrap(function))))
    return code.digest(f"{module}.{name}")


@cache
def _installed() -> "Code":
    return Code(Path(__file__).parents[1])


class Code:
    """The library in `folder`; a module is read when it is needed first."""

    def __init__(self, folder: Path):
        self.folder, self.modules, self.links = folder, {}, {}

    def digest(self, name: str) -> str:
        """Of all that a definition uses, itself included: "whitebear.measures.attention.watch"."""
        return self._digest([self._find(*name.rpartition(".")[::2])])

    def digest_of_program(self, source: str) -> str:
        """Of all that a program uses of the library, itself left out."""
        program = _Module("", source)
        return self._digest({*self._used(program, WHOLE), *self._used(program, IMPORT)})

    def read(self, name: str, path: Path) -> None:
        """Take a module into account, wherever it lies."""
        if not self.modules.get(name):
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            self.modules[name] = _Module(name, path.read_text(encoding="utf-8"), package)

    def reached(self, parts: Iterable[Part]) -> set[Part]:
        """The parts, what they use, what these use, and what importing their modules does."""
        found, left = set(), set(parts)
        while left:
            found.add(part := left.pop())
            left |= self._next(part) - found
        return found

    def _next(self, part: Part) -> set[Part]:
        if part not in self.links:
            module = self._module(part[0])
            used = {*self._used(module, part[1]), (part[0], IMPORT)} if module else set()
            self.links[part] = used
        return self.links[part]

    def _digest(self, parts: Iterable[Part]) -> str:
        digest = hashlib.sha256()
        for name, what in sorted(self.reached(parts)):
            module = self._module(name)
            if said := module.said(what) if module else what and what != IMPORT:
                digest.update(f"{name}\0{what}\0{said}\0".encode())
        return digest.hexdigest()[:16]

    def _module(self, name: str) -> "_Module | None":
        """None where the library has no such module."""
        if name not in self.modules:
            stem = self.folder.joinpath(*name.split("."))
            for path in (stem.with_suffix(".py"), stem / "__init__.py"):
                if _is_ours(name) and path.is_file():
                    self.read(name, path)
        return self.modules.setdefault(name)

    def _find(self, module: str, name: str) -> Part:
        """Where a name of a module is defined, which may be elsewhere."""
        if not name or self._module(f"{module}.{name}"):
            return f"{module}.{name}".rstrip("."), WHOLE
        if here := self._module(module):
            if name in here.made:
                return module, name
            return self._find(*here.imported[name]) if name in here.imported else (module, WHOLE)
        outer, _, inner = module.rpartition(".")  # a method counts as its class
        return self._find(outer, inner) if self._module(outer) else (module, name)

    def _used(self, module: "_Module", what: str) -> Iterator[Part]:
        """What a part of a module uses directly."""
        if what == IMPORT:
            for target, name in module.imported.values():
                parts = f"{target}.{name}".split(".") if _is_ours(target) else []
                yield from ((".".join(parts[: i + 1]), IMPORT) for i in range(len(parts)))
        for first, *rest in module.names(what):
            if first in module.made:
                yield module.name, first
            elif first in module.imported:
                target = self._find(*module.imported[first])
                while target[1] == WHOLE and rest:  # a module, and what is taken from it
                    target = self._find(target[0], rest.pop(0))
                yield target


class _Module:
    """A module as it is written: which statements make a name, or from where it is imported."""

    def __init__(self, name: str, source: str, package: str = ""):
        self.name = name
        self.made = defaultdict(list)  # name -> statements
        self.imported = {}  # name -> (module, name in it); also inside of functions
        self.parts, self.texts = {WHOLE: [], IMPORT: []}, {}
        tree = _plain(ast.parse(source))
        for node in ast.walk(tree):
            self.imported |= dict(_imports(node, package))
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)) or _is_idle(node):
                continue
            self.parts[WHOLE].append(node)
            for name in _made_by(node):
                self.made[name].append(node)
            if self._does_something(node):
                self.parts[IMPORT].append(node)

    def statements(self, what: str) -> list[ast.stmt]:
        return self.parts[what] if what in self.parts else self.made[what]

    def said(self, what: str) -> str:
        if what not in self.texts:
            self.texts[what] = "\n".join(map(ast.dump, self.statements(what)))
        return self.texts[what]

    def names(self, what: str) -> Iterator[list[str]]:
        """Each name that is used with the attributes that are asked of it: ["np", "linalg"]."""
        for node in self.statements(what):
            above = {id(n.value): n for n in ast.walk(node) if isinstance(n, ast.Attribute)}
            for name in ast.walk(node):
                if isinstance(name, ast.Name):
                    chain, inner = [name.id], name
                    while inner := above.get(id(inner)):
                        chain.append(inner.attr)
                    yield chain

    def _does_something(self, node: ast.stmt) -> bool:
        """Whether a statement does more at import than to make names: a decorator of ours may
        note a function down, an item be added to a table."""
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = {n.id for d in node.decorator_list for n in ast.walk(d)
                     if isinstance(n, ast.Name)}  # fmt: skip
            return any(n in self.made or _is_ours(self.imported.get(n, ("",))[0]) for n in names)
        assigns = isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign))
        return not assigns or any(True for _ in _items_set(node))


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


def _plain(tree: ast.Module) -> ast.Module:
    """Without docstrings and other strings that do nothing."""
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [n for n in body if not (
                isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]  # fmt: skip
    return tree


def _imports(node: ast.AST, package: str) -> Iterator[tuple[str, Part]]:
    """Local name -> (module, name in it) of an import."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or whole, (whole, WHOLE)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
        module = ".".join([*above, *filter(None, [node.module])])
        for alias in node.names:
            yield alias.asname or alias.name, (module, alias.name)


def _is_idle(node: ast.stmt) -> bool:
    """What no import runs: for commands and for type checkers."""
    names = {n.id for n in ast.walk(getattr(node, "test", node)) if isinstance(n, ast.Name)}
    return isinstance(node, ast.If) and bool(names & {"__name__", "TYPE_CHECKING"})


def _made_by(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    stored = {n.id for n in ast.walk(node)
              if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}  # fmt: skip
    inner = {n.name for n in ast.walk(node) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    return stored | inner | set(_items_set(node))


def _items_set(node: ast.stmt) -> Iterator[str]:
    """Names of what an item or an attribute is set of: TABLE["a"] = 1."""
    for n in ast.walk(node):
        if isinstance(n, (ast.Subscript, ast.Attribute)) and isinstance(n.ctx, ast.Store):
            yield from (m.id for m in ast.walk(n) if isinstance(m, ast.Name))
