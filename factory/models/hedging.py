"""When a second copy of a slow request goes: after the 99th percentile of latencies, or a multiple of the 95th."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .jobs import Job

REMEMBERED = 1000  # latencies
KNOWN = 50  # latencies before anything is called slow
EVERY = 0.05  # seconds between looks at what is in flight
MOST = 0.05  # share of all requests that may be second copies


class Hedging:
    """Latencies of late, and what they say of those in flight (Dean and Barroso, The Tail at Scale, 2013)."""

    def __init__(self, rule: str) -> None:
        self.on = bool(rule)
        self.quantile, self.factor = (0.99, 1.0) if rule in ("", "p99") else (0.95, float(rule))
        self.copies = 0
        self.latencies: deque[float] = deque(maxlen=REMEMBERED)
        self.watching = False

    def took(self, seconds: float) -> None:
        if self.on:
            self.latencies.append(seconds)

    def threshold(self) -> float | None:
        """Seconds after which a request is late; None while too little is known."""
        if len(self.latencies) < KNOWN:
            return None
        ordered = sorted(self.latencies)
        return self.factor * ordered[min(int(self.quantile * len(ordered)), len(ordered) - 1)]

    def watch(self, loop: asyncio.AbstractEventLoop, look: Callable[[], bool]) -> None:
        """Call `look` every so often, until it says that nothing is in flight."""
        if self.watching:
            return
        self.watching = True

        def again() -> None:
            self.watching = look()
            if self.watching:
                loop.call_later(EVERY, again)

        loop.call_later(EVERY, again)

    def late(self, flying: Iterable[Job], now: float, sent: int) -> list[Job]:
        """Those in flight that should go a second time; they count as copies."""
        threshold = self.threshold()
        if threshold is None:
            return []
        found = [job for job in flying if not job.hedged and now - job.sent > threshold]
        found = found[: max(0, int(MOST * sent) + 1 - self.copies)]
        self.copies += len(found)
        return found
