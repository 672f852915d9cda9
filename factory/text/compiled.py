"""Numba's compiler for kernels, with what it compiled kept in the user's cache until a kernel's source changes.

Numba itself looks only at the file a kernel stands in, and would go on using code that it had inlined from another file
before that one was edited.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numba
from numba import njit


def _cache_folder() -> str:
    """`$FACTORY_CACHE/kernels/HASH`, the hash over this folder's sources: all that kernels import from each other."""
    found = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    cache = Path(os.environ.get("FACTORY_CACHE") or "~/.cache/dataset-factory").expanduser()
    return str(cache / "kernels" / found.hexdigest())


if not os.environ.get("NUMBA_CACHE_DIR"):
    numba.config.CACHE_DIR = _cache_folder()

__all__ = ["njit"]
