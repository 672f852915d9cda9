"""The SQLite file that votes lie in: its tables, and how it is opened."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from factory import InputError, place_of

FILE = "labels.sqlite"
VERSION = 1
WAIT = 10.0  # seconds that one process waits while another writes

TABLES = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE tally (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE annotators (name TEXT PRIMARY KEY, token TEXT UNIQUE, at TEXT NOT NULL, votes INTEGER NOT NULL DEFAULT 0);
-- live: made by the target as it is now; an item that is not keeps its votes
CREATE TABLE items (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, prompt TEXT NOT NULL, completions TEXT NOT NULL,
    judged REAL NOT NULL, gold TEXT, record TEXT NOT NULL, models TEXT NOT NULL, live INTEGER NOT NULL
);
-- what one vote is about: a pair of answers, or all of them (first = second = -1)
-- votes: standing ones that count for the overlap; live: to be asked under the settings; wanted: and not often enough
CREATE TABLE units (
    number INTEGER PRIMARY KEY, item INTEGER NOT NULL REFERENCES items, first INTEGER NOT NULL, second INTEGER NOT NULL,
    worth REAL NOT NULL, best INTEGER NOT NULL, gold TEXT, votes INTEGER NOT NULL DEFAULT 0,
    live INTEGER NOT NULL DEFAULT 0, wanted INTEGER NOT NULL DEFAULT 0, UNIQUE (item, first, second)
);
CREATE INDEX units_wanted ON units (worth DESC, votes DESC, number) WHERE wanted = 1;
CREATE INDEX units_gold ON units (votes, number) WHERE gold IS NOT NULL;
-- state: open (on the screen), aside (was open when another vote was taken back), voted, lapsed
CREATE TABLE views (
    number INTEGER PRIMARY KEY, view TEXT NOT NULL UNIQUE, unit INTEGER NOT NULL REFERENCES units,
    who TEXT NOT NULL REFERENCES annotators, shown TEXT NOT NULL, purpose TEXT NOT NULL, state TEXT NOT NULL,
    touched REAL NOT NULL, turn INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX views_of_unit ON views (unit, who);
CREATE INDEX views_held ON views (who, state, turn) WHERE state IN ('open', 'aside');
-- append-only: a vote that was taken back is marked, never deleted; event and undone say when in the file's own count,
-- so that a build reads what stood when it was planned, whatever comes in meanwhile
CREATE TABLE votes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, view INTEGER NOT NULL REFERENCES views,
    who TEXT NOT NULL REFERENCES annotators, choice TEXT NOT NULL, strength REAL, ranking TEXT, reason TEXT NOT NULL,
    note TEXT NOT NULL, edit TEXT, seconds REAL NOT NULL, at TEXT NOT NULL, event INTEGER NOT NULL, undone INTEGER
);
CREATE UNIQUE INDEX votes_standing ON votes (view) WHERE undone IS NULL;
CREATE INDEX votes_by ON votes (who, number) WHERE undone IS NULL;
CREATE INDEX votes_of_view ON votes (view, number);
"""


def connect(folder: Path) -> sqlite3.Connection:
    """The database of a label set for reading and writing; made when there is none.

    Write-ahead logging: readers never wait for the writer. synchronous=NORMAL: a commit outlives any kill of the
    process; to outlive a power cut, too, it goes through `Writer`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(folder / FILE, timeout=WAIT, isolation_level=None, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        with transaction(db):
            if _version(db) == 0:
                for statement in TABLES.split(";\n"):
                    db.execute(statement)
                db.execute("INSERT INTO tally VALUES ('event', 0), ('total', 0), ('missing', 0)")
                db.execute(f"PRAGMA user_version = {VERSION}")
        _check(db, folder)
    except sqlite3.DatabaseError as error:
        db.close()
        raise InputError(f"{place_of(folder / FILE)} cannot be read as a label set: {error}") from None
    except BaseException:
        db.close()
        raise
    return db


def connect_read_only(folder: Path) -> sqlite3.Connection:
    """The database of a label set while somebody else may be writing it. Raises InputError when it is none."""
    path = (folder / FILE).absolute()
    for mode in ("mode=ro", "mode=ro&immutable=1"):  # a folder without write permission has no room for a log
        try:
            db = sqlite3.connect(f"{path.as_uri()}?{mode}", uri=True, timeout=WAIT, isolation_level=None)
            db.row_factory = sqlite3.Row
            _check(db, folder)
            return db
        except sqlite3.OperationalError:
            continue
        except sqlite3.DatabaseError as error:
            raise InputError(f"{place_of(path)} cannot be read as a label set: {error}") from None
    raise InputError(f"{place_of(path)} cannot be opened")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the write lock is taken at once, so nobody has to be turned back in the middle."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # a full disk ends it by itself
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


@contextmanager
def part(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing within a transaction, whose other parts stay."""
    db.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK TO part")
            db.execute("RELEASE part")
        raise
    db.execute("RELEASE part")


class Writer:
    """Transactions of many threads on one connection, one at a time, their way to the disk shared.

    An fsync takes 0.3 to 10 ms, so fifty votes that each wait for their own wait for half a second. Here the first that
    is done writes the log out for all that were committed by then (group commit), and the next ones need not. A
    transaction begun within another is a part of that one, and is on the disk when that one is.
    """

    def __init__(self, db: sqlite3.Connection, folder: Path) -> None:
        self.db, self.lock, self._syncing = db, threading.RLock(), threading.Lock()
        self._committed = self._synced = 0
        self._on_disk = False  # whether a part of the transaction at work wants it
        self._log = open(folder / f"{FILE}-wal", "r+b", buffering=0)  # noqa: SIM115

    @contextmanager
    def __call__(self, on_disk: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction. With on_disk, neither a kill nor a power cut loses it once this is left."""
        with self.lock:
            if self.db.in_transaction:
                with part(self.db):
                    yield self.db
                self._on_disk |= on_disk
                return
            self._on_disk = on_disk
            with transaction(self.db):
                yield self.db
            self._committed += 1
            mine, on_disk = self._committed, self._on_disk
        if on_disk:
            with self._syncing:
                if self._synced < mine:
                    done = self._committed
                    os.fsync(self._log.fileno())
                    self._synced = done

    def close(self) -> None:
        with self.lock, self._syncing:
            self._log.close()
            self.db.close()


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _check(db: sqlite3.Connection, folder: Path) -> None:
    if (found := _version(db)) != VERSION:
        raise InputError(f"{place_of(folder / FILE)} has form {found}; this version of the factory reads {VERSION}")
