"""The other ways in which filters cut texts: lines as they stand, parts at other breaks; other hashes of words."""

from __future__ import annotations

from typing import Any

import numpy as np

from .characters import SPACE, characters
from .compiled import njit
from .segments import Segments, Texts, room
from .utf8 import SEED, class_of, code_point, roll, roll_folded, stir

ALL, FILLED, MARKED, STRIPPED = range(4)  # which parts count, and whether blanks at their ends do


def split(texts: Texts, breaks: int = 1, greedy: bool = False, keep: int = ALL, stripped: bool = False) -> Segments:
    """Parts of texts between newlines. Hashes are of the bytes as they stand.

    breaks    newlines that part two
    greedy    more newlines than `breaks` part as well; else the next part begins with those left over
    keep      ALL parts, FILLED ones with a character, MARKED ones with one that is no blank, or these STRIPPED of
              blanks at both ends
    stripped  blanks at both ends of a text are no part of it
    """
    return Segments(*_split(texts.data, texts.offsets, characters().classes, breaks, greedy, keep, stripped))


def exact(texts: Texts, parts: Segments) -> Segments:
    """The same parts with hashes of their characters as they stand."""
    return parts._replace(hash=_hashes(texts.data, parts.start, parts.end, *characters(), False))


def folded(texts: Texts, parts: Segments) -> Segments:
    """The same parts with hashes of their case-folded characters."""
    return parts._replace(hash=_hashes(texts.data, parts.start, parts.end, *characters(), True))


@njit(cache=True, nogil=True)
def _hashes(data: Any, start: Any, end: Any, classes: Any, fold: Any, expansions: Any, folded: bool) -> Any:
    hashes = np.empty(len(start), np.uint64)
    for part in range(len(start)):
        h = SEED
        at = start[part]
        while at < end[part]:
            code, width = code_point(data, at)
            h = roll_folded(h, code, fold, expansions) if folded else roll(h, code)
            at += width
        hashes[part] = stir(h)
    return hashes


@njit(inline="always")
def _within(data: Any, begun: Any, behind: Any, classes: Any) -> Any:
    """A part without the blanks at its ends; empty at its begin where it is nothing else."""
    first = last = begun
    filled = False
    at = begun
    while at < behind:
        code, width = code_point(data, at)
        if not class_of(code, classes) & SPACE:
            if not filled:
                first, filled = at, True
            last = at + width
        at += width
    return (first, last) if filled else (begun, begun)


@njit(cache=True, nogil=True)
def _split(data: Any, offsets: Any, classes: Any, breaks: int, greedy: bool, keep: int, stripped: bool) -> Any:
    texts = len(offsets) - 1
    most = texts
    for byte in data[offsets[0] : offsets[-1]]:
        most += byte == 10
    rows, start, end, chars, hashes = room(texts, most)
    found = 0
    for text in range(texts):
        at, stop = offsets[text], offsets[text + 1]
        if stripped:
            at, stop = _within(data, at, stop, classes)
        begun = at
        while at <= stop:
            run = 0
            while at + run < stop and data[at + run] == 10 and (greedy or run < breaks):
                run += 1
            if run < breaks and at < stop:
                at += max(run, 1)
                continue
            first, behind = begun, at
            inner, outer = (first, behind)
            if keep >= MARKED:
                inner, outer = _within(data, first, behind, classes)
            if keep == STRIPPED:
                first, behind = inner, outer
            if keep == ALL or outer > inner:
                h = SEED
                size = 0
                for byte in range(first, behind):
                    h = roll(h, data[byte])
                    size += (data[byte] & 0xC0) != 0x80
                start[found], end[found], chars[found], hashes[found] = first, behind, size, stir(h)
                found += 1
            at += max(run, 1)
            begun = at
        rows[text + 1] = found
    return rows, start[:found], end[:found], chars[:found], hashes[:found]


__all__ = ["ALL", "FILLED", "MARKED", "STRIPPED", "exact", "folded", "split"]
