"""Words, n-grams and shingles of text in any script.

Scripts written with spaces are cut into Unicode words; Han, Kana, Thai, Lao, Khmer and Myanmar, which are written
without, into characters with their marks. A tokenizer that only knows spaces or Latin letters sees nothing in them,
and every novelty or duplicate filter built on it is silently off.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

# Explicit ranges: `re` has no scripts, and by script the Kana length mark would be missing, which is Common.
UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59"  # Thai, without its punctuation
    "\u0e80-\u0eff"  # Lao
    "\u1000-\u1049\u1050-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17d3\u17d7\u17dc-\u17e9"  # Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303c"  # radicals, ideographic marks and numerals
    "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"  # Han, Kana supplements
)
UNSPACED_SHARE = 0.2


def _marks() -> str:
    """Combining marks and the joiners between letters, as ranges: for `re` they are no letters; Hindi would be cut."""
    found: list[list[int]] = [[0x200C, 0x200D]]
    for code in range(0x300, min(0x1F000, sys.maxunicode)):  # 15 ms; no marks of living scripts lie beyond
        if unicodedata.category(chr(code)).startswith("M"):
            if found[-1][1] == code - 1:
                found[-1][1] = code
            else:
                found.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in found)


# `re` with ranges runs at 8 MB/s and 20 on ASCII, the regex module with \p{…} at 3.5.
MARKS = _marks()
_LETTERS = rf"[^\W_{UNSPACED}]"
_UNSPACED = re.compile(f"[{UNSPACED}]+")
_ASCII = re.compile("[a-z0-9]++(?:'[a-z]++)*+")
_WORDS = re.compile(
    f"{_LETTERS}++(?:[{MARKS}]++{_LETTERS}*+)*+"  # a word, with the marks in it
    rf"(?:'[^\W\d_{UNSPACED}]++(?:[{MARKS}]++{_LETTERS}*+)*+)*+"  # don't, l'eau
    f"|[{UNSPACED}][{MARKS}]*+"  # one character with the marks on it
)


def words(text: str) -> list[str]:
    """The casefolded tokens of a text: words where they are spaced, else characters. No punctuation."""
    if text.isascii():
        return _ASCII.findall(text.lower())
    return _WORDS.findall(text.casefold().replace("’", "'"))


# ROUGE's words are runs of a-z and 0-9, and all else parts them. Letters of Latin with marks, and what no script owns
# (superscripts, symbols), part them here too; letters of other scripts are words as above, and so are full-width forms.
_OTHERS = (
    rf"[^\W_\u0000-\u036f\u1d00-\u1dbf\u1e00-\u1eff\u2000-\u2bff\u2c60-\u2c7f\ua722-\ua7ff\uab30-\uab6f"
    rf"\ufb00-\ufb06\U00010780-\U000107bf\U0001d400-\U0001d7ff\U0001df00-\U0001dfff{UNSPACED}]"
)
_ROUGE_ASCII = re.compile("[a-z0-9]+")
_ROUGE = re.compile(rf"[a-z0-9]+|{_OTHERS}++(?:[{MARKS}]++{_OTHERS}*+)*+|[{UNSPACED}][{MARKS}]*+")


def rouge_words(text: str) -> list[str]:
    """The tokens that ROUGE is computed from: for text in Latin script alone those of rouge_score, without stemming.

    These are runs of a-z and 0-9 in lower case, so that "don't" is two and "naïve" is "na", "ve". Where other scripts
    are in a text, their letters are tokens as those of `words` are; rouge_score deletes them.
    """
    return (_ROUGE_ASCII if text.isascii() else _ROUGE).findall(text.lower())


def is_unspaced(text: str) -> bool:
    """Whether more than a fifth of the characters, whitespace aside, are of a script written without spaces."""
    if text.isascii():
        return False
    unspaced = sum(map(len, _UNSPACED.findall(text)))
    return unspaced > UNSPACED_SHARE * sum(map(len, text.split()))


def ngrams(tokens: Sequence[T], n: int) -> list[tuple[T, ...]]:
    """All runs of n tokens in order; none when there are fewer."""
    return list(zip(*(tokens[start:] for start in range(n)), strict=False))


def shingles(text: str, n: int = 5) -> set[str]:
    """What duplicates are measured by: word n-grams, or character n-grams without whitespace for unspaced scripts.

    A text shorter than the window is its own one shingle, so short texts do not collapse into each other; a text of
    whitespace alone has none.
    """
    tokens = None if is_unspaced(text) else words(text)
    if not tokens:  # unspaced, or nothing but punctuation
        joined = "".join(text.casefold().split())
        return {joined[start : start + n] for start in range(max(1, len(joined) - n + 1))} if joined else set()
    return {" ".join(tokens[start : start + n]) for start in range(max(1, len(tokens) - n + 1))}
