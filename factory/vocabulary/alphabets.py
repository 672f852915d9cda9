"""Which characters belong to a script: its letters and marks, and the punctuation that is written with it alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from factory import InputError
from factory.errors import did_you_mean

SURROGATES = range(0xD800, 0xE000)
WIDE = ("Han", "Hiragana", "Katakana", "Hangul", "Bopomofo")
WIDE_MARKS = (
    (0x3000, 0x3040),
    (0xFE30, 0xFE50),
    (0xFF00, 0xFFF0),
)  # CJK punctuation, compatibility forms, wide forms
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

    every = "".join(chr(code) for code in range(0x110000) if code not in SURROGATES)
    try:
        pattern = regex.compile(rf"\p{{Script={name}}}+")
    except regex.error:
        raise InputError(f"there is no script '{name}'; {did_you_mean(name, COMMON)}") from None
    found = np.zeros(0x110000, bool)
    for run in pattern.finditer(every):
        found[ord(run[0][0]) : ord(run[0][-1]) + 1] = True
    found[SURROGATES.start : SURROGATES.stop] = False
    if name in WIDE:
        for start, stop in WIDE_MARKS:
            found[start:stop] = True
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
