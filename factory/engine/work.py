"""What runs inside a worker: one shard through the steps of a stage. Plain functions over plain data."""

from __future__ import annotations

import contextlib
import gc
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from ..errors import StepError
from ..plugins import get_step, load_plugins, open_uri
from .account import Account, Tally
from .context import Context
from .dataset import BATCH_ROWS, Shard
from .flow import Batches, Portion, encoded, expanded, filtered, in_shards, leaving, mapped, sifted, vectorised
from .memo import write_memo
from .options import options_of
from .project import enter_project, project_root
from .recipe import Call
from .records import RECORD_TYPES, Drop, Record, columns, declare_type
from .schema import schema_of, shape_record
from .signals import Signals
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
    signals: str = ""  # the folder of what was measured on texts; nothing is kept without
    known_by: str = ""  # what the shard, or the pieces, are known by there


@contextlib.contextmanager
def _rarely_collected() -> Iterator[None]:
    """Python's cycle collector looks again and again at all records alive, which are no cycles: 5 % of a build."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_rarely_collected()
def run_task(task: Task, stem: Path) -> dict[str, Any]:
    """Read a shard, pass it through every call, write what is left and what was dropped; counts come last."""
    account = Account(task.label)
    signals = Signals(Path(task.signals) if task.signals else None, task.known_by)
    if task.shard is None:
        declare_type(_open_source(task.uri).kind)
        portions = _read(task, account, account.line("read"))
    else:
        portions = _stored(task.shard, account)
    kind = RECORD_TYPES.get(task.takes, Record)
    batches = Batches(signals)
    for call in task.calls:
        step = get_step(call.step)
        portions = _through(step, call, portions, kind, task, account, batches)
        kind = step.turns(kind)
    if not account.tallies:
        portions = _counted(portions, account.line("gather"))
    schema = schema_of(RECORD_TYPES.get(task.gives, Record))
    shards: list[dict[str, Any]] = []
    for table in in_shards(leaving(portions, schema, account, account.tallies[-1]), schema):
        key = write_table(stem.with_suffix(f".{len(shards):05d}.parquet"), table)
        shards.append({"key": key, "records": table.num_rows})
    counts = account.close()
    write_table(stem.with_suffix(".dropped.parquet"), account.dropped_table())
    measured = {"signals": signals.save(), "measured": signals.measured}
    note = {"shards": shards, **counts, **measured}
    write_atomic(stem.with_suffix(".json"), orjson.dumps(note, option=orjson.OPT_SORT_KEYS))
    return note


def _open_source(uri: str) -> Any:
    return _opened(uri, project_root())


@lru_cache(maxsize=8)
def _opened(uri: str, project: Path) -> Any:
    """A source means another thing in another project, which one process may build after the first."""
    return open_uri("dataset", uri)


def _stored(shard: Shard, account: Account) -> Iterator[Portion]:
    renumbered = shard.renumbered()
    for table in shard.tables():
        ids = table.column("id").to_pylist()
        account.inputs.update(ids)
        if renumbered:
            parents = table.column("parents").to_pylist()
            account.places.update((i, p) for i, p in zip(ids, parents, strict=True) if i in renumbered)
        yield table


def _counted(portions: Iterator[Portion], tally: Tally) -> Iterator[Portion]:
    for portion in portions:
        tally.incoming += len(portion)
        tally.out += len(portion)
        yield portion


def _read(task: Task, account: Account, tally: Tally) -> Iterator[Portion]:
    """The records that come in; rows of a source that cannot be read are dropped here."""
    source = _open_source(task.uri)
    names, schema = columns(source.kind), schema_of(source.kind)
    rows = (row for piece in task.pieces for row in source.rows(piece))
    for portion in _portions(islice(enter(source, rows), task.limit)):
        whole = []
        for record, problem in portion:
            tally.incoming += 1
            if record["id"] in task.forgotten:
                problem = Drop("forgotten")
                record = {"id": record["id"], "parents": record["parents"], "meta": {}}
            account.arrive(record, stored=False)
            if problem is not None:
                account.drop(tally, record, problem)
            else:
                whole.append(shape_record(record, names))
        table = encoded(whole, schema, account, tally)
        tally.out += len(table)
        yield table


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


class TaskRuntime:
    """The engine's side of a per-shard step's context: it may drop and draw, not ask or map."""

    def __init__(self, account: Account, tally: Tally) -> None:
        self.account, self.tally = account, tally

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.account.drop(self.tally, record, Drop(reason, **details))

    def __getattr__(self, name: str) -> Any:
        raise StepError(f"{self.tally.name}: a step that sees one record at a time has no ctx.{name}; make it a stream")


def _through(
    step: Step, call: Call, portions: Iterator[Portion], kind: Any, task: Task, account: Account, batches: Batches
) -> Iterator[Portion]:
    """One step over the portions of a shard, whose records are of type `kind`."""
    tally = account.line(step.name)
    if step.kind is Kind.GLOBAL_FILTER:
        drops = {key: Drop(reason, **more) for key, (reason, more) in _load_drops(task.drops).items()}
        return sifted(portions, drops, account, tally)
    options = options_of(step, call, task.objects)
    if step.context:
        runtime: Any = TaskRuntime(account, tally)
        options[step.context] = Context(step.name, task.seed, task.threads, Path(), Path(), runtime)
    if step.kind is Kind.VECTORISED:
        return vectorised(step, portions, account, tally, options, kind, batches)
    each = {Kind.FILTER: filtered, Kind.MAP: mapped}.get(step.kind, expanded)
    return each(step, portions, account, tally, options)


def _load_drops(path: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(Path(path).read_bytes()) if path else {}
    return found


def run_memo(module: str, name: str, item: Any, args: tuple[Any, ...] | str, path: Path) -> None:
    """One item of a `ctx.map`: the result goes to a file, so that it travels by path. So may its arguments."""
    given = _arguments(args) if isinstance(args, str) else args
    write_memo(path, getattr(import_module(module), name)(item, *given))


@lru_cache(maxsize=1)
def _arguments(path: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] = pickle.loads(Path(path).read_bytes())
    return found
