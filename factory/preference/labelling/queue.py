"""Which item is next for whom, and on which side each answer stands."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import dataclass
from typing import Literal

from factory import digest

from .items import RANKING, Pair

APART = 10  # votes between an item and its repeat, at least


@dataclass(frozen=True)
class Settings:
    """How a label set is asked.

    overlap       how many annotators see each item
    gold_share    share of an annotator's items whose verdict is known; they come beyond the overlap
    repeat_share  share of an annotator's items that were theirs ten votes ago or longer, sides drawn anew
    mode          two answers at a time, or all of them to be ranked
    pairs         of K answers all K(K−1)/2 pairs, or the best K−1: those that tie all answers together, worth most
    lapse         minutes for which an item that is on a screen is kept from others
    """

    overlap: int = 1
    gold_share: float = 0.0
    repeat_share: float = 0.05
    mode: Literal["pair", "rank"] = "pair"
    pairs: Literal["all", "best"] = "all"
    lapse: float = 30.0

    def __post_init__(self) -> None:
        if self.overlap < 1 or int(self.overlap) != self.overlap:
            raise ValueError(f"overlap is a number of annotators from 1, not {self.overlap}")
        shares = self.gold_share, self.repeat_share
        if not (min(shares) >= 0 and sum(shares) < 1):
            raise ValueError(f"gold_share and repeat_share are shares of less than 1 together, not {shares}")
        if self.mode not in ("pair", "rank") or self.pairs not in ("all", "best"):
            raise ValueError(f"mode is pair or rank, pairs all or best, not {self.mode} and {self.pairs}")
        if not self.lapse > 0:
            raise ValueError(f"lapse is a number of minutes above 0, not {self.lapse}")


# A place at an item is taken by each standing vote and by each screen it is on, until that lapses.
HELD = """(SELECT count(*) FROM views AS h WHERE h.unit = units.number AND h.who <> :who AND h.touched > :since
           AND h.state IN ('open', 'aside') AND h.purpose <> 'repeat')"""
SEEN = """EXISTS (SELECT 1 FROM views AS v WHERE v.unit = units.number AND v.who = :who
          AND v.state IN ('voted', 'open', 'aside'))"""

# Worth most first; then those with votes but not enough of them; then in the order of the dataset.
NEXT = f"""SELECT number FROM units INDEXED BY units_wanted WHERE wanted = 1 AND NOT {SEEN}
           AND votes + {HELD} < :overlap ORDER BY worth DESC, votes DESC, number LIMIT 1"""
COMING = """SELECT item, items.key FROM units INDEXED BY units_wanted JOIN items ON items.number = item WHERE wanted = 1
            ORDER BY worth DESC, votes DESC, units.number LIMIT ?"""
GOLD = f"""SELECT number FROM units INDEXED BY units_gold WHERE gold IS NOT NULL AND live = 1 AND NOT {SEEN}
           ORDER BY votes, number LIMIT 1"""
FREE = f"SELECT 1 FROM units WHERE number = :unit AND wanted = 1 AND votes + {HELD} < :overlap"
# All but the latest votes of an annotator, whose item was not repeated yet.
OLD = """SELECT views.unit FROM votes JOIN views ON views.number = votes.view JOIN units ON units.number = views.unit
         WHERE votes.who = :who AND votes.undone IS NULL AND units.live = 1
         AND votes.choice <> 'skip' AND views.purpose <> 'repeat'
         AND votes.number <= (SELECT number FROM votes WHERE who = :who AND undone IS NULL
                              ORDER BY number DESC LIMIT 1 OFFSET :apart)
         AND NOT EXISTS (SELECT 1 FROM views AS r WHERE r.unit = views.unit AND r.who = :who
                         AND r.purpose = 'repeat' AND r.state <> 'lapsed')
         ORDER BY votes.number"""


def draw(db: sqlite3.Connection, settings: Settings, who: str, voted: int, since: float) -> tuple[int, str] | None:
    """The unit that an annotator with `voted` votes sees next, and what it is for: "", gold or repeat.

    None when nothing is left to ask; checks come only while something is. `since`: what was touched before has lapsed.
    """
    names = {"who": who, "since": since, "overlap": settings.overlap}
    ordinary = db.execute(NEXT, names).fetchone()
    if ordinary is None:
        return None
    chance = share(who, voted)
    if chance < settings.gold_share and (gold := db.execute(GOLD, names).fetchone()):
        return int(gold[0]), "gold"
    if settings.gold_share <= chance < settings.gold_share + settings.repeat_share:
        old = db.execute(OLD, {"who": who, "apart": APART - 1}).fetchall()
        if old:
            return int(old[int(share(who, voted, "which") * len(old))][0]), "repeat"
    return int(ordinary[0]), ""


def free(db: sqlite3.Connection, settings: Settings, who: str, unit: int, since: float) -> bool:
    """Whether an item still lacks a vote that nobody else is about to give."""
    names = {"who": who, "since": since, "overlap": settings.overlap, "unit": unit}
    return db.execute(FREE, names).fetchone() is not None


def share(*key: object) -> float:
    """A number in [0, 1) that is fixed by `key`."""
    return int(digest(list(key)), 16) / 2**64


def sides(key: str, pair: Pair, answers: int, who: str, check: str) -> list[int]:
    """Places in the order shown, fixed by the item and the annotator; each order equally often. A repeat draws anew."""
    places = list(range(answers)) if pair == RANKING else list(pair)
    random.Random(digest([key, *pair, who, check == "repeat"], 16)).shuffle(places)
    return places
