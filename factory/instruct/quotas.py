"""How many tasks of each type are wanted, which type a request asks for, and which are given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .tally import Recent


def apportioned(shares: Mapping[str, float], count: int) -> dict[str, int]:
    """Whole numbers in proportion to `shares` that sum to `count` (largest remainders; ties to the first named).

    Numbers that sum to `count` already are what they are.
    """
    total = sum(shares.values())
    exact = {name: share * count / total for name, share in shares.items()}
    whole = {name: int(value + 1e-9) for name, value in exact.items()}
    rest = sorted(exact, key=lambda name: whole[name] - exact[name])  # a stable sort
    for name in rest[: count - sum(whole.values())]:
        whole[name] += 1
    return whole


class Quotas:
    """The type each draw asks for: the one whose quota is least filled.

    Draw k is decided by what came of draws up to k - lookahead, and by what the draws in between may be expected to
    bring, so that it does not depend on the pace of answers. A type of which next to nothing gets through is given
    up, else it would be asked for until the end.
    """

    def __init__(self, wanted: Mapping[str, int], lookahead: int, min_yield: float) -> None:
        self.wanted = {name: number for name, number in wanted.items() if number}
        self.lookahead, self.min_yield = lookahead, min_yield
        self.accepted: Counter[str] = Counter()  # as it stands
        self._types: list[str] = []  # of every draw
        self._came: list[tuple[int, int]] = []  # (candidates, accepted) of every draw that was answered
        self._seen = 0  # draws that are taken into account below
        self._draws: Counter[str] = Counter()
        self._filled: Counter[str] = Counter()
        self._candidates: Counter[str] = Counter()
        self._recent = {name: Recent() for name in self.wanted}
        self.given_up: set[str] = set()

    def next(self) -> str | None:
        """The type that the next draw asks for; None when nothing more can be had."""
        while self._seen <= len(self._types) - self.lookahead:
            self._settle(self._seen)
            self._seen += 1
        expected: dict[str, float] = {name: float(self._filled[name]) for name in self.wanted}
        for name in self._types[self._seen :]:
            expected[name] += (self._filled[name] + 1) / (self._draws[name] + 1)
        open_types = [
            name for name, number in self.wanted.items() if name not in self.given_up and self._filled[name] < number
        ]
        if not open_types:
            return None
        chosen = min(open_types, key=lambda name: expected[name] / self.wanted[name])
        self._types.append(chosen)
        return chosen

    def _settle(self, draw: int) -> None:
        name, (candidates, accepted) = self._types[draw], self._came[draw]
        self._draws[name] += 1
        self._filled[name] += accepted
        self._candidates[name] += candidates
        self._recent[name].note(self._candidates[name], self._filled[name])
        if self._recent[name].is_dry(self.min_yield):
            self.given_up.add(name)

    def is_full(self, name: str) -> bool:
        return self.accepted[name] >= self.wanted.get(name, 0)

    def accept(self, name: str) -> None:
        self.accepted[name] += 1

    def answered(self, candidates: int, accepted: int) -> None:
        """What came of the next draw in order."""
        self._came.append((candidates, accepted))

    def short(self) -> dict[str, int]:
        """How many are missing of each type that is not full."""
        return {name: number - self.accepted[name] for name, number in self.wanted.items() if not self.is_full(name)}
