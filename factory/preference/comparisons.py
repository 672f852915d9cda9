"""What a judge or a person said about the answers of one Candidates record, in one form for both.

It lies in the record's meta: `comparisons` is a list of Comparison, `grades` a list of Grade. Answers are named by
their place in `completions`. Judging, labelling, pairing and agreement meet here and know nothing else of one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from factory import digest

# flip: a judge that chose another answer when the order was turned round. unreadable: no verdict could be read.
Verdict = Literal["first", "second", "tie", "both_good", "both_bad", "flip", "unreadable", "skip"]
TIES: tuple[Verdict, ...] = ("tie", "both_good", "both_bad", "flip")  # both have been looked at, neither is better
NOTHING: tuple[Verdict, ...] = ("unreadable", "skip")  # says nothing about the answers


class Comparison(TypedDict, total=False):
    """Two answers compared by one judge or person; `by`, `first`, `second` and `verdict` are always there."""

    by: str  # the judge's name, or the annotator's
    person: bool
    aspect: str  # of the rubric; "" is the answer as a whole
    first: int  # place in completions; first < second
    second: int
    verdict: Verdict
    strength: float  # (0, 1]: how much better the better one is, or how sure a judge's probabilities are
    orders: list[str]  # a judge's verdicts as shown: (first, second), then (second, first)
    left: int  # which answer a person saw on the left
    seconds: float  # a person took
    reason: str  # of a skip, or a judge's argument
    note: str
    check: str  # "gold" or "repeat": an item shown to measure the annotator
    at: str  # ISO 8601, UTC


class Grade(TypedDict, total=False):
    """One answer graded alone; `by`, `answer` and `grade` are always there."""

    by: str
    person: bool
    aspect: str
    answer: int  # place in completions
    grade: float | None  # None where it was unreadable
    reason: str


def item_key(prompt: Sequence[Mapping[str, Any]], completions: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """What votes are kept under, 24 hex digits of prompt and answers: an edit upstream orphans no vote."""
    return digest([list(prompt), [list(answer) for answer in completions]], 12)


def win_shares(comparisons: Iterable[Mapping[str, Any]], answers: int) -> list[float] | None:
    """The share of its comparisons that each answer won, ties as half: (win + ½ tie) / n.

    None when an answer was never compared.
    """
    won, seen = [0.0] * answers, [0] * answers
    for one in comparisons:
        if one["verdict"] in NOTHING:
            continue
        first, second = one["first"], one["second"]
        share = {"first": 1.0, "second": 0.0}.get(one["verdict"], 0.5)
        won[first] += share
        won[second] += 1 - share
        seen[first] += 1
        seen[second] += 1
    return [w / n for w, n in zip(won, seen, strict=True)] if all(seen) else None
