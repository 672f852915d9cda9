"""What runs inside a worker: one shard through the steps of a stage. Plain functions over plain data."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from ..errors import FactoryError, StepError, said
from ..plugins import get_step, load_plugins, open_uri
from .account import Account, Tally
from .context import Context
from .dataset import BATCH_ROWS, Batch, Shard
from .options import options_of
from .project import enter_project
from .recipe import Call
from .records import KEPT, RECORD_TYPES, Drop, Record, columns, declare_type
from .schema import decode, encode, faults, schema_of, shape_record
from .source import Piece, enter
from .step import Kind, Step
from .store import write_atomic, write_table

PORTION_CHARACTERS = 1 << 23  # checked at once when reading; a portion is at least one row, however long


@dataclass(frozen=True)
class Setup:
    """What a fresh process needs to know before it can do anything."""

    project: Path
    plugins: Path


def remote(setup: Setup, packed: bytes) -> Any:
    """Run packed (module, function, arguments) in a process that may not have loaded the plugins yet."""
    enter_project(setup.project)
    load_plugins(setup.plugins)
    module, name, args = pickle.loads(packed)
    return getattr(import_module(module), name)(*args)


@dataclass(frozen=True)
class Task:
    """One shard of a per-shard stage. Large things are named by path."""

    calls: tuple[Call, ...]
    label: str
    takes: str  # record type that comes in
    gives: str  # record type that goes out
    shard: Shard | None = None
    uri: str = ""  # or pieces of a source
    pieces: tuple[Piece, ...] = ()
    limit: int | None = None
    forgotten: frozenset[str] = frozenset()
    drops: str = ""  # a JSON file, id -> [reason, details], from the global filter that heads the stage
    objects: dict[str, Any] = field(default_factory=dict)  # names in the options -> Model or Dataset
    seed: int = 0
    threads: int = 2


def run_task(task: Task, stem: Path) -> dict[str, Any]:
    """Read a shard, pass it through every call, write what is left and what was dropped; counts come last."""
    account = Account(task.label)
    if task.shard is None:
        declare_type(_open_source(task.uri).kind)
    records = _stored(task.shard, account) if task.shard is not None else _read(task, account, account.line("read"))
    kind = RECORD_TYPES.get(task.takes, Record)
    for call in task.calls:
        step = get_step(call.step)
        tally = account.line(step.name)
        records = _through(step, call, records, kind, task, account, tally)
        kind = step.turns(kind)
    last = account.tallies[-1] if account.tallies else account.line("gather")
    if not task.calls and task.shard is not None:
        records = _counted(records, last)
    table = to_table(records, schema_of(RECORD_TYPES.get(task.gives, Record)), account, last)
    counts = account.close()
    key = write_table(stem.with_suffix(".parquet"), table)
    write_table(stem.with_suffix(".dropped.parquet"), account.dropped_table())
    note = {"key": key, "records": table.num_rows, **counts}
    write_atomic(stem.with_suffix(".json"), orjson.dumps(note, option=orjson.OPT_SORT_KEYS))
    return note


@lru_cache(maxsize=8)
def _open_source(uri: str) -> Any:
    return open_uri("dataset", uri)


def _stored(shard: Shard, account: Account) -> Iterator[Any]:
    renumbered = shard.renumbered()
    for record in shard.records():
        yield account.arrive(record, stored=record["id"] not in renumbered)


def _counted(records: Iterator[Any], tally: Tally) -> Iterator[Any]:
    for record in records:
        tally.incoming += 1
        tally.out += 1
        yield record


def _read(task: Task, account: Account, tally: Tally) -> Iterator[Any]:
    """The records that come in; rows of a source that cannot be read are dropped here."""
    source = _open_source(task.uri)
    names, schema = columns(source.kind), schema_of(source.kind)
    rows = (row for piece in task.pieces for row in source.rows(piece))
    for portion in _portions(islice(enter(source, rows), task.limit)):
        whole = [shape_record(record, names) for record, problem in portion if problem is None]
        found = iter(faults(whole, schema))
        for record, problem in portion:
            tally.incoming += 1
            if problem is None and (why := next(found)):
                problem = Drop("cannot be encoded", error=why)
            if record["id"] in task.forgotten:
                problem = Drop("forgotten")
                record = {"id": record["id"], "parents": record["parents"], "meta": {}}
            account.arrive(record, stored=False)
            if problem is not None:
                account.drop(tally, record, problem)
            else:
                tally.out += 1
                yield record


def _portions(rows: Iterator[tuple[Any, Drop | None]]) -> Iterator[list[tuple[Any, Drop | None]]]:
    """Rows in portions that are small in number and in characters, however long a single one is."""
    portion: list[tuple[Any, Drop | None]] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += sum(len(value) for value in row[0].values() if isinstance(value, str))
        if len(portion) >= BATCH_ROWS or size > PORTION_CHARACTERS:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def to_table(records: Iterable[Any], schema: pa.Schema, account: Account, tally: Tally) -> pa.Table:
    """Records as a table of the declared columns; what cannot be encoded is dropped by the step that let it out."""
    names = [name for name in schema.names if name not in KEPT]
    tables = []
    iterator = iter(records)
    while chunk := [shape_record(record, names) for record in islice(iterator, BATCH_ROWS)]:
        came = len(chunk)
        chunk, table = _encoded(chunk, schema, account, tally)
        tally.out -= came - len(chunk)
        tables.append(table)
        for record in chunk:
            account.keep(record)
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _encoded(chunk: list[Any], schema: pa.Schema, account: Account, tally: Tally) -> tuple[list[Any], pa.Table]:
    """The shaped records that can be encoded, and their table; the others are dropped."""
    try:
        if any(record[name] is None for record in chunk for name in schema.names):
            raise ValueError("a column is empty")
        return chunk, encode(chunk, schema)
    except (TypeError, ValueError, OverflowError, pa.ArrowException):
        good = []
        for record, why in zip(chunk, faults(chunk, schema), strict=True):
            if why:
                account.drop(tally, record, Drop("cannot be encoded", error=why))
            else:
                good.append(record)
        return good, encode(good, schema)


class TaskRuntime:
    """The engine's side of a per-shard step's context: it may drop and draw, not ask or map."""

    def __init__(self, account: Account, tally: Tally) -> None:
        self.account, self.tally = account, tally

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.account.drop(self.tally, record, Drop(reason, **details))

    def __getattr__(self, name: str) -> Any:
        raise StepError(f"{self.tally.name}: a step that sees one record at a time has no ctx.{name}; make it a stream")


def _through(
    step: Step, call: Call, records: Iterator[Any], kind: Any, task: Task, account: Account, tally: Tally
) -> Iterator[Any]:
    """One step over the records of a shard, which are of type `kind`."""
    if step.kind is Kind.GLOBAL_FILTER:
        drops = {key: Drop(reason, **more) for key, (reason, more) in _load_drops(task.drops).items()}
        return _filtered(step, records, account, tally, lambda record: _not_in(drops, record))
    options = options_of(step, call, task.objects)
    if step.context:
        runtime: Any = TaskRuntime(account, tally)
        options[step.context] = Context(step.name, task.seed, task.threads, Path(), Path(), runtime)
    if step.kind is Kind.VECTORISED:
        return _vectorised(step, options, records, kind, account, tally)
    if step.kind is Kind.FILTER:
        return _filtered(step, records, account, tally, lambda record: bool(step.function(record, **options)))
    if step.kind is Kind.MAP:
        return _mapped(step, options, records, account, tally)
    return _expanded(step, options, records, account, tally)


def _load_drops(path: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(Path(path).read_bytes()) if path else {}
    return found


def _not_in(drops: Mapping[str, Drop], record: Any) -> bool:
    if record["id"] in drops:
        raise drops[record["id"]]
    return True


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


def _filtered(
    step: Step, records: Iterator[Any], account: Account, tally: Tally, keep: Callable[[Any], bool]
) -> Iterator[Any]:
    for record in records:
        tally.incoming += 1
        try:
            if not guarded(step, keep, record):
                raise Drop(step.name)
        except Drop as reason:
            account.drop(tally, record, reason)
            continue
        tally.out += 1
        yield record


def _mapped(
    step: Step, options: dict[str, Any], records: Iterator[Any], account: Account, tally: Tally
) -> Iterator[Any]:
    """Maps keep the record's id and parents."""
    for record in records:
        tally.incoming += 1
        try:
            changed = guarded(step, lambda one, **options: dict(step.function(one, **options)), record, **options)
        except Drop as reason:
            account.drop(tally, record, reason)
            continue
        tally.out += 1
        yield {"meta": record["meta"], **changed, "id": record["id"], "parents": record["parents"]}


