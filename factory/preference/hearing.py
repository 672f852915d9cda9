"""What one judge answered to the questions about one record, as comparisons and grades."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from factory import Answer, Message
from factory.models.grades import grade_in
from factory.models.soft import expected_grade, first_probability
from factory.models.verdicts import preferred

from .comparisons import Comparison, Grade, Verdict
from .habits import Habits
from .rubrics import Rubric

TURNED = {"first": "second", "second": "first"}


@dataclass(frozen=True)
class Ask:
    """One question to a judge: about two answers, in the order in which they are shown, or about one."""

    rubric: Rubric
    places: tuple[int, ...]
    messages: list[Message]


def comparisons_in(
    name: str, asks: Sequence[Ask], answers: Sequence[Answer], reason: bool, habits: Habits
) -> list[Comparison]:
    """Verdicts on pairs, each from two answers, the second to the pair turned round.

    reason  the judge argued before its verdict
    """
    found = []
    for ask, answer, again in zip(asks[::2], answers[::2], answers[1::2], strict=True):
        orders = [said(one, begun(ask), reason, habits) for one in (answer, again)]
        first, second = ask.places
        comparison = Comparison(
            by=name,
            person=False,
            aspect=ask.rubric.key,
            first=first,
            second=second,
            verdict=together(*orders),
            orders=orders,
        )
        if (sure := strength(orders, answer, again, reason)) is not None and comparison["verdict"] in TURNED:
            comparison["strength"] = sure
        if reason and answer.text.strip():
            comparison["reason"] = answer.text.strip()
        found.append(comparison)
    return found


def begun(ask: Ask) -> str:
    """The words of ours that the judge's answer goes on with."""
    return ask.messages[-1]["content"] if ask.messages[-1]["role"] == "assistant" else ""


def said(answer: Answer, begin: str, reason: bool, habits: Habits) -> str:
    """One verdict, on the answers as they were shown. An argument that was cut has come to none."""
    verdict = None if reason and answer.finish == "length" else preferred(begin + answer.text)
    if verdict is None:
        habits.heard_nothing(answer.text or answer.error)
    return verdict or "unreadable"


def together(shown: str, turned: str) -> Verdict:
    """The verdict of both orders: an answer is better if it is so in both (Zheng et al. 2023, section 3.4)."""
    turned = TURNED.get(turned, turned)
    if "unreadable" in (shown, turned):
        return "unreadable"
    if shown == turned:
        return cast(Verdict, shown)
    return "flip" if shown in TURNED and turned in TURNED else "tie"


def strength(orders: Sequence[str], answer: Answer, again: Answer, reason: bool) -> float | None:
    """How sure the judge is in both orders together, 0 to 1; None without log-probabilities of both verdicts."""
    shown = first_probability(answer.logprobs, orders[0], reason)
    turned = first_probability(again.logprobs, orders[1], reason)
    return None if shown is None or turned is None else round(abs(shown - turned), 4)


def grades_in(name: str, asks: Sequence[Ask], answers: Sequence[Answer], reason: bool, habits: Habits) -> list[Grade]:
    """Grades as they were said."""
    found = []
    for ask, answer in zip(asks, answers, strict=True):
        cut = reason and answer.finish == "length"
        grade = None if cut else grade_in(begun(ask) + answer.text, ask.rubric.lowest, ask.rubric.highest)
        if grade is None:
            habits.heard_nothing(answer.text or answer.error)
        mark = Grade(by=name, person=False, aspect=ask.rubric.key, answer=ask.places[0], grade=grade)
        if reason and answer.text.strip():
            mark["reason"] = answer.text.strip()
        found.append(mark)
    return found


def softened(grades: Sequence[Grade], asks: Sequence[Ask], answers: Sequence[Answer], reason: bool) -> Iterator[Grade]:
    """Grades as they are expected by the log-probabilities, where there are some."""
    for mark, ask, answer in zip(grades, asks, answers, strict=True):
        soft = expected_grade(answer.logprobs, mark["grade"], ask.rubric.lowest, ask.rubric.highest, reason)
        yield mark if soft is None else Grade({**mark, "grade": round(soft, 4)})
