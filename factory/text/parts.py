"""What parts of texts hold, and how they begin and end: the letters in words, the bullets and ends of lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .characters import ALPHA, TABLE, characters
from .compiled import njit
from .segments import Segments, Texts
from .utf8 import class_of, code_point, is_member, last_code


class Ends(NamedTuple):
    """Lines of each text by how they begin and end: [texts] each."""

    opening: NDArray[np.int64]  # begin with one of some characters
    closing: NDArray[np.int64]  # end with one of some strings


def alphabetic(texts: Texts, parts: Segments) -> NDArray[np.int64]:
    """How many parts of each text have a letter in them: [texts]."""
    found: NDArray[np.int64] = _alphabetic(texts.data, parts.rows, parts.start, parts.end, characters().classes)
    return found


def all_in(texts: Texts, parts: Segments, members: str) -> NDArray[np.bool_]:
    """Whether every character of a part is one of `members`: [parts]."""
    found: NDArray[np.bool_] = _all_in(texts.data, parts.start, parts.end, member_table(members))
    return found


def marks(texts: Texts, lines: Segments, opening: str, closing: Sequence[str]) -> Ends:
    """Lines that begin with a character of `opening`, and that end with one of `closing` (ASCII in either case)."""
    needles = np.frombuffer("".join(closing).encode(), np.uint8)
    ends = np.cumsum([0, *(len(needle.encode()) for needle in closing)])
    return Ends(*_marks(texts.data, lines.rows, lines.start, lines.end, member_table(opening), needles, ends))


def ending_in(texts: Texts, lines: Segments, members: str) -> NDArray[np.int64]:
    """How many lines of each text end in a character of `members`: [texts]."""
    found: NDArray[np.int64] = _ending_in(texts.data, lines.rows, lines.start, lines.end, member_table(members))
    return found


def count_of(texts: Texts, needle: str) -> NDArray[np.int64]:
    """`text.count(needle)` of each text: [texts]."""
    found: NDArray[np.int64] = _count_of(texts.data, texts.offsets, np.frombuffer(needle.encode(), np.uint8))
    return found


def runs(texts: Texts, parts: Segments, members: str) -> NDArray[np.int64]:
    """How many runs of the characters `members` are in a part: [parts]."""
    found: NDArray[np.int64] = _runs(texts.data, parts.start, parts.end, member_table(members))
    return found


@cache
def member_table(members: str) -> NDArray[np.bool_]:
    """[TABLE], whether a code point is among `members`."""
    table = np.zeros(TABLE, np.bool_)
    table[[ord(character) for character in members]] = True
    return table


@njit(cache=True, nogil=True)
def _alphabetic(data: Any, rows: Any, start: Any, end: Any, classes: Any) -> Any:
    found = np.zeros(len(rows) - 1, np.int64)
    for text in range(len(rows) - 1):
        for part in range(rows[text], rows[text + 1]):
            at = start[part]
            while at < end[part]:
                code, width = code_point(data, at)
                kind = class_of(code, classes)
                if kind & ALPHA or (code >= TABLE and kind):
                    found[text] += 1
                    break
                at += width
    return found


@njit(cache=True, nogil=True)
def _all_in(data: Any, start: Any, end: Any, members: Any) -> Any:
    found = np.ones(len(start), np.bool_)
    for part in range(len(start)):
        at = start[part]
        while at < end[part] and found[part]:
            code, width = code_point(data, at)
            found[part] = is_member(code, members)
            at += width
    return found


@njit(cache=True, nogil=True)
def _runs(data: Any, start: Any, end: Any, members: Any) -> Any:
    found = np.zeros(len(start), np.int64)
    for part in range(len(start)):
        at = start[part]
        inside = False
        while at < end[part]:
            code, width = code_point(data, at)
            member = is_member(code, members)
            found[part] += member and not inside
            inside = member
            at += width
    return found


@njit(cache=True, nogil=True)
def _ending_in(data: Any, rows: Any, start: Any, end: Any, members: Any) -> Any:
    found = np.zeros(len(rows) - 1, np.int64)
    for text in range(len(rows) - 1):
        for part in range(rows[text], rows[text + 1]):
            code = last_code(data, start[part], end[part])
            found[text] += code >= 0 and is_member(code, members)
    return found


@njit(cache=True, nogil=True)
def _marks(data: Any, rows: Any, start: Any, end: Any, members: Any, needles: Any, ends: Any) -> Any:
    opening, closing = np.zeros(len(rows) - 1, np.int64), np.zeros(len(rows) - 1, np.int64)
    for text in range(len(rows) - 1):
        for part in range(rows[text], rows[text + 1]):
            if start[part] == end[part]:
                continue
            opening[text] += is_member(code_point(data, start[part])[0], members)
            for needle in range(len(ends) - 1):
                size = ends[needle + 1] - ends[needle]
                same = 0
                while same < size and same < end[part] - start[part]:
                    byte = data[end[part] - 1 - same]
                    if 65 <= byte <= 90:
                        byte += 32
                    if byte != needles[ends[needle + 1] - 1 - same]:
                        break
                    same += 1
                if same == size:
                    closing[text] += 1
                    break
    return opening, closing


@njit(cache=True, nogil=True)
def _count_of(data: Any, offsets: Any, needle: Any) -> Any:
    found = np.zeros(len(offsets) - 1, np.int64)
    size = len(needle)
    for text in range(len(found)):
        at = offsets[text]
        while at + size <= offsets[text + 1]:
            same = 0
            while same < size and data[at + same] == needle[same]:
                same += 1
            found[text] += same == size
            at += size if same == size else 1
    return found


__all__ = [
    "Ends",
    "all_in",
    "alphabetic",
    "count_of",
    "ending_in",
    "marks",
    "member_table",
    "runs",
]
