"""Datasets: ordered lists of shards of records. They travel as paths, never as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from . import records as _records
from .records import Drops, digest
from .schema import decode, schema_of

if TYPE_CHECKING:
    import datasets

R = TypeVar("R")
BATCH_ROWS = 1024

__all__ = ["Dataset", "Drops", "Shard"]


@dataclass(frozen=True)
class Shard:
    """One Parquet file of records. `key` is fixed by what the file was made from.

    `again` names a JSON file of ids that this shard shares with an earlier branch; they are renumbered on reading.
    """

    path: str
    key: str
    again: str = ""

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """The stored columns; ids met twice through two branches are already renumbered."""
        table = pq.read_table(self.path, columns=columns, memory_map=True)
        if self.again and "id" in table.column_names:
            table = _renumber(table, self._twice(), self.salt)
        return table

    def records(self) -> Iterator[Any]:
        """The records of this shard, a row group at a time, so memory stays bounded."""
        for table in self.tables():
            yield from decode(table)

    def tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The stored columns in tables of at most 1,024 rows, ids renumbered."""
        twice = self._twice() if self.again else set()
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                table = pa.Table.from_batches([batch])
                yield _renumber(table, twice, self.salt) if twice and "id" in table.column_names else table

    def renumbered(self) -> frozenset[str]:
        """The ids that records have in this shard only; in the store such a record has the id of its one parent."""
        return frozenset(_numbered(i, self.salt) for i in self._twice()) if self.again else frozenset()

    @property
    def salt(self) -> str:
        return Path(self.again).stem

    def _twice(self) -> set[str]:
        return set(orjson.loads(Path(self.again).read_bytes()))

    def ids(self) -> list[str]:
        return cast("list[str]", self.table(["id"]).column("id").to_pylist())


def _numbered(record_id: str, salt: str) -> str:
    return digest([salt, record_id])


def _renumber(table: pa.Table, twice: set[str], salt: str) -> pa.Table:
    """Give ids in `twice` a new id whose parent is the old one."""
    ids = table.column("id").to_pylist()
    table = table.set_column(
        table.column_names.index("id"), "id", pa.array([_numbered(i, salt) if i in twice else i for i in ids])
    )
    if "parents" in table.column_names:
        parents = table.column("parents").to_pylist()
        fixed = [[i] if i in twice else p for i, p in zip(ids, parents, strict=True)]
        at = table.column_names.index("parents")
        table = table.set_column(at, "parents", pa.array(fixed, pa.list_(pa.string())))
    return table


class Dataset(Generic[R]):
    """An ordered list of shards of records of one type. Iterate it for records.

    `parts` maps the names in `from:` to the datasets they are; `kind` is the record type.
    """

    def __init__(self, shards: list[Shard], kind: Any = _records.Record, parts: Mapping[str, Dataset[R]] | None = None):
        self.shards = shards
        self.kind = kind
        self.parts: dict[str, Dataset[R]] = dict(parts or {})

    def __iter__(self) -> Iterator[R]:
        for shard in self.shards:
            yield from shard.records()

    def __len__(self) -> int:
        """Number of records, read from the Parquet footers."""
        return sum(pq.read_metadata(shard.path).num_rows for shard in self.shards)

    def __repr__(self) -> str:
        return f"Dataset[{self.kind.__name__}] of {len(self):,} records in {len(self.shards)} shards"

    @property
    def identity(self) -> list[str]:
        """What the content of this dataset is known by: its shards' keys, in order."""
        return [f"{shard.key}{'+' if shard.again else ''}" for shard in self.shards]

    def to_hf(self) -> datasets.Dataset:
        """A `datasets.Dataset` over the same Parquet files; `meta` stays a JSON column."""
        import datasets

        if not self.shards:
            return datasets.Dataset(schema_of(self.kind).empty_table())
        tables = [shard.table() for shard in self.shards]
        return datasets.Dataset(pa.concat_tables(tables).replace_schema_metadata(None))
