"""What lies in a label set, read: also while another process writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import orjson

from .items import Item
from .queue import Settings
from .votes import said_before

LATEST = 2**62
ITEMS = "SELECT * FROM items WHERE number BETWEEN ? AND ? ORDER BY number"
# Votes that stood after a change of the file.
VOTES = """SELECT votes.*, items.key, views.shown, views.purpose, units.first FROM votes
           JOIN views ON views.number = votes.view JOIN units ON units.number = views.unit
           JOIN items ON items.number = units.item
           WHERE event <= ?1 AND coalesce(undone, ?1 + 1) > ?1 AND items.number BETWEEN ?2 AND ?3
           ORDER BY votes.number"""


def settings_in(db: sqlite3.Connection) -> Settings:
    return Settings(**{row[0]: orjson.loads(row[1]) for row in db.execute("SELECT name, value FROM settings")})


def tally_in(db: sqlite3.Connection) -> dict[str, int]:
    """`event` (changes so far), `total` and `missing` votes."""
    return {row[0]: row[1] for row in db.execute("SELECT name, value FROM tally")}


def items_in(db: sqlite3.Connection, first: int = 0, last: int = LATEST) -> dict[int, Item]:
    """Items by their number in the file."""
    found = {}
    for row in db.execute(ITEMS, (first, last)).fetchall():
        units = db.execute("SELECT first, second, worth FROM units WHERE item = ? AND first >= 0", (row["number"],))
        found[row["number"]] = Item(
            row["key"],
            orjson.loads(row["prompt"]),
            orjson.loads(row["completions"]),
            row["judged"],
            row["gold"],
            row["record"],
            orjson.loads(row["models"]),
            {(unit[0], unit[1]): unit[2] for unit in units},
        )
    return found


def votes_in(
    db: sqlite3.Connection, event: int = LATEST, first: int = 0, last: int = LATEST
) -> Iterator[dict[str, Any]]:
    """Votes that stood after a change, in the order they were cast, in the form of `Labels.votes`.

    first, last  numbers of items
    """
    for row in db.execute(VOTES, (event, first, last)):
        yield {
            "item": row["key"],
            "by": row["who"],
            "shown": orjson.loads(row["shown"]),
            "check": row["purpose"],
            "mode": "rank" if row["first"] == -1 else "pair",
            **said_before(row),
            "at": row["at"],
        }
