"""Where sentences end: at . ? ! and a blank with no small letter behind it, and at the wide marks of Chinese.

A full stop behind one letter alone or a title ends none. Trained models know more abbreviations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .characters import ALPHA, SPACE, UPPER
from .compiled import njit
from .utf8 import class_of, code_point, is_member


def packed(word: str) -> int:
    """Up to 7 small ASCII letters as one number, the last in the lowest byte."""
    return int.from_bytes(word.encode(), "big")


TITLES = ("mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "gen", "rep", "sen", "col", "lt", "capt", "rev", "hon",
          "vs", "no", "fig", "eq", "al", "vol", "pp", "ed")  # fmt: skip
ABBREVIATIONS = np.array(sorted(map(packed, TITLES)), np.int64)  # a full stop behind these ends no sentence
CLOSING = "\"')]”’»）」』】"  # may stand between the end of a sentence and the blank behind it
WIDE_ENDS = "。！？｡"  # end a sentence without a blank behind


@njit(cache=True, nogil=True)
def parts_sentences(
    data: Any, mark: Any, at: Any, first: Any, stop: Any, classes: Any, closing: Any, wide_ends: Any
) -> Any:
    """Whether a sentence ends in the mark `mark`, which goes to `at`, and another begins behind it."""
    wide = data[mark] >= 0x80
    while at < stop:
        code, width = code_point(data, at)
        if code == 0x2E or code == 0x3F or code == 0x21 or is_member(code, wide_ends):
            return False  # the last of several marks decides
        if not is_member(code, closing):
            break
        at += width
    begun = at
    while at < stop:  # `behind_blanks`, which made C4's pass 3 % slower here
        code, width = code_point(data, at)
        if not class_of(code, classes) & SPACE:
            break
        at += width
    if at >= stop:
        return False
    if wide:
        return True
    if at == begun:
        return False
    code = code_point(data, at)[0]
    cased = code < 0x250 or 0x370 <= code < 0x530
    if cased and class_of(code, classes) & ALPHA and not class_of(code, classes) & UPPER:
        return False  # a small letter
    return data[mark] != 0x2E or not _abbreviated(data, mark, first)


@njit(cache=True, nogil=True)
def _abbreviated(data: Any, mark: Any, first: Any) -> Any:
    """Whether the letters before a full stop are one alone, or an abbreviation."""
    word = np.int64(0)
    many = 0
    at = mark - 1
    while at >= first and many < 6:
        byte = np.int64(data[at]) | 32
        if data[at] >= 0x80 or not 97 <= byte <= 122:
            break
        word |= byte << (8 * many)
        many += 1
        at -= 1
    if many == 1:
        return at < first or data[at] < 0x80
    for known in ABBREVIATIONS:
        if known == word:
            return at < first or data[at] < 0x80
    return False


__all__ = ["CLOSING", "WIDE_ENDS", "parts_sentences"]
