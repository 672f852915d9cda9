"""Numba's compiler for kernels, with what it compiled kept in the user's cache until a kernel's source changes.

Numba itself looks only at the file a kernel stands in, and would go on using code that it had inlined from another file
before that one was edited.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def _cache_folder() -> str:
    """`$FACTORY_CACHE/kernels/HASH`, the hash over all sources with kernels, which may call each other."""
    found = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(__file__).parents[1].glob("*/*.py")):  # 5 ms
        if b"njit" in (source := path.read_bytes()):
            found.update(source)
    cache = Path(os.environ.get("FACTORY_CACHE") or "~/.cache/dataset-factory").expanduser()
    return str(cache / "kernels" / found.hexdigest())


if not os.environ.get("NUMBA_CACHE_DIR"):
    numba.config.CACHE_DIR = _cache_folder()


def njit(**options: Any) -> Callable[[F], F]:
    """`numba.njit`, typed."""
    return cast("Callable[[F], F]", numba.njit(**options))
