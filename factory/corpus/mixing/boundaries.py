"""Where a text may be cut: behind paragraphs, sentences and words, and never within a character and its marks."""

from __future__ import annotations

import re
import unicodedata

from factory.text.words import UNSPACED

PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[。！？])|\n")
UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
JOINERS = "\u200c\u200d"


def last_end(pattern: re.Pattern[str], text: str, floor: int, furthest: int) -> int:
    """The last place behind `floor`, up to `furthest`, where the pattern ends; `floor` where there is none."""
    return max((found.end() for found in pattern.finditer(text, floor, furthest)), default=floor)


def last_word_end(text: str, floor: int, furthest: int) -> int:
    """The same for words: behind a blank, or beside a letter of a script without spaces."""
    while furthest > floor and not parts_words(text, furthest):
        furthest -= 1
    return furthest


def parts_words(text: str, at: int) -> bool:
    """Whether a cut at `at` touches no word."""
    if at in (0, len(text)) or text[at - 1].isspace():
        return True
    if text[at].isascii() and text[at - 1].isascii():
        return False
    return bool(UNSPACED_LETTER.match(text[at]) or UNSPACED_LETTER.match(text[at - 1])) and not _belongs(
        text[at - 1], text[at]
    )


def whole_character(text: str, start: int, cut: int) -> int:
    """The last place from `cut` backwards, but behind `start`, that parts no character from its marks and joiners."""
    while start + 1 < cut < len(text) and _belongs(text[cut - 1], text[cut]):
        cut -= 1
    return cut


def _belongs(before: str, behind: str) -> bool:
    """Whether two neighbours are one character to a reader: marks, joined emoji, the two halves of a line end."""
    if behind.isascii():
        return before == "\r" and behind == "\n"
    return behind in JOINERS or before == JOINERS[1] or unicodedata.category(behind).startswith("M")
