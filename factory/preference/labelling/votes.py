"""A vote as it was cast on a screen, and as comparisons of answers by their places, which know no sides."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import orjson

from ..comparisons import Comparison, Verdict

FIVE = {"1": 2, "2": 1, "3": 0, "4": -1, "5": -2}  # how much better the left answer is
BOTH = ("both_good", "both_bad")
CHOICES = (*FIVE, *BOTH, "skip", "rank")
SAID = ("choice", "strength", "ranking", "reason", "note", "edit")  # what a vote says; seconds are how it came about


def checked(
    mode: str,
    answers: Sequence[int],
    choice: str,
    strength: float | None,
    ranking: Sequence[Any] | None,
    reason: str,
    note: str,
    edit: Mapping[str, Any] | None,
    seconds: float,
) -> dict[str, Any]:
    """The columns of a vote on the answers at these places. Raises ValueError that says what is wrong with it."""
    if choice not in CHOICES:
        raise ValueError(f"a choice is one of {', '.join(CHOICES)}, not {choice!r}")
    if choice == "skip" and not reason.strip():
        raise ValueError("a skip needs a reason")
    if choice != "skip" and (choice == "rank") != (mode == "rank"):
        raise ValueError(f"{choice!r} is no answer to {'a ranking' if mode == 'rank' else 'a pair'}")
    if strength is not None and not 0 < strength <= 1:
        raise ValueError(f"strength is above 0 and at most 1, not {strength}")
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"seconds are a number from 0, not {seconds}")
    tiers = tiers_of(ranking) if choice == "rank" else []
    if choice == "rank" and sorted(place for tier in tiers for place in tier) != list(range(len(answers))):
        raise ValueError(f"a ranking names each of the places 0 to {len(answers) - 1} once")
    if edit is not None and (set(edit) != {"answer", "text"} or edit["answer"] not in answers):
        raise ValueError("an edit has the answer, one of those shown, and its text")
    if edit is not None and not (isinstance(edit["text"], str) and edit["text"].strip()):
        raise ValueError("an edited answer has a text")
    return {
        "choice": choice,
        "strength": strength,
        "ranking": orjson.dumps(tiers).decode() if tiers else None,
        "reason": reason.strip(),
        "note": note.strip(),
        "edit": None if edit is None else orjson.dumps(dict(edit), option=orjson.OPT_SORT_KEYS).decode(),
        "seconds": float(seconds),
    }


def tiers_of(ranking: Sequence[Any] | None) -> list[list[int]]:
    """A ranking, best first, with every place in a list of those that tie: [2, [0, 1]] is [[2], [0, 1]]."""
    tiers = [list(tier) if isinstance(tier, list | tuple) else [tier] for tier in ranking or ()]
    if any(type(place) is not int for tier in tiers for place in tier):
        raise ValueError("a ranking is a list of places, those that tie as a list in it")
    return [sorted(tier) for tier in tiers if tier]


def said_before(row: sqlite3.Row) -> dict[str, Any]:
    """A stored vote as `View.vote` gives it: ties of a ranking as nested lists."""
    tiers = orjson.loads(row["ranking"]) if row["ranking"] else None
    return {
        "choice": row["choice"],
        "strength": row["strength"],
        "ranking": tiers and [tier[0] if len(tier) == 1 else tier for tier in tiers],
        "reason": row["reason"],
        "note": row["note"],
        "edit": orjson.loads(row["edit"]) if row["edit"] else None,
        "seconds": row["seconds"],
    }


def comparisons_of(vote: Mapping[str, Any]) -> Iterator[Comparison]:
    """What a vote (of `Labels.votes`) says about its answers; a ranking of K gives K(K−1)/2 comparisons.

    An edit says nothing here: the answer it makes has no place yet.
    """
    shown = vote["shown"]
    extras: dict[str, Any] = {name: vote[name] for name in ("reason", "note", "check") if vote[name]}
    common = {"by": vote["by"], "person": True, "aspect": ""}
    after = {"left": shown[0], "seconds": vote["seconds"], **extras, "at": vote["at"]}
    if vote["choice"] == "rank":
        level = {shown[place]: height for height, tier in enumerate(tiers_of(vote["ranking"])) for place in tier}
        for first, second in combinations(sorted(level), 2):
            yield _comparison(common, first, second, _verdict(level[second] - level[first]), None, after)
        return
    if len(shown) > 2:  # a ranking that was skipped
        for first, second in combinations(sorted(shown), 2):
            yield _comparison(common, first, second, "skip", None, after)
        return
    first, second = sorted(shown)
    if (lead := FIVE.get(vote["choice"])) is None:
        yield _comparison(common, first, second, vote["choice"], None, after)
        return
    strength = (vote["strength"] or abs(lead) / 2) if lead else None
    yield _comparison(common, first, second, _verdict(lead if shown[0] == first else -lead), strength, after)


def _verdict(lead: int) -> Verdict:
    return "tie" if lead == 0 else "first" if lead > 0 else "second"


def _comparison(
    common: Mapping[str, Any], first: int, second: int, verdict: Verdict, strength: float | None, after: dict[str, Any]
) -> Comparison:
    how = {} if strength is None else {"strength": strength}
    made: Any = {**common, "first": first, "second": second, "verdict": verdict, **how, **after}
    return made  # type: ignore[no-any-return]
