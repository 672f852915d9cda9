"""Records of a dataset in any order, in the memory of a few of them: two passes over the shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import Record, Shard

if TYPE_CHECKING:
    import numpy as np

RUN = 64 << 20  # Arrow bytes of the records that are in memory together
MOST_RUNS = 256  # files open together; beyond 16 GB the runs grow instead


def arranged(shards: Sequence[Shard], order: np.ndarray[Any, Any], folder: Path) -> Iterator[Record]:
    """The records with the row numbers `order`, in that order; a row may come more than once.

    order   [n] rows, counted from 0 through all shards
    folder  for the files between the passes, which take as much disk as the records; each is removed when it is read

    The first pass copies every record into the file of each run of the order that it belongs to, the second reads one
    run at a time. Cost: the dataset read once, each output record written once and read once.
    """
    import numpy as np

    if not len(order):
        return
    counts = [len(shard.ids()) for shard in shards]
    total = sum(shard.table().nbytes for shard in shards)
    runs = min(MOST_RUNS, len(order), 1 + int(total * len(order) / max(1, sum(counts))) // RUN)
    parts = np.array_split(order, runs)
    needed = [np.unique(part) for part in parts]
    folder.mkdir(parents=True, exist_ok=True)
    files = _scattered(shards, counts, needed, folder)
    for part, rows, paths in zip(parts, needed, files, strict=True):
        records = [record for path in paths for record in Shard(str(path), "").records()]
        for at in np.searchsorted(rows, part).tolist():
            yield records[at]
        for path in paths:
            path.unlink()


def _scattered(
    shards: Sequence[Shard], counts: Sequence[int], needed: Sequence[np.ndarray[Any, Any]], folder: Path
) -> list[list[Path]]:
    """For each run the files that hold its rows, ascending: one file for each neighbourhood of shards of one schema."""
    import numpy as np
    import pyarrow.parquet as pq

    files: list[list[Path]] = [[] for _ in needed]
    writers: dict[int, Any] = {}
    schema, first = None, 0
    try:
        for number, (shard, count) in enumerate(zip(shards, counts, strict=True)):
            table = shard.table()
            if table.schema != schema:
                _close(writers)
                schema = table.schema
            for run, rows in enumerate(needed):
                begin, end = np.searchsorted(rows, (first, first + count))
                if begin == end:
                    continue
                if run not in writers:
                    files[run].append(folder / f"run-{run:03}-{number:06}.parquet")
                    writers[run] = pq.ParquetWriter(files[run][-1], schema)
                writers[run].write_table(table.take(rows[begin:end] - first))
            first += count
    finally:
        _close(writers)
    return files


def _close(writers: dict[int, Any]) -> None:
    for writer in writers.values():
        writer.close()
    writers.clear()
