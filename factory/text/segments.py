"""Words, lines and paragraphs of a column of texts, found once: flat arrays over its UTF-8 buffer, made by kernels.

Cost: each byte is read once and each word written once, 20 bytes; 150 to 300 MB/s on one core. Everything that counts
words or lines works on these arrays and never looks at the text again, unless at single characters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .characters import (
    APOSTROPHE,
    DECIMAL,
    LETTER,
    MARK,
    MULTIPLE,
    SPACE,
    UNSPACED_LETTER,
    characters,
)
from .compiled import njit
from .utf8 import SEED, class_of, code_point, roll, roll_folded, stir


class Texts(NamedTuple):
    """A column of texts as Arrow holds it: text i is data[offsets[i]:offsets[i + 1]], UTF-8."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1


class Segments(NamedTuple):
    """Parts of texts in order: those of text i are rows[i] to rows[i + 1]."""

    rows: NDArray[np.int64]  # [texts + 1]
    start: NDArray[np.int64]  # [parts], the first byte in Texts.data
    end: NDArray[np.int64]  # [parts], behind the last
    chars: NDArray[np.int32]  # [parts], code points
    hash: NDArray[np.uint64]  # [parts], equal for equal parts


def buffers(column: pa.Array | pa.ChunkedArray) -> Texts:
    """The buffers behind a string column; nothing is copied but the offsets."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    wide = pa.types.is_large_string(column.type)
    _, offsets, data = column.buffers()
    if offsets is None or not len(column):
        return Texts(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    found = np.frombuffer(offsets, np.int64 if wide else np.int32)[column.offset : column.offset + len(column) + 1]
    held = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return Texts(held, found.astype(np.int64))


def words(texts: Texts) -> Segments:
    """The words that `factory.text.words.words` finds; hashes are of their case-folded form."""
    return Segments(*_words(texts.data, texts.offsets, *characters()))


def word_hashes(texts: Texts) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """`rows` and `hash` of `words`."""
    found = words(texts)
    return found.rows, found.hash


def blank_words(texts: Texts) -> Segments:
    """What `str.split()` gives: runs of characters between blanks. Hashes are of the bytes as they stand."""
    return Segments(*_blank_words(texts.data, texts.offsets, characters().classes))


def lines(texts: Texts) -> Segments:
    """The lines that are not blank, parted at `\\n` and stripped of blanks at both ends."""
    return Segments(*_lines(texts.data, texts.offsets, characters().classes))


def paragraphs(texts: Texts, found: Segments) -> Segments:
    """Runs of `lines` without a blank line between them, from the first byte of the first to the last of the last."""
    return Segments(*_paragraphs(texts.data, texts.offsets, found.rows, found.start, found.end))


WORDLIKE = LETTER | UNSPACED_LETTER | MARK


@njit(inline="always")
def most_words(size: Any, texts: Any) -> Any:
    """Room for all words: each has two bytes, one and what parts it from the next, but at a text's end."""
    return size // 2 + 2 * texts


@njit(inline="always")
def room(texts: Any, most: Any) -> Any:
    """Arrays of Segments for at most so many parts."""
    rows = np.zeros(texts + 1, np.int64)
    start, end = np.empty(most, np.int64), np.empty(most, np.int64)
    chars, hashes = np.empty(most, np.int32), np.empty(most, np.uint64)
    return rows, start, end, chars, hashes


OUTSIDE, BASE, ELIDED, MARKED, ALONE = range(5)  # where in a word: the parts of the expression in `words`


SPECIAL = 1  # in the table of bytes: an apostrophe, or the first byte of a character beyond ASCII


@njit(nogil=True)
def bytes_table(classes: Any, fold: Any) -> Any:
    """[256]: what an ASCII letter or digit folds to, SPECIAL, or 0 for what parts words."""
    found = np.zeros(256, np.uint8)
    for byte in range(128):
        if classes[byte] & LETTER:
            found[byte] = fold[byte]
    found[128:] = SPECIAL
    found[APOSTROPHE] = SPECIAL
    return found


@njit(nogil=True)
def folds_to_marks(code: Any, classes: Any, fold: Any, expansions: Any) -> Any:
    """Whether a letter has marks on it once its case is folded: \u0130 becomes i\u0307."""
    folded = np.int64(fold[code])
    if folded < MULTIPLE:
        return False
    row = folded & (MULTIPLE - 1)
    return (class_of(expansions[row, 1], classes) | class_of(expansions[row, 2], classes)) & MARK != 0


