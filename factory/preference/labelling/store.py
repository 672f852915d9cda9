"""A label set: the items people are asked about and what they said, in labels/NAME/labels.sqlite."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from . import queue
from .database import Writer, connect
from .filling import put_item, recount
from .items import RANKING, Item, View, items_of
from .queue import Settings
from .reading import items_in, settings_in, tally_in, votes_in
from .votes import SAID, checked, comparisons_of, said_before

__all__ = ["Item", "Labels", "Settings", "View", "Voted", "items_of"]


# What an annotator has on the screen, then what an undo put aside, the latest first. An item that is asked no more
# stays when its vote was taken back.
HELD = """SELECT views.*, live OR EXISTS (SELECT 1 FROM votes WHERE votes.view = views.number) AS stays
          FROM views JOIN units ON units.number = views.unit
          WHERE who = ? AND state IN ('open', 'aside') ORDER BY state DESC, turn DESC"""


class Voted(ValueError):
    """There is no such view to vote on any more: it has another vote, or never was."""


class Labels:
    """The label set in a folder, for any number of threads and processes. Every write is one transaction.

    `clock` gives seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.clock = folder, clock
        self._db = connect(folder)
        self._writing = Writer(self._db, folder)
        self._lock = self._writing.lock

    @classmethod
    def open(cls, folder: Path) -> Labels:
        """The label set in a folder, made when there is none. Raises InputError when its file is something else."""
        return cls(folder)

    def __enter__(self) -> Labels:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._writing.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """One transaction for all that is done within: on the disk when this is left, or none of it if that fails.

        What raises is undone alone, the rest stays.
        """
        with self._writing(on_disk=False):
            yield

    # What is asked

    def fill(self, items: Iterable[Item], *, replace: bool = True) -> int:
        """Make these the items that are asked about; the number of those that are new.

        Items that were asked about before and are no longer among them keep their votes. With replace=False they go on
        being asked.
        """
        with self._writing() as db:
            before = _one(db, "SELECT count(*) FROM items")
            if replace:
                db.execute("UPDATE items SET live = 0")
            for item in items:
                put_item(db, item)
            recount(db, settings_in(db))
            return _one(db, "SELECT count(*) FROM items") - before

    @property
    def settings(self) -> Settings:
        with self._lock:
            return settings_in(self._db)

    def configure(self, **changes: Any) -> None:
        """Change settings: overlap, gold_share, repeat_share, mode, pairs, lapse. Raises ValueError for nonsense."""
        with self._writing() as db:
            try:
                settings = Settings(**{**asdict(settings_in(db)), **changes})
            except TypeError as error:
                raise ValueError(f"a label set has the settings {', '.join(Settings.__annotations__)}") from error
            rows = [(name, orjson.dumps(value).decode()) for name, value in asdict(settings).items()]
            db.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", rows)
            recount(db, settings_in(db))

    # Who is asked

    def invite(self, name: str) -> str:
        """A new token for an annotator; the one before is void. Raises ValueError when the name cannot be shown."""
        _named(name)
        token = secrets.token_urlsafe(24)
        with self._writing() as db:
            _annotator(db, name, self._now())
            db.execute("UPDATE annotators SET token = ? WHERE name = ?", (_hashed(token), name))
        return token

    def annotators(self) -> list[str]:
        with self._lock:
            return [row[0] for row in self._db.execute("SELECT name FROM annotators ORDER BY name")]

    def who(self, token: str) -> str | None:
        """Whose token this is."""
        with self._lock:
            row = self._db.execute("SELECT name FROM annotators WHERE token = ?", (_hashed(token),)).fetchone()
        return row and str(row[0])

    # Asking

    def next(self, who: str) -> View | None:
        """What this annotator sees: what is on their screen already, else what was taken off it by an undo, else a new
        item; None when there is none. Raises PermissionError for a name that was never invited."""
        with self._writing(on_disk=False) as db:
            voted = _voted(db, who)
            now, settings = self.clock(), settings_in(db)
            since = now - 60 * settings.lapse
            for row in db.execute(HELD, (who,)).fetchall():
                if (row["touched"] > since and row["stays"]) or queue.free(db, settings, who, row["unit"], since):
                    return self._show(db, row["number"], now)
                db.execute("UPDATE views SET state = 'lapsed' WHERE number = ?", (row["number"],))
            if (drawn := queue.draw(db, settings, who, voted, since)) is None:
                return None
            return self._show(db, self._lay_out(db, who, *drawn, now), now)

    def coming(self, count: int, known: frozenset[str] = frozenset()) -> list[Item]:
        """Items of the next `count` that are asked about, without those whose keys are known."""
        with self._lock:
            rows = self._db.execute(queue.COMING, (count,)).fetchall()
            numbers = [row["item"] for row in rows if row["key"] not in known]
            return [items_in(self._db, number, number)[number] for number in dict.fromkeys(numbers)]

    def look(self, who: str, view: str) -> View:
        """A view of this annotator as it is, also one that has its vote. Raises as `vote` does."""
        with self._lock:
            return _view_in(self._db, _view(self._db, who, view)["number"])

    def vote(
        self,
        who: str,
        view: str,
        choice: str,
        *,
        strength: float | None = None,
        ranking: Sequence[Any] | None = None,
        reason: str = "",
        note: str = "",
        edit: Mapping[str, Any] | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Keep what an annotator says of a view. The same said again of a view that has its vote changes nothing.

        choice    "1" (left much better) to "5", both_good, both_bad; "rank" with a ranking; "skip" with a reason
        ranking   places as shown (0 is the first on the screen), best first, those that tie as a list
        edit      {"answer": place in item.completions, "text": the better text}
        strength  (0, 1], where the choice itself does not say it

        Raises PermissionError for another's view, ValueError for nonsense, Voted for a second, different vote.
        """
        with self._writing() as db:
            row = _view(db, who, view)
            shown, mode = orjson.loads(row["shown"]), _mode_of(db, row["unit"])
            said = checked(mode, shown, choice, strength, ranking, reason, note, edit, seconds)
            if row["state"] == "voted":
                old = db.execute("SELECT * FROM votes WHERE view = ? AND undone IS NULL", (row["number"],)).fetchone()
                if any(old[name] != said[name] for name in SAID):
                    raise Voted("there is a vote on this item already; take it back first")
                return
            self._record(db, row, said, self._now())

    def undo(self, who: str) -> View | None:
        """Take an annotator's latest vote back and show its item again; None when there is none.

        What is on their screen is put aside, and comes back once the vote is given again. An item that was skipped
        is shown again although others may have given its votes since: then it gets one more.
        """
        with self._writing() as db:
            _voted(db, who)
            latest = "SELECT * FROM votes WHERE who = ? AND undone IS NULL ORDER BY number DESC LIMIT 1"
            if (vote := db.execute(latest, (who,)).fetchone()) is None:
                return None
            db.execute("UPDATE votes SET undone = ? WHERE number = ?", (_event(db), vote["number"]))
            row = db.execute("SELECT * FROM views WHERE number = ?", (vote["view"],)).fetchone()
            self._count(db, row, vote["choice"], -1)
            turn = _one(
                db, "SELECT coalesce(max(turn), 0) + 1 FROM views WHERE who = ? AND state IN ('open', 'aside')", who
            )
            db.execute("UPDATE views SET state = 'aside', turn = ? WHERE who = ? AND state = 'open'", (turn, who))
            return self._show(db, row["number"], self.clock())

    # What was said

    def progress(self, who: str) -> dict[str, int]:
        """Votes that are `done`, by this annotator (`mine`, checks and skips included), in `total` and `missing`.

        done + missing = total = items asked about × overlap; checks beyond the overlap, repeats and skips count in
        `mine` only.
        """
        with self._lock:
            db = self._db
            tally = tally_in(db)
            mine = db.execute("SELECT votes FROM annotators WHERE name = ?", (who,)).fetchone()
        total, missing = tally["total"], tally["missing"]
        return {"done": total - missing, "mine": mine[0] if mine else 0, "total": total, "missing": missing}

    def items(self) -> list[Item]:
        """Every item, also those no longer asked about, in the order they came."""
        with self._lock:
            return list(items_in(self._db).values())

    def votes(self) -> list[dict[str, Any]]:
        """Standing votes in the order they were cast: item, by, shown, check, mode, choice, strength, ranking, reason,
        note, edit, seconds, at; `item` is the key, `shown` are places, `ranking` places as shown."""
        with self._lock:
            return list(votes_in(self._db))

    def comparisons(self) -> Iterator[dict[str, Any]]:
        """What was said as Comparison dicts, each with the key of its item as `item`."""
        return ({"item": vote["item"], **one} for vote in self.votes() for one in comparisons_of(vote))

    def put(self, vote: Mapping[str, Any]) -> bool:
        """Keep a vote that was cast elsewhere, in the form of `votes`; False when it is here already.

        Raises ValueError for nonsense and KeyError for an item that is not here.
        """
        shown, mode = list(vote["shown"]), vote["mode"]
        said = checked(mode, shown, *(vote[name] for name in (*SAID, "seconds")))
        if vote["check"] not in ("", "gold", "repeat") or mode not in ("pair", "rank") or len(set(shown)) < len(shown):
            raise ValueError(
                "a vote has the places shown, each once, a check (gold or repeat) and a mode (pair or rank)"
            )
        _named(vote["by"])
        with self._writing() as db:
            unit = _unit(db, vote["item"], tuple(sorted(shown)) if mode == "pair" else RANKING)
            same = """SELECT 1 FROM views JOIN votes ON votes.view = views.number WHERE views.unit = ? AND views.who = ?
                      AND undone IS NULL AND (at = ? OR views.purpose = ?)"""
            if db.execute(same, (unit, vote["by"], vote["at"], vote["check"])).fetchone():
                return False
            _annotator(db, vote["by"], self._now())
            row = self._lay_out(db, vote["by"], unit, vote["check"], self.clock(), shown)
            self._record(db, db.execute("SELECT * FROM views WHERE number = ?", (row,)).fetchone(), said, vote["at"])
            return True

    # Inside a transaction

    def _now(self) -> str:
        return datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="milliseconds")

    def _lay_out(
        self, db: sqlite3.Connection, who: str, unit: int, check: str, now: float, shown: list[int] | None = None
    ) -> int:
        """A new view of a unit: which side each answer stands on is drawn, unless it is known."""
        of_unit = """SELECT items.key, completions, first, second, units.gold AS known
                     FROM units JOIN items ON items.number = item WHERE units.number = ?"""
        row = db.execute(of_unit, (unit,)).fetchone()
        check = check or ("gold" if row["known"] else "")
        if shown is None:
            answers = len(orjson.loads(row["completions"]))
            shown = queue.sides(row["key"], (row["first"], row["second"]), answers, who, check)
        made = db.execute(
            "INSERT INTO views (view, unit, who, shown, purpose, state, touched) VALUES (?, ?, ?, ?, ?, 'aside', ?)",
            (secrets.token_urlsafe(12), unit, who, orjson.dumps(shown).decode(), check, now),
        )
        return int(made.lastrowid or 0)

    def _show(self, db: sqlite3.Connection, number: int, now: float) -> View:
        db.execute("UPDATE views SET state = 'open', turn = 0, touched = ? WHERE number = ?", (now, number))
        return _view_in(db, number)

    def _record(self, db: sqlite3.Connection, view: sqlite3.Row, said: dict[str, Any], at: str) -> None:
        """Append a vote. Given again as it was before an undo it is the same vote: its time and duration stay."""
        old = db.execute(
            "SELECT * FROM votes WHERE view = ? ORDER BY number DESC LIMIT 1", (view["number"],)
        ).fetchone()
        if old and all(old[name] == said[name] for name in SAID):
            said, at = {**said, "seconds": old["seconds"]}, old["at"]
        row = {"view": view["number"], "who": view["who"], **said, "at": at, "event": _event(db)}
        db.execute(f"INSERT INTO votes ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
        db.execute("UPDATE views SET state = 'voted', turn = 0 WHERE number = ?", (view["number"],))
        self._count(db, view, said["choice"], 1)

    def _count(self, db: sqlite3.Connection, view: sqlite3.Row, choice: str, change: int) -> None:
        db.execute("UPDATE annotators SET votes = votes + ? WHERE name = ?", (change, view["who"]))
        if view["purpose"] == "repeat" or choice == "skip":
            return
        unit, overlap = view["unit"], settings_in(db).overlap
        lacked = "SELECT live * max(0, ? - votes) FROM units WHERE number = ?"
        before = _one(db, lacked, overlap, unit)
        db.execute("UPDATE units SET votes = votes + ? WHERE number = ?", (change, unit))
        db.execute("UPDATE units SET wanted = live AND votes < ? WHERE number = ?", (overlap, unit))
        after = _one(db, lacked, overlap, unit)
        db.execute("UPDATE tally SET value = value + ? WHERE name = 'missing'", (after - before,))


def _one(db: sqlite3.Connection, query: str, *values: object) -> int:
    return int(db.execute(query, values).fetchone()[0])


def _event(db: sqlite3.Connection) -> int:
    """The number of this change."""
    return _one(db, "UPDATE tally SET value = value + 1 WHERE name = 'event' RETURNING value")


def _view(db: sqlite3.Connection, who: str, view: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM views WHERE view = ?", (view,)).fetchone()
    if row is None:
        raise Voted("no such item was shown")
    if row["who"] != who:
        raise PermissionError("this item was shown to somebody else")
    return row


def _view_in(db: sqlite3.Connection, number: int) -> View:
    row = db.execute("SELECT * FROM views WHERE number = ?", (number,)).fetchone()
    item = _one(db, "SELECT item FROM units WHERE number = ?", row["unit"])
    vote = db.execute("SELECT * FROM votes WHERE view = ? ORDER BY number DESC LIMIT 1", (number,)).fetchone()
    return View(
        row["view"],
        items_in(db, item, item)[item],
        orjson.loads(row["shown"]),
        row["purpose"],
        _mode_of(db, row["unit"]),
        said_before(vote) if vote else None,
    )


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _voted(db: sqlite3.Connection, who: str) -> int:
    """How many standing votes an annotator has."""
    row = db.execute("SELECT votes FROM annotators WHERE name = ?", (who,)).fetchone()
    if row is None:
        raise PermissionError(f"'{who}' was not invited")
    return int(row[0])


def _named(name: str) -> None:
    if not name.strip() or not name.isprintable() or len(name) > 80:
        raise ValueError(f"an annotator's name is 1 to 80 printable characters, not {name!r}")


def _annotator(db: sqlite3.Connection, name: str, at: str) -> None:
    db.execute("INSERT OR IGNORE INTO annotators (name, at) VALUES (?, ?)", (name, at))


def _mode_of(db: sqlite3.Connection, unit: int) -> Any:
    return "rank" if _one(db, "SELECT first FROM units WHERE number = ?", unit) == -1 else "pair"


def _unit(db: sqlite3.Connection, key: str, pair: tuple[int, ...]) -> int:
    query = (
        "SELECT units.number FROM units JOIN items ON items.number = item WHERE key = ? AND first = ? AND second = ?"
    )
    if (row := db.execute(query, (key, *pair)).fetchone()) is None:
        raise KeyError(f"no answers {pair} of an item {key}")
    return int(row[0])
