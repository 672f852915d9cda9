"""What each character is, as tables by code point that kernels index: letters, marks, blanks, scripts, case.

The classes are those of `words`: the kernels that read these tables and the regular expressions there cut a text into
the same words (a property test holds them together).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .words import MARKS, UNSPACED

# What a character is to `words`, once its case is folded:
LETTER = 1  # a letter or digit of a script written with spaces
UNSPACED_LETTER = 2  # of a script written without: each is a word of its own
MARK = 4  # stands on the letter before it
DECIMAL = 8  # category Nd
# What it is as it stands:
SPACE = 16  # str.isspace: what str.split() parts words by
ALPHA = 32  # str.isalpha: a letter of any script
UPPER = 64  # str.isupper
PUNCTUATION = 128  # of category P or S

TABLE = 0x20000  # code points from here to 0x40000 are Han; nothing above makes words
MULTIPLE = 0x8000_0000  # this bit in `fold`: several code points, the row of `expansions` in the lower bits
APOSTROPHE = ord("'")


class Characters(NamedTuple):
    """Tables indexed by code point, as kernels take them."""

    classes: NDArray[np.uint8]  # [TABLE], the bits above
    fold: NDArray[np.uint32]  # [TABLE], the case-folded code point, or MULTIPLE | row
    expansions: NDArray[np.uint32]  # [rows, 3], zeros behind the last


@cache
def characters() -> Characters:
    """The tables; made once a process in a fifth of a second."""
    fold = np.arange(TABLE, dtype=np.uint32)
    expansions: list[list[int]] = []
    standing = np.zeros(TABLE, np.uint8)
    kind = np.zeros(TABLE, np.uint8)
    every = "".join(map(chr, range(TABLE)))
    for code, character in enumerate(every):
        category = unicodedata.category(character)
        if category[0] == "C":  # control, unassigned, surrogate; tab and line end are blanks all the same
            standing[code] = SPACE * character.isspace()
            continue
        alpha = category[0] == "L"
        standing[code] = (
            SPACE * character.isspace()
            | ALPHA * alpha
            | UPPER * character.isupper()
            | PUNCTUATION * (category[0] in "PS")
        )
        kind[code] = LETTER * character.isalnum() | DECIMAL * (category == "Nd")
        if (folded := character.casefold()) != character:
            fold[code] = ord(folded) if len(folded) == 1 else MULTIPLE | len(expansions)
            if len(folded) > 1:
                expansions.append([*map(ord, folded), 0][:3])
    for pattern, bit in ((MARKS, MARK), (UNSPACED, UNSPACED_LETTER)):  # Thai vowel signs are both
        for found in re.finditer(f"[{pattern}]+", every):
            kind[found.start() : found.end()] &= ~np.uint8(LETTER)
            kind[found.start() : found.end()] |= bit
    fold[0x2019] = APOSTROPHE  # the typographic one
    single = fold < MULTIPLE  # of several code points the first is a letter, as the character itself is
    kind[single] = kind[fold[single]]
    return Characters(standing | kind, fold, np.array(expansions, np.uint32))
