"""Word differences of two answers: nothing of either is lost, and long ones take bounded time."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.preference.labelling.differences import differences

WORDS = st.lists(st.sampled_from(["a", "b", "the ", " ", "\n", "don't", "你", "好", "شكرا", "😀", "."]), max_size=30)


@given(WORDS.map("".join) | st.text(), WORDS.map("".join) | st.text())
def test_both_texts_are_in_the_rows(left: str, right: str) -> None:
    rows = differences(left, right)
    assert "".join(row[1] for row in rows) == left
    assert "".join(row[2] for row in rows) == right
    for kind, one, other in rows:
        assert (kind == "equal") == (one == other)
        assert kind == "equal" or kind == ("replace" if one and other else "delete" if one else "insert")
    assert all((before[0] == "equal") != (after[0] == "equal") for before, after in itertools.pairwise(rows))


@pytest.mark.parametrize(
    ("left", "right", "rows"),
    [
        ("", "", []),
        ("a b", "a b", [("equal", "a b", "a b")]),
        ("a b c", "a d c", [("equal", "a ", "a "), ("replace", "b", "d"), ("equal", " c", " c")]),
        ("天气好", "天气不好", [("equal", "天气", "天气"), ("insert", "", "不"), ("equal", "好", "好")]),
        ("it don't", "it", [("equal", "it", "it"), ("delete", " don't", "")]),
        ("abc", "abd", [("replace", "abc", "abd")]),
    ],
)
def test_words_are_compared(left: str, right: str, rows: list[tuple[str, str, str]]) -> None:
    assert differences(left, right) == rows


@pytest.mark.parametrize("parts", ["word{} ", "line {}\n", "{}\n"])
def test_long_texts_take_bounded_time(parts: str) -> None:
    left = "".join(parts.format(n) for n in range(60_000))
    right = "".join(parts.format(n) for n in range(60_000) if n % 5)
    started = time.thread_time()
    rows = differences(left, right)
    assert time.thread_time() - started < 3
    assert "".join(row[1] for row in rows) == left
    assert "".join(row[2] for row in rows) == right
