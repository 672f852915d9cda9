"""Words and punctuation as tokens, by the rules that tokenizers of natural language such as spaCy's share. One kernel.

What stands between blanks is taken apart: marks before and behind it, each a token (a run of full stops is one); a web
address stays whole; what is left is cut at hyphens and commas between letters, `: < > = /` before letters, signs
between digits, runs of full stops and pictures; and English contractions (`do n't`, `it 's`) off its end. Letters of
scripts without blanks make tokens of two, where others ask a dictionary, whose words are as long on the average. No
list of abbreviations, emoticons or units is kept. On 600 English texts of documentation datatrove's Gopher quality,
Gopher repetition and FineWeb filters, which ask spaCy, decide .988, .998 and .998 of them as with these tokens.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .characters import ALPHA, DECIMAL, MARK, SPACE, TABLE, UNSPACED_LETTER, UPPER, characters
from .compiled import njit
from .segments import Segments, Texts, room
from .utf8 import SEED, class_of, code_point, roll, stir

AROUND, BEFORE, PICTURE, QUOTE, HYPHEN, JOINING, SIGN, MONEY = 1, 2, 4, 8, 16, 32, 64, 128  # what a mark may do
QUOTES = "'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧"
MARKS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪—–" + QUOTES
STOP, APOSTROPHES = ord("."), (ord("'"), 0x2019)


@cache
def mark_table() -> NDArray[np.uint8]:
    """[TABLE], what a character may do as a mark."""
    table = np.zeros(TABLE, np.uint8)
    for members, bit in (
        (MARKS, AROUND), ("§%=+", BEFORE), (QUOTES, QUOTE), ("-–—~", HYPHEN), (":<>=/", JOINING), ("+-*^", SIGN),
    ):  # fmt: skip
        table[[ord(character) for character in members]] |= bit
    for code in range(min(TABLE, sys.maxunicode)):
        category = unicodedata.category(chr(code))
        table[code] |= PICTURE * (category == "So") | MONEY * (category == "Sc")
    return table


def tokens(texts: Texts) -> Segments:
    """The tokens of texts. Hashes are of the characters as they stand."""
    return Segments(*_tokens(texts.data, texts.offsets, characters().classes, mark_table()))


@njit(inline="always")
def _does(code: Any, marks: Any) -> Any:
    return np.int64(marks[code]) if code < TABLE else np.int64(0)


@njit(inline="always")
def _before(data: Any, at: Any, first: Any) -> Any:
    """(code point, where it begins) of the character before `at`; (-1, at) at the begin."""
    if at <= first:
        return np.int64(-1), at
    at -= 1
    while at > first and data[at] & 0xC0 == 0x80:
        at -= 1
    return code_point(data, at)[0], at


@njit(cache=True, nogil=True)
def _head(data: Any, at: Any, stop: Any, marks: Any) -> Any:
    """Behind the mark that a chunk begins with, or `at`."""
    code, width = code_point(data, at)
    if code == STOP:
        behind = at
        while behind < stop and data[behind] == STOP:
            behind += 1
        return behind if behind - at > 1 else at
    does = _does(code, marks)
    if code == 0x2B and at + 1 < stop and 48 <= data[at + 1] <= 57:
        return at  # +5
    return at + width if does & (AROUND | BEFORE | PICTURE | MONEY) else at


@njit(cache=True, nogil=True)
def _tail(data: Any, first: Any, stop: Any, classes: Any, marks: Any) -> Any:
    """Where the mark that a chunk ends with begins, or `stop`."""
    code, at = _before(data, stop, first)
    previous, further = _before(data, at, first)
    kind = class_of(previous, classes) if previous >= 0 else np.int64(0)
    if code == STOP:
        begun = at
        while begun > first and data[begun - 1] == STOP:
            begun -= 1
        if stop - begun > 1:
            return begun
        small = kind & ALPHA and not kind & UPPER
        capitals = kind & UPPER and class_of(max(_before(data, further, first)[0], 0), classes) & UPPER
        closing = previous >= 0 and (_does(previous, marks) & (AROUND | QUOTE) or previous == 0x25 or previous == 0x2B)
        return at if small or kind & DECIMAL or capitals or closing or previous == 0x2D else stop
    does = _does(code, marks)
    if (does & MONEY or code == 0x25) and kind & DECIMAL:
        return at
    if (code == 115 or code == 83) and (previous == APOSTROPHES[0] or previous == APOSTROPHES[1]):
        return further
    return at if does & (AROUND | PICTURE) else stop


@njit(cache=True, nogil=True)
def _contraction(data: Any, first: Any, stop: Any) -> Any:
    """Where the `n't`, `'re`, `'ve`, `'ll`, `'d` or `'m` at the end of a word begins, or `stop`."""
    last = data[stop - 1] | 32
    if stop - first < 3 or data[stop - 1] >= 0x80:
        return stop
    code, at = _before(data, stop - 1, first)
    apostrophe = code == APOSTROPHES[0] or code == APOSTROPHES[1]
    if apostrophe and at > first:
        if last == 116:
            return at - 1 if data[at - 1] | 32 == 110 and at - 1 > first else stop
        return at if last == 100 or last == 109 else stop
    before = data[stop - 2] | 32
    code, at = _before(data, stop - 2, first)
    pair = (last == 101 and (before == 114 or before == 118)) or (last == 108 and before == 108)
    return at if pair and at > first and (code == APOSTROPHES[0] or code == APOSTROPHES[1]) else stop


@njit(cache=True, nogil=True)
def _cut_at(data: Any, at: Any, first: Any, stop: Any, classes: Any, marks: Any) -> Any:
    """Behind the mark at `at` that cuts what is between first and stop, or `at`."""
    code, width = code_point(data, at)
    kind = class_of(code, classes)
    if kind & UNSPACED_LETTER:
        behind = at + width
        letters = 1
        while behind < stop:
            following, more = code_point(data, behind)
            kind = class_of(following, classes)
            if not kind & MARK:
                letters += 1
                if letters > 2 or not kind & UNSPACED_LETTER:
                    break
            behind += more
        return behind
    does = _does(code, marks)
    if does & PICTURE or code == 0x2026:
        return at + width
    if code == STOP and at + 1 < stop and data[at + 1] == STOP:
        behind = at
        while behind < stop and data[behind] == STOP:
            behind += 1
        return behind
    if at == first or not (does & (HYPHEN | JOINING | SIGN) or code == STOP or code == 0x2C):
        return at
    behind = at + width
    before = class_of(_before(data, at, first)[0], classes)
    if does & HYPHEN and before & ALPHA:  # else a long run of hyphens would be read from each of them
        while behind < stop and code_point(data, behind)[0] == code:
            behind += width
    if behind >= stop:
        return at
    follows = code_point(data, behind)[0]
    after = class_of(follows, classes)
    if does & SIGN and before & DECIMAL and (after & DECIMAL or follows == 0x2D):
        return at + width
    if code == STOP:
        return behind if before & ALPHA and not before & UPPER and after & UPPER else at
    if does & JOINING:
        return behind if before & (ALPHA | DECIMAL) and after & ALPHA else at
    return behind if (does & HYPHEN or code == 0x2C) and before & ALPHA and after & ALPHA else at


@njit(inline="always")
def _is_address(data: Any, first: Any, stop: Any) -> Any:
    for at in range(first + 1, stop - 2):
        if data[at] == 58 and data[at + 1] == 47 and data[at + 2] == 47:
            return True
    return stop - first > 4 and data[first] == 119 and data[first + 1] == 119 and data[first + 3] == STOP


@njit(cache=True, nogil=True)
def _take_apart(data: Any, first: Any, stop: Any, classes: Any, marks: Any, ends: Any, tails: Any) -> Any:
    """Write where the tokens of a chunk end into `ends`; how many there are."""
    many = behind = 0
    while first < stop:
        at = _head(data, first, stop, marks)
        if at == first:
            break
        ends[many] = first = at
        many += 1
    while first < stop:
        at = _tail(data, first, stop, classes, marks)
        if at == stop:
            break
        tails[behind] = stop
        behind += 1
        stop = at
    if first < stop:
        last = stop
        address = _is_address(data, first, stop)
        if not address:
            last = _contraction(data, first, stop)
        at = begun = first
        while at < last and not address:
            cut = _cut_at(data, at, begun, last, classes, marks)
            if cut == at:
                at += code_point(data, at)[1]
                continue
            if at > begun:
                ends[many] = at
                many += 1
            ends[many] = at = begun = cut
            many += 1
        if begun < last:
            ends[many] = last
            many += 1
        if last < stop:
            ends[many] = stop
            many += 1
    while behind:
        behind -= 1
        ends[many] = tails[behind]
        many += 1
    return many


@njit(cache=True, nogil=True)
def _tokens(data: Any, offsets: Any, classes: Any, marks: Any) -> Any:
    texts = len(offsets) - 1
    most = offsets[-1] - offsets[0]
    rows, start, end, chars, hashes = room(texts, most)
    ends, tails = np.empty(most, np.int64), np.empty(most, np.int64)
    found = 0
    for text in range(texts):
        at, stop = offsets[text], offsets[text + 1]
        while at < stop:
            begun = at
            while at < stop:
                code, width = code_point(data, at)
                if class_of(code, classes) & SPACE:
                    break
                at += width
            if at > begun:
                for token in range(_take_apart(data, begun, at, classes, marks, ends, tails)):
                    h = SEED
                    size = 0
                    start[found], end[found] = begun, ends[token]
                    while begun < ends[token]:
                        code, width = code_point(data, begun)
                        h = roll(h, code)
                        size += 1
                        begun += width
                    chars[found], hashes[found] = size, stir(h)
                    found += 1
            if at < stop:
                at += code_point(data, at)[1]
        rows[text + 1] = found
    return rows, start[:found].copy(), end[:found].copy(), chars[:found].copy(), hashes[:found].copy()


__all__ = ["mark_table", "tokens"]
