"""Whether a judge goes by place or length: an exact test, one vote a prompt, and no habit found where there is none."""

from __future__ import annotations

import random
from fractions import Fraction
from math import comb
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.preference.habits import SURE, Habits, sign_test


@given(st.lists(st.integers(-3, 3), max_size=60))
def test_the_sign_test_is_the_exact_one(signs: list[int]) -> None:
    up, n = sum(sign > 0 for sign in signs), sum(sign != 0 for sign in signs)
    tail = Fraction(sum(comb(n, k) for k in range(min(up, n - up) + 1)), 2**n)
    assert sign_test(signs) == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-9)


def test_the_sign_test_of_thousands() -> None:
    assert sign_test([1] * 5000 + [-1] * 5000) == 1
    assert sign_test([1] * 5000) == 0
    assert 0 < sign_test([1] * 2600 + [-1] * 2400) < SURE


def one(verdict: str, orders: tuple[str, str], first: int = 0, second: int = 1) -> Any:
    return {"by": "j", "aspect": "", "first": first, "second": second, "verdict": verdict, "orders": list(orders)}


def test_pairs_of_one_prompt_are_one_vote() -> None:
    """One long answer that loses to none makes many equal verdicts: no habit, as they are of one prompt."""
    habits = Habits("j")
    pairs = [one("first", ("first", "second"), 0, at) for at in range(1, 30)]
    habits.compared({"id": "a"}, pairs, [100] + [10] * 29)
    assert habits.longer_share == 1
    assert list(habits.alarms()) == []


def test_a_judge_without_habits_is_rarely_named() -> None:
    """By chance alone at most a hundredth of judges would be, by either test."""
    draw, named = random.Random(3), 0
    for _ in range(300):
        habits = Habits("j")
        for prompt in range(40):
            better = draw.random() < 0.5
            orders = ("first", "second") if better else ("second", "first")
            said = one("first" if better else "second", orders)
            if draw.random() < 0.3:
                which = draw.choice(["first", "second"])
                said = one("flip", (which, which))
            habits.compared({"id": prompt}, [said], [draw.randrange(100), draw.randrange(100)])
        named += bool(list(habits.alarms()))
    assert named <= 12


def test_a_judge_that_flips_both_ways_has_no_use_either() -> None:
    habits = Habits("j")
    for at, which in enumerate(["first", "second"] * 5):
        habits.compared({"id": at}, [one("flip", (which, which))], [1, 2])
    ((says, _),) = habits.alarms()
    assert says == "chose another answer each time the order was turned round (10 pairs): no verdict is of use"


def test_many_unreadable_verdicts_are_told_of() -> None:
    habits = Habits("j")
    for at in range(20):
        orders = ("first", "second") if at < 5 else ("unreadable", "first")
        habits.compared({"id": at}, [one("first" if at < 5 else "unreadable", orders)], [1, 1])
    assert [says for says, _ in habits.alarms()] == []
    for at in range(20):
        habits.compared({"id": at}, [one("unreadable", ("unreadable", "unreadable"))], [1, 1])
    assert [says for says, _ in habits.alarms()] == ["69% of its verdicts could not be read"]
