"""Kernels that cut lines of which little is text: capitals, digits, counters, single words. The others stay."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .characters import DECIMAL, LETTER, SPACE, UNSPACED_LETTER, UPPER, characters
from .compiled import njit
from .segments import Segments, Texts
from .utf8 import behind_blanks, class_of, code_point, stands

COUNTED = ("likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks", "upvotes", "downvotes",
           "downloads", "views", "followers")  # fmt: skip
NEEDLES = np.frombuffer("".join(COUNTED).encode(), np.uint8)
ENDS = np.cumsum([0, *map(len, COUNTED)])
SIGN_IN, READ_MORE, ITEMS = (
    np.frombuffer(phrase.encode(), np.uint8) for phrase in ("sign-in", "read more...", "items in cart")
)


class Cut(NamedTuple):
    """Of each text: [texts]; `data` and `offsets` are the texts of what stays."""

    before: NDArray[np.int64]  # words
    after: NDArray[np.int64]  # words in lines that stay
    filled: NDArray[np.int64]  # characters that are no blanks, in lines that stay
    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]


def cut_lines(
    texts: Texts, lines: Segments, words: Segments, counted: Segments, max_uppercase: float, max_digits: float,
    min_words: int, max_words: int, max_word_length: int, counters: bool, phrases: bool, in_bytes: bool,
    stripped: bool,
) -> Cut:  # fmt: skip
    """Cut lines, as they stand between newlines; empty ones stay.

    words     that `before` and `after` count
    counted   that `min_words`, `max_words` and `max_word_length` are about
    in_bytes  shares of capitals and digits are of a line's bytes, not its characters
    stripped  blanks at the ends of what stays are taken off
    """
    share = (max_uppercase, max_digits, in_bytes)
    size = (min_words, max_words, max_word_length)
    return Cut(
        *_cut(
            texts.data, lines.rows, lines.start, lines.end, words.rows, words.start, counted.rows, counted.start,
            counted.chars, characters().classes, *share, *size, counters, phrases, stripped,
        )
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _heavy(data: Any, first: Any, stop: Any, classes: Any, capitals: Any, digits: Any, in_bytes: Any) -> Any:
    """Whether capitals or digits are too large a share of a line."""
    upper = decimal = chars = 0
    at = first
    while at < stop:
        code, width = code_point(data, at)
        kind = class_of(code, classes)
        upper += kind & UPPER != 0
        decimal += kind & DECIMAL != 0 and (code < 0x80 or not in_bytes)
        chars += width if in_bytes else 1
        at += width
    return upper / max(chars, 1) > capitals or decimal / max(chars, 1) > digits


@njit(cache=True, nogil=True)
def _is_counter(data: Any, first: Any, stop: Any, classes: Any) -> Any:
    """Whether a line is a number and what it counts, such as `12.3K likes`, and no other word."""
    at = first
    while at < stop:
        code, width = code_point(data, at)
        if class_of(code, classes) & (LETTER | UNSPACED_LETTER) or code == 95:
            break
        at += width
    digits = 0
    while at < stop:
        code, width = code_point(data, at)
        if not class_of(code, classes) & DECIMAL and not (digits and (code == 44 or code == 46)):
            break
        digits += 1
        at += width
    if not digits or at == stop:
        return False
    unit = data[at] | 32
    if unit == 107 or unit == 109 or unit == 98:
        at += 1
    begun = at
    at = behind_blanks(data, at, stop, classes)
    if at == begun:
        return False
    for word in range(len(ENDS) - 1):
        if stands(data, at, first, stop, NEEDLES[ENDS[word] : ENDS[word + 1]]):
            at += ENDS[word + 1] - ENDS[word]
            while at < stop:
                code, width = code_point(data, at)
                if class_of(code, classes) & (LETTER | UNSPACED_LETTER) or code == 95:
                    return False
                at += width
            return True
    return False


@njit(cache=True, nogil=True)
def _without_phrases(data: Any, first: Any, stop: Any, out: Any, at: Any) -> Any:
    """Write a short line without `sign-in` before, `read more...` behind and `items in cart` anywhere."""
    if stands(data, first, first, stop, SIGN_IN):
        first += len(SIGN_IN)
        first += first < stop and data[first] == 32
    if stands(data, stop - len(READ_MORE), first, stop, READ_MORE):
        stop -= len(READ_MORE)
        stop -= stop > first and data[stop - 1] == 32
    place = first
    while place < stop:
        if data[place] | 32 == 105 and stands(data, place, first, stop, ITEMS):
            place += len(ITEMS)
            continue
        out[at] = data[place]
        at += 1
        place += 1
    return at


@njit(inline="always")
def _filled(data: Any, first: Any, stop: Any, classes: Any) -> Any:
    """(characters that are no blanks, where the first of them begins, behind the last)."""
    filled = 0
    begun, behind = stop, first
    at = first
    while at < stop:
        code, width = code_point(data, at)
        if not class_of(code, classes) & SPACE:
            begun = min(begun, at)
            behind = at + width
            filled += 1
        at += width
    return filled, begun, behind


@njit(cache=True, nogil=True)
def _cut(
    data: Any, rows: Any, start: Any, end: Any, word_rows: Any, word_start: Any, counted_rows: Any, counted_start: Any,
    counted_chars: Any, classes: Any, capitals: Any, digits: Any, in_bytes: Any, min_words: Any, max_words: Any,
    max_word_length: Any, counters: Any, phrases: Any, stripped: Any,
) -> Any:  # fmt: skip
    texts = len(rows) - 1
    before, after, filled = np.zeros(texts, np.int64), np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    most = 0
    for line in range(len(start)):
        most += end[line] - start[line] + 1
    out, offsets = np.empty(most, np.uint8), np.zeros(texts + 1, np.int64)
    at = 0
    for text in range(texts):
        begun, kept = at, 0
        word, counted = word_rows[text], counted_rows[text]
        before[text] = word_rows[text + 1] - word
        for line in range(rows[text], rows[text + 1]):
            first, stop = start[line], end[line]
            many, held, longest = 0, 0, 0
            while word < word_rows[text + 1] and word_start[word] < stop:
                many += 1
                word += 1
            while counted < counted_rows[text + 1] and counted_start[counted] < stop:
                longest = max(longest, counted_chars[counted])
                held += 1
                counted += 1
            if stop > first:
                if held < min_words or held > max_words or longest > max_word_length:
                    continue
                if _heavy(data, first, stop, classes, capitals, digits, in_bytes):
                    continue
                if counters and _is_counter(data, first, stop, classes):
                    continue
            place = at
            if kept:
                out[at] = 10
                place += 1
            behind = place + stop - first
            if phrases and held <= 10:
                behind = _without_phrases(data, first, stop, out, place)
                if behind < place + stop - first and not _filled(out, place, behind, classes)[0]:
                    continue
            else:
                for byte in range(stop - first):
                    out[place + byte] = data[first + byte]
            kept += 1
            after[text] += many
            at = behind
        filled[text], inner, outer = _filled(out, begun, at, classes)
        if stripped and filled[text]:
            for byte in range(outer - inner):
                out[begun + byte] = out[inner + byte]
            at = begun + outer - inner
        offsets[text + 1] = at
    return before, after, filled, out[:at], offsets


__all__ = ["Cut", "cut_lines"]
