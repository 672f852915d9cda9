"""Windows of characters or words that occur again, and phrases that are looked for word by word. Numba kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .characters import DECIMAL, PUNCTUATION, SPACE, characters
from .compiled import njit
from .repeats import number, table_for
from .segments import Segments, Texts
from .splits import folded
from .utf8 import SEED, class_of, code_point, roll, stir


class Again(NamedTuple):
    """Windows of n in each text: [texts] each."""

    total: NDArray[np.int64]
    repeated: NDArray[np.int64]  # occurrences of windows that occur twice
    commonest: NDArray[np.int64]  # of the commonest ones: as many as the square root of how many differ, if they repeat


def word_windows(words: Segments, n: int) -> Again:
    """Windows of n words."""
    return Again(*_windows(words.rows, words.hash, n))


def char_windows(texts: Texts, n: int) -> Again:
    """Windows of n characters."""
    rows, found = _code_points(texts.data, texts.offsets)
    return Again(*_windows(rows, found, n))


def bare(texts: Texts, parts: Segments) -> Segments:
    """The parts without blanks, digits, punctuation and symbols at their ends; without those that are nothing else.

    Hashes are of their case-folded characters.
    """
    rows, start, end, chars = _bare(texts.data, parts.rows, parts.start, parts.end, characters().classes)
    return folded(texts, Segments(rows, start, end, chars, np.zeros(0, np.uint64)))


def phrase_counts(words: Segments, phrases: Segments) -> NDArray[np.int64]:
    """How often one of some phrases stands in each text, word by word: [texts]. Row i of `phrases` are those of i."""
    found: NDArray[np.int64] = _phrases(words.rows, words.hash, phrases.rows, phrases.hash)
    return found


@njit(cache=True, nogil=True)
def _code_points(data: Any, offsets: Any) -> Any:
    rows = np.zeros(len(offsets), np.int64)
    found = np.empty(offsets[-1] - offsets[0], np.uint64)
    many = 0
    for text in range(len(offsets) - 1):
        at = offsets[text]
        while at < offsets[text + 1]:
            code, width = code_point(data, at)
            found[many] = np.uint64(code + 1)
            many += 1
            at += width
        rows[text + 1] = many
    return rows, found[:many]


@njit(cache=True, nogil=True)
def _windows(rows: Any, hashes: Any, n: int) -> Any:
    texts = len(rows) - 1
    longest, table = table_for(rows)
    keys, ids, counts = np.empty(longest, np.uint64), np.empty(longest, np.int64), np.empty(longest, np.int64)
    total, repeated, commonest = np.zeros(texts, np.int64), np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    base = 0
    for text in range(texts):
        many = rows[text + 1] - rows[text] - n + 1
        if many <= 0:
            continue
        for window in range(many):
            h = SEED
            for at in range(rows[text] + window, rows[text] + window + n):
                h = roll(h, hashes[at])
            keys[window] = stir(h)
        different = number(keys, many, table, base, ids, counts)
        base += many
        again = np.sort(counts[:different][counts[:different] > 1])
        total[text], repeated[text] = many, again.sum()
        most = min(int(np.sqrt(different)), len(again))
        commonest[text] = again[len(again) - most :].sum()
    return total, repeated, commonest


@njit(cache=True, nogil=True)
def _bare(data: Any, rows: Any, start: Any, end: Any, classes: Any) -> Any:
    first, behind = np.empty(len(start), np.int64), np.empty(len(start), np.int64)
    chars, kept = np.empty(len(start), np.int32), np.zeros(len(rows), np.int64)
    found = 0
    for text in range(len(rows) - 1):
        for part in range(rows[text], rows[text + 1]):
            at = start[part]
            place = size = many = 0
            begun = -1
            while at < end[part]:
                code, width = code_point(data, at)
                at += width
                many += 1
                if not class_of(code, classes) & (SPACE | DECIMAL | PUNCTUATION):
                    if begun < 0:
                        begun, many = at - width, 1
                    place, size = at, many
            if begun >= 0:
                first[found], behind[found], chars[found] = begun, place, size
                found += 1
        kept[text + 1] = found
    return kept, first[:found], behind[:found], chars[:found]


@njit(cache=True, nogil=True)
def _phrases(rows: Any, hashes: Any, phrase_rows: Any, phrase_hashes: Any) -> Any:
    found = np.zeros(len(rows) - 1, np.int64)
    many = len(phrase_rows) - 1
    slots = 64
    while slots < 8 * many:
        slots *= 2
    mask = np.uint64(slots - 1)
    first, following = np.full(slots, -1, np.int64), np.full(many, -1, np.int64)
    for phrase in range(many):  # chains of the phrases whose first words share a slot
        if phrase_rows[phrase] < phrase_rows[phrase + 1]:
            slot = phrase_hashes[phrase_rows[phrase]] & mask
            following[phrase], first[slot] = first[slot], phrase
    for text in range(len(found)):
        for at in range(rows[text], rows[text + 1]):
            phrase = first[hashes[at] & mask]
            while phrase >= 0:
                size = phrase_rows[phrase + 1] - phrase_rows[phrase]
                same = 0
                while (
                    same < size
                    and at + same < rows[text + 1]
                    and hashes[at + same] == phrase_hashes[phrase_rows[phrase] + same]
                ):
                    same += 1
                found[text] += same == size
                phrase = following[phrase]
    return found


__all__ = ["Again", "bare", "char_windows", "phrase_counts", "word_windows"]
