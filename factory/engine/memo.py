"""Finished items of `ctx.map` on disk. Arrays in them are mapped into memory when read, never copied."""

from __future__ import annotations

import mmap
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .store import temporary

ALIGN = 64  # bytes: a cache line, and what any array type asks for


@dataclass(frozen=True)
class Memo:
    """One result of `ctx.memos`, by path. It may be an argument of another `ctx.map` and costs nothing until loaded."""

    path: str
    key: str

    def load(self) -> Any:
        """The result. Its arrays are read-only views of the file, so memory is used for what is looked at."""
        return read_memo(Path(self.path))


def write_memo(path: Path, value: Any) -> None:
    """Pickle a value, the bytes of its arrays in a part of their own (PEP 574), under another name, then rename."""
    parts: list[pickle.PickleBuffer] = []
    plain = pickle.dumps(value, protocol=5, buffer_callback=parts.append)
    views = [part.raw() for part in parts]
    head = pickle.dumps([len(plain), [view.nbytes for view in views]])
    path.parent.mkdir(parents=True, exist_ok=True)
    other = temporary(path)
    with other.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head + plain)
        for view in views:
            file.write(bytes(-file.tell() % ALIGN))
            file.write(view)
    other.rename(path)


def read_memo(path: Path) -> Any:
    """What `write_memo` wrote."""
    with path.open("rb") as file:
        held = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    at = 8 + int.from_bytes(held[:8], "little")
    plain, sizes = pickle.loads(held[8:at])
    end = at + plain
    views = []
    for size in sizes:
        start = end + -end % ALIGN
        end = start + size
        views.append(held[start:end])
    return pickle.loads(held[at : at + plain], buffers=views)
