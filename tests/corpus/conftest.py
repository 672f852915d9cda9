"""A project folder, and a context whose runtime does everything in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from factory import Answer, Batch, Budget, Context, Dataset, Drop, Model, Record, Request, Shard, Text, digest
from factory.engine.memo import Memo, write_memo
from factory.engine.project import enter_project, project_root
from factory.engine.records import KEPT, RECORD_TYPES, columns
from factory.engine.schema import decode, encode, schema_of, shape_record
from factory.engine.source import Source, enter


class Inline:
    """The runtime's side of a context: maps in order, remembers what was reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sections: dict[str, str] = {}

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Memo]:
        found = []
        for item in items:
            path = self.folder / f"{len(list(self.folder.glob('*.memo')))}.memo"
            write_memo(path, function(item, *args))
            found.append(Memo(str(path), path.stem))
        return found

    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None, budget: Budget | None = None
    ) -> Iterator[Answer]:
        raise AssertionError("no step of this room asks a model")

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        raise AssertionError("no step of this room drops through the context")

    def log(self, step: int, metrics: dict[str, float]) -> None: ...

    def report(self, title: str, body: str) -> None:
        self.sections[title] = body

    def tell(self, done: int, total: int, note: str) -> None: ...


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """An empty project folder that paths are relative to."""
    before = project_root()
    enter_project(tmp_path)
    yield tmp_path
    enter_project(before)


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    return Context("a_step", 0, 1, tmp_path, tmp_path, Inline(tmp_path))


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Dataset[Any]]:
    """Records as a stored dataset of shards of `size`."""
    import pyarrow.parquet as pq

    def stored(records: Sequence[dict[str, Any]], kind: Any = Text, size: int = 3) -> Dataset[Any]:
        folder = tmp_path_factory.mktemp("store")
        schema = schema_of(kind)
        names = [name for name in schema.names if name not in ("id", "parents", "meta")]
        shards = []
        for start in range(0, len(records), size):
            path = folder / f"{start:06}.parquet"
            pq.write_table(encode([shape_record(r, names) for r in records[start : start + size]], schema), path)
            shards.append(Shard(str(path), digest(str(path))))
        return Dataset(shards, kind)

    return stored


@pytest.fixture
def documents(store: Callable[..., Dataset[Any]]) -> Callable[..., Dataset[Any]]:
    """Texts as a stored dataset; ids are d0, d1, …"""

    def stored(texts: Sequence[str], size: int = 3) -> Dataset[Any]:
        rows = [{"id": f"d{n}", "parents": [f"x.jsonl#{n}"], "text": t, "meta": {}} for n, t in enumerate(texts)]
        return store(rows, Text, size)

    return stored


@pytest.fixture
def read() -> Callable[[Source], list[tuple[str, Any]]]:
    """All rows of a source, piece by piece."""
    return lambda source: [row for piece in source.pieces() for row in source.rows(piece)]


@pytest.fixture
def entered(read: Callable[[Source], list[tuple[str, Any]]]) -> Callable[[Source], list[dict[str, Any]]]:
    """The records of a source as the engine takes them in; none may be dropped."""

    def records(source: Source) -> list[Record]:
        pairs = list(enter(source, iter(read(source))))
        assert [drop for _, drop in pairs if drop] == []
        return [record for record, _ in pairs]

    return records  # type: ignore[return-value]


@pytest.fixture(scope="session")
def through() -> Callable[..., Any]:
    """One record through a vectorised step: the record that comes out, or the Drop raised."""

    def apply(step: Any, record: dict[str, Any], **options: Any) -> dict[str, Any]:
        kind = next(kind for kind in RECORD_TYPES.values() if set(columns(kind)) == set(record) - set(KEPT))
        batch: Batch[Any] = Batch(encode([shape_record(record, columns(kind))], schema_of(kind)))
        made = step.function(batch, **options)
        for _, reason, (details,) in made.dropped:
            raise Drop(reason, **details)
        (row,) = decode(made.table)
        return {name: row[name] for name in record}

    return apply
