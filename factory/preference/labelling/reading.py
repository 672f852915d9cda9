"""What lies in a label set, read: also while another process writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import orjson

from .items import Item
from .queue import Settings
from .votes import said_before

VOTES = """SELECT votes.*, items.key, views.shown, views.purpose, units.first FROM votes
           JOIN views ON views.number = votes.view JOIN units ON units.number = views.unit
           JOIN items ON items.number = units.item WHERE undone IS NULL ORDER BY votes.number"""


def settings_in(db: sqlite3.Connection) -> Settings:
    return Settings(**{row[0]: orjson.loads(row[1]) for row in db.execute("SELECT name, value FROM settings")})


def items_in(db: sqlite3.Connection, number: int | None = None) -> dict[int, Item]:
    """Items by their number in the file: all of them, or one."""
    one = "" if number is None else "WHERE items.number = ?"
    rows = db.execute(f"SELECT * FROM items {one} ORDER BY number", () if number is None else (number,))
    found = {}
    for row in rows:
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


def votes_in(db: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """Standing votes in the order they were cast, in the form of `Labels.votes`."""
    for row in db.execute(VOTES):
        yield {
            "item": row["key"],
            "by": row["who"],
            "shown": orjson.loads(row["shown"]),
            "check": row["purpose"],
            **said_before(row),
            "at": row["at"],
        }
