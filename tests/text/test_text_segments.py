"""Kernels find the words, lines and paragraphs that plain Python finds."""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory.text import segments
from factory.text.words import UNSPACED, words

ODD = "aZ09 'ʼ’_ßİŉΐẖ\u0345\u0301\u200d中かภาไทย한글नमस्ते١٢².-\n\n\t\u00a0\u3000\u2028\U00020000🙂Ǆ"
compiled = settings(deadline=None)  # the first call compiles a kernel
TEXTS = st.lists(st.text(st.sampled_from(ODD)) | st.text(st.characters(exclude_categories=["Cs"])), max_size=4)


def parts(found: segments.Segments, texts: list[str], column: pa.Array) -> list[list[str]]:
    data = bytes(segments.buffers(column).data)
    spans = [data[a:b].decode() for a, b in zip(found.start.tolist(), found.end.tolist(), strict=True)]
    assert [len(span) for span in spans] == found.chars.tolist()
    return [spans[found.rows[i] : found.rows[i + 1]] for i in range(len(texts))]


@compiled
@given(TEXTS)
@example(["don't5", "l’eau", "a'b'5'c", "中'a", "e\u0301'a\u0301b5'c", "'a", "a'", "0'İ0", "a'ẖ5", "a'ß5"])
def test_words_are_those_of_the_expression(texts: list[str]) -> None:
    column = pa.array(texts, pa.string())
    found = parts(segments.words(segments.buffers(column)), texts, column)
    assert [[word.casefold().replace("’", "'") for word in row] for row in found] == [words(text) for text in texts]


@compiled
@given(TEXTS)
def test_blank_words_are_those_of_split(texts: list[str]) -> None:
    column = pa.array(texts, pa.string())
    assert parts(segments.blank_words(segments.buffers(column)), texts, column) == [text.split() for text in texts]


@compiled
@given(TEXTS)
def test_lines_are_stripped_and_not_blank(texts: list[str]) -> None:
    column = pa.array(texts, pa.string())
    expected = [[line.strip() for line in text.split("\n") if line.strip()] for text in texts]
    assert parts(segments.lines(segments.buffers(column)), texts, column) == expected


@compiled
@given(st.lists(st.text(st.sampled_from("a b\n\t中"))))
def test_paragraphs_are_parted_by_blank_lines(texts: list[str]) -> None:
    column = pa.array(texts, pa.string())
    held = segments.buffers(column)
    expected = [[part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()] for text in texts]
    assert parts(segments.paragraphs(held, segments.lines(held)), texts, column) == expected


@pytest.mark.parametrize("kernel", [segments.words, segments.blank_words, segments.lines])
def test_hashes_tell_parts_apart(kernel: Callable[[segments.Texts], segments.Segments]) -> None:
    column = pa.array(["same", "same", "sama", "emas"])
    first, second, third, fourth = kernel(segments.buffers(column)).hash.tolist()
    assert first == second
    assert len({first, third, fourth}) == 3


def test_words_hash_folded_and_blank_words_as_they_stand() -> None:
    held = segments.buffers(pa.array(["STRASSE", "straße"]))
    assert len(set(segments.words(held).hash.tolist())) == 1
    assert len(set(segments.blank_words(held).hash.tolist())) == 2


def test_slices_and_wide_columns_are_read_in_place() -> None:
    column = pa.array(["one", "two words", None, "中文 x"]).fill_null("").slice(1)
    for held in (column, column.cast(pa.large_string()), pa.chunked_array([column[:1], column[1:]])):
        found = segments.words(segments.buffers(held))
        assert (found.rows[1:] - found.rows[:-1]).tolist() == [2, 0, 3]
    assert len(segments.words(segments.buffers(pa.array([], pa.string()))).start) == 0


def test_every_unspaced_letter_is_a_word() -> None:
    text = "".join(chr(code) for code in range(0x20000) if re.match(f"[{UNSPACED}]", chr(code)))
    assert len(segments.words(segments.buffers(pa.array([text]))).start) == len(words(text))
