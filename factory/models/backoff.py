"""How long to wait after an attempt that came to nothing, one request alone or all of them."""

from __future__ import annotations

import random

HOLD_AFTER = 4  # requests turned away with no answer between them before fresh ones wait too
LONGEST = 60.0  # seconds, unless the server asks for more


class Backoff:
    """Pauses of requests, and the time before which nothing is sent because a rate limit turns everything away."""

    def __init__(self, first: float) -> None:
        self.first = first  # seconds before the second attempt
        self.held = 0.0  # nothing is sent before
        self._turned_away = self._holds = 0  # in a row

    def pause(self, attempt: int, asked: float | None) -> float:
        """Seconds before another attempt: what the server asked for, else exponential.

        Up to half is taken away at random so that requests do not return together.
        """
        if asked is not None:
            return asked
        return min(self.first * 2.0 ** min(attempt - 1, 30), LONGEST) * random.uniform(0.5, 1.0)

    def answered(self) -> None:
        self._turned_away = self._holds = 0

    def turned_away(self, sent: float, now: float, asked: float | None, places: int) -> None:
        """A rate limit turned away a request of `sent`. One alone holds nobody up, several in a row hold up all.

        Where the server does not say for how long, and as long as the window has many `places`, requests that it took
        are in flight: it has too few places rather than too many requests a minute, and a smaller window is enough.
        """
        self._turned_away += sent >= self.held
        if self._turned_away >= HOLD_AFTER and (asked is not None or places <= HOLD_AFTER):
            self._turned_away, self._holds = 0, self._holds + 1
            self.held = now + self.pause(self._holds, asked)
