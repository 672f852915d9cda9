"""Items put into a label set, and which of their pairs are asked about."""

from __future__ import annotations

import sqlite3
from itertools import combinations

import orjson

from ..comparisons import item_key
from .items import RANKING, Item, best_pairs
from .queue import Settings

ITEM = """INSERT INTO items (key, prompt, completions, models, judged, gold, record, live)
    VALUES (?, ?, ?, ?, ?, ?, ?, 1)
    ON CONFLICT (key) DO UPDATE SET models = excluded.models, judged = excluded.judged, gold = excluded.gold,
    record = excluded.record, live = 1 RETURNING number"""
UNIT = """INSERT INTO units (item, first, second, worth, best, gold) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (item, first, second)
    DO UPDATE SET worth = excluded.worth, best = excluded.best, gold = excluded.gold"""


def put_item(db: sqlite3.Connection, item: Item) -> None:
    """An item with its units; one that is known already takes what judges say of it now.

    Raises ValueError for one with fewer than two answers, or a key of something else.
    """
    if len(item.completions) < 2:
        raise ValueError(f"an item has two answers or more; {item.record_id or item.key} has {len(item.completions)}")
    if item.key != item_key(item.prompt, item.completions):
        raise ValueError(f"the key of item {item.record_id or item.key} is not that of its prompt and answers")
    texts = [orjson.dumps(value).decode() for value in (item.prompt, item.completions, item.models)]
    row = (item.key, *texts, item.judged, item.gold, item.record_id)
    number = db.execute(ITEM, row).fetchone()[0]
    best = set(best_pairs(item))
    pairs = [RANKING, *combinations(range(len(item.completions)), 2)]
    units = [(number, *p, item.worth.get(p, item.judged), p in best, item.gold_of(p)) for p in pairs]
    db.executemany(UNIT, units)


def recount(db: sqlite3.Connection, settings: Settings) -> None:
    """Which units are asked about, and how many votes they lack: after the items or the settings changed."""
    asked = "first = -1" if settings.mode == "rank" else "first >= 0" + " AND best" * (settings.pairs == "best")
    db.execute(f"UPDATE units SET live = {asked} AND (SELECT live FROM items WHERE items.number = units.item)")
    db.execute("UPDATE units SET wanted = live AND votes < ?", (settings.overlap,))
    total = "SELECT 'total', count(*) * ?1 FROM units WHERE live"
    missing = "SELECT 'missing', coalesce(sum(?1 - votes), 0) FROM units WHERE wanted"
    db.execute(f"INSERT OR REPLACE INTO tally {total} UNION ALL {missing}", (settings.overlap,))
