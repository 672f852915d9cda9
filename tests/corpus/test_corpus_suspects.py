"""Kernels that spare a slower look never spare one that would have changed something."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory.corpus.cleaning import suspects
from factory.corpus.cleaning.fix_encoding import CLASSES, SUSPECT, fixed
from factory.corpus.cleaning.normalize import REMOVED, normalized
from factory.corpus.cleaning.pii import masked
from factory.text.prose import LINE_LETTERS, LOOKED_AT, prose
from factory.text.segments import Texts, buffers

EXAMPLES = settings.default.max_examples  # fewer in `make check`

compiled = settings(max_examples=3 * EXAMPLES)
ANY = st.text(st.characters(exclude_categories=["Cs"]))
ODD = st.text(
    st.sampled_from("aé\u0301 \n\t\r\u0085\u2028\u00a0\u3000각ᄀ\u1161\u11a8ﬁＡ\ufeff\U0002f800क\u093c\u09be")
)
NUMBERS = st.text(st.sampled_from("0123456789 +-.:()@aABDE"), max_size=40)


def column(text: str) -> Texts:
    return buffers(pa.array([text], pa.string()))


@compiled
@given(ANY | ODD | st.lists(ODD).map("\n".join), st.sampled_from(["NFC", "NFKC"]))
@example("a\n\n\n\nb", "NFC")
@example("a\n", "NFC")
@example("a ", "NFC")
@example(" a", "NFC")
def test_what_is_not_marked_is_normal(text: str, form: Literal["NFC", "NFKC"]) -> None:
    if normalized(text, form) != text:
        assert suspects.unnormal(column(text), form, REMOVED).tolist() == [True]


@pytest.mark.parametrize("text", ["plain text\n\n\nof three lines", "schön 中文 한국어 русский", "\ttab", "a  b", ""])
def test_usual_text_needs_no_look(text: str) -> None:
    assert suspects.unnormal(column(text), "NFC", REMOVED).tolist() == [False]
    assert suspects.personal(column(text)).tolist() == [False]


@compiled
@given(ANY | NUMBERS | st.lists(NUMBERS).map("x ".join))
@example("+1 650-253-0000")
@example("(650) 253-0000")
@example("2001:4860:4860::8888")
@example("DE89 3704 0044 0532 0130 00")
@example("8.8.8.8")
@example("13800138000")
@example("138 0013 8000")
@example("4111 1111 1111 1111")
def test_what_is_not_marked_has_no_personal_data(text: str) -> None:
    found: Counter[str] = Counter()
    masked(text, found)
    if found:
        assert suspects.personal(column(text)).tolist() == [True]


@compiled
@given(ANY | st.text(st.sampled_from("aÃ¶â€™\x1b[0m")))
def test_what_is_not_marked_needs_no_repair(text: str) -> None:
    if fixed(text, Counter()) != text:
        assert suspects.misread(column(text), CLASSES).tolist() == [True]


@compiled
@given(st.text(st.sampled_from("aÃ¶â€™œ\x1béБя\u2028α\x85 \n中")))
def test_the_kernel_marks_what_the_expression_finds(text: str) -> None:
    assert suspects.misread(column(text), CLASSES).tolist() == [SUSPECT.search(text) is not None]


def sample(text: str, chars: int) -> str:
    """The same lines in plain Python."""
    first: list[str] = []
    others: list[str] = []
    size = 0
    for line in text[: LOOKED_AT * chars].splitlines():
        letters = sum(map(str.isalpha, line)) + line.count(" ")
        reads = " " in line.strip() and letters >= LINE_LETTERS * len(line)
        (first if reads or not line.isascii() else others).append(line.strip())
        size += len(line) if reads else 0
        if size > chars:
            break
    return " ".join(line for line in first + others if line)[:chars]


LINES = st.lists(
    st.sampled_from(["a word or two", "x = f(1, 2)", "中文一行", " ", "", "été — là", "\x1c", "a\u2028b c", "1 2"])
)


@compiled
@given(LINES.map("\n".join) | LINES.map("\r\n".join) | ANY, st.integers(1, 60))
def test_the_sample_is_of_the_lines_that_read_like_prose(text: str, chars: int) -> None:
    assert prose(text, chars).rstrip(" ") == sample(text, chars).rstrip(" ")
