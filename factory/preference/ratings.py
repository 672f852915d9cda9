"""What was said of answers, laid out as ratings: pairs of answers by raters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .comparisons import NOTHING

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

Rater = tuple[bool, str]  # whether a person, and the name: a judge may be called as a person is
Unit = tuple[int, str, int, int]  # number of the item, aspect, places of the two answers (or of one, twice: a grade)
EDITED = "edited"  # the reason of a comparison that an edit made
SIDES = {"first": 1.0, "second": -1.0}


@dataclass(frozen=True)
class Compared:
    """An item with what judges and people said of it.

    key      of prompt and answers; items of one key are one
    lengths  characters of each completion
    models   who wrote each completion, as far as it is known
    gold     a verdict on two answers, or the place of the best answer as digits; None where none is expected
    """

    key: str
    comparisons: Sequence[Mapping[str, Any]]
    lengths: Sequence[int]
    models: Sequence[str] = ()
    grades: Sequence[Mapping[str, Any]] = ()
    gold: str | None = None


@dataclass
class Said:
    """All that was said, in order. `firsts` has what each rater said first of a unit, checks left aside."""

    items: list[Compared] = field(default_factory=list)
    by_rater: dict[Rater, list[tuple[int, Mapping[str, Any]]]] = field(default_factory=dict)
    firsts: dict[Unit, dict[Rater, Mapping[str, Any]]] = field(default_factory=dict)
    grades: dict[Unit, dict[Rater, float]] = field(default_factory=dict)

    @property
    def raters(self) -> list[Rater]:
        """People first, each kind by name."""
        return sorted(self.by_rater, key=lambda rater: (not rater[0], rater[1]))


def collect(items: Iterable[Compared]) -> Said:
    """Everything said of the items. Votes on repeated and gold items measure the annotator, so they are no `firsts`.

    That an edited answer is better than what it was made from is left out: nobody was shown the two to choose.
    """
    said = Said()
    for number, item in enumerate(items):
        said.items.append(item)
        for one in item.comparisons:
            if one.get("reason") == EDITED and "left" not in one:
                continue
            rater = (bool(one.get("person")), str(one["by"]))
            said.by_rater.setdefault(rater, []).append((number, one))
            if not one.get("check") and one["verdict"] not in NOTHING:
                said.firsts.setdefault(unit_of(number, one), {}).setdefault(rater, one)
        for one in item.grades:
            if one.get("grade") is not None and math.isfinite(one["grade"]):
                place = one["answer"]
                unit = (number, str(one.get("aspect") or ""), place, place)
                rater = (bool(one.get("person")), str(one["by"]))
                said.grades.setdefault(unit, {}).setdefault(rater, float(one["grade"]))
    return said


def unit_of(number: int, one: Mapping[str, Any]) -> Unit:
    return number, str(one.get("aspect") or ""), one["first"], one["second"]


def side(one: Mapping[str, Any]) -> float:
    """1 where the first answer is better, -1 where the second is, 0 where neither: three categories."""
    return SIDES.get(one["verdict"], 0.0)


def degree(one: Mapping[str, Any]) -> float:
    """On the five-point scale: -1, -½, 0, ½, 1; a verdict without a strength is a whole one."""
    strength = one.get("strength")
    return side(one) * (1.0 if strength is None else 0.5 if strength <= 0.5 else 1.0)


def table(
    units: Mapping[Unit, Mapping[Rater, Any]], raters: Sequence[Rater], value: Callable[[Any], float] = float
) -> tuple[Array, Array]:
    """(ratings, (units, raters), NaN where a rater said nothing; the number of each unit's item) of rated units."""
    import numpy as np

    column = {rater: at for at, rater in enumerate(raters)}
    rows: list[list[float]] = []
    numbers: list[int] = []
    for unit, said in units.items():
        if not column.keys() & said.keys():
            continue
        row = [float("nan")] * len(raters)
        for rater, one in said.items():
            if rater in column:
                row[column[rater]] = value(one)
        rows.append(row)
        numbers.append(unit[0])
    return np.array(rows, float).reshape(-1, len(raters)), np.array(numbers, int)


def majority(said: Mapping[Rater, Mapping[str, Any]], people: bool = True) -> float | None:
    """What most people (or judges) said of a unit as a side, 0 where as many said the opposite; None: nobody did."""
    votes = [side(one) for rater, one in said.items() if rater[0] is people]
    if not votes:
        return None
    most = max(votes.count(value) for value in (-1.0, 0.0, 1.0))
    winners = [value for value in (-1.0, 0.0, 1.0) if votes.count(value) == most]
    return winners[0] if len(winners) == 1 else 0.0


def expected(gold: str | None, one: Mapping[str, Any]) -> float | None:
    """The side that a gold item expects of a comparison; None where it expects nothing of these two answers."""
    if gold is None:
        return None
    if gold.isdigit():
        return {one["first"]: 1.0, one["second"]: -1.0}.get(int(gold))
    return SIDES.get(gold, 0.0)
