"""How sure a judge is, by the log-probabilities of the token that is its verdict: a soft verdict, an expected grade.

The expected grade is that of Liu et al. 2023 (G-Eval, arXiv:2303.16634, section 3): the sum of grades times their
probabilities. Where the probabilities lie on other words than verdicts, or the token cannot be found, there is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

LETTERS = {"first": "A", "second": "B"}
HELD = 0.5  # of the probability must be on verdicts
ONE_TOKEN = 9  # of grades above this tokenizers make several tokens, or one: "10" may begin as 1

Logprobs = Sequence[Mapping[str, float]]  # of each token: {token: log-probability}, the one that was written first


def first_probability(logprobs: Logprobs | None, verdict: str | None, argued: bool) -> float | None:
    """P(first) / (P(first) + P(second)) of a verdict `first` or `second`, said as the letter A or B.

    argued  the verdict stands at the end, behind a colon; else it is the first of its kind
    """
    if verdict not in LETTERS:
        return None
    held = _held(logprobs, LETTERS[verdict], argued)
    first, second = held.get("A", 0.0), held.get("B", 0.0)
    return first / (first + second) if first + second >= HELD else None


def expected_grade(
    logprobs: Logprobs | None, grade: float | None, lowest: int, highest: int, argued: bool
) -> float | None:
    """The mean of the scale's grades, weighted by their probabilities where the judge wrote `grade`."""
    if grade is None or grade != int(grade) or highest > ONE_TOKEN:
        return None
    held = _held(logprobs, str(int(grade)), argued)
    shares = {step: held.get(str(step), 0.0) for step in range(lowest, highest + 1)}
    total = sum(shares.values())
    return sum(step * share for step, share in shares.items()) / total if total >= HELD else None


def _held(logprobs: Logprobs | None, said: str, argued: bool) -> dict[str, float]:
    """Word -> its probability at the place where `said` was written; empty where that is not found."""
    places = list(logprobs or ())
    start = 0
    if argued:
        colons = [at for at, found in enumerate(places) if any(mark in next(iter(found), "") for mark in ":：")]
        if not colons:
            return {}
        start = colons[-1] + 1
    for found in places[start:]:
        if _word(next(iter(found), "")) == said:
            held: dict[str, float] = {}
            for token, log in found.items():
                held[_word(token)] = held.get(_word(token), 0.0) + math.exp(log)
            return held
    return {}


def _word(token: str) -> str:
    return token.strip(" \n\t▁Ġ*_`\"'()[]：:")
