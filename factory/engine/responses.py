"""The response cache, and how models are asked through it: no stored answer is asked, or paid for, twice."""

from __future__ import annotations

import json  # not orjson: an answer that was cut inside an emoji is no Unicode, and is still an answer
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path

from .budget import Budget
from .model import Answer, Model, Request, Session

# Requests drawn from a step before it gets the first answer. One number for every model, for fresh and resumed runs:
# a step may drop records while it draws, and sees draws and answers in an order that must not depend on what is stored.
AHEAD = 1024
LAST_ANSWERS = 60.0  # seconds that answers may take which nobody waits for any more


class Responses:
    """One SQLite file: key -> answer, with the model and the record it was about.

    Write-ahead logging: what is committed survives a kill, and other processes read meanwhile.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.mutex = threading.Lock()
        self.base = sqlite3.connect(path, timeout=120, check_same_thread=False, isolation_level=None)
        self.base.execute("PRAGMA journal_mode=WAL")
        self.base.execute("PRAGMA synchronous=NORMAL")
        self.base.execute(
            "CREATE TABLE IF NOT EXISTS responses"
            " (key TEXT PRIMARY KEY, model TEXT, about TEXT, answer BLOB) WITHOUT ROWID"
        )

    def get(self, key: str) -> Answer | None:
        with self.mutex:
            row = self.base.execute("SELECT answer FROM responses WHERE key = ?", (key,)).fetchone()
        return Answer(**json.loads(row[0])) if row else None

    def put(self, model: Model, answered: Sequence[tuple[str, Request, Answer]]) -> None:
        """Store answers in one transaction; failed ones are left out, so that they are asked again."""
        rows = [
            (key, model.identity or model.uri, _about(request), json.dumps(answer.stored()))
            for key, request, answer in answered
            if answer.ok
        ]
        with self.mutex:
            self.base.execute("BEGIN IMMEDIATE")
            self.base.executemany("INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?)", rows)
            self.base.execute("COMMIT")

    def forget(self, record_ids: Iterable[str]) -> int:
        """Remove the answers about these records. Returns how many there were."""
        with self.mutex:
            return sum(
                self.base.execute("DELETE FROM responses WHERE about = ?", (record,)).rowcount for record in record_ids
            )

    def close(self) -> None:
        with self.mutex:
            self.base.close()


def _about(request: Request) -> str:
    return str(request.about["id"]) if isinstance(request.about, dict) and "id" in request.about else ""


class Asking:
    """Open models of one stage, the cache in front of them, and the order of the answers."""

    def __init__(self, responses: Responses, threads: int, tell: Callable[[int, int], None]) -> None:
        self.responses, self.threads, self.tell = responses, threads, tell
        self.sessions: dict[str, Session] = {}
        self.asked = self.replayed = 0

    def session(self, model: Model) -> Session:
        key = f"{type(model).__name__}:{model.uri}:{model.identity}"
        if key not in self.sessions:
            self.sessions[key] = model.open(self.threads)
        return self.sessions[key]

    def close(self) -> None:
        for session in self.sessions.values():
            session.close()
        self.sessions.clear()

    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None, budget: Budget | None = None
    ) -> Iterator[Answer]:
        """Answers in the order of the requests.

        Requests are grouped by position, `session.batch` to a group, and the misses of a group are asked together:
        the composition of a batch depends on positions and on what is stored, which a kill does not change, since a
        batch is stored in one transaction.
        """
        line = _Line(self, model)
        pending: deque[tuple[Request, Future[Answer]]] = deque()
        try:
            for request in requests:
                pending.append((request, line.submit(request)))
                while len(pending) >= max(1, AHEAD if ahead is None else ahead):
                    yield self._take(line, pending)
            while pending:
                yield self._take(line, pending)
        except GeneratorExit:
            # The step has enough, but an API is still answering. That is paid for, and asked when `count` is raised.
            if ahead is not None and line.open and line.open.batch == 1:
                wait([future for _, future in pending], LAST_ANSWERS)
            raise

    def _take(self, line: _Line, pending: deque[tuple[Request, Future[Answer]]]) -> Answer:
        request, future = pending.popleft()
        # Not "when it is not done": that depends on timing, and so would the batches of an in-process model.
        if any(future is held for _, _, held in line.group):
            line.flush()
        answer = future.result()
        self.tell(self.asked, self.replayed)
        return replace(answer, request=request)


class _Line:
    """The requests of one `ask`, on their way into groups."""

    def __init__(self, asking: Asking, model: Model) -> None:
        self.asking, self.model = asking, model
        self.open: Session | None = None
        self.position = 0
        self.group: list[tuple[str, Request, Future[Answer]]] = []
        self.flying: dict[str, Future[Answer]] = {}  # key -> its answer on the way

    def submit(self, request: Request) -> Future[Answer]:
        """A future that is done already when the answer is stored. The model is opened at the first miss."""
        key = request.key(self.model)
        flying = self.flying.get(key)  # one look: it may land in another thread meanwhile
        if flying is not None:
            future = flying
        elif (stored := self.asking.responses.get(key)) is not None:
            self.asking.replayed += 1
            future = Future()
            future.set_result(stored)
        else:
            self.open = self.open or self.asking.session(self.model)
            future = self.flying[key] = Future()
            self.group.append((key, request, future))
        self.position += 1
        if self.open and self.position % self.open.batch == 0:
            self.flush()
        return future

    def flush(self) -> None:
        """Send what waits in the group."""
        if not self.group:
            return
        assert self.open is not None
        group, self.group = self.group, []
        self.asking.asked += len(group)
        self.open.submit([request for _, request, _ in group]).add_done_callback(lambda done: self.land(group, done))

    def land(self, group: list[tuple[str, Request, Future[Answer]]], done: Future[list[Answer]]) -> None:
        """Store a group's answers, then hand them out."""
        try:
            answers = done.result()
            self.asking.responses.put(
                self.model, [(key, request, answer) for (key, request, _), answer in zip(group, answers, strict=True)]
            )
        except BaseException as error:
            for _, _, future in group:
                future.set_exception(error)
            return
        for (key, _, future), answer in zip(group, answers, strict=True):
            future.set_result(answer)
            self.flying.pop(key, None)
