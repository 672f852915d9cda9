"""Each annotator and judge alone: sides, lengths, speed, and whether they say the same again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .bootstrap import Estimate, median, share
from .comparisons import NOTHING
from .ratings import Rater, Said, expected, side, unit_of

MANY = 20  # verdicts before a habit is remarked on
LEFT = 0.6  # and under 0.4: a habit, not chance, where the interval leaves out one half
LONGER = 0.65
CONSISTENT = 0.7
FLIPPED = 0.4


@dataclass(frozen=True)
class RaterMeasures:
    """One annotator's or judge's habits. Shares have Wilson's interval.

    left     how often the answer chosen stood on the left (people), or was shown first (judges)
    longer   how often the answer chosen was the longer one, where lengths differ
    seconds  median of a vote
    repeats  how often a repeated item was said the same of: better, worse or neither
    gold     how often the verdict is the expected one
    silent   skipped, or unreadable
    flipped  of a judge's verdicts: another when the order was turned round
    """

    name: str
    person: bool
    comparisons: int
    left: Estimate
    longer: Estimate
    seconds: float | None
    repeats: Estimate
    gold: Estimate
    silent: Estimate
    flipped: Estimate
    tied: Estimate


def measure(said: Said, rater: Rater) -> RaterMeasures:
    """The habits of one who compared."""
    everything = said.by_rater[rater]
    heard = [(number, one) for number, one in everything if one["verdict"] not in NOTHING]
    chosen = [(number, one) for number, one in heard if side(one)]
    longer = [found for number, one in chosen if (found := took_longer(said.items[number].lengths, one)) is not None]
    again = [
        (one, first)
        for number, one in heard
        if one.get("check") == "repeat" and (first := _before(said, rater, number, one)) is not None
    ]
    known = [
        (side(one), wanted)
        for number, one in heard
        if one.get("check") == "gold" and (wanted := expected(said.items[number].gold, one)) is not None
    ]
    flips = sum(one["verdict"] == "flip" for _, one in everything)
    seconds = [float(one["seconds"]) for _, one in heard if one.get("seconds")]
    return RaterMeasures(
        name=rater[1],
        person=rater[0],
        comparisons=len(everything),
        left=_left(chosen) if rater[0] else _shown_first(everything),
        longer=share(sum(longer), len(longer)),
        seconds=median(seconds),
        repeats=share(sum(side(one) == side(first) for one, first in again), len(again)),
        gold=share(sum(one == wanted for one, wanted in known), len(known)),
        silent=share(len(everything) - len(heard), len(everything)),
        flipped=share(flips, 0 if rater[0] else len(heard)),
        tied=share(len(heard) - len(chosen) - flips, len(heard)),
    )


def took_longer(lengths: Sequence[int], one: Mapping[str, Any]) -> bool | None:
    """Whether the better answer is the longer one; None where they are equally long or one is not known."""
    first, second = one["first"], one["second"]
    if max(first, second) >= len(lengths) or lengths[first] == lengths[second]:
        return None
    return bool((lengths[first] > lengths[second]) == (side(one) > 0))


def remarks(found: RaterMeasures) -> list[str]:
    """What a person should know of this rater, each in a sentence."""
    said = []
    for measured, words, low, high in (
        (found.left, "on the left" if found.person else "that is shown first", 1 - LEFT, LEFT),
        (found.longer, "that is longer", 1 - LONGER, LONGER),
    ):
        if _unlikely(measured, 0.5) and measured.value is not None and not low < measured.value < high:
            habit = "prefers the answer" if measured.value > 0.5 else "avoids the answer"
            said.append(f"{found.name} {habit} {words}: chosen in {told(measured)}")
    if _unlikely(found.repeats, CONSISTENT) and (found.repeats.value or 0) < CONSISTENT:
        said.append(f"{found.name} says the same again of {told(found.repeats)} of repeated items only")
    if _unlikely(found.gold, CONSISTENT) and (found.gold.value or 0) < CONSISTENT:
        said.append(f"{found.name} gives the expected verdict on {told(found.gold)} of gold items only")
    if found.flipped.of >= MANY and (found.flipped.value or 0) >= FLIPPED:
        said.append(f"{found.name} changes its verdict with the order of the answers in {told(found.flipped)}")
    return said


def told(estimate: Estimate) -> str:
    """A share in words: 72 % (61 to 81 %) of 90."""
    if estimate.value is None:
        return "–"
    spread = ""
    if estimate.low is not None and estimate.high is not None:
        spread = f" ({100 * estimate.low:.0f} to {100 * estimate.high:.0f} %)"
    return f"{100 * estimate.value:.0f} %{spread} of {estimate.of:,}"


def _unlikely(measured: Estimate, value: float) -> bool:
    """Whether there are many cases and the interval leaves `value` out."""
    if measured.of < MANY or measured.low is None or measured.high is None:
        return False
    return not measured.low <= value <= measured.high


def _left(chosen: Sequence[tuple[int, Mapping[str, Any]]]) -> Estimate:
    sides = [(one["first"] if side(one) > 0 else one["second"]) == one["left"] for _, one in chosen if "left" in one]
    return share(sum(sides), len(sides))


def _shown_first(everything: Sequence[tuple[int, Mapping[str, Any]]]) -> Estimate:
    """Of all readings of a judge in either order, a flip's included: "first" is the answer shown first."""
    shown = [word for _, one in everything for word in one.get("orders") or () if word in ("first", "second")]
    return share(shown.count("first"), len(shown))


def _before(said: Said, rater: Rater, number: int, one: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the rater had said of the same answers, on a gold item too."""
    unit = unit_of(number, one)
    if (first := said.firsts.get(unit, {}).get(rater)) is not None:
        return first
    known = (other for at, other in said.by_rater[rater] if other.get("check") == "gold" and unit_of(at, other) == unit)
    return next((other for other in known if other["verdict"] not in NOTHING), None)
