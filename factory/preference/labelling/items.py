"""What people are asked about: Candidates as items, their pairs, and where a vote is worth most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from factory import Message

from ..comparisons import NOTHING, item_key

Pair = tuple[int, int]  # places in completions, the lower one first
RANKING: Pair = (-1, -1)  # stands for all answers at once


@dataclass(frozen=True)
class Item:
    """One prompt with its answers. `key` is comparisons.item_key of both.

    judged  how much a vote is worth, 0 to 1: 1 where judges disagree or flip, or scores are equal
    worth   the same for each pair, where more is known than `judged`
    gold    a verdict for an item of two answers, or the place of the best answer as digits; None where it is open
    """

    key: str
    prompt: list[Message]
    completions: list[list[Message]]
    judged: float = 0.0
    gold: str | None = None
    record_id: str = ""
    models: list[str] = field(default_factory=list)
    worth: Mapping[Pair, float] = field(default_factory=dict)

    def gold_of(self, pair: Pair) -> str | None:
        """The verdict that is expected of a pair, where one is."""
        if self.gold is None or pair == RANKING:
            return None
        if self.gold.isdigit():
            return {pair[0]: "first", pair[1]: "second"}.get(int(self.gold))
        return self.gold if len(self.completions) == 2 else None


@dataclass(frozen=True)
class View:
    """An item as one annotator sees it. `shown` are places in item.completions in the order shown (two in mode pair).

    vote  what had been said before it was taken back: choice, strength, ranking, reason, note, edit, seconds
    """

    view: str
    item: Item
    shown: list[int]
    check: Literal["", "gold", "repeat"] = ""
    mode: Literal["pair", "rank"] = "pair"
    vote: dict[str, Any] | None = None


def item_of(record: Mapping[str, Any]) -> Item:
    """A Candidates record as an item; `meta.gold` may say what is expected."""
    meta = record.get("meta") or {}
    completions, scores = record["completions"], record.get("scores") or []
    pairs = list(combinations(range(len(completions)), 2))
    worth = {pair: worth_of(pair, meta.get("comparisons") or (), scores) for pair in pairs}
    gold = meta.get("gold")
    return Item(
        item_key(record["prompt"], completions),
        record["prompt"],
        completions,
        max(worth.values(), default=0.0),
        None if gold is None else str(gold),
        record.get("id", ""),
        list(meta.get("models") or ()),
        worth,
    )


def items_of(records: Iterable[Mapping[str, Any]]) -> Iterator[Item]:
    """Items of the records that have at least two answers."""
    return (item_of(record) for record in records if len(record["completions"]) > 1)


def worth_of(pair: Pair, comparisons: Iterable[Mapping[str, Any]], scores: Sequence[float]) -> float:
    """How open a pair is, 0 to 1.

    With comparisons by judges 1 − |mean|, where each is worth ±strength, a tie or flip 0; without, 1 − margin of the
    scores as a share of their range; 0 where nothing is known.
    """
    sides = {"first": 1.0, "second": -1.0}
    said: list[float] = [
        sides.get(one["verdict"], 0.0) * one.get("strength", 1.0)
        for one in comparisons
        if (one["first"], one["second"]) == pair and one["verdict"] not in NOTHING and not one.get("person")
    ]
    if said:
        return 1 - abs(sum(said) / len(said))
    if len(scores) <= max(pair):
        return 0.0
    span = max(scores) - min(scores)
    return 1 - abs(scores[pair[0]] - scores[pair[1]]) / span if span else 1.0


def best_pairs(item: Item) -> list[Pair]:
    """The K − 1 pairs that tie all K answers together where votes are worth most: a maximum spanning tree (Kruskal).

    Fewer pairs leave an answer, or a group of them, without any comparison with the rest, so no scale of strengths.
    """
    group = list(range(len(item.completions)))
    chosen = []
    for pair in sorted(combinations(group, 2), key=lambda pair: (-item.worth.get(pair, item.judged), pair)):
        first, second = group[pair[0]], group[pair[1]]
        if first != second:
            group = [first if other == second else other for other in group]
            chosen.append(pair)
    return sorted(chosen)
