"""The response cache: every answer of a model is stored here before it is used, and none is paid for twice."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import orjson

from .model import Answer, Model, Request

Landed = tuple[str, Request, Answer]  # key, request, answer
PAUSE = 0.01  # seconds between two transactions: 60 µs each, whether they store one answer or twenty


class Responses:
    """One SQLite file: key -> answer, with the model and the record it was about.

    Write-ahead logging: what is committed survives a kill, and other processes read meanwhile. Answers that land are
    stored by a thread of their own, those of some milliseconds in one transaction.
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
        self.path = path
        self.landed: deque[tuple[Model, Sequence[Landed], Callable[[BaseException | None], None]]] = deque()
        self.wake = threading.Event()
        self.ended = False
        self.keeper: threading.Thread | None = None

    def get(self, key: str) -> Answer | None:
        with self.mutex:
            row = self.base.execute("SELECT answer FROM responses WHERE key = ?", (key,)).fetchone()
        return _answer(row[0]) if row else None

    def put(self, model: Model, answered: Iterable[Landed]) -> None:
        """Store answers in one transaction; failed ones are left out, so that they are asked again."""
        with self.mutex:
            _write(self.base, [row for landed in answered for row in _rows(model, landed)])

    def keep(self, model: Model, answered: Sequence[Landed], then: Callable[[BaseException | None], None]) -> None:
        """Store a group of answers soon, whole, and call `then` when it is safe, or with what kept it from it."""
        if self.keeper is None:
            self.keeper = threading.Thread(target=self._keep, name="responses", daemon=True)
            self.keeper.start()
        self.landed.append((model, answered, then))
        if not self.wake.is_set():
            self.wake.set()

    def flush(self) -> None:
        """Wait until everything that has landed is stored."""
        if self.keeper is not None and not self.ended:
            stored = threading.Event()
            self.keep(Model(""), (), lambda error: stored.set())
            stored.wait()

    def _keep(self) -> None:
        # A connection of its own: the step looks up answers meanwhile.
        base = sqlite3.connect(self.path, timeout=120, check_same_thread=False, isolation_level=None)
        base.execute("PRAGMA synchronous=NORMAL")
        while not self.ended or self.landed:
            self.wake.wait()
            self.wake.clear()
            groups = [self.landed.popleft() for _ in range(len(self.landed))]
            error: BaseException | None = None
            try:
                rows = [row for model, answered, _ in groups for one in answered for row in _rows(model, one)]
                _write(base, rows)
            except Exception as caught:
                error = caught
            for _, _, then in groups:
                then(error)
            groups.clear()
            if not self.ended:
                time.sleep(PAUSE)
        base.close()

    def forget(self, record_ids: Iterable[str]) -> int:
        """Remove the answers about these records. Returns how many there were."""
        with self.mutex:
            return sum(
                self.base.execute("DELETE FROM responses WHERE about = ?", (record,)).rowcount for record in record_ids
            )

    def close(self) -> None:
        """Store what has landed, and let go of the file."""
        self.ended = True
        self.wake.set()
        if self.keeper is not None:
            self.keeper.join()
        with self.mutex:
            self.base.close()


def _write(base: sqlite3.Connection, rows: Sequence[tuple[str, str, str, bytes]]) -> None:
    if rows:
        base.execute("BEGIN IMMEDIATE")
        base.executemany("INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?)", rows)
        base.execute("COMMIT")


def _rows(model: Model, landed: Landed) -> list[tuple[str, str, str, bytes]]:
    key, request, answer = landed
    if not answer.ok:
        return []
    about = request.about
    record = str(about["id"]) if isinstance(about, dict) and "id" in about else ""
    return [(key, model.identity or model.uri, record, _stored(answer))]


def _stored(answer: Answer) -> bytes:
    try:
        return orjson.dumps(answer.stored())
    except TypeError:  # an answer that was cut inside an emoji is no Unicode, and is still an answer
        return json.dumps(answer.stored()).encode()


def _answer(stored: bytes | str) -> Answer:
    try:
        return Answer(**orjson.loads(stored))
    except ValueError:
        return Answer(**json.loads(stored))