@njit(nogil=True)
def words_of(
    data: Any, at: Any, stop: Any, table: Any, classes: Any, fold: Any, expansions: Any, spans: Any,
    start: Any, end: Any, chars: Any, hashes: Any, found: Any,
) -> Any:  # fmt: skip
    """Write the words of one text behind the `found` that are there; (found with them, how many are unspaced letters).

    table   of `bytes_table`
    spans   whether `start`, `end` and `chars` are written, too
    """
    unspaced = 0
    state = OUTSIDE
    h = SEED
    begun = at
    inner = 0  # bytes of the word that begin no character
    while at < stop:
        if state <= BASE:  # nearly all of most texts
            folded = table[data[at]]
            if folded > SPECIAL:
                h = roll(h, folded)
                state = BASE
                at += 1
                continue
            if folded == 0:
                if state == BASE:
                    if spans:
                        start[found], end[found], chars[found] = begun, at, at - begun - inner
                    hashes[found] = stir(h)
                    found += 1
                    state, h, inner = OUTSIDE, SEED, 0
                at += 1
                begun = at
                continue
        code, width = code_point(data, at)
        kind = class_of(code, classes)
        if state <= BASE and kind & WORDLIKE == LETTER:
            h = roll_folded(h, code, fold, expansions)
            state = BASE
            inner += width - 1
            at += width
            continue
        into = OUTSIDE
        ends = True  # whether the word before ends here
        if kind & MARK and state != OUTSIDE:  # first: Thai vowel signs are marks and unspaced letters
            into, ends = MARKED if state == ELIDED else state, False
        elif kind & UNSPACED_LETTER:
            into = ALONE
            unspaced += 1
        elif kind & LETTER:
            into = BASE
            if state == ELIDED and not kind & DECIMAL:
                into = MARKED if folds_to_marks(code, classes, fold, expansions) else ELIDED
            elif state == MARKED:
                into = MARKED
            ends = state == ALONE or (state == ELIDED and into == BASE)  # 中a, and before the 5 of don't5
        elif (code == APOSTROPHE or code == 0x2019) and state != OUTSIDE and state != ALONE and at + width < stop:
            following = class_of(code_point(data, at + width)[0], classes)
            if following & LETTER and not following & DECIMAL:
                into, ends = ELIDED, False
        if state != OUTSIDE and ends:
            if spans:
                start[found], end[found], chars[found] = begun, at, at - begun - inner
            hashes[found] = stir(h)
            found += 1
            begun, h, inner = at, SEED, 0
        if into != OUTSIDE:
            h = roll_folded(h, code, fold, expansions)
            inner += width - 1
        else:
            begun = at + width
        state = into
        at += width
    if state != OUTSIDE:
        if spans:
            start[found], end[found], chars[found] = begun, stop, stop - begun - inner
        hashes[found] = stir(h)
        found += 1
    return found, unspaced


@njit(cache=True, nogil=True)
def _words(data: Any, offsets: Any, classes: Any, fold: Any, expansions: Any) -> Any:
    texts = len(offsets) - 1
    rows, start, end, chars, hashes = room(texts, most_words(offsets[-1] - offsets[0], texts))
    table = bytes_table(classes, fold)
    found = 0
    for text in range(texts):
        found, _ = words_of(
            data, offsets[text], offsets[text + 1], table, classes, fold, expansions, True, start, end, chars, hashes,
            found,
        )  # fmt: skip
        rows[text + 1] = found
    return rows, start[:found], end[:found], chars[:found], hashes[:found]


@njit(cache=True, nogil=True)
def _blank_words(data: Any, offsets: Any, classes: Any) -> Any:
    texts = len(offsets) - 1
    rows, start, end, chars, hashes = room(texts, most_words(offsets[-1] - offsets[0], texts))
    found = 0
    for text in range(texts):
        at, stop = offsets[text], offsets[text + 1]
        h = np.uint64(0)
        size = 0
        begun = at
        while at < stop:
            code, width = code_point(data, at)
            if class_of(code, classes) & SPACE:
                if size:
                    start[found], end[found], chars[found], hashes[found] = begun, at, size, stir(h)
                    found += 1
                    size = 0
            else:
                if not size:
                    begun, h = at, SEED
                h = roll(h, code)
                size += 1
            at += width
        if size:
            start[found], end[found], chars[found], hashes[found] = begun, at, size, stir(h)
            found += 1
        rows[text + 1] = found
    return rows, start[:found], end[:found], chars[:found], hashes[:found]


@njit(cache=True, nogil=True)
def _lines(data: Any, offsets: Any, classes: Any) -> Any:
    texts = len(offsets) - 1
    most = 2 * texts
    for byte in data[offsets[0] : offsets[-1]]:
        most += byte == 10
    # As in `room`, which made this loop, alone of all, 40 % slower.
    start, end = np.empty(most, np.int64), np.empty(most, np.int64)
    chars, hashes = np.empty(most, np.int32), np.empty(most, np.uint64)
    rows = np.zeros(texts + 1, np.int64)
    found = 0
    for text in range(texts):
        at, stop = offsets[text], offsets[text + 1]
        size = inside = 0  # characters to the end of the last that is no blank, and to here
        h = whole = np.uint64(0)
        begun = behind = at
        while at <= stop:
            code, width = code_point(data, at) if at < stop else (np.int64(10), 1)
            if code == 10:
                if size:
                    start[found], end[found], chars[found], hashes[found] = begun, behind, size, stir(whole)
                    found += 1
                    size = inside = 0
            else:
                blank = class_of(code, classes) & SPACE
                if inside or not blank:
                    if not inside:
                        begun, h = at, SEED
                    inside += 1
                    h = roll(h, code)
                    if not blank:
                        size, behind, whole = inside, at + width, h
            if code == 10:
                inside = 0
            at += width
        rows[text + 1] = found
    return rows, start[:found], end[:found], chars[:found], hashes[:found]


@njit(cache=True, nogil=True)
def _paragraphs(data: Any, offsets: Any, line_rows: Any, line_start: Any, line_end: Any) -> Any:
    rows, start, end, chars, hashes = room(len(line_rows) - 1, len(line_start))
    found = 0
    for text in range(len(line_rows) - 1):
        line, last = line_rows[text], line_rows[text + 1]
        while line < last:
            begun = line_start[line]
            while line + 1 < last:
                breaks = 0
                for at in range(line_end[line], line_start[line + 1]):
                    breaks += data[at] == 10
                if breaks > 1:
                    break
                line += 1
            h = SEED
            size = 0
            for at in range(begun, line_end[line]):
                h = roll(h, data[at])
                size += (data[at] & 0xC0) != 0x80
            start[found], end[found], chars[found], hashes[found] = begun, line_end[line], size, stir(h)
            found += 1
            line += 1
        rows[text + 1] = found
    return rows, start[:found], end[:found], chars[:found], hashes[:found]
