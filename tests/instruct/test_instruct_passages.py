"""Passages: whole sentences, from all over a document."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from factory.instruct.passages import beginning, chosen, passages

BOOK = " ".join(f"Sentence number {number} of this book." for number in range(400))


def test_a_long_passage_ends_with_a_sentence():
    assert beginning("One two. Three four. Five six.", 22) == "One two. Three four."
    assert beginning("short", 22) == "short"
    assert beginning("x" * 30, 10) == "x" * 10
    assert beginning("一二三。四五六。七八九。", 9) == "一二三。四五六。"


@given(st.text(alphabet="ab. \n。!", max_size=200), st.integers(1, 40))
def test_passages_are_the_whole_text_in_order(text, most):
    found = passages(text, most)
    assert all(0 < len(passage) <= most for passage in found)
    assert "".join("".join(found).split()) == "".join(text.split())


def test_passages_come_from_all_over_a_document():
    every = [passage for passage in passages(BOOK, 500) if len(passage) >= 125]
    places = [every.index(passage) for passage in chosen(BOOK, 500, 5, random.Random(1))]
    parts = [(part * len(every) // 5, (part + 1) * len(every) // 5) for part in range(5)]
    assert all(low <= place < high for place, (low, high) in zip(places, parts, strict=True))
    firsts = {chosen(BOOK, 500, 1, random.Random(draw))[0] for draw in range(50)}
    assert len(firsts) > 10  # not its head alone


def test_a_short_text_is_its_own_passage_each_time():
    assert chosen("A short text.", 500, 3, random.Random(1)) == ["A short text."] * 3


def test_the_stub_at_the_end_is_not_chosen():
    text = "x" * 95 + ". " + "The end."
    assert all(chosen(text, 100, 4, random.Random(draw)) == ["x" * 95 + "."] * 4 for draw in range(9))
