"""Records of one shard through the steps of a stage, portion by portion: as records, or as Arrow where steps take it.

A portion is a list of records or a table of the same columns. It changes form only where a step needs the other one, so
neighbouring vectorised steps, and what a global filter keeps, never become Python objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias

import pyarrow as pa

from ..errors import FactoryError, StepError, said
from .account import Account, Tally
from .batch import Batch
from .dataset import BATCH_ROWS
from .records import Drop
from .schema import decode, encode, fault, schema_of, shape_record
from .signals import Signals
from .step import Step

SHARD_BYTES = 64 << 20  # of Arrow columns: what a task reads may be larger, compressed or expanded

Portion: TypeAlias = list[Any] | pa.Table


def rows_of(portion: Portion) -> list[Any]:
    """The portion as records."""
    return portion if isinstance(portion, list) else list(decode(portion))


def table_of(portion: Portion, schema: pa.Schema, account: Account, tally: Tally) -> pa.Table:
    """The portion as a table of the declared columns; what cannot be encoded is dropped by the step that let it out."""
    if isinstance(portion, pa.Table):
        if portion.schema.equals(schema, check_metadata=True):
            return portion
        if portion.column_names == schema.names:
            return portion.cast(schema)
        portion = list(decode(portion))
    names = [name for name in schema.names if name not in ("id", "parents", "meta")]
    rows = [shape_record(record, names) for record in portion]
    table = encoded(rows, schema, account, tally)
    tally.out -= len(rows) - len(table)
    return table


def to_table(records: Iterable[Any], schema: pa.Schema, account: Account, tally: Tally) -> pa.Table:
    """Records as one table, kept in the account; what cannot be encoded is dropped."""
    iterator = iter(records)
    tables = list(leaving(iter(lambda: list(islice(iterator, BATCH_ROWS)), []), schema, account, tally))
    return pa.concat_tables(tables) if tables else schema.empty_table()


def leaving(portions: Iterator[Portion], schema: pa.Schema, account: Account, tally: Tally) -> Iterator[pa.Table]:
    """What leaves a stage, kept in the account."""
    for portion in portions:
        table = table_of(portion, schema, account, tally)
        account.keep(table.column("id").to_pylist())
        yield table


def in_shards(tables: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables joined up to the size of a shard: at least one, and only that one may be empty."""
    held: list[pa.Table] = []
    size = 0
    written = False
    for table in tables:
        held.append(table)
        size += table.nbytes
        if size >= SHARD_BYTES:
            yield pa.concat_tables(held)
            held, size, written = [], 0, True
    joined = pa.concat_tables(held) if held else schema.empty_table()
    if len(joined) or not written:
        yield joined


def encoded(rows: list[Any], schema: pa.Schema, account: Account, tally: Tally) -> pa.Table:
    """Shaped records as a table; those that cannot be encoded are dropped."""
    try:
        if any(record[name] is None for record in rows for name in schema.names):
            raise ValueError("a column is empty")
        return encode(rows, schema)
    except (TypeError, ValueError, OverflowError, pa.ArrowException):
        good = []
        for record in rows:
            if why := fault(record, schema):
                account.drop(tally, record, Drop("cannot be encoded", error=why))
            else:
                good.append(record)
        return encode(good, schema)


def guarded(step: Step, act: Callable[..., Any], record: Any, *args: Any, **options: Any) -> Any:
    """act(record, …), where every error but a Drop becomes a sentence that names the record."""
    try:
        return act(*(args or (record,)), **options)
    except (Drop, FactoryError):
        raise
    except Exception as error:
        raise StepError(f"{step.name} failed on {named(record)}: {said(error)}") from error


def named(record: Mapping[str, Any]) -> str:
    """A record as a sentence names it: its id, and its place where that is known."""
    place = next(iter(record.get("parents") or [""]))
    return f"record {record['id']}" + (f" from {place}" if "#" in place or "/" in place else "")


def chosen(portion: Portion, at: list[int]) -> Portion:
    """The rows at these places, in the form they are in."""
    if isinstance(portion, pa.Table):
        return portion.take(pa.array(at, pa.int64()))
    return [portion[i] for i in at]