def _expanded(
    step: Step, options: dict[str, Any], records: Iterator[Any], account: Account, tally: Tally
) -> Iterator[Any]:
    """Flat maps make children whose parent is the record; a record without children is dropped."""
    for record in records:
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
        for child in children:
            tally.made += 1
            tally.out += 1
            fields = {key: value for key, value in child.items() if key != "id"}
            yield account.identify({"meta": record["meta"], **fields, "parents": [record["id"]]}, step.name)


def _vectorised(
    step: Step, options: dict[str, Any], records: Iterator[Any], kind: Any, account: Account, tally: Tally
) -> Iterator[Any]:
    """Batches of Arrow columns through a step; rows it drops keep their details."""
    schema, names = schema_of(kind), columns(kind)
    while chunk := list(islice(records, BATCH_ROWS)):
        tally.incoming += len(chunk)
        chunk, table = _encoded([shape_record(record, names) for record in chunk], schema, account, tally)
        if not chunk:
            continue
        batch: Batch[Any] = Batch(table)
        result = guarded(step, step.function, chunk[0], batch, **options)
        for table, reason, details in result.dropped:
            for record, more in zip(decode(table), details, strict=True):
                account.drop(tally, record, Drop(reason, **more))
        tally.out += len(result)
        yield from decode(result.table)


def run_memo(module: str, name: str, item: Any, args: tuple[Any, ...], path: Path) -> None:
    """One item of a `ctx.map`: the result goes to a file, so that it travels by path."""
    result = getattr(import_module(module), name)(item, *args)
    write_atomic(path, pickle.dumps(result, protocol=5))
