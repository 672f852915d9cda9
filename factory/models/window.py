"""How many requests may be in flight at an endpoint: found out while asking, from refusals and latencies."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

START = 32  # requests in flight before anything is known of the server
TOLERATED, MOST_TOLERATED = 0.02, 0.3  # share of refusals that says nothing about our rate: at first, and at the most
SAME = 0.7  # share of the share before that has to be left for a narrower window to have been in vain
LATENCY_RISE = 3.0  # a median latency this many times the best may be a queue at the server
PROBE = 0.8  # what is tried then
KEPT_RATE = 0.9  # share of the rate that has to be left for the smaller window to be kept


@dataclass
class Window:
    """Additive increase, multiplicative decrease, in rounds of as many outcomes as the window was wide.

    It opens by one with every answer, so that it doubles in a round trip, until requests are refused or latency rises.
    A refused request takes its place away with it. So the window loses the share that was refused, and what is left is
    what the server took. A round without refusals gives a place more, the next one two, then four. Where a narrower
    window is refused as often as the wide one, the width was not why: it is taken back, and so many are tolerated.

    Latency alone does not prove a queue at the server, for answers may just have become longer: a smaller window is
    tried for one round, and kept only if the rate of answers stays.
    """

    ceiling: int
    size: float = 0.0
    opening: bool = True
    best: float = float("inf")  # lowest median latency of a round, seconds
    tolerated: float = TOLERATED
    _goal: float = 0.0  # outcomes that end the round
    _round: float = -1.0  # when the round began; what was sent before counts for none
    _answers: int = 0  # in the round, whenever they were asked for
    _refused: int = 0
    _latencies: list[float] = field(default_factory=list)
    _full: bool = True  # whether every answer of the round was sent with the window in full use
    _step: float = 1.0  # places that a round without refusals gives
    _narrowed: tuple[float, float] | None = None  # size and share of refusals before the last round took places
    _probe: tuple[float, float] | None = None  # size and rate before a smaller window was tried

    def __post_init__(self) -> None:
        self.size = self._goal = self.size or float(min(START, self.ceiling))

    @property
    def places(self) -> int:
        """Requests that may be in flight."""
        return int(self.size)

    def answered(self, sent: float, now: float, full: bool) -> None:
        """An answer at `now` to a request of `sent` (seconds of one clock); `full`: no place was left when it went."""
        if self.opening and full:
            self.size = min(self.size + 1, self.ceiling)
        self._answers += 1
        if sent >= self._round:
            self._latencies.append(now - sent)
            self._full = self._full and full
            if self._refused + len(self._latencies) >= self._goal:
                self._close(now)

    def refused(self, now: float) -> None:
        """The server said that it has too much to do, or nothing at all in time."""
        self._refused += 1
        if self._refused > self.tolerated * self._goal:
            self.size = max(1.0, self.size - 1)
        if self._refused > self.tolerated * self._goal + 1:
            self.opening = False
        if self._refused + len(self._latencies) >= self._goal:
            self._close(now)

    def _close(self, now: float) -> None:
        """End a round: decide how wide the next one is."""
        rate = self._answers / max(now - self._round, 1e-9) if self._round >= 0 else 0.0
        median = statistics.median(self._latencies) if self._latencies else float("inf")
        share = self._refused / (self._refused + len(self._latencies))
        before, self._narrowed = self._narrowed, None
        if share < self.tolerated / 3:  # they have become fewer
            self.tolerated = max(TOLERATED, 0.9 * self.tolerated)
        if before is not None and before[1] <= MOST_TOLERATED and share > SAME * before[1]:
            self.size, self.tolerated = max(self.size, before[0]), min(1.5 * max(share, before[1]), MOST_TOLERATED)
        elif share > self.tolerated:
            self._step, self._probe, self._narrowed = 1.0, None, (self._goal, share)
        elif self._probe is not None and rate < KEPT_RATE * self._probe[1]:  # no queue: answers take longer now
            self.size, self.best, self._probe = self._probe[0], median, None
        elif median > LATENCY_RISE * self.best and self._full:
            self.opening = False
            self._probe = self.size, rate
            self.size = max(1.0, self.size * PROBE)
        elif self._full and not self.opening:
            self.size = min(self.size + self._step, self.ceiling)
            self._step, self._probe = min(2 * self._step, max(1.0, self.ceiling / 8)), None
        self.best = min(self.best, median)
        self._round, self._goal, self._full = now, self.size, True
        self._answers = self._refused = 0
        self._latencies.clear()
