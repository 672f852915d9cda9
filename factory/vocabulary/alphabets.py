"""Which characters belong to a script: its letters and marks, and the punctuation that is written with it alone.

That is CJK's for the scripts written with it, and for others the signs that stand among their letters in Unicode, as
the Thai sign for baht: they begin with the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from factory import InputError
from factory.errors import did_you_mean

THREE_BYTES = 0x800  # from here on characters have three bytes, and halves
SURROGATES = range(0xD800, 0xE000)
WIDE = ("Han", "Hiragana", "Katakana", "Hangul", "Bopomofo")
WIDE_MARKS = (range(0x3000, 0x3040), range(0xFE30, 0xFE50), range(0xFF00, 0xFFF0))  # punctuation, vertical, wide forms
KANA = ("Hiragana", "Katakana")
KANA_MARKS = (range(0x3099, 0x309D), range(0x30A0, 0x30A1), range(0x30FB, 0x30FD))  # voicing, `゠`, `・`, `ー`
# Unicode's names of the scripts that are in daily use (UAX 24); others can be named as well
COMMON = (
    "Latin", "Han", "Cyrillic", "Arabic", "Devanagari", "Hiragana", "Katakana", "Hangul", "Thai", "Greek", "Hebrew",
    "Bengali", "Tamil", "Telugu", "Gujarati", "Kannada", "Malayalam", "Gurmukhi", "Sinhala", "Khmer", "Lao", "Myanmar",
    "Georgian", "Armenian", "Ethiopic", "Tibetan", "Mongolian", "Bopomofo",
)  # fmt: skip


@cache
def script(name: str) -> NDArray[np.bool_]:
    """Whether each code point, [1,114,112], is of a script. Raises InputError for a name that Unicode has not."""
    import regex  # type: ignore[import-untyped]

    try:
        found = _matching(rf"\p{{Script={name}}}")
    except regex.error:
        raise InputError(f"there is no script '{name}'; {did_you_mean(name, COMMON)}") from None
    letters, written = (mask[:0x10000].reshape(-1, 64).sum(1) for mask in (found, _matching(r"\P{Cn}")))
    home = np.repeat(4 * letters > 3 * written, 64)
    home[:THREE_BYTES] = False
    found[:0x10000] |= home & _matching(r"[\p{Script=Common}\p{Script=Inherited}]")[:0x10000]
    for marks in (*(WIDE_MARKS if name in WIDE else ()), *(KANA_MARKS if name in KANA else ())):
        found[marks.start : marks.stop] = True
    return found


@cache
def _matching(pattern: str) -> NDArray[np.bool_]:
    """Whether each code point matches: 60 ms."""
    import regex

    every = "".join(chr(code) for code in range(0x110000) if code not in SURROGATES)
    found = np.zeros(0x110000, bool)
    for run in regex.finditer(f"{pattern}+", every):
        found[ord(run[0][0]) : ord(run[0][-1]) + 1] = True
    found[SURROGATES.start : SURROGATES.stop] = False
    return found


@cache
def blanks() -> NDArray[np.bool_]:
    """Whether each code point, [1,114,112], is a blank of any kind."""
    found = np.zeros(0x110000, bool)
    found[[code for code in range(0x3001) if chr(code).isspace()]] = True
    return found


def beginnings_shared(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """For each code point whether another one, which is not in the mask, begins with the same two bytes or more.

    Were these joined, the other one would be cut differently. Code points that nobody uses are none.
    """
    foreign = _matching(r"\P{Cn}") & ~mask
    found = np.zeros(0x110000, bool)
    for start, stop, size in ((THREE_BYTES, 0x10000, 64), (0x10000, 0x110000, 4096)):
        found[start:stop] = np.repeat(foreign[start:stop].reshape(-1, size).any(1), size)
    return found


def allowed(scripts: Sequence[str] | None) -> NDArray[np.bool_]:
    """Whether each code point, [1,114,112], is in one of the scripts; with None all are."""
    if scripts is None:
        return np.ones(0x110000, bool)
    found = np.zeros(0x110000, bool)
    for name in scripts:
        found |= script(name)
    return found


def character_class(mask: NDArray[np.bool_]) -> str:
    """The characters of a mask over code points as a class of an expression, with its brackets."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False)).reshape(-1, 2).tolist()
    return "[" + "".join(f"{re.escape(chr(start))}-{re.escape(chr(stop - 1))}" for start, stop in edges) + "]"
