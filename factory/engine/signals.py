"""Signals: the numbers that rules look at, kept for each shard beside its tasks. Another threshold measures none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .fingerprint import code_hash
from .records import digest, to_json
from .store import write_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..text.column import TextColumn

    Numbers = dict[str, NDArray[Any]]

TEXT = "text"  # the column that holds each text's 64-bit hash


class Signals:
    """What was measured on the texts of one shard: one Parquet file for each function and its options.

    folder  where they lie; without one, numbers live as long as this object
    shard   what the shard is known by
    """

    def __init__(self, folder: Path | None = None, shard: str = "") -> None:
        self.folder, self.shard = folder, shard
        self.measured = 0  # texts that were not known
        self._keys: dict[tuple[Callable[..., Numbers], str], str] = {}
        self._known: dict[str, Numbers] = {}  # as read, sorted by hash
        self._fresh: dict[str, list[Numbers]] = {}
        self._latest: dict[str, tuple[TextColumn, Numbers]] = {}  # several rules ask for one batch

    def measure(self, function: Callable[..., Numbers], options: dict[str, Any], texts: TextColumn) -> Numbers:
        """`function(texts, **options)`, or what it gave when it saw these texts in this shard before."""
        key = self._key(function, options)
        if key in self._latest and self._latest[key][0] is texts:
            return self._latest[key][1]
        found = self._find(key, texts)
        if found is None:
            found = function(texts, **options)
            self.measured += len(texts)
            self._fresh.setdefault(key, []).append({TEXT: texts.identities, **found})
        self._latest[key] = texts, found
        return found

    def _key(self, function: Callable[..., Numbers], options: dict[str, Any]) -> str:
        called = (function, to_json(options))
        if called not in self._keys:
            name = f"{function.__module__}.{function.__qualname__}"
            self._keys[called] = digest([self.shard, name, code_hash(function), options], 12)
        return self._keys[called]

    def _find(self, key: str, texts: TextColumn) -> Numbers | None:
        """The stored numbers of these texts, if every one is known."""
        if self.folder is None:
            return None
        if key not in self._known:
            path = self._path(key)
            table = pq.read_table(path) if path.exists() else None
            self._known[key] = {} if table is None else {name: table[name].to_numpy() for name in table.column_names}
        known = self._known[key]
        if not known or not len(known[TEXT]):
            return None
        at = np.minimum(np.searchsorted(known[TEXT], texts.identities), len(known[TEXT]) - 1)
        if not np.array_equal(known[TEXT][at], texts.identities):
            return None
        return {name: values[at] for name, values in known.items() if name != TEXT}

    def save(self) -> list[str]:
        """Write what is new beside what was known; the keys of all that were asked for."""
        for key, parts in self._fresh.items():
            if self.folder is None:
                break
            parts = [self._known[key], *parts] if self._known.get(key) else parts
            joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[-1]}
            _, first = np.unique(joined[TEXT], return_index=True)  # sorted, each text once
            write_table(self._path(key), pa.table({name: values[first] for name, values in joined.items()}))
        return sorted(set(self._known) | set(self._fresh))

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.parquet"
