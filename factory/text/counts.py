"""What is counted in texts: words between blanks, symbols, kinds of characters; and sums over the parts of a text.

Cost: `symbols` reads each byte once, 3 to 4 ns, 7 in Cyrillic.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .characters import ALPHA, DECIMAL, LETTER, MARK, PUNCTUATION, SPACE, TABLE, UNSPACED_LETTER, characters
from .compiled import njit
from .segments import Texts
from .utf8 import class_of, code_point

ELLIPSIS = 0x2026


class Symbols(NamedTuple):
    """Numbers of each text: [texts] each. A word is what stands between blanks, as `str.split()` parts it."""

    words: NDArray[np.int64]
    alphabetic: NDArray[np.int64]  # words with a letter
    blanks: NDArray[np.int64]  # characters that part words
    hash_signs: NDArray[np.int64]
    ellipses: NDArray[np.int64]  # `...`, non-overlapping, and `…`
    newlines: NDArray[np.int64]
    unspaced: NDArray[np.int64]  # letters of scripts that are written without blanks


class Kinds(NamedTuple):
    """Characters of each text by kind: [texts] each."""

    alphanumeric: NDArray[np.int64]
    special: NDArray[np.int64]  # blanks, digits, punctuation and symbols


def symbols(texts: Texts) -> Symbols:
    """Words between blanks and symbols, in one pass."""
    return Symbols(*_symbols(texts.data, texts.offsets, characters().classes))


def kinds(texts: Texts) -> Kinds:
    """Alphanumeric and special characters."""
    return Kinds(*_kinds(texts.data, texts.offsets, characters().classes))


def at_most(rows: NDArray[Any], sizes: NDArray[Any], most: int) -> NDArray[np.int64]:
    """How many parts of each text have a size of at most `most`: [texts]."""
    return sums(rows, sizes <= most)


def sums(rows: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int64]:
    """The sum over the parts of each text of a number for each part: [texts]."""
    found: NDArray[np.int64] = _sums(rows, values)
    return found


def longest(rows: NDArray[Any], sizes: NDArray[Any]) -> NDArray[np.int64]:
    """The largest number among the parts of each text, 0 for no parts: [texts]."""
    found = np.zeros(len(rows) - 1, np.int64)
    parted = rows[:-1] < rows[1:]
    if len(sizes):
        found[parted] = np.maximum.reduceat(sizes, rows[:-1][parted])
    return found


def medians(rows: NDArray[Any], sizes: NDArray[Any]) -> NDArray[np.float64]:
    """The median over the parts of each text of a number for each, 0 for no parts: [texts]."""
    found: NDArray[np.float64] = _medians(rows, sizes)
    return found


IS_BLANK, IS_LETTER, IS_RARE, IS_WIDE = 1, 2, 4, 8


def _byte_kinds() -> NDArray[np.uint8]:
    """[256], what a byte is to `_symbols`; wide ones begin a character that is looked up."""
    table = np.zeros(256, np.uint8)
    table[0x80:] = IS_WIDE
    table[[*range(65, 91), *range(97, 123)]] = IS_LETTER
    table[[*range(9, 14), *range(28, 33)]] = IS_BLANK
    table[10] = IS_BLANK | IS_RARE
    table[[ord("."), ord("#")]] = IS_RARE
    return table


BYTE_KINDS = _byte_kinds()


@njit(cache=True, nogil=True)
def _symbols(data: Any, offsets: Any, classes: Any) -> Any:
    """Words end without a branch: at every eighth byte one would be guessed wrong, which costs 20 cycles."""
    texts = len(offsets) - 1
    words, alphabetic, blanks = np.zeros(texts, np.int64), np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    hash_signs, ellipses = np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    newlines, unspaced = np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    for text in range(texts):
        at, stop = offsets[text], offsets[text + 1]
        inside: Any = 0
        letter: Any = 0
        many: Any = 0
        lettered: Any = 0
        empty: Any = 0
        signs = found = breaks = alone = dots = 0
        dotted = at - 2
        while at < stop:
            kind = np.int64(BYTE_KINDS[data[at]])
            width = 1
            if kind & (IS_RARE | IS_WIDE):
                if kind & IS_WIDE:
                    code, width = code_point(data, at)
                    bits = class_of(code, classes)
                    alone += bits & UNSPACED_LETTER != 0 and bits & MARK == 0
                    found += code == ELLIPSIS
                    kind = np.int64(bits & SPACE != 0)
                    kind |= IS_LETTER * (bits & ALPHA != 0 or (code >= TABLE and bits != 0))
                elif kind & IS_BLANK:
                    breaks += 1
                elif data[at] == 35:
                    signs += 1
                else:
                    dots = dots + 1 if dotted == at - 1 else 1
                    dotted = at
                    if dots == 3:
                        found += 1
                        dots = 0
            blank = kind & 1
            many += inside & blank
            lettered += letter & blank
            empty += blank
            inside = 1 - blank
            letter = (letter | (kind >> 1) & 1) & inside
            at += width
        words[text], alphabetic[text], blanks[text] = many + inside, lettered + letter, empty
        hash_signs[text], ellipses[text] = signs, found
        newlines[text], unspaced[text] = breaks, alone
    return words, alphabetic, blanks, hash_signs, ellipses, newlines, unspaced


@njit(cache=True, nogil=True)
def _kinds(data: Any, offsets: Any, classes: Any) -> Any:
    texts = len(offsets) - 1
    alphanumeric, special = np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    for text in range(texts):
        at = offsets[text]
        while at < offsets[text + 1]:
            code, width = code_point(data, at)
            kind = class_of(code, classes)
            at += width
            alphanumeric[text] += (kind & (LETTER | UNSPACED_LETTER)) != 0 and not kind & MARK
            special[text] += (kind & (SPACE | DECIMAL | PUNCTUATION)) != 0
    return alphanumeric, special


@njit(cache=True, nogil=True)
def _sums(rows: Any, values: Any) -> Any:
    found = np.zeros(len(rows) - 1, np.int64)
    for text in range(len(rows) - 1):
        total = np.int64(0)
        for part in range(rows[text], rows[text + 1]):
            total += np.int64(values[part])
        found[text] = total
    return found


@njit(cache=True, nogil=True)
def _medians(rows: Any, sizes: Any) -> Any:
    found = np.zeros(len(rows) - 1, np.float64)
    for text in range(len(rows) - 1):
        many = rows[text + 1] - rows[text]
        if many:
            ordered = np.sort(sizes[rows[text] : rows[text + 1]])
            found[text] = (ordered[(many - 1) // 2] + ordered[many // 2]) / 2
    return found


__all__ = ["Kinds", "Symbols", "at_most", "kinds", "longest", "medians", "sums", "symbols"]
