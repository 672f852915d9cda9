"""What runs once for a whole dataset: streams, generators, global filters, training. In the driver or a child."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ..errors import FactoryError, PluginError, StepError, said
from ..plugins import get_step
from .account import Account, Tally
from .asking import TELL, Asking
from .budget import Budget
from .context import Context
from .dataset import Dataset, Shard
from .fingerprint import code_hash
from .flow import named, to_table
from .memo import Memo
from .model import Answer, Model, Request
from .options import options_of
from .recipe import Call
from .records import RECORD_TYPES, Drop, Record, digest
from .responses import Responses
from .schema import schema_of
from .step import Kind, Step
from .store import Store, write_atomic, write_table
from .usage import Usage
from .work import Setup, remote

LARGE_ARGUMENTS = 1 << 14  # bytes
SHARD_RECORDS = 4096  # records in a shard of a step that generates

Tell = Callable[..., None]  # (what, *details): news for the driver


@dataclass(frozen=True)
class Job:
    """A stage that runs once, as plain data: it may travel to a process of its own."""

    fingerprint: str
    label: str
    call: Call
    takes: str
    gives: str
    store: Store
    dataset: Dataset[Any] | None = None
    model: Model | None = None
    objects: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    threads: int = 2


@dataclass
class Outcome:
    """What a job leaves besides its files: the manifest's entries, or the drops of a global filter."""

    shards: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
    drops: dict[str, Drop] = field(default_factory=dict)
    memos: list[str] = field(default_factory=list)
    alarms: list[dict[str, Any]] = field(default_factory=list)  # what the step itself says should be looked at
    usage: Usage = field(default_factory=Usage)  # of models
    exact: bool = True  # False after work on a GPU: made again, the bytes may differ


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
    outcome.exact = torch is None or not torch.cuda.is_initialized()
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


class JobRuntime:
    """The engine's side of the context of a step that runs once."""

    def __init__(
        self,
        job: Job,
        step: Step,
        account: Account,
        tell: Tell,
        submit: Callable[[bytes], Future[Any]],
        stored_only: Callable[[Model, Request, Answer], None] | None,
    ) -> None:
        self.job, self.step, self.account, self.tell_driver, self.submit = job, step, account, tell, submit
        self.stored_only = stored_only
        self.tally = account.line(step.name)
        self.sections: list[dict[str, str]] = []
        self.known: list[str] = []  # keys of memos
        self.alarms: list[dict[str, Any]] = []
        self.asking: Asking | None = None
        self.told = 0.0
        self.metrics = job.store.work(job.fingerprint) / "metrics.jsonl"  # there it survives a kill

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Memo]:
        if "<" in function.__qualname__ or "." in function.__qualname__:
            raise PluginError(f"ctx.map needs a module's top-level function, not {function.__qualname__}")
        code, given = code_hash(function), _portable(args)
        packed = self._by_path(args)
        found, waiting = [], []
        for item in items:
            key = digest([function.__module__, function.__name__, code, _portable(item), given], 12)
            path = self.job.store.memo(key)
            found.append(Memo(str(path), key))
            self.known.append(key)
            if not path.exists():
                call = ("factory.engine.work", "run_memo", (function.__module__, function.__name__, item, packed, path))
                waiting.append(self.submit(pickle.dumps(call)))
        done = len(found) - len(waiting)
        try:
            for future in waiting:
                future.result()
                done += 1
                self.tell(done, len(found), function.__name__)
        finally:
            for future in waiting:  # else an error, or Ctrl-C, waits for all the others
                future.cancel()
        return found

    def _by_path(self, args: tuple[Any, ...]) -> tuple[Any, ...] | str:
        """Arguments that every item of a `ctx.map` is given; large ones travel once, as a file."""
        packed = pickle.dumps(args)
        if len(packed) < LARGE_ARGUMENTS:
            return args
        path = self.job.store.work(self.job.fingerprint) / f"arguments-{digest(packed)}.pickle"
        write_atomic(path, packed)
        return str(path)

    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None, budget: Budget | None
    ) -> Iterator[Answer]:
        if self.asking is None:
            responses = Responses(self.job.store.responses)
            self.asking = Asking(responses, self.job.threads, self._tell_usage, self.stored_only)
        return self.asking.ask(model, requests, ahead, budget)

    @property
    def usage(self) -> Usage:
        return self.asking.usage if self.asking is not None else Usage()

    def _tell_usage(self, usage: Usage) -> None:
        self.tell_driver("asked", usage.news())

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        if record.get("id") not in self.account.inputs:  # a candidate, which may equal one that was kept
            record = self.account.identify(record, self.step.name)
            self.tally.made += 1
        self.account.drop(self.tally, record, Drop(reason, **details))

    def log(self, step: int, metrics: dict[str, float]) -> None:
        with self.metrics.open("ab") as file:
            file.write(b"\n" + orjson.dumps({"step": step, **metrics}))  # the break first: a cut line spoils no other
        self.tell_driver("metrics", step, metrics)

    def report(self, title: str, body: str) -> None:
        self.sections.append({"title": title, "body": body})

    def alarm(self, says: str, examples: list[dict[str, Any]]) -> None:
        self.alarms.append({"step": self.step.name, "says": says, "examples": examples})

    def tell(self, done: int, total: int, note: str) -> None:
        if done >= total or time.monotonic() - self.told > TELL:  # a step may tell of every answer
            self.told = time.monotonic()
            self.tell_driver("progress", done, total, note)

    def publish(self) -> None:
        """Sections and metrics into the artifact. A step that was logged again after a kill counts once."""
        folder = self.job.store.artifact(self.job.fingerprint)
        if self.sections:
            write_atomic(folder / "sections.json", orjson.dumps(self.sections, option=orjson.OPT_INDENT_2))
        if self.metrics.exists():
            rows: dict[int, dict[str, float]] = {}
            for line in filter(None, self.metrics.read_bytes().splitlines()):
                with contextlib.suppress(orjson.JSONDecodeError):  # a line cut by a kill
                    row = orjson.loads(line)
                    rows[row["step"]] = {**rows.get(row["step"], {}), **row}
            lines = b"\n".join(orjson.dumps(rows[step]) for step in sorted(rows))
            write_atomic(folder / "metrics.jsonl", lines + b"\n")

    def close(self) -> None:
        if self.asking:
            self.asking.close()
            self.asking.responses.close()


