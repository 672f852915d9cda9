"""What became of the candidates of a step that asks a model: counted by reason, with an example of each."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from factory import Answer, Drop, text_of

FEWEST = 40  # candidates before a run is judged
SURE = 0.05  # a run is stopped when a yield as low as its own would be rarer than this at `min_yield`
WINDOWS = 10  # the latest WINDOWS / min_yield candidates count: a run that dries up late is stopped as well
TIMED = 64  # the latest answers, by which the time that is left is projected
SHOWN = 3  # reasons in a note of progress


class Recent:
    """The yield of the latest candidates, from totals that only grow."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque([(0, 0)])

    def note(self, candidates: int, accepted: int) -> None:
        """How many candidates there were so far, and how many of them were accepted."""
        self._marks.append((candidates, accepted))

    def share(self, least: float) -> tuple[int, int]:
        """(candidates, accepted) of the latest WINDOWS / least candidates, 80 at least; `least` must stay the same."""
        candidates, accepted = self._marks[-1]
        while len(self._marks) > 2 and candidates - self._marks[1][0] >= max(2 * FEWEST, WINDOWS / least):
            self._marks.popleft()
        return candidates - self._marks[0][0], accepted - self._marks[0][1]

    def is_dry(self, least: float) -> bool:
        """Whether the latest candidates say that fewer than `least` of all get through (a one-sided binomial test)."""
        if not least:
            return False
        candidates, accepted = self.share(least)
        return candidates >= FEWEST and accepted < least * candidates and _tail(candidates, accepted, least) < SURE


@dataclass
class Tally:
    """Requests made, candidates accepted, and the rejected ones by reason; what it has cost, and what is to come."""

    requests: int = 0
    accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prices: tuple[float, float] | None = None  # USD a million tokens, in and out
    recent: Recent = field(default_factory=Recent)
    _times: deque[float] = field(default_factory=lambda: deque([time.monotonic()], TIMED))

    @property
    def candidates(self) -> int:
        return self.accepted + self.reasons.total()

    def answered(self, answer: Answer) -> None:
        """Count a request that was answered, and its tokens."""
        self.requests += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        self.recent.note(self.candidates, self.accepted)
        self._times.append(time.monotonic())

    def reject(self, fault: Drop, candidate: Any) -> None:
        """Count a rejected PromptCompletion; the first of each reason is its example."""
        self.reasons[fault.reason] += 1
        said = f"{text_of(candidate['prompt'])} → {text_of(candidate['completion'])}"
        details = ", ".join(f"{name} {value}" for name, value in fault.details.items() if name != "of")
        example = " ".join(said.split())[:120] + (f" ({details})" if details else "")
        self.examples.setdefault(fault.reason, example)

    def is_dry(self, min_yield: float) -> bool:
        """Whether fewer than `min_yield` of the latest candidates get through; of all, while there are few."""
        self.recent.note(self.candidates, self.accepted)
        return self.recent.is_dry(min_yield)

    def cost(self) -> float | None:
        """USD so far, or None where the model's prices are not known."""
        if self.prices is None:
            return None
        return (self.prompt_tokens * self.prices[0] + self.completion_tokens * self.prices[1]) / 1e6

    def note(self, count: int) -> str:
        """How it goes, in a line: the share accepted, why the others were not, and what `count` will still take."""
        if not self.candidates:
            return f"{self.requests} requests"
        parts = [f"{self.accepted / self.candidates:.0%} accepted"]
        common = self._ordered()[:SHOWN]
        parts += [", ".join(f"{reason} {n / self.candidates:.0%}" for reason, n in common)] if common else []
        left = self.left(count)
        return "; ".join([*parts, *([f"{', '.join(left)} to go"] if left else [])])

    def left(self, count: int) -> list[str]:
        """Time, tokens and cost until `count` are accepted, if it goes on as it went."""
        if not self.accepted or not self.requests or self.accepted >= count:
            return []
        requests = (count - self.accepted) * self.requests / self.accepted
        said = []
        if len(self._times) > 1:
            said.append(_duration(requests * (self._times[-1] - self._times[0]) / (len(self._times) - 1)))
        share = requests / self.requests
        if tokens := self.prompt_tokens + self.completion_tokens:
            said.append(f"{_rounded(tokens * share)} tokens")
        if (cost := self.cost()) is not None:
            said.append(f"${cost * share:.2f}")
        return said

    def diagnosis(self, step: str, min_yield: float) -> str:
        """Why a run is stopped: every reason with its count and one candidate it applied to."""
        head = (
            f"{step}: after {self.requests} requests {self.accepted} of {self.candidates} candidates were accepted, "
            f"less than min_yield = {min_yield:g}; the others were rejected for:"
        )
        return "\n".join([head, *(f"  {n:5d}  {reason}: {self.examples[reason]}" for reason, n in self._ordered())])

    def summary(self, note: str = "") -> str:
        """A section of the build's page, in Markdown."""
        share = f"{self.accepted / max(1, self.requests):.2f} a request"
        spent = ""
        if self.prompt_tokens + self.completion_tokens:
            spent = f" They took {self.prompt_tokens:,} tokens in and {self.completion_tokens:,} out"
            spent += f", ${cost:.2f}." if (cost := self.cost()) is not None else "."
        said = (
            f"{self.accepted} of {self.candidates} candidates accepted, in {self.requests} requests ({share})."
            f"{spent} {note}"
        )
        if not self.reasons:
            return said.strip()
        rows = [f"| {reason} | {n} | {cell(self.examples[reason])} |" for reason, n in self._ordered()]
        return "\n".join([said.strip(), "", "| rejected because | candidates | for example |", "|---|---|---|", *rows])

    def _ordered(self) -> list[tuple[str, int]]:
        return sorted(self.reasons.items(), key=lambda entry: (-entry[1], entry[0]))


def cell(text: str) -> str:
    """A text as it can stand in a cell of a Markdown table."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def _tail(n: int, most: int, p: float) -> float:
    """P(X <= most) for X binomial with n draws of chance p."""
    if p >= 1:
        return 0.0
    logs = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
        for k in range(most + 1)
    )
    return min(1.0, sum(map(math.exp, logs)))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _rounded(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(round(number))
