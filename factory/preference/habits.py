"""What a judge's verdicts say about the judge: whether it goes by the place, by the length, or tells nothing apart.

Both questions get a sign test (Dixon and Mood 1946) with one vote a prompt: pairs of one prompt share answers, so to
count each of them would find habits where there are none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .comparisons import Comparison, Grade

SURE = 0.01  # a habit is named when chance alone would show one as strong less often than this
BY_PLACE = 0.6  # of the verdicts, for the answer shown first or for the other; 12.9 % flips would make .56
BY_LENGTH = 0.75  # of the verdicts, for the longer answer; people and good judges come to two thirds
ALWAYS = 0.95
SAME = 0.9  # of the grades, one and the same
FEW = 20  # grades, or verdicts, below which nothing is said of their spread
HALF = 0.5
EXAMPLES = 3


@dataclass
class Habits:
    """One judge's verdicts, counted."""

    judge: str
    verdicts: Counter[str] = field(default_factory=Counter)  # of pairs, both orders taken together
    shown: Counter[str] = field(default_factory=Counter)  # of single questions, as the answers were shown
    grades: Counter[float | None] = field(default_factory=Counter)
    flips: Counter[str] = field(default_factory=Counter)  # first: said so in both orders
    places: list[int] = field(default_factory=list)  # of each prompt with flips: flips to the first less to the other
    longer: Counter[bool] = field(default_factory=Counter)  # whether the longer of two won
    lengths: list[int] = field(default_factory=list)  # of each prompt: wins of longer answers less of shorter ones
    flipped: list[Any] = field(default_factory=list)  # records
    unreadable: list[str] = field(default_factory=list)  # what was said

    def heard_nothing(self, said: str) -> None:
        """Keep an example of what could not be read."""
        if len(self.unreadable) < EXAMPLES:
            self.unreadable.append(said)

    def compared(self, record: Any, comparisons: Sequence[Comparison], lengths: Sequence[int]) -> None:
        """The verdicts on one record's pairs."""
        place = length = 0
        for one in comparisons:
            self.verdicts[one["verdict"]] += 1
            self.shown.update(one["orders"])
            if one["verdict"] == "flip":
                self.flips[one["orders"][0]] += 1
                place += 1 if one["orders"][0] == "first" else -1
            elif one["verdict"] in ("first", "second"):
                better = one["verdict"] == "first"
                length += self._decided(lengths[one["first"]] - lengths[one["second"]], better)
        self._note(record, place, length)

    def graded(self, record: Any, grades: Sequence[Grade], lengths: Sequence[int]) -> None:
        """The grades of one record's answers."""
        self.grades.update(one["grade"] for one in grades)
        length = 0
        for at, one in enumerate(grades):
            for other in grades[:at]:
                mine, theirs = one["grade"], other["grade"]
                if one["aspect"] == other["aspect"] and mine is not None and theirs is not None and mine != theirs:
                    length += self._decided(lengths[one["answer"]] - lengths[other["answer"]], mine > theirs)
        self._note(record, 0, length)

    def _decided(self, longer_by: int, better: bool) -> int:
        if not longer_by:
            return 0
        self.longer[(longer_by > 0) == better] += 1
        return 1 if (longer_by > 0) == better else -1

    def _note(self, record: Any, place: int, length: int) -> None:
        if place:
            self.places.append(place)
            if len(self.flipped) < EXAMPLES:
                self.flipped.append(record)
        if length:
            self.lengths.append(length)

    @property
    def first_share(self) -> float | None:
        """How often it chose the answer shown first, of all questions in which it chose one."""
        chosen = self.shown["first"] + self.shown["second"]
        return self.shown["first"] / chosen if chosen else None

    @property
    def longer_share(self) -> float | None:
        """How often it found the longer of two answers better."""
        return self.longer[True] / self.longer.total() if self.longer else None

    def alarms(self) -> Iterator[tuple[str, list[Any]]]:
        """(sentence, records it is about) for each habit that keeps its verdicts from being of use."""
        yield from self._by_place()
        share = self.longer_share
        if share is not None and (p := sign_test(self.lengths)) < SURE:
            if share >= BY_LENGTH:
                yield f"prefers the longer answer in {share:.0%} of its verdicts ({_told(p)})", []
            elif share <= 1 - BY_LENGTH:
                yield f"prefers the shorter answer in {1 - share:.0%} of its verdicts ({_told(p)})", []
        total, said = self._said()
        if total >= FEW and said["unreadable"] > HALF * total:
            yield f"{said['unreadable'] / total:.0%} of its verdicts could not be read", []
        read = self.grades.total() - self.grades[None]
        grade, most = max(((g, n) for g, n in self.grades.items() if g is not None), key=lambda x: x[1], default=(0, 0))
        if read >= FEW and most >= SAME * read:
            yield f"grades {most / read:.0%} of the answers {grade:g}: it hardly tells them apart", []

    def _by_place(self) -> Iterator[tuple[str, list[Any]]]:
        share, decided = self.first_share, self.verdicts["first"] + self.verdicts["second"]
        if share is None or not self.flips:
            return
        flips = self.flips.total()
        if not decided:
            if share >= ALWAYS or share <= 1 - ALWAYS:
                which, part = ("first", share) if share > HALF else ("second", 1 - share)
                says = f"says the {which} one {part:.0%} of the time ({flips:,} pairs): no verdict of its can be used"
            else:
                says = (
                    f"chose another answer each time the order was turned round ({flips} pairs): no verdict is of use"
                )
            yield says, self.flipped
        elif sign_test(self.places) < SURE and not 1 - BY_PLACE < share < BY_PLACE:
            which, part = ("first", share) if share > HALF else ("second", 1 - share)
            p = _told(sign_test(self.places))
            says = f"chooses the answer shown {which} in {part:.0%} of its verdicts ({p})"
            yield f"{says}; {flips / self.verdicts.total():.0%} of the pairs flipped, and count as ties", self.flipped

    def _said(self) -> tuple[int, Counter[str]]:
        """How many questions were asked, and how many of them could not be read."""
        unreadable = self.shown["unreadable"] + self.grades[None]
        return self.shown.total() + self.grades.total(), Counter(unreadable=unreadable)


