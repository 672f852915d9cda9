"""What runs once for a whole dataset: streams, generators, global filters, training. In the driver or a child."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ..errors import FactoryError, StepError, said
from ..plugins import get_step
from .account import Account, Tally
from .context import Context
from .dataset import BATCH_ROWS, Dataset
from .flow import named, to_table
from .model import Answer, Model, Request
from .options import options_of
from .records import RECORD_TYPES, Drop, Record
from .runtime import Job, JobRuntime, Tell
from .schema import schema_of
from .step import Kind, Step
from .store import write_table
from .usage import Usage
from .work import Setup, remote

SHARD_RECORDS = 4096  # records in a shard of a step that generates


@dataclass
class Outcome:
    """What a job leaves besides its files: the manifest's entries, or the drops of a global filter."""

    shards: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
    drops: dict[str, Drop] = field(default_factory=dict)
    memos: list[str] = field(default_factory=list)
    alarms: list[dict[str, Any]] = field(default_factory=list)  # what the step itself says should be looked at
    usage: Usage = field(default_factory=Usage)  # of models
    exact: bool = True  # False after work on a GPU or in several processes: made again, the bytes may differ


def run_job(
    job: Job,
    tell: Tell,
    submit: Callable[[bytes], Future[Any]],
    stored_only: Callable[[Model, Request, Answer], None] | None = None,
) -> Outcome:
    """Run the one step of a job.

    tell    is called with news: ("asked", {...}), ("metrics", step, {...}), ("progress", done, total, note)
    submit  sends packed work to the executor
    stored_only  asks no model; the function gets every stored answer that the step is given
    """
    step = get_step(job.call.step)
    account = Account(job.label)
    runtime = JobRuntime(job, step, account, tell, submit, stored_only)
    options = options_of(step, job.call, job.objects)
    if step.context:
        work, output = job.store.work(job.fingerprint), job.store.artifact(job.fingerprint) / "model"
        work.mkdir(parents=True, exist_ok=True)
        options[step.context] = Context(step.name, job.seed, job.threads, work, output, runtime)
    try:
        if step.kind is Kind.STREAM:
            outcome = _stream(job, step, options, account, runtime)
        elif step.kind is Kind.GENERATE:
            outcome = _generate(job, step, options, account, runtime)
        elif step.kind is Kind.GLOBAL_FILTER:
            outcome = Outcome(drops=_drops(step, _called(step, job.dataset, options)))
        else:
            outcome = _train(job, step, options, account)
    finally:
        runtime.close()
    runtime.publish()
    outcome.memos, outcome.alarms, outcome.usage = runtime.known, runtime.alarms, runtime.usage
    torch = sys.modules.get("torch")
    outcome.exact = "WORLD_SIZE" not in os.environ and (torch is None or not torch.cuda.is_initialized())
    return outcome


