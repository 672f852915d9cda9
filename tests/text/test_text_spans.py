"""Parts cut out of texts: the others stay as they are, in order and apart."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.text.column import TextColumn
from factory.text.spans import cut
from factory.text.words import words

EXAMPLES = settings.default.max_examples  # fewer in `make check`

MIXED = st.text("ab1é .’'\n\n\t中文ไกิ\u0301\u3000", max_size=40)


def left(texts: list[str], gone: Any, unit: str = "words") -> list[str]:
    """The texts when the parts with the numbers `gone` are cut; also holds what `cut` says against them."""
    column = TextColumn(pa.array(texts, pa.string()))
    parts = getattr(column, unit)
    mask = np.zeros(len(parts.start), np.bool_)
    mask[list(gone)] = True
    found = cut(column.texts, parts, mask)
    after = list(texts)
    for i, row in enumerate(found.rows.tolist()):
        after[row] = found.data[found.offsets[i] : found.offsets[i + 1]].tobytes().decode()
        assert found.removed[i] == len(texts[row]) - len(after[row])
    changed = np.unique(np.searchsorted(parts.rows, np.flatnonzero(mask), side="right") - 1)
    assert found.rows.tolist() == changed.tolist()
    return after


@settings(max_examples=4 * EXAMPLES)
@given(st.lists(MIXED, max_size=4), st.integers(0, 1 << 30))
def test_the_words_that_stay_are_the_words_of_what_is_left(texts: list[str], seed: int) -> None:
    held = [words(text) for text in texts]
    drawn, total = random.Random(seed), sum(map(len, held))
    share = drawn.random()
    gone = {at for at in range(total) if drawn.random() < share}
    number = iter(range(total))
    expected = [[word for word in found if next(number) not in gone] for found in held]
    assert [words(text) for text in left(texts, gone)] == expected


@settings(max_examples=3 * EXAMPLES)
@given(st.lists(st.text("ab \n\n\t中", max_size=30), max_size=4), st.integers(0, 1 << 30), st.booleans())
def test_the_lines_that_stay_keep_their_indent_and_their_paragraph(
    texts: list[str], seed: int, paragraphs: bool
) -> None:
    unit = "paragraphs" if paragraphs else "lines"
    held = [parts_of(text, paragraphs) for text in texts]
    drawn, total = random.Random(seed), sum(map(len, held))
    gone = {at for at in range(total) if drawn.random() < 0.5}
    number = iter(range(total))
    expected = [[part for part in found if next(number) not in gone] for found in held]
    assert [parts_of(text, paragraphs) for text in left(texts, gone, unit)] == expected


def parts_of(text: str, paragraphs: bool) -> list[str]:
    """Lines with their indent, without blanks at their ends; or paragraphs of such lines."""
    lines = [line.rstrip(" \t") for line in text.split("\n")]
    if not paragraphs:
        return [line for line in lines if line]
    return [part.strip("\n") for part in "\n".join(lines).split("\n\n") if part.strip("\n")]


@pytest.mark.parametrize(
    ("text", "gone", "expected"),
    [
        ("One two. Three four. Five", [2, 3], "One two. Five"),
        ("One two. Three four.", [2, 3], "One two."),
        ("One two.\nThree four.\n", [2, 3], "One two.\n"),
        ("One two. Three four.\n\nFive", [2, 3], "One two.\n\nFive"),
        ("# One\n\n- two\n- three", [0], "- two\n- three"),
        ("- one\n- two\n- three\n", [1], "- one\n- three\n"),
        ("one\n\ntwo\nthree", [1], "one\n\nthree"),
        ("one (two) three", [0, 2], "two)"),
        ("one", [0], ""),
        ("don't中don't", [1], "don't don't"),
        ("中文中", [1], "中中"),
    ],
)
def test_what_stands_between(text: str, gone: list[int], expected: str) -> None:
    assert left([text], gone) == [expected]


def test_lines_go_with_their_line_ends() -> None:
    assert left(["a\n  menu\n\n  b\nmenu\nc\n"], [1, 3], "lines") == ["a\n\n  b\nc\n"]
    assert left(["menu\na\r\nmenu\r\n\r\nb"], [0, 2], "lines") == ["a\r\n\r\nb"]
    assert left(["a\n\nmenu\nmenu\n\nb", "c"], [1], "paragraphs") == ["a\n\nb", "c"]