def sign_test(signs: Sequence[int]) -> float:
    """The chance that as uneven a split of positive and negative numbers, either way, comes of a fair coin."""
    positive = sum(sign > 0 for sign in signs)
    n = sum(sign != 0 for sign in signs)
    least = min(positive, n - positive)
    # log of the sum of C(n, k) / 2^n, k up to `least`: the terms alone would be 0 from n = 1,075 on
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(least + 1)]
    top = max(logs)
    tail = math.exp(top - n * math.log(2)) * sum(math.exp(one - top) for one in logs)
    return min(1.0, 2 * tail)


def _told(p: float) -> str:
    return f"sign test over prompts, p {'< 1e-9' if p < 1e-9 else f'= {p:.1g}'}"


def report(habits: Sequence[Habits], notes: Sequence[str] = ()) -> str:
    """The judges' section of the build's page: what they said, and what is to be known of them."""
    parts = []
    if any(one.verdicts for one in habits):
        names = ("pairs", "first", "second", "tie", "both good", "both bad", "flip", "unreadable")
        parts.append(_table(["judge", *names, "shown first", "longer"], map(_pair_row, habits)))
        parts.append(
            "Every pair is asked about in both orders; a flip chose another answer when the order was turned round, "
            "and counts as a tie. `shown first`: how often the answer shown first was chosen; a judge without a habit "
            "comes to 50 %. `longer`: how often the longer answer won."
        )
    if any(one.grades for one in habits):
        grades = sorted({grade for one in habits for grade in one.grades if grade is not None})
        columns = ["judge", "answers", *(f"{grade:g}" for grade in grades), "unreadable", "longer"]
        parts.append(_table(columns, ([*_grade_row(one, grades)] for one in habits)))
    said = [f"- **{one.judge}** {says}." for one in habits for says, _ in one.alarms()]
    said += [f"- {note}" for note in notes]
    parts += ["\n".join(said)] if said else []
    examples = [f"- {one.judge}: {_quoted(text)}" for one in habits for text in one.unreadable]
    parts += ["\n".join(["Not readable, for example:", "", *examples])] if examples else []
    return "\n\n".join(parts)


def _pair_row(one: Habits) -> list[str]:
    kinds = ("first", "second", "tie", "both_good", "both_bad", "flip", "unreadable")
    counts = [f"{one.verdicts[kind]:,}" for kind in kinds]
    return [one.judge, f"{one.verdicts.total():,}", *counts, _share(one.first_share), _share(one.longer_share)]


def _grade_row(one: Habits, grades: Sequence[float]) -> list[str]:
    counts = [f"{one.grades[grade]:,}" for grade in grades]
    return [one.judge, f"{one.grades.total():,}", *counts, f"{one.grades[None]:,}", _share(one.longer_share)]


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _table(columns: Sequence[str], rows: Iterator[list[str]] | map[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def _quoted(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split())[:100] + "`"