@contextlib.contextmanager
def _named(step: Step, at: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Errors of a step as sentences that name it; `at` says which record it was at, where that is known."""
    try:
        yield
    except FactoryError:
        raise
    except Drop as drop:
        text = f"{step.name} raised Drop('{drop.reason}'); a {step.kind.value} uses ctx.drop(record, reason)"
        raise StepError(text) from drop
    except Exception as error:
        raise StepError(f"{step.name} failed{at()}: {said(error)}") from error


def _called(step: Step, first: Any, options: dict[str, Any]) -> Any:
    with _named(step):
        return step.function(first, **options)


def _drops(step: Step, found: Any) -> dict[str, Drop]:
    if not isinstance(found, dict) or not all(isinstance(drop, Drop) for drop in found.values()):
        raise StepError(f"{step.name} must return Drops, record id -> Drop, not {str(found)[:80]}")
    return found


def _iterated(step: Step, produced: Iterator[Any], account: Account) -> Iterator[Any]:
    """The records a step yields, errors as sentences."""
    done = object()
    taken = step.kind is Kind.STREAM  # else all of the input was there before the step began

    def at() -> str:
        return f" after it took {named(account.latest)}" if taken and account.latest else ""

    with _named(step):
        iterator = iter(produced)
    while True:
        with _named(step, at):
            record: Any = next(iterator, done)
            if record is done:
                return
            record = dict(record)
        yield record


class _Writer:
    """Shards of a step's output, each written as soon as no more records can come to it."""

    def __init__(self, job: Job, account: Account, tally: Tally) -> None:
        self.folder = job.store.artifact(job.fingerprint)
        self.schema = schema_of(RECORD_TYPES.get(job.gives, Record))
        self.account, self.tally = account, tally
        self.entries: list[dict[str, Any]] = []
        self.rows: list[Any] = []
        self.tables: list[pa.Table] = []

    def add(self, record: Any) -> int:
        """One more for the open shard; how many there are. They wait as columns: objects take ten times as much."""
        self.rows.append(record)
        if len(self.rows) == BATCH_ROWS:
            self._encode()
        return len(self.rows) + BATCH_ROWS * len(self.tables)

    def _encode(self) -> None:
        self.tables.append(to_table(self.rows, self.schema, self.account, self.tally))
        self.rows = []

    def write(self) -> None:
        """The open shard ends."""
        if self.rows or not self.tables:
            self._encode()
        table, self.tables = pa.concat_tables(self.tables), []
        name = f"shard-{len(self.entries):05d}.parquet"
        key = write_table(self.folder / name, table)
        self.entries.append({"file": name, "key": key, "records": table.num_rows, "dropped": 0, "dropped_file": ""})

    def write_dropped(self, homes: dict[str, int]) -> None:
        """Dropped records beside the shard of the record they come from."""
        rows: dict[int, list[dict[str, Any]]] = {}
        for row in self.account.dropped:
            at = next((homes[i] for i in self.account.origins_of([row["id"]]) if i in homes), 0)
            rows.setdefault(min(at, len(self.entries) - 1), []).append(row)
        for index, entry in enumerate(self.entries):
            entry["dropped_file"] = f"dropped-{index:05d}.parquet"
            entry["dropped"] = len(rows.get(index, []))
            write_table(self.folder / entry["dropped_file"], self.account.dropped_table(rows.get(index, [])))


def _arriving(dataset: Dataset[Any], account: Account, tally: Tally, homes: dict[str, int]) -> Iterator[Any]:
    for index, shard in enumerate(dataset.shards):
        renumbered = shard.renumbered()
        for record in shard.records():
            tally.incoming += 1
            homes[record["id"]] = index
            yield account.arrive(record, stored=record["id"] not in renumbered)


def _produced(step: Step, produced: Iterator[Any], account: Account, tally: Tally) -> Iterator[Any]:
    """Records a step yields, with ids and stored parents, counted."""
    for record in _iterated(step, produced, account):
        record = account.identify(record, step.name)
        if record["id"] not in account.inputs:
            tally.made += 1
        tally.out += 1
        yield record


def _stream(job: Job, step: Step, options: dict[str, Any], account: Account, runtime: JobRuntime) -> Outcome:
    """Answers come in input order, so an output lies in the shard of its first parent and is written with it."""
    assert job.dataset is not None
    homes: dict[str, int] = {}
    writer, at = _Writer(job, account, runtime.tally), 0
    incoming = _arriving(job.dataset, account, runtime.tally, homes)
    for record in _produced(step, _called(step, incoming, options), account, runtime.tally):
        home = next((homes[i] for i in account.origins_of([record["id"]]) if i in homes), at)
        while at < home:
            writer.write()
            at += 1
        writer.add(record)
    for _ in incoming:  # a step that stopped early: what it did not take is accounted for
        pass
    while at < max(1, len(job.dataset.shards)):
        writer.write()
        at += 1
    return _finish(job, account, runtime.tally, writer, homes)


def _generate(job: Job, step: Step, options: dict[str, Any], account: Account, runtime: JobRuntime) -> Outcome:
    assert job.dataset is not None
    homes: dict[str, int] = {}
    for _ in _arriving(job.dataset, account, runtime.tally, homes):
        pass
    writer = _Writer(job, account, runtime.tally)
    added = 0
    for record in _produced(step, _called(step, job.dataset, options), account, runtime.tally):
        added = writer.add(record) % SHARD_RECORDS
        if not added:
            writer.write()
    if added or not writer.entries:
        writer.write()
    return _finish(job, account, runtime.tally, writer, {})


def _finish(job: Job, account: Account, tally: Tally, writer: _Writer, homes: dict[str, int]) -> Outcome:
    """Drop the inputs nobody mentioned, close the account, write the dropped records."""
    assert job.dataset is not None
    if unmentioned := account.unmentioned():
        for record in job.dataset:
            if record["id"] in unmentioned:
                account.drop(tally, record, Drop("not used"))
    tally.parted = len(account.inputs - account.kept - account.gone)
    counts = account.close()
    writer.write_dropped(homes)
    return Outcome(shards=writer.entries, counts=counts)


def _train(job: Job, step: Step, options: dict[str, Any], account: Account) -> Outcome:
    """A model from a dataset or from a model; every input record counts as used unless the step dropped it."""
    folder = job.store.artifact(job.fingerprint)
    shutil.rmtree(folder / "model", ignore_errors=True)
    tally = account.tallies[-1]
    if job.dataset is not None:
        for _ in _arriving(job.dataset, account, tally, {}):
            pass
    made = _called(step, job.dataset if job.dataset is not None else job.model, options)
    if not isinstance(made, Model) or not (folder / "model").is_dir():
        raise StepError(f"{step.name} must save its model in ctx.output and return a Model, not {made!r}")
    account.used |= account.inputs - account.gone
    tally.parted = len(account.used)
    counts = account.close()
    write_table(folder / "dropped-00000.parquet", account.dropped_table())
    entry = {
        "file": "",
        "key": "",
        "records": 0,
        "dropped": len(account.dropped),
        "dropped_file": "dropped-00000.parquet",
    }
    return Outcome(shards=[entry], counts=counts)


def inline(setup: Setup, executor: Executor) -> Callable[[bytes], Future[Any]]:
    """How a job in this process hands packed work to an executor."""
    return lambda packed: executor.submit(remote, setup, packed)
