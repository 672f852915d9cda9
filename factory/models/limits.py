"""Requests and tokens a minute: the rates a recipe sets, and those a server tells in its headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MINUTE = 60.0
BURST = 1.0  # seconds' worth that may go at once
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass
class Bucket:
    """A token bucket: `level` may be spent, and refills at `rate` a second up to `capacity`."""

    capacity: float
    rate: float
    level: float
    filled: float  # when `level` was right

    def wait(self, cost: float, now: float) -> float:
        """Seconds until `cost` may be spent; more than the capacity may be as soon as the bucket is full."""
        self._fill(now)
        missing = min(cost, self.capacity) - self.level
        if missing <= 0:
            return 0.0
        return missing / self.rate if self.rate > 0 else MINUTE

    def spend(self, cost: float, now: float) -> None:
        self._fill(now)
        self.level -= cost

    def _fill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + (now - self.filled) * self.rate)
        self.filled = now


def per_minute(limit: float, now: float) -> Bucket:
    """A bucket that never lets more than `limit` go within any minute: what bursts is taken off the rate."""
    burst = max(1.0, limit * BURST / MINUTE)
    return Bucket(burst, max(limit - burst, limit / 2) / MINUTE, burst, now)


@dataclass
class Limits:
    """The buckets a request has to pass: the recipe's, and the server's once its headers told of any.

    Tokens of a request are guessed before it is sent, from the bytes of the prompt and what answers took so far, and
    put right when its answer says what it took.
    """

    rpm: float = 0.0
    tpm: float = 0.0
    sent: int = 0  # requests so far
    spent: float = 0.0  # tokens so far, guessed ones among them
    _own: dict[str, Bucket] = field(default_factory=dict)
    _told: dict[str, Bucket] = field(default_factory=dict)
    _tokens_a_byte: float = 0.3
    _answer: float = 0.0  # tokens of an answer, on average; 0 before the first

    def guess(self, prompt_bytes: int, max_tokens: int) -> float:
        """Tokens that a request will take."""
        answer = min(max_tokens, 1.5 * self._answer) if self._answer else max_tokens
        return prompt_bytes * self._tokens_a_byte + answer

    def wait(self, tokens: float, now: float) -> float:
        """Seconds until a request may go; 0 for now."""
        if not self._own:
            self._own = {
                name: per_minute(limit, now) for name, limit in (("requests", self.rpm), ("tokens", self.tpm)) if limit
            }
        costs = {"requests": 1.0, "tokens": tokens}
        waits = [bucket.wait(costs[name], now) for kept in (self._own, self._told) for name, bucket in kept.items()]
        return max(waits, default=0.0)

    @property
    def none(self) -> bool:
        """Whether there is nothing to wait for."""
        return not (self.rpm or self.tpm or self._told)

    def spend(self, tokens: float, now: float) -> None:
        """A request goes."""
        self.sent += 1
        self.spent += tokens
        for buckets in (self._own, self._told):
            for name, bucket in buckets.items():
                bucket.spend(1.0 if name == "requests" else tokens, now)

    def settle(self, guessed: float, prompt_bytes: int, prompt_tokens: int, answer_tokens: int, now: float) -> None:
        """An answer says what it took."""
        taken = prompt_tokens + answer_tokens
        if not taken:
            return
        self._tokens_a_byte += 0.05 * (prompt_tokens / max(prompt_bytes, 1) - self._tokens_a_byte)
        self._answer += (0.05 if self._answer else 1.0) * (answer_tokens - self._answer)
        for buckets in (self._own, self._told):
            if bucket := buckets.get("tokens"):
                bucket.spend(taken - guessed, now)

    def told(self, headers: Mapping[str, str], sent: int, spent: float, now: float) -> None:
        """What the headers of a response say (`x-ratelimit-remaining-requests`, `-limit-`, `-reset-`; also `-tokens`).

        sent, spent: `self.sent` and `self.spent` when the request of this response had gone. What went since is taken
        off, as servers count a request when it arrives. A reset is the time until all of the limit is there again, so
        it also tells how fast a limit refills, be it one of a minute or of a day.
        """
        for name, since in (("requests", self.sent - sent), ("tokens", self.spent - spent)):
            remaining = headers.get(f"x-ratelimit-remaining-{name}")
            if remaining is None:
                continue
            limit, reset = (
                _number(headers.get(f"x-ratelimit-limit-{name}")),
                duration(headers.get(f"x-ratelimit-reset-{name}")),
            )
            left = _number(remaining)
            if left is None or limit is None or reset is None or limit <= 0:
                continue
            rate = (limit - left) / reset if reset > 0 and limit > left else limit / MINUTE
            self._told[name] = Bucket(limit, rate, left - since, now)


def duration(text: str | None) -> float | None:
    """Seconds in a header's duration: `1s`, `6m0s`, `120ms`, `1h2m3.5s` or a bare number."""
    if not text:
        return None
    if (bare := _number(text)) is not None:
        return bare
    parts = DURATION.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    return sum(float(number) * SECONDS[unit] for number, unit in parts)


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < float("inf") else None
