"""Fingerprints of code: what a step's source says, without comments, docstrings and layout."""

from __future__ import annotations

import ast
import hashlib
import io
import sys
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

# Bump when artifacts, ids or the order of records change in a way that code hashes do not see:
# the engine's own source is left out of every fingerprint.
FORMAT = 3

# Modules whose code never counts: the engine and the public names in front of it. What a step does lies elsewhere.
OUTSIDE = ("factory", "factory.errors", "factory.hookspecs", "factory.plugins", "factory.cli", "factory.engine")


def code_hash(function: Callable[..., Any]) -> str:
    """Hash of the module that defines `function` and of those of its own distribution that it imports, in turn.

    The plugin module that registers steps (a package's `__init__`) counts only for what the walk reaches.
    """
    hasher = hashlib.blake2b(digest_size=8)
    for name in sorted(reached(function.__module__)):
        hasher.update(f"{name}\0{_spelled(source_of(name) or b'')}\0".encode())
    return hasher.hexdigest()


def reached(module: str) -> frozenset[str]:
    """The module and every module of its own distribution that it imports, directly or not."""
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in found or name in OUTSIDE or name.startswith("factory.engine."):
            continue
        source = source_of(name)
        if source is None and name != module:
            continue
        found.add(name)
        package = name if _is_package(name) else name.rpartition(".")[0]
        imported = _imports(source or b"", package)
        todo += [other for other in imported if other.split(".")[0] == module.split(".")[0]]
    return frozenset(found)


def source_of(module: str) -> bytes | None:
    """The Python source of a module; of a drop-in file what was loaded, since it may be edited and loaded again."""
    held: bytes | None = getattr(sys.modules.get(module), "__source__", None)
    return held if held is not None else _read(module)


@cache
def _read(module: str) -> bytes | None:
    file = _file_of(module)
    return file.read_bytes() if file is not None else None


@cache
def _file_of(module: str) -> Path | None:
    """A module's file. One that is not loaded is looked for, never imported: it may be what imports torch."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return Path(file) if file and file.endswith(".py") else None
    top, *inner = module.split(".")
    for root in getattr(sys.modules.get(top), "__path__", []):
        stem = Path(root, *inner)
        for file in (stem.parent / f"{stem.name}.py", stem / "__init__.py"):
            if file.is_file():
                return file
    return None


def _is_package(module: str) -> bool:
    file = _file_of(module)
    return file is not None and file.name == "__init__.py"


@cache
def _imports(source: bytes, package: str) -> tuple[str, ...]:
    """Names of the modules that are imported anywhere in a source that lies in `package`."""
    names: dict[str, None] = {}
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.Import):
            names.update(dict.fromkeys(alias.name for alias in node.names))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{above}.{base}".rstrip(".")
            names[base] = None
            # `from factory.text import words` may name a module as well as a function
            names.update(dict.fromkeys(f"{base}.{alias.name}" for alias in node.names))
    return tuple(names)


@cache
def _parsed(source: bytes) -> ast.Module:
    return ast.parse(source)


@cache
def _spelled(source: bytes) -> str:
    """The tokens of a source, joined so that f-strings read the same on every Python (3.12 cuts them into pieces)."""
    return "".join(_tokens(source))


def _tokens(source: bytes) -> Iterator[str]:
    docstrings = set(_docstrings(_parsed(source)))
    plain = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
    marks = {tokenize.INDENT: "\1", tokenize.DEDENT: "\2", tokenize.NEWLINE: "\n"}
    after_docstring = False
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type in plain:
            continue
        if token.type == tokenize.STRING and token.start in docstrings:
            after_docstring = True
            continue
        if not (after_docstring and token.type == tokenize.NEWLINE):
            yield marks.get(token.type, token.string)
        after_docstring = False


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """Line and column where each docstring begins."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                yield first.lineno, first.col_offset
