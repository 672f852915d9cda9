"""Reward terms of a recipe: what each gives, and the sentences about what cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from factory import InputError, StepError, user
from factory.train.rewards import Term, length_reward, scorers, scores_of

RECORD: Any = {"id": "r1", "parents": [], "prompt": user("Add."), "meta": {"test": "assert add(2, 3) == 5"}}


def worth(answer: str, code: Path | None = None, **term: Any) -> float:
    return scores_of(scorers({"it": Term(**term)}, code), [answer], [RECORD])["it"][0]


def test_checks_of_text() -> None:
    assert worth("Yes, please.", regex=r"\bplease\b") == 1
    assert worth("Yes.", regex=r"\bplease\b") == 0
    assert worth('{"a": [1, 2]}', format="json") == 1
    assert worth('Here: {"a": 1}', format="json") == 0
    assert worth("```python\nx = 1\n```", format="python") == 1
    assert worth("Look:\n```\nx = = 1\n```", format="python") == 0
    assert worth("", format="python") == 0


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 300))
def test_length_is_1_between_its_bounds_and_falls_outside(least: int, more: int, length: int) -> None:
    most = max(1, least + more)
    reward = length_reward(length, least, most)
    assert 0 <= reward <= 1
    assert (reward == 1) == (least <= length <= most)
    closer = length + 1 if length < least else length - 1
    if not least <= length <= most:
        assert length_reward(closer, least, most) >= reward
    assert length_reward(2 * most, least, most) == 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("def add(a, b):\n    return a + b", 1),
        ("Sure:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.", 1),
        ("def add(a, b):\n    return a - b", 0),
        ("import os\nos._exit(0)", 0),  # success is to reach the end of the test, not to leave before it
        ("def add(a, b):\n    return bytearray(3 << 30)", 0),
        ("\0", 0),
    ],
)
def test_a_unit_test_runs_behind_the_answers_code(answer: str, expected: float) -> None:
    assert worth(answer, unit_test="test") == expected


def test_a_unit_test_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.train.rewards.SECONDS", 0.3)
    monkeypatch.setattr("factory.train.rewards._limit", lambda: None)
    assert worth("import time\ntime.sleep(60)", unit_test="test") == 0


def test_functions_of_a_file_and_of_a_module(tmp_path: Path) -> None:
    code = tmp_path / "checks.py"
    code.write_text("calls = []\ndef size(answer, record):\n    calls.append(answer)\n    return len(calls)\n")
    checks = scorers({"one": Term(function="size"), "two": Term(function="size", weight=0)}, code)
    assert scores_of(checks, ["a", "b"], [RECORD] * 2) == {"one": [1, 3], "two": [2, 4]}  # the file is loaded once
    assert worth("abc", function="operator:eq") == 0


@pytest.mark.parametrize(
    ("given_term", "says"),
    [
        ({"regx": "a"}, "there is no reward term 'regx'; did you mean 'regex'"),
        ({}, "exactly one of regex, length, format, unit_test, function"),
        ({"regex": "a", "format": "json"}, "exactly one of"),
        ({"regex": "("}, "the regex cannot be read"),
        ({"length": [9, 3]}, "the least length 9 is above the most, 3"),
    ],
)
def test_terms_that_cannot_be(given_term: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Term.model_validate(given_term)


def test_what_a_term_needs_and_has_not(tmp_path: Path) -> None:
    code = tmp_path / "checks.py"
    code.write_text("def polite(answer, record):\n    return record['meta']['none']\ndef bad(a, r):\n    return 'x'\n")
    with pytest.raises(InputError, match="named 'model'"):
        scorers({"model": Term(regex="a")}, None)
    with pytest.raises(InputError, match="give its file as `code`"):
        scorers({"it": Term(function="polite")}, None)
    with pytest.raises(InputError, match="has no function 'polit'; did you mean 'polite'"):
        scorers({"it": Term(function="polit")}, code)
    with pytest.raises(InputError, match="no_such_module cannot be imported"):
        scorers({"it": Term(function="no_such_module:f")}, None)
    with pytest.raises(StepError, match="the reward 'it' failed on an answer to r1: KeyError"):
        worth("a", code, function="polite")
    with pytest.raises(StepError, match="returned 'x'; expected a finite number"):
        worth("a", code, function="bad")
    with pytest.raises(StepError, match=r"needs a test in meta\.absent, which record r1 has not"):
        worth("a", unit_test="absent")
    code.write_text("import nothing_like_it")
    with pytest.raises(InputError, match="cannot be loaded"):
        scorers({"it": Term(function="f")}, code)
