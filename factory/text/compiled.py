"""Numba's compiler for kernels, with what it compiled kept in the user's cache until a source that counts changes.

Numba itself looks only at the file a kernel stands in, and would go on using code that it had inlined from another file
before that one was edited; and it compiles again in every checkout. Here what was compiled lies under a hash over the
kernel's file and all that this imports, so that checkouts share it, and an edit costs the kernels that it touches.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import types
from numba.core.caching import UserProvidedCacheLocator

F = TypeVar("F", bound=Callable[..., Any])

PACKAGE = Path(__file__).parents[1]
KERNELS: list[Any] = []  # every dispatcher that keeps what it compiles, in the order of definition

_IMPORT = re.compile(rb"^from (\.+|factory\.)([\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    """The package's files that a module imports at its top, where kernels see what they use."""
    found: set[Path] = set()
    for start, dotted, names in _IMPORT.findall(path.read_bytes()):
        folder = PACKAGE if start == b"factory." else path.parents[len(start) - 1]
        module = folder.joinpath(*dotted.decode().split("."))
        inner = [module / name for name in re.findall(r"\w+", names.decode())] if module.is_dir() else []
        found.update(file for one in (module, *inner) if (file := one.with_suffix(".py")).is_file())
    return tuple(sorted(found))


@cache
def source_hash(path: Path) -> str:
    """Of a module with all that it imports, and with what these import."""
    files, waiting = {path}, [path]
    while waiting:
        new = set(_imports(waiting.pop())) - files
        files |= new
        waiting += new
    found = hashlib.blake2b(digest_size=8)
    for file in sorted(files):
        found.update(file.read_bytes())
    return found.hexdigest()


class BySource(UserProvidedCacheLocator):  # type: ignore[misc]
    """`$FACTORY_CACHE/kernels/MODULE-HASH`; numba adds the processor, its own version and Python's to the key."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._lineno = function.__code__.co_firstlineno
        self.hash = source_hash(Path(file))
        folder = Path(os.environ.get("FACTORY_CACHE") or "~/.cache/dataset-factory").expanduser()
        self._cache_path = str(folder / "kernels" / f"{Path(file).stem}-{self.hash}")

    def get_source_stamp(self) -> str:
        return self.hash

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> BySource | None:
        """None where the folder cannot be written; numba then keeps code where it would by itself."""
        found = cls(function, file)
        try:
            found.ensure_cache_path()
        except OSError:
            return None
        return found


def njit(**options: Any) -> Callable[[F], F]:
    """`numba.njit`, typed, keeping code as above unless `$NUMBA_CACHE_DIR` is set.

    Called from another kernel with a variable that begins as a plain number (`found = 0`), numba would compile a kernel
    twice: for that number, which is then not used, and for any.
    """

    def compiled(function: F) -> F:
        before = numba.config.CACHE_LOCATOR_CLASSES
        if not (before or numba.config.CACHE_DIR):
            ways = ("InTreeCacheLocator", "UserWideCacheLocator", "IPythonCacheLocator", "ZipCacheLocator")
            numba.config.CACHE_LOCATOR_CLASSES = ",".join((f"{__name__}.BySource", *ways))
        try:
            dispatcher = numba.njit(**options)(function)
        finally:
            numba.config.CACHE_LOCATOR_CLASSES = before
        if options.get("cache") and "inline" not in options:
            KERNELS.append(dispatcher)
        template = dispatcher.get_call_template
        dispatcher.get_call_template = lambda args, kws: template(
            [_any_number(one) for one in args], {name: _any_number(one) for name, one in kws.items()}
        )
        return cast("F", dispatcher)

    return compiled


def _any_number(given: Any) -> Any:
    """The type of all integers for that of one."""
    return types.unliteral(given) if isinstance(given, types.IntegerLiteral) else given
