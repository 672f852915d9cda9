"""Fingerprints of code: what a step's source says, without comments, docstrings and layout."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import sys
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

# Bump when artifacts, ids or the order of records change in a way that code hashes do not see:
# the engine's own source is left out of every fingerprint.
FORMAT = 1

# Modules whose code never counts: the engine and the public names in front of it. What a step does lies elsewhere.
OUTSIDE = ("factory", "factory.errors", "factory.hookspecs", "factory.plugins", "factory.cli", "factory.engine")


def code_hash(function: Callable[..., Any]) -> str:
    """Hash of the module that defines `function` and of those of its own distribution that it imports, in turn.

    The plugin module that registers steps (a package's `__init__`) counts only for what the walk reaches.
    """
    module = function.__module__
    hasher = hashlib.blake2b(digest_size=8)
    for name in sorted(reached(module)):
        hasher.update(f"{name}\0{_spelled(_file_of(name))}\0".encode())
    return hasher.hexdigest()


@cache
def reached(module: str) -> frozenset[str]:
    """The module and every module of its own distribution that it imports, directly or not."""
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in found or name in OUTSIDE or name.startswith("factory.engine."):
            continue
        if name != module and _file_of(name) is None:
            continue
        found.add(name)
        todo += [other for other in imports(name) if other.split(".")[0] == module.split(".")[0]]
    return frozenset(found)


@cache
def imports(module: str) -> tuple[str, ...]:
    """Names of the modules that `module` imports anywhere in its source."""
    path = _file_of(module)
    if path is None:
        return ()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: dict[str, None] = {}
    for node in ast.walk(_parsed(path)):
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
def _file_of(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return Path(file) if file else None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


@cache
def _spelled(path: Path | None) -> str:
    """A file's tokens, joined so that f-strings read the same on every Python (3.12 cuts them into pieces)."""
    if path is None:
        return ""
    return "".join(_tokens(path))


def _tokens(path: Path) -> Iterator[str]:
    docstrings = set(_docstring_lines(_parsed(path)))
    plain = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
    marks = {tokenize.INDENT: "\1", tokenize.DEDENT: "\2", tokenize.NEWLINE: "\n"}
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type in plain or (token.type == tokenize.STRING and token.start[0] in docstrings):
            continue
        yield marks.get(token.type, token.string)


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    """The first lines of all docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                yield first.lineno