def sifted(portions: Iterator[Portion], drops: Mapping[str, Drop], account: Account, tally: Tally) -> Iterator[Portion]:
    """Without the records that a global filter named."""
    for portion in portions:
        rows = isinstance(portion, list)
        ids = [record["id"] for record in portion] if rows else portion.column("id").to_pylist()  # type: ignore[union-attr]
        tally.incoming += len(ids)
        left = [at for at, name in enumerate(ids) if name not in drops]
        tally.out += len(left)
        if len(left) < len(ids):
            gone = sorted(set(range(len(ids))).difference(left))
            for record in rows_of(chosen(portion, gone)):  # few, and each with a reason of its own
                account.drop(tally, record, drops[record["id"]])
            portion = chosen(portion, left)
        yield portion


def filtered(
    step: Step, portions: Iterator[Portion], account: Account, tally: Tally, options: dict[str, Any]
) -> Iterator[Portion]:
    for portion in portions:
        rows = rows_of(portion)
        kept = []
        for at, record in enumerate(rows):
            tally.incoming += 1
            try:
                if not guarded(step, step.function, record, **options):
                    raise Drop(step.name)
            except Drop as reason:
                account.drop(tally, record, reason)
                continue
            kept.append(at)
        tally.out += len(kept)
        yield portion if len(kept) == len(rows) else chosen(portion, kept)  # in the form it came: a filter adds nothing


def mapped(
    step: Step, portions: Iterator[Portion], account: Account, tally: Tally, options: dict[str, Any]
) -> Iterator[Portion]:
    """Maps keep the record's id and parents."""
    for portion in portions:
        made = []
        for record in rows_of(portion):
            tally.incoming += 1
            try:
                changed = guarded(step, lambda one, **options: dict(step.function(one, **options)), record, **options)
            except Drop as reason:
                account.drop(tally, record, reason)
                continue
            tally.out += 1
            made.append({"meta": record["meta"], **changed, "id": record["id"], "parents": record["parents"]})
        yield made


def expanded(
    step: Step, portions: Iterator[Portion], account: Account, tally: Tally, options: dict[str, Any]
) -> Iterator[Portion]:
    """Flat maps make children whose parent is the record; a record without children is dropped."""
    made: list[Any] = []
    for record in (record for portion in portions for record in rows_of(portion)):
        tally.incoming += 1
        before = len(account.dropped)
        try:
            children = guarded(
                step, lambda one, **options: [dict(child) for child in step.function(one, **options)], record, **options
            )
            if not children and len(account.dropped) == before:
                raise Drop("nothing made")
        except Drop as reason:
            account.drop(tally, record, reason)
            continue
        if record["id"] in account.gone:
            continue
        tally.parted += 1
        tally.made += len(children)
        tally.out += len(children)
        for child in children:
            fields = {key: value for key, value in child.items() if key != "id"}
            made.append(account.identify({"meta": record["meta"], **fields, "parents": [record["id"]]}, step.name))
        if len(made) >= BATCH_ROWS:
            yield made
            made = []
    yield made


def vectorised(
    step: Step, portions: Iterator[Portion], account: Account, tally: Tally, options: dict[str, Any],
    kind: Any, batches: Batches,
) -> Iterator[Portion]:  # fmt: skip
    """Batches of Arrow columns through a step; rows it drops keep their details."""
    schema = schema_of(kind)
    for portion in portions:
        tally.incoming += len(portion)
        before = tally.out
        table = table_of(portion, schema, account, tally)
        tally.out = before  # what could not be encoded never came out
        if not len(table):
            continue
        first = {"id": table["id"][0].as_py(), "parents": table["parents"][0].as_py()}
        result = guarded(step, step.function, first, batches.batch(table), **options)
        for gone, reason, details in result.dropped:
            account.drop_table(tally, gone, reason, details)
        tally.out += len(result)
        yield batches.remember(result)


class Batches:
    """Tables as batches. One that a vectorised step gave goes to the next with what was measured on it."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self.latest: Batch[Any] | None = None

    def batch(self, table: pa.Table) -> Batch[Any]:
        if self.latest is not None and self.latest.table is table:
            batch, self.latest = self.latest, None
            batch.dropped = []
            return batch
        return Batch(table, self.signals)

    def remember(self, batch: Batch[Any]) -> pa.Table:
        self.latest = batch
        return batch.table
