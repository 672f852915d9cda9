"""Kernels that tell which texts a slower look is worth: most documents have nothing to normalize and nothing to mask.

Each marks every text that the step behind it would change, and some more. Cost: one pass, 300 to 1,000 MB/s.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.text.characters import SPACE, TABLE, characters
from factory.text.compiled import njit
from factory.text.segments import Texts
from factory.text.utf8 import code_point

COMPATIBLE = 0x2F800, 0x2FA1F  # ideographs beyond the table that a normal form replaces


def unnormal(texts: Texts, form: str, removed: re.Pattern[str]) -> NDArray[np.bool_]:
    """Whether a text has characters that `removed` matches or that the Unicode form may change, blanks at line ends,
    line feeds at an end, or more than three of them in a row."""
    found: NDArray[np.bool_] = _unnormal(texts.data, texts.offsets, _unstable(form, removed), characters().classes)
    return found


@cache
def _unstable(form: Any, removed: re.Pattern[str]) -> NDArray[np.bool_]:
    """[TABLE]: what the form changes, or may change beside others (marks, jamo: NFC_Quick_Check is not Yes)."""
    found = np.zeros(TABLE, np.bool_)
    for code in range(TABLE):
        character = chr(code)
        found[code] = (
            not unicodedata.is_normalized(form, character)
            or unicodedata.category(character)[0] == "M"
            or 0x1160 <= code <= 0x11FF
            or removed.match(character) is not None
        )
    return found


@njit(cache=True, nogil=True)
def _unnormal(data: Any, offsets: Any, unstable: Any, classes: Any) -> Any:
    found = np.zeros(len(offsets) - 1, np.bool_)
    for text in range(len(found)):
        at, stop = offsets[text], offsets[text + 1]
        if at == stop:
            continue
        feeds = 0
        blank = False  # whether the character before is a blank
        bad = data[at] == 10 or data[stop - 1] == 10
        while at < stop and not bad:
            code, width = code_point(data, at)
            if code == 10:
                feeds += 1
                bad = feeds > 3 or blank
                blank = False
            else:
                feeds = 0
                blank = code < TABLE and (classes[code] & SPACE) != 0
                bad = unstable[code] if code < TABLE else COMPATIBLE[0] <= code <= COMPATIBLE[1]
            at += width
        found[text] = bad or blank
    return found


def personal(texts: Texts) -> NDArray[np.bool_]:
    """Whether a text has an `@`, or digits as in a phone number, an account or an address of the internet."""
    found: NDArray[np.bool_] = _personal(texts.data, texts.offsets)
    return found


@njit(inline="always")
def _digit(data: Any, at: Any, stop: Any) -> Any:
    return at < stop and 48 <= data[at] <= 57


@njit(inline="always")
def _capital(data: Any, at: Any, start: Any) -> Any:
    return at >= start and 65 <= data[at] <= 90


@njit(cache=True, nogil=True)
def _personal(data: Any, offsets: Any) -> Any:
    found = np.zeros(len(offsets) - 1, np.bool_)
    for text in range(len(found)):
        start, stop = offsets[text], offsets[text + 1]
        at = start
        while at < stop:
            byte = data[at]
            if byte == 64:  # @
                found[text] = True
                break
            if byte == 58:  # two colons with at most four digits between them, as in IPv6
                end = at + 1
                while end < stop and end < at + 5 and data[end] != 58:
                    end += 1
                if end < stop and data[end] == 58:
                    found[text] = True
                    break
            elif 48 <= byte <= 57:
                end = at
                while _digit(data, end, stop):
                    end += 1
                size = end - at
                before = data[at - 1] if at > start else np.uint8(0)
                parted = end < stop and (data[end] == 32 or data[end] == 45 or data[end] == 46)
                found[text] = (
                    size > 10
                    or before == 43  # +49
                    or (size > 1 and _capital(data, at - 1, start) and _capital(data, at - 2, start))  # DE89
                    or (before == 46 and parted and data[end] == 46 and _digit(data, end + 1, stop))  # .8.8
                    or (
                        size > 2
                        and parted
                        and _digit(data, end + 1, stop)
                        and _digit(data, end + 2, stop)
                        and _digit(data, end + 3, stop)
                        and _digit(data, end + 4, stop)
                    )
                )
                if found[text]:
                    break
                at = end
                continue
            at += 1
    return found


def misread(texts: Texts, classes: tuple[re.Pattern[str], ...]) -> NDArray[np.bool_]:
    """Whether a text has a character of the first class, or one of the second and one of the third side by side."""
    found: NDArray[np.bool_] = _misread(texts.data, texts.offsets, _members(classes))
    return found


@cache
def _members(classes: tuple[re.Pattern[str], ...]) -> NDArray[np.uint8]:
    """[TABLE]: bit n for the characters of class n."""
    every = "".join(map(chr, range(TABLE)))
    found = np.zeros(TABLE, np.uint8)
    for bit, pattern in enumerate(classes):
        found[[match.start() for match in pattern.finditer(every)]] |= 1 << bit
    return found


@njit(cache=True, nogil=True)
def _misread(data: Any, offsets: Any, members: Any) -> Any:
    found = np.zeros(len(offsets) - 1, np.bool_)
    for text in range(len(found)):
        at, stop = offsets[text], offsets[text + 1]
        before = np.uint8(0)
        while at < stop:
            if 0x20 <= data[at] < 0x80:
                before = np.uint8(0)
                at += 1
                continue
            code, width = code_point(data, at)
            now = members[code] if code < TABLE else np.uint8(0)
            if now & 1 or (now & 2 and before & 4) or (now & 4 and before & 2):
                found[text] = True
                break
            before = now
            at += width
    return found
