"""How sure a judge is, by the log-probabilities of its verdict."""

from __future__ import annotations

from math import log

import pytest

from factory.models.soft import expected_grade, first_probability


def tokens(*said: str, **last: float) -> list[dict[str, float]]:
    return [{word: 0.0} for word in said] + [{word.replace("_", " "): log(p) for word, p in last.items()}]


def test_the_probability_of_the_first() -> None:
    assert first_probability(tokens(_A=0.6, _B=0.2), "first", False) == pytest.approx(0.75)
    assert first_probability(tokens(B=0.5, _B=0.1, A=0.2), "second", False) == pytest.approx(0.25)


def test_behind_an_argument_the_last_colon_counts() -> None:
    argued = tokens("A", " is", " long", ":", " B", " Verdict", ":", _A=0.6, _B=0.4)
    assert first_probability(argued, "first", True) == pytest.approx(0.6)
    assert first_probability(tokens("A", " is", _A=0.6, _B=0.4), "first", True) is None, "no colon"


def test_where_nothing_is_sure_there_is_no_probability() -> None:
    assert first_probability(None, "first", False) is None
    assert first_probability([], "first", False) is None
    assert first_probability([{}], "first", False) is None
    assert first_probability(tokens(_A=0.6), "tie", False) is None
    assert first_probability(tokens(_A=0.6), None, False) is None
    assert first_probability(tokens(_A=0.3, _B=0.1, The=0.6), "first", False) is None, "on other words than verdicts"
    assert first_probability(tokens(_A=0.6), "second", False) is None, "not the token that was read"


def test_the_expected_grade() -> None:
    logs = [{"4": log(0.5), " 4": log(0.1), "5": log(0.2), "9": log(0.1), "four": log(0.1)}]
    assert expected_grade(logs, 4, 1, 5, False) == pytest.approx((4 * 0.6 + 5 * 0.2) / 0.8)
    assert expected_grade(logs, 4.5, 1, 5, False) is None
    assert expected_grade(logs, None, 1, 5, False) is None
    assert expected_grade(logs, 4, 1, 10, False) is None, "10 may begin with the token 1"
    assert expected_grade([{"5": 0.0}, {"/": 0.0}, {"5": 0.0}], 5, 1, 5, False) == 5
