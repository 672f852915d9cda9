"""Kernels of C4's line rules: which lines of a text stay, how many sentences they are, and the text they make.

Cost: each byte of a line that ends as a sentence does is read once, 3 to 4 ns; phrases are looked for where a rare
letter of theirs stands.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .characters import SPACE, characters
from .compiled import njit
from .parts import member_table
from .segments import Segments, Texts
from .sentences import CLOSING, WIDE_ENDS, parts_sentences
from .utf8 import before_blanks, behind_blanks, class_of, code_point, is_member, last_code, stands

JAVASCRIPT, POLICY, LOREM_IPSUM, BRACE, BRACKET = 1, 2, 4, 8, 16  # what is in a line
CLOSING_BRACKET = ord("]")
CITATIONS, WORDS_BEFORE_CITATIONS = 1, 2
ORDINARY, BLANK, STOP, END, J, K, V, F, P, OPENING_BRACE, OPENING_BRACKET, WIDE = range(12)


def _kinds() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[[*range(9, 14), *range(28, 33)]] = BLANK
    for letters, kind in ((".", STOP), ("?!", END), ("jJ", J), ("kK", K), ("vV", V), ("fF", F), ("pP", P)):
        table[[ord(letter) for letter in letters]] = kind
    table[ord("{")], table[ord("[")] = OPENING_BRACE, OPENING_BRACKET
    table[0x80:] = WIDE
    return table


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8)


KINDS = _kinds()
SCRIPT, SUM, PRIVACY, TERMS = map(_bytes, ("javascript", "lorem ipsum", "privacy policy", "terms of use"))
COOKIE, COOKIES, COOKIE_POLICY = map(_bytes, ("cookie", "cookies", "cookie policy"))
USE, USES, USE_OF = map(_bytes, ("use ", "uses ", "use of "))
EDIT, CITATION_NEEDED = map(_bytes, ("edit]", "citation needed]"))


class Cleaned(NamedTuple):
    """Of each text: [texts]; `data` and `offsets` are the texts of the lines that stay."""

    sentences: NDArray[np.int64]  # in the lines that stay
    lines: NDArray[np.int64]  # that stay
    banned: NDArray[np.int64]  # 0, or LOREM_IPSUM or BRACE: the first of them that is in a line
    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]


def clean(
    texts: Texts, lines: Segments, end_marks: str, min_words: int, max_word_length: int, cut: int, citations: int
) -> Cleaned:
    """Judge every line, and write those that stay, parted by newlines.

    end_marks   characters of which a line must end in one, and not in `...`; none: any end will do
    cut         bits: what a line (JAVASCRIPT, POLICY) or the whole text (LOREM_IPSUM, BRACE) is dropped for
    citations   CITATIONS: take [1], [edit] and [citation needed] out; WORDS_BEFORE_CITATIONS: count words before
    """
    classes = characters().classes
    wide = member_table(CLOSING), member_table(WIDE_ENDS)
    ends = member_table(end_marks)
    numbers = (bool(end_marks), min_words, max_word_length or 2**62, cut, citations)
    found = _clean(texts.data, lines.rows, lines.start, lines.end, classes, ends, *wide, *numbers)
    return Cleaned(*found)


@njit(cache=True, nogil=True)
def _phrase(data: Any, at: Any, first: Any, stop: Any, kind: Any) -> Any:
    """The flag of the phrase that has its rare letter at `at`, or 0."""
    if kind == J:
        return JAVASCRIPT if stands(data, at, first, stop, SCRIPT) else 0
    if kind == P:
        return LOREM_IPSUM if stands(data, at - 7, first, stop, SUM) else 0
    if kind == V:
        return POLICY if stands(data, at - 3, first, stop, PRIVACY) else 0
    if kind == F:
        return POLICY if stands(data, at - 7, first, stop, TERMS) else 0
    if not stands(data, at - 3, first, stop, COOKIE):
        return 0
    if stands(data, at - 3, first, stop, COOKIE_POLICY):
        return POLICY
    if stands(data, at - 3, first, stop, COOKIES) and (
        stands(data, at - 7, first, stop, USE)
        or stands(data, at - 8, first, stop, USES)
        or stands(data, at - 10, first, stop, USE_OF)
    ):
        return POLICY
    return 0


@njit(cache=True, nogil=True)
def _scan(data: Any, first: Any, stop: Any, classes: Any, closing: Any, wide_ends: Any) -> Any:
    """(words, flags of what is in it, sentences) of a line. Words end without a branch."""
    words: Any = 0
    flags: Any = 0
    inside: Any = 0
    sentences = 1
    at = first
    while at < stop:
        kind = KINDS[data[at]]
        width = 1
        if kind > BLANK:
            if kind == WIDE:
                code, width = code_point(data, at)
                if class_of(code, classes) & SPACE:
                    kind = np.uint8(BLANK)
                elif is_member(code, wide_ends):
                    kind = np.uint8(END)
            if kind == STOP or kind == END:  # noqa: SIM109
                sentences += parts_sentences(data, at, at + width, first, stop, classes, closing, wide_ends)
            elif kind == OPENING_BRACE:
                flags |= BRACE
            elif kind == OPENING_BRACKET:
                flags |= BRACKET
            elif BLANK < kind < WIDE and _begins(data, at, first, stop, kind):
                flags |= _phrase(data, at, first, stop, kind)
        blank = np.int64(kind == BLANK)
        words += inside & blank
        inside = 1 - blank
        at += width
    return words + inside, flags, sentences


@njit(inline="always")
def _begins(data: Any, at: Any, first: Any, stop: Any, kind: Any) -> Any:
    """Whether the letter before, or behind a j, is that of the phrase: spares most calls."""
    if kind == J:
        return at + 1 < stop and data[at + 1] | 32 == 97
    if at == first:
        return False
    before = data[at - 1] | 32
    return before == (111 if kind in (K, F) else 105)  # cook, of; priv, ip


@njit(cache=True, nogil=True)
def _longest_word(data: Any, first: Any, stop: Any, classes: Any) -> Any:
    """Characters of the longest word of a line."""
    longest = size = 0
    at = first
    while at < stop:
        code, width = code_point(data, at)
        size = 0 if class_of(code, classes) & SPACE else size + 1
        longest = max(longest, size)
        at += width
    return longest


@njit(cache=True, nogil=True)
def _without_citations(data: Any, first: Any, stop: Any, out: Any, at: Any) -> Any:
    """Write a line without [1], [], [edit] and [citation needed]; the place behind it."""
    place = first
    while place < stop:
        if data[place] == 91:
            behind = place + 1
            while behind < stop and 48 <= data[behind] <= 57:
                behind += 1
            if behind < stop and data[behind] == 93:
                place = behind + 1
                continue
            if _same(data, place + 1, stop, EDIT):
                place += 6
                continue
            if _same(data, place + 1, stop, CITATION_NEEDED):
                place += 17
                continue
        out[at] = data[place]
        at += 1
        place += 1
    return at


@njit(cache=True, nogil=True)
def _same(data: Any, at: Any, stop: Any, needle: Any) -> Any:
    if at + len(needle) > stop:
        return False
    for place in range(len(needle)):  # noqa: SIM110
        if data[at + place] != needle[place]:
            return False
    return True


@njit(cache=True, nogil=True)
def _ended(data: Any, first: Any, stop: Any, ends: Any) -> Any:
    """Whether a line ends in an end mark, and not in an ellipsis."""
    if stop == first or not is_member(last_code(data, first, stop), ends):
        return False
    return stop - first < 3 or data[stop - 1] != 46 or data[stop - 2] != 46 or data[stop - 3] != 46


@njit(cache=True, nogil=True)
def _clean(
    data: Any, rows: Any, start: Any, end: Any, classes: Any, ends: Any, closing: Any, wide_ends: Any,
    marked: Any, min_words: Any, max_word_length: Any, cut: Any, citations: Any,
) -> Any:  # fmt: skip
    texts = len(rows) - 1
    sentences, lines, banned = np.zeros(texts, np.int64), np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    most = longest = 0
    for line in range(len(start)):
        longest = max(longest, end[line] - start[line])
        most += end[line] - start[line] + 1
    out = np.empty(most + longest, np.uint8)
    offsets = np.zeros(texts + 1, np.int64)
    at = 0
    for text in range(texts):
        begun = at
        for line in range(rows[text], rows[text + 1]):
            first, stop = start[line], end[line]
            if marked and data[stop - 1] != CLOSING_BRACKET and not _ended(data, first, stop, ends):
                continue  # for whatever reason: most lines
            words, flags, many = _scan(data, first, stop, classes, closing, wide_ends)
            if stop - first > max_word_length and _longest_word(data, first, stop, classes) > max_word_length:
                continue
            held, place = data, at + (at > begun)
            if flags & BRACKET and citations & CITATIONS:
                place = at + (at > begun)
                behind = _without_citations(data, first, stop, out, place)
                held, first, stop = out, place, behind
                before = words
                words, flags, many = _scan(out, first, stop, classes, closing, wide_ends)
                if citations & WORDS_BEFORE_CITATIONS:
                    words = before
            if marked and not _ended(held, first, stop, ends):
                continue
            if words < min_words:
                continue
            if flags & cut & LOREM_IPSUM:
                banned[text] = LOREM_IPSUM
                break
            if flags & cut & JAVASCRIPT:
                continue
            if flags & cut & BRACE:
                banned[text] = BRACE
                break
            if flags & cut & POLICY:
                continue
            sentences[text] += many
            lines[text] += 1
            if at > begun:
                out[at] = 10
                at += 1
            else:
                first = behind_blanks(held, first, stop, classes)
            for byte in range(stop - first):
                out[at + byte] = held[first + byte]
            at += stop - first
        at = before_blanks(out, begun, at, classes)
        offsets[text + 1] = at
    return sentences, lines, banned, out[:at], offsets


__all__ = ["Cleaned", "clean"]
