"""What kernels read of UTF-8, character by character, and how they hash it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .characters import MULTIPLE, SPACE, TABLE, UNSPACED_LETTER
from .compiled import njit

SEED = np.uint64(0x9E3779B97F4A7C15)
STIR = np.uint64(0xD6E8FEB86659FD93)


@njit(inline="always")
def code_point(data: Any, at: Any) -> Any:
    """(code point, bytes) of the character that begins at `at`; Arrow has checked that it is whole."""
    first = np.int64(data[at])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return ((first & 31) << 6) | (np.int64(data[at + 1]) & 63), 2
    if first < 0xF0:
        return ((first & 15) << 12) | ((np.int64(data[at + 1]) & 63) << 6) | (np.int64(data[at + 2]) & 63), 3
    high = ((first & 7) << 18) | ((np.int64(data[at + 1]) & 63) << 12)
    return high | ((np.int64(data[at + 2]) & 63) << 6) | (np.int64(data[at + 3]) & 63), 4


@njit(inline="always")
def class_of(code: Any, classes: Any) -> Any:
    if code < TABLE:
        return np.int64(classes[code])
    return np.int64(UNSPACED_LETTER) if code < 0x40000 else np.int64(0)


@njit(inline="always")
def last_code(data: Any, start: Any, end: Any) -> Any:
    """The last code point of a part, -1 of an empty one."""
    at = end - 1
    while at > start and data[at] & 0xC0 == 0x80:
        at -= 1
    return code_point(data, at)[0] if at >= start else np.int64(-1)


@njit(inline="always")
def is_member(code: Any, members: Any) -> Any:
    return code < TABLE and members[code]


@njit(inline="always")
def behind_blanks(data: Any, at: Any, stop: Any, classes: Any) -> Any:
    """Where the first character of at..stop that is no blank begins; `stop` when there is none."""
    while at < stop:
        code, width = code_point(data, at)
        if not class_of(code, classes) & SPACE:
            break
        at += width
    return at


@njit(inline="always")
def before_blanks(data: Any, first: Any, at: Any, classes: Any) -> Any:
    """Behind the last character of first..at that is no blank; `first` when there is none."""
    while at > first and class_of(last_code(data, first, at), classes) & SPACE:
        at -= 1
        while at > first and data[at] & 0xC0 == 0x80:
            at -= 1
    return at


@njit(inline="always")
def stands(data: Any, at: Any, first: Any, stop: Any, needle: Any) -> Any:
    """Whether `needle`, in either case of ASCII letters, stands at `at` within first..stop."""
    if at < first or at + len(needle) > stop:
        return False
    for place in range(len(needle)):
        byte = data[at + place]
        if 65 <= byte <= 90:
            byte += 32
        if byte != needle[place]:
            return False
    return True


@njit(inline="always")
def stir(x: Any) -> Any:
    """A bijection of 64 bits under which every bit of the input moves every bit of the output (rrmxmx)."""
    x ^= x >> np.uint64(32)
    x *= STIR
    x ^= x >> np.uint64(32)
    x *= STIR
    return x ^ (x >> np.uint64(32))


@njit(inline="always")
def blend(h: Any, value: Any) -> Any:
    """A running hash with one more value in it; `stir` the last one."""
    h = (h ^ np.uint64(value)) * SEED
    return h ^ (h >> np.uint64(29))


@njit(inline="always")
def roll(h: Any, code: Any) -> Any:
    """A running hash of characters, cheaper than `blend`: a polynomial, for values far below 64 bits."""
    return h * SEED + np.uint64(code)


@njit(inline="always")
def bytes_hash(data: Any, at: Any, stop: Any) -> Any:
    """A hash of the bytes at..stop, eight at a time."""
    h = blend(SEED, stop - at)
    while at + 8 <= stop:
        eight = np.uint64(0)
        for byte in range(8):  # the compiler makes one load of these
            eight |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
        h = blend(h, eight)
        at += 8
    while at < stop:
        h = blend(h, data[at])
        at += 1
    return stir(h)


@njit(inline="always")
def roll_folded(h: Any, code: Any, fold: Any, expansions: Any) -> Any:
    """A running hash with a character in it, in the code points it folds to."""
    if code >= TABLE:
        return roll(h, code)
    folded = np.int64(fold[code])
    if folded < MULTIPLE:
        return roll(h, folded)
    row = folded & (MULTIPLE - 1)
    for at in range(3):
        if expansions[row, at]:
            h = roll(h, expansions[row, at])
    return h
