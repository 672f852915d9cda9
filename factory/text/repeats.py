"""Repeats within a text: of lines, of paragraphs and of words that are looked for.

Cost: a hash table of its own for each text, of the size of the text and never cleared, so it stays in the nearest
cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compiled import njit
from .segments import Segments, Texts
from .utf8 import SEED, blend, stir


class Repeats(NamedTuple):
    """Parts of each text that are equal to another part of it: [texts] each."""

    parts: NDArray[np.int64]
    chars: NDArray[np.int64]  # in all parts
    again: NDArray[np.int64]  # second and later occurrences
    again_chars: NDArray[np.int64]
    every: NDArray[np.int64]  # all occurrences of what occurs twice, the first too
    every_chars: NDArray[np.int64]


def repeats(rows: NDArray[Any], hashes: NDArray[Any], sizes: NDArray[Any]) -> Repeats:
    """Repeated parts of texts; those of text i are rows[i] to rows[i + 1]."""
    return Repeats(*_repeats(rows, hashes, sizes))


def paragraph_repeats(texts: Texts, lines: Segments) -> Repeats:
    """The same for paragraphs: lines without a blank line between them. Sizes are the characters of their lines."""
    return Repeats(*_repeats(*_joined(texts.data, lines.rows, lines.start, lines.end, lines.chars, lines.hash)))


def occurrences(rows: NDArray[Any], hashes: NDArray[Any], wanted: NDArray[Any]) -> tuple[Any, Any]:
    """(how many parts of each text are among `wanted`, how many different ones of `wanted` occur): [texts] each."""
    found: tuple[Any, Any] = _occurrences(rows, hashes, wanted)
    return found


@njit(cache=True, nogil=True)
def number(keys: Any, many: int, table: Any, base: int, ids: Any, counts: Any) -> int:
    """Number equal ones of keys[:many] in order of first occurrence, and count each; how many different there are.

    An entry of the table is `base` plus the place of a key plus 1: with a higher base all older entries are void.
    """
    slots = np.uint64(4)
    while slots < np.uint64(2 * many):
        slots *= np.uint64(2)
    mask = slots - np.uint64(1)
    different = 0
    for at in range(many):
        key = keys[at]
        slot = key & mask
        while True:
            known = table[slot] - base
            if known <= 0:
                table[slot] = base + at + 1
                ids[at] = different
                counts[different] = 1
                different += 1
                break
            if keys[known - 1] == key:
                ids[at] = ids[known - 1]
                counts[ids[at]] += 1
                break
            slot = (slot + np.uint64(1)) & mask
    return different


@njit(inline="always")
def table_for(rows: Any) -> Any:
    most = 4
    longest = 0
    for text in range(len(rows) - 1):
        longest = max(longest, rows[text + 1] - rows[text])
    while most < 2 * longest:
        most *= 2
    return longest, np.zeros(most, np.int64)


@njit(cache=True, nogil=True)
def _repeats(rows: Any, hashes: Any, sizes: Any) -> Any:
    texts = len(rows) - 1
    longest, table = table_for(rows)
    ids, counts = np.empty(longest, np.int64), np.empty(longest, np.int64)
    parts, chars = np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    again, again_chars = np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    every, every_chars = np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    base = 0
    for text in range(texts):
        first, many = rows[text], rows[text + 1] - rows[text]
        different = number(hashes[first : first + many], many, table, base, ids, counts)
        base += many
        parts[text] = many
        again[text] = many - different
        highest = -1
        for at in range(many):
            size = np.int64(sizes[first + at])
            chars[text] += size
            if counts[ids[at]] > 1:
                every[text] += 1
                every_chars[text] += size
            if ids[at] <= highest:
                again_chars[text] += size
            else:
                highest = ids[at]
    return parts, chars, again, again_chars, every, every_chars


@njit(cache=True, nogil=True)
def _joined(data: Any, rows: Any, start: Any, end: Any, chars: Any, hashes: Any) -> Any:
    """Paragraphs as (rows, hash of their lines' hashes, characters)."""
    most = len(start)
    sizes, joined = np.empty(most, np.int64), np.empty(most, np.uint64)
    found = np.zeros(len(rows), np.int64)
    many = 0
    for text in range(len(rows) - 1):
        line = rows[text]
        while line < rows[text + 1]:
            h, size = SEED, np.int64(0)
            while True:
                h = blend(h, hashes[line])
                size += chars[line]
                line += 1
                if line == rows[text + 1]:
                    break
                breaks = 0
                for at in range(end[line - 1], start[line]):
                    breaks += data[at] == 10
                if breaks > 1:
                    break
            joined[many], sizes[many] = stir(h), size
            many += 1
        found[text + 1] = many
    return found, joined[:many], sizes[:many]


@njit(cache=True, nogil=True)
def _occurrences(rows: Any, hashes: Any, wanted: Any) -> Any:
    texts = len(rows) - 1
    slots = 64
    while slots < 8 * len(wanted):
        slots *= 2
    mask = np.uint64(slots - 1)
    table = np.zeros(slots, np.int64)
    for at in range(len(wanted)):
        slot = wanted[at] & mask
        while table[slot]:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = at + 1
    seen = np.full(len(wanted), -1, np.int64)
    count, different = np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    for text in range(texts):
        for part in range(rows[text], rows[text + 1]):
            slot = hashes[part] & mask
            while table[slot]:
                at = table[slot] - 1
                if wanted[at] == hashes[part]:
                    count[text] += 1
                    if seen[at] != text:
                        seen[at] = text
                        different[text] += 1
                    break
                slot = (slot + np.uint64(1)) & mask
    return count, different


__all__ = ["Repeats", "number", "occurrences", "paragraph_repeats", "repeats", "table_for"]
