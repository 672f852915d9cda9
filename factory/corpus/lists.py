"""Lists that a user brings: text files in UTF-8, one entry a line; blank lines and lines that begin with # are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from factory import InputError

T = TypeVar("T")


def read_list(path: Path, make: Callable[[Sequence[str]], T]) -> T:
    """What `make`, a function of its own name, makes of the entries; read and made again only when the file changes.

    Raises InputError when the list cannot be read, is not UTF-8 or has no entry, also when what is made is empty.
    """
    try:
        stat = path.stat()
        made: T = _made(path, make, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise InputError(f"the list {path.name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"the list {path.name} is not UTF-8") from None
    if not made:
        raise InputError(f"the list {path.name} has no entry")
    return made


@lru_cache(maxsize=64)
def _made(path: Path, make: Callable[[Sequence[str]], Any], changed: int, size: int) -> Any:
    lines = (line.strip() for line in path.read_text("utf-8-sig").splitlines())
    entries = [line for line in lines if line and not line.startswith("#")]
    return make(entries) if entries else None