def _portable(value: Any) -> Any:
    """An item or argument of `ctx.map` as what it is known by."""
    if isinstance(value, Shard):
        return ["shard", value.key, bool(value.again) and Path(value.again).read_text()]
    if isinstance(value, Dataset):
        return ["dataset", [_portable(shard) for shard in value.shards]]
    if isinstance(value, Memo):
        return ["memo", value.key]
    if isinstance(value, Model):
        return ["model", value.identity or value.uri]
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _portable(item) for key, item in value.items()}
    if isinstance(value, str | int | float | bool | None):
        return value
    raise PluginError(f"ctx.map takes shards, datasets and JSON values, not {type(value).__name__}")


class _Writer:
    """Shards of a step's output, each written as soon as no more records can come to it."""

    def __init__(self, job: Job, account: Account, tally: Tally) -> None:
        self.folder = job.store.artifact(job.fingerprint)
        self.schema = schema_of(RECORD_TYPES.get(job.gives, Record))
        self.account, self.tally = account, tally
        self.entries: list[dict[str, Any]] = []

    def write(self, records: list[Any]) -> None:
        name = f"shard-{len(self.entries):05d}.parquet"
        table = to_table(records, self.schema, self.account, self.tally)
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
    waiting: list[Any] = []
    incoming = _arriving(job.dataset, account, runtime.tally, homes)
    for record in _produced(step, _called(step, incoming, options), account, runtime.tally):
        home = next((homes[i] for i in account.origins_of([record["id"]]) if i in homes), at)
        while at < home:
            writer.write(waiting)
            waiting, at = [], at + 1
        waiting.append(record)
    for _ in incoming:  # a step that stopped early: what it did not take is accounted for
        pass
    while at < max(1, len(job.dataset.shards)):
        writer.write(waiting)
        waiting, at = [], at + 1
    return _finish(job, account, runtime.tally, writer, homes)


def _generate(job: Job, step: Step, options: dict[str, Any], account: Account, runtime: JobRuntime) -> Outcome:
    assert job.dataset is not None
    homes: dict[str, int] = {}
    for _ in _arriving(job.dataset, account, runtime.tally, homes):
        pass
    writer = _Writer(job, account, runtime.tally)
    waiting: list[Any] = []
    for record in _produced(step, _called(step, job.dataset, options), account, runtime.tally):
        waiting.append(record)
        if len(waiting) == SHARD_RECORDS:
            writer.write(waiting)
            waiting = []
    if waiting or not writer.entries:
        writer.write(waiting)
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
