"""Which script each character of a line counts to: its own, or that of the letters before it."""

from __future__ import annotations

from functools import cache

import numpy as np
import regex  # type: ignore[import-untyped]
from numpy.typing import NDArray

SCRIPTS = ("Latin", "Han", "Kana", "Hangul", "Cyrillic", "Arabic", "Hebrew", "Thai", "Devanagari", "Greek", "other")
UNSPACED = frozenset({"Han", "Kana", "Thai"})  # written without blanks between words
OTHER = len(SCRIPTS) - 1
COMMON = len(SCRIPTS)  # digits, punctuation, blanks, signs, marks: of no script by themselves
LAST = 0x32400  # no letters lie between here and the variation selectors


@cache
def table() -> NDArray[np.uint8]:
    """[code points up to LAST]: the place in SCRIPTS, or COMMON, by Unicode's property Script. 60 ms."""
    found = np.full(LAST, OTHER, np.uint8)
    every = "".join(map(chr, range(0xD800))) + "\0" * 0x800 + "".join(map(chr, range(0xE000, LAST)))
    names = {name: [name] for name in SCRIPTS[:-1]} | {"Kana": ["Hiragana", "Katakana"]}
    for place, scripts in enumerate([*(names[name] for name in SCRIPTS[:-1]), ["Common", "Inherited"]]):
        value = place if place < OTHER else COMMON
        for run in regex.finditer("[" + "".join(rf"\p{{Script={name}}}" for name in scripts) + "]+", every):
            found[run.start() : run.end()] = value
    return found


def script_of_each(codes: NDArray[np.uint32], starts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The place in SCRIPTS for each code point; line i are codes[starts[i]:starts[i + 1]], and starts ends with len.

    What is COMMON counts to the letters before it in its line, else to the first behind it, else to `other`.
    """
    if not len(codes):
        return np.zeros(0, np.uint8)
    own = np.where(codes < LAST, table()[np.minimum(codes, LAST - 1)], COMMON)
    places, lines = np.arange(len(codes)), np.repeat(starts[:-1], np.diff(starts))
    ends = np.repeat(starts[1:], np.diff(starts))
    letter = own != COMMON
    before = np.maximum.accumulate(np.where(letter, places, -1))
    behind = np.minimum.accumulate(np.where(letter, places, len(codes))[::-1])[::-1]
    taken = np.where(before >= lines, before, np.where(behind < ends, behind, -1))
    return np.where(taken >= 0, own[taken], OTHER).astype(np.uint8)
