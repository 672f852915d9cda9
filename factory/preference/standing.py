"""What scores and verdicts say of the answers of one Candidates record: which pairs are pairs, and which are ties."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, get_args

from factory import Drop, text_of

from .comparisons import NOTHING, TIES, Verdict, win_shares

ROUNDING = 1e-9  # a difference of two scores that ought to be the margin may be this much less
# What meta holds of all answers of a prompt: of a pair it would be wrong, and of answers to come.
PER_ANSWER = ("models", "names", "temperatures", "draws", "comparisons", "grades", "asked", "edited", "gold")
VERDICTS: tuple[str, ...] = get_args(Verdict)
TIE_REASONS = {"flip": "flip", "both_good": "both good", "both_bad": "both bad"}


@dataclass(frozen=True)
class Bounds:
    """What two answers must be to make a pair."""

    margin: float = 0.0  # least difference of their scores
    lengths: float | None = None  # the longer one has at most so many times the characters of the shorter


class Standing:
    """The answers of one record with their texts, scores and comparisons."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        """Raises Drop when there is nothing that pairs could be made of."""
        self.record = record
        self.texts = [text_of(answer) for answer in record["completions"]]
        self.keys = [" ".join(text.split()) for text in self.texts]
        self.meta: Mapping[str, Any] = record.get("meta") or {}
        self.comparisons = list(read_comparisons(self.meta, len(self.texts)))
        self.scores = self._scores()

    def _scores(self) -> list[float | None]:
        """The record's scores, else shares of comparisons won; None for an answer that has none."""
        scores = self.record["scores"]
        if scores:
            if len(scores) != len(self.texts):
                raise Drop("scores do not fit", answers=len(self.texts), scores=len(scores))
            return [score if score is not None and math.isfinite(score) else None for score in scores]
        spoken = [one for one in self.comparisons if one["verdict"] not in NOTHING]
        places = sorted({one[side] for one in spoken for side in ("first", "second")})
        rank = {place: at for at, place in enumerate(places)}
        closed = [{**one, "first": rank[one["first"]], "second": rank[one["second"]]} for one in spoken]
        won = win_shares(closed, len(places)) or []
        return [won[rank[place]] if place in rank else None for place in range(len(self.texts))]

    def related(self, one: int, other: int) -> bool:
        """Whether a chain of comparisons joins two answers; shares of others are won against nobody in common."""
        if self.record["scores"]:
            return True
        reached, waiting = {one}, [one]
        while waiting:
            at = waiting.pop()
            for said in self.comparisons:
                two = {said["first"], said["second"]}
                if at in two and said["verdict"] not in NOTHING and not two <= reached:
                    waiting += two - reached
                    reached |= two
        return other in reached

    def said(self, *pair: int) -> list[str]:
        """The verdicts that say something, on one pair or on all."""
        return [
            one["verdict"]
            for one in self.comparisons
            if one["verdict"] not in NOTHING and (not pair or {one["first"], one["second"]} == set(pair))
        ]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every two answers as (better, worse) by their scores."""
        for one, other in combinations(range(len(self.texts)), 2):
            yield (other, one) if (self.scores[other] or 0) > (self.scores[one] or 0) else (one, other)

    def difference(self, better: int, worse: int) -> float:
        """Of the scores of two answers that have one."""
        high, low = self.scores[better], self.scores[worse]
        assert high is not None
        assert low is not None
        return high - low

    def fault(self, better: int, worse: int, bounds: Bounds) -> str:
        """Why two answers make no pair, or ""."""
        if self.keys[better] == self.keys[worse]:
            return "equal answers"
        if not (self.keys[better] and self.keys[worse]):
            return "empty answer"
        if self.scores[better] is None or self.scores[worse] is None:
            return "unreadable verdicts" if self.unread(better, worse) else "not judged"
        if not self.related(better, worse):
            return "not judged"
        verdicts = Counter(self.said(better, worse))
        if verdicts and set(verdicts) <= set(TIES):  # whatever other answers did to the scores
            return tie_reason(verdicts)
        difference = self.difference(better, worse)
        if difference <= 0:
            return "tie"
        if not math.isfinite(difference):
            return "not judged"
        if difference < bounds.margin - ROUNDING:
            return "margin too small"
        sizes = sorted((len(self.texts[better]), len(self.texts[worse])))
        return "lengths differ" if bounds.lengths is not None and sizes[1] > bounds.lengths * sizes[0] else ""

    def unread(self, *pair: int) -> bool:
        """Whether verdicts on the two were given, and none could be read."""
        found = [one["verdict"] for one in self.comparisons if {one["first"], one["second"]} == set(pair)]
        return bool(found) and set(found) == {"unreadable"}

    def kept_meta(self) -> dict[str, Any]:
        """What is known of the prompt, without what is known of its answers."""
        return {name: value for name, value in self.meta.items() if name not in PER_ANSWER}

    def of_answers(self, *places: int) -> dict[str, list[Any]]:
        """Models, their names in the recipe and temperatures of some answers, in their order, where they are known."""
        found = {name: self.meta.get(name) for name in ("models", "names", "temperatures")}
        return {
            name: [values[place] for place in places]
            for name, values in found.items()
            if isinstance(values, list) and len(values) == len(self.texts)
        }

    def speakers(self, *places: int) -> list[str]:
        """Who compared these answers with one another, or graded one of them."""
        grades = self.meta.get("grades")
        names = {one["by"] for one in self.comparisons if {one["first"], one["second"]} & set(places)}
        if len(places) == 2:
            names = {one["by"] for one in self.comparisons if {one["first"], one["second"]} == set(places)} or names
        if isinstance(grades, list):
            names |= {str(one.get("by", "")) for one in grades if isinstance(one, dict) and one.get("answer") in places}
        return sorted(names - {""})


def read_comparisons(meta: Mapping[str, Any], answers: int) -> Iterator[dict[str, Any]]:
    """The comparisons in a record's meta that are ones; an item shown again to measure somebody is no second vote."""
    found = meta.get("comparisons")
    for one in found if isinstance(found, list) else ():
        if not isinstance(one, dict) or one.get("verdict") not in VERDICTS or one.get("check") == "repeat":
            continue
        places = one.get("first"), one.get("second")
        if all(isinstance(place, int) and 0 <= place < answers for place in places) and places[0] != places[1]:
            yield {**one, "by": str(one.get("by", ""))}


def tie_reason(verdicts: Counter[str]) -> str:
    """What kind of tie it is: the most frequent kind of verdict, of equally frequent ones the plain tie."""
    (kind, most), *others = verdicts.most_common()
    return TIE_REASONS.get(kind, "tie") if all(count < most for _, count in others) else "tie"
