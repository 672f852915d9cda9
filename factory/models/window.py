"""How many requests may be in flight at an endpoint: found out while asking, from refusals and latencies."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

START = 32  # requests in flight before anything is known of the server
TOLERATED = 0.02  # share of refusals that says nothing about our rate
LATENCY_RISE = 3.0  # a median latency this many times the best may be a queue at the server
PROBE = 0.8  # what is tried then
KEPT_RATE = 0.9  # share of the rate that has to be left for the smaller window to be kept


@dataclass
class Window:
    """Additive increase, multiplicative decrease, in rounds of as many outcomes as the window was wide.

    It opens by one with every answer, so that it doubles in a round trip, until requests are refused or latency rises.
    A refused request takes its place away with it. So the window loses the share that was refused, and what is left is
    what the server took: one that refuses one request in a hundred at random costs next to nothing. A round without
    refusals gives a place more, the next one two, then four.

    Latency alone does not prove a queue at the server, for answers may just have become longer: a smaller window is
    tried for one round, and kept only if the rate of answers stays.
    """

    ceiling: int
    size: float = 0.0
    opening: bool = True
    best: float = float("inf")  # lowest median latency of a round, seconds
    _goal: float = 0.0  # outcomes that end the round
    _round: float = -1.0  # when the round began; what was sent before counts for none
    _answers: int = 0  # in the round, whenever they were asked for
    _refused: int = 0
    _latencies: list[float] = field(default_factory=list)
    _full: bool = True  # whether every answer of the round was sent with the window in full use
    _step: float = 1.0  # places that a round without refusals gives
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
        self.size = max(1.0, self.size - 1)
        self._refused += 1
        if self._refused > TOLERATED * self._goal + 1:
            self.opening = False
        if self._refused + len(self._latencies) >= self._goal:
            self._close(now)

    def _close(self, now: float) -> None:
        """End a round: decide how wide the next one is."""
        rate = self._answers / max(now - self._round, 1e-9) if self._round >= 0 else 0.0
        median = statistics.median(self._latencies) if self._latencies else float("inf")
        if self._refused > TOLERATED * self._goal:
            self._step, self._probe = 1.0, None
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
