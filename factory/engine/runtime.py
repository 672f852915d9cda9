"""The engine's side of the context of a step that runs once: models asked, work handed out, news told."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ..errors import PluginError
from .account import Account
from .asking import TELL, Asking
from .budget import Budget
from .dataset import Dataset, Shard
from .fingerprint import code_hash
from .memo import Memo
from .model import Answer, Model, Request
from .recipe import Call
from .records import Drop, digest
from .responses import Responses
from .step import Step
from .store import Store, write_atomic
from .usage import Usage

LARGE_ARGUMENTS = 1 << 14  # bytes

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
        self.work = job.store.work(job.fingerprint)
        self.metrics = self.work / "metrics.jsonl"  # there it survives a kill

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
        self._write_sections(self.work)  # for who looks before the stage is complete

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
            self._write_sections(folder)
        if self.metrics.exists():
            rows: dict[int, dict[str, float]] = {}
            for line in filter(None, self.metrics.read_bytes().splitlines()):
                with contextlib.suppress(orjson.JSONDecodeError):  # a line cut by a kill
                    row = orjson.loads(line)
                    rows[row["step"]] = {**rows.get(row["step"], {}), **row}
            lines = b"\n".join(orjson.dumps(rows[step]) for step in sorted(rows))
            write_atomic(folder / "metrics.jsonl", lines + b"\n")

    def _write_sections(self, folder: Path) -> None:
        write_atomic(folder / "sections.json", orjson.dumps(self.sections, option=orjson.OPT_INDENT_2))

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
