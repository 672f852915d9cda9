"""Docstrings of the standard library, or of an installed package, read from source files without importing them."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factory import Drop, InputError, Piece, Row, Source, Text, digest, hash_file

from .packing import buckets

# Tests, and programs that happen to be shipped beside the library.
LEFT_OUT = frozenset(
    {"test", "tests", "idle_test", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages"}
)
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class PythonDocs(Source):
    """One Text a docstring, under a heading line with the qualified name and signature."""

    kind = Text

    def __init__(self, uri: str, folder: Path, prefix: str) -> None:
        super().__init__(uri)
        self.folder = folder  # what paths are relative to
        self.prefix = prefix  # the package inside it, or ""
        self.license = _license(prefix)

    def pieces(self) -> list[Piece]:
        paths = {f"{self.uri}/{path.relative_to(self._top).as_posix()}": path for path in self._files()}
        sizes = {place: path.stat().st_size for place, path in paths.items()}
        pieces = []
        for places in buckets(sizes):
            content = [[place, hash_file(paths[place])] for place in places]
            pieces.append(Piece(digest(content), tuple(places)))
        return pieces

    @property
    def _top(self) -> Path:
        return self.folder / self.prefix

    def _files(self) -> Iterator[Path]:
        if self._top.is_file():
            yield self._top
            return
        for path in sorted(self._top.rglob("*.py")):
            inner = path.relative_to(self._top).parts
            if not any(part in LEFT_OUT or part.startswith((".", "__pycache__")) for part in inner[:-1]):
                yield path

    def rows(self, piece: Piece) -> Iterator[Row]:
        for place in piece.files:
            path = self._top / place.removeprefix(self.uri).removeprefix("/")
            relative = path.relative_to(self.folder).as_posix()
            for line, row in docstrings(path, relative):
                yield f"{place}#{line}", row


def _license(package: str) -> str:
    """What the metadata of an installed package names; the standard library's own is known."""
    if not package:
        return "PSF-2.0"
    for name in importlib.metadata.packages_distributions().get(package.partition("/")[0], []):
        told = importlib.metadata.metadata(name)
        said = told["License-Expression"] or told["License"] or ""
        return said if len(said) < 50 else ""  # some put the whole text there
    return ""


def open_python(uri: str) -> PythonDocs | None:
    """`python:stdlib`, or `python:PACKAGE` for any package that could be imported. Raises InputError."""
    scheme, _, name = uri.partition(":")
    if scheme != "python":
        return None
    if name == "stdlib":
        return PythonDocs(uri, Path(sysconfig.get_paths()["stdlib"]), "")
    top, *inner = name.split(".")
    import importlib.util

    try:
        spec = importlib.util.find_spec(top) if top.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise InputError(f"{uri}: no package named '{name}' is installed; python:stdlib is always there")
    if spec.submodule_search_locations:
        package = Path(next(iter(spec.submodule_search_locations)))
    elif spec.origin and spec.origin.endswith(".py"):
        package = Path(spec.origin)
    else:
        raise InputError(f"{uri}: '{name}' has no Python source to read")
    found = package.joinpath(*inner)
    if not found.is_dir() and inner:
        found = found.with_suffix(".py")
    if not found.exists():
        raise InputError(f"{uri}: package '{top}' has no module '{'.'.join(inner)}'")
    return PythonDocs(uri, package.parent, found.relative_to(package.parent).as_posix())


def docstrings(path: Path, relative: str) -> Iterator[tuple[int, dict[str, Any] | Drop]]:
    """(line, fields) of every docstring in a source file; `relative` is its path below the library."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in old strings
            tree = ast.parse(path.read_bytes())
    except OSError as error:
        yield 1, Drop("cannot be read", error=error.strerror or type(error).__name__)
        return
    except (SyntaxError, ValueError, RecursionError) as error:
        yield 1, Drop("malformed python", error=str(error), path=relative)
        return
    module = relative.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if text := _docstring(tree):
        yield 1, {"text": f"{module}\n\n{text}", "name": module, "kind": "module", "path": relative, "line": 1}
    for name, node in _definitions(tree, module, False):
        if text := _docstring(node):
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            heading = name[0] + _signature(node, name[1])
            fields = {"text": f"{heading}\n\n{text}", "name": name[0], "kind": kind, "path": relative}
            yield node.lineno, {**fields, "line": node.lineno}


def _docstring(node: ast.Module | Definition) -> str:
    return inspect.cleandoc(ast.get_docstring(node, clean=False) or "").strip()


def _definitions(node: ast.AST, prefix: str, in_class: bool) -> Iterator[tuple[tuple[str, bool], Definition]]:
    """Classes and functions at any depth with (qualified name, whether a method), in source order.

    Only statements are walked: expressions hold no definitions, and are most of a tree.
    """
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        for inner in getattr(node, block, ()):
            if isinstance(inner, Definition):
                name = f"{prefix}.{inner.name}"
                yield (name, in_class), inner
                yield from _definitions(inner, name, isinstance(inner, ast.ClassDef))
            elif isinstance(inner, ast.stmt | ast.ExceptHandler | ast.match_case):
                yield from _definitions(inner, prefix, in_class)


def _signature(node: Definition, method: bool) -> str:
    """Parameters as written, without self or cls; a class has those of its `__init__`."""
    if isinstance(node, ast.ClassDef):
        makers = (inner for inner in node.body if isinstance(inner, ast.FunctionDef) and inner.name == "__init__")
        maker = next(makers, None)
        return _signature(maker, True) if maker else ""
    arguments = ast.unparse(node.args)
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)
    if method and not static:
        first = [*node.args.posonlyargs, *node.args.args][:1]
        if first and first[0].arg in ("self", "cls"):
            arguments = arguments[len(ast.unparse(first[0])) :].removeprefix(", ").removeprefix("/").removeprefix(", ")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    return f"({arguments}){returns}"
