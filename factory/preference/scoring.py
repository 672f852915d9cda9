"""From what judges said of one record's answers to a score for each."""

from __future__ import annotations

from collections.abc import Sequence

from .comparisons import Comparison, Grade, win_shares
from .rubrics import Rubric


def shares_won(comparisons: Sequence[Comparison], answers: int) -> list[float] | None:
    """`win_shares`, in which a verdict counts as much as the judge is sure of it: (1 + strength) / 2 for the winner.

    Ties and flips stay halves: a judge that goes by the place is sure of the place. Without strengths it is the
    share of comparisons won. None when an answer was never compared.
    """
    shares = win_shares(comparisons, answers)
    if shares is None:
        return None
    seen = [0] * answers
    less = [0.0] * answers  # of the wins, for want of certainty
    for one in comparisons:
        if one["verdict"] in ("unreadable", "skip"):
            continue
        for place in (one["first"], one["second"]):
            seen[place] += 1
        if one["verdict"] in ("first", "second"):
            doubt = (1 - one.get("strength", 1.0)) / 2
            winner, loser = (one["first"], one["second"])[:: 1 if one["verdict"] == "first" else -1]
            less[winner] += doubt
            less[loser] -= doubt
    return [share - lost / n for share, lost, n in zip(shares, less, seen, strict=True)]


def mean_grades(grades: Sequence[Grade], rubrics: Sequence[Rubric], answers: int) -> list[float] | None:
    """The mean of each answer's grades, as shares of their scales; None where there is nothing to compare them by.

    A judge's grades by one aspect count when it gave every answer one: else the answers would be measured by
    different things.
    """
    columns: dict[tuple[str, str], dict[int, float]] = {}
    known = {rubric.key: rubric for rubric in rubrics}
    for one in grades:
        if one["grade"] is not None:
            share = known[one["aspect"]].share(one["grade"])
            columns.setdefault((one["by"], one["aspect"]), {})[one["answer"]] = share
    whole = [column for column in columns.values() if len(column) == answers]
    return [sum(column[at] for column in whole) / len(whole) for at in range(answers)] if whole else None
