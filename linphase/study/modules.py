"""The package's modules as text: what each says, and which others it imports."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = __name__.partition(".")[0]
HOME = Path(__file__).resolve().parents[1]
APART = {f"{PACKAGE}.{name}" for name in ("study", "plotting", "evidence", "estimates")}
"""Rooms that compute no block: their modules count only where a block itself uses them."""


def closure(modules: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return modules of this package with all that they import from it, and the libraries they use."""
    found, libraries, todo = set[str](), set[str](), list(modules)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            imports = _imports(name)
            inside = {other for other in imports if other.partition(".")[0] == PACKAGE}
            libraries |= {other.partition(".")[0] for other in imports - inside}
            todo += (other for other in inside if ".".join(other.split(".")[:2]) not in APART)
    return found, libraries


@cache
def source(module: str) -> str:
    """Return the essence of a module of this package."""
    file = _file(module)
    return essence(file.read_text(encoding="utf-8")) if file else ""


def essence(text: str) -> str:
    """Return code as a syntax tree: without comments, layout and docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            del node.body[0]
    return ast.dump(tree)


def _file(module: str) -> Path | None:
    path = HOME.joinpath(*module.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _imports(module: str) -> set[str]:
    """Return the modules that a module imports, wherever in it; the package above it is one."""
    file = _file(module)
    if file is None:
        return set()
    above = module.rpartition(".")[0]
    package = module if file.name == "__init__.py" else above
    imported = set(_imported(ast.parse(file.read_text(encoding="utf-8")), package))
    return imported | ({above} - {PACKAGE, ""})


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name.startswith(f"{PACKAGE}.") and _file(name) else base
