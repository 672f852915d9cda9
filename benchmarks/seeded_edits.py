"""Seeded edits of documents: copies as near as one asks for, and copies so far that they count as new text.

Replacements are running text of the same language, so that a corpus keeps its words and their frequencies. Where a
script has no spaces, characters are edited instead of words. The same seed gives the same edits.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from debian_text import Document

from factory.text.words import is_unspaced

POOL = 200_000  # words or characters for each language
SHINGLE = 5  # the window of `factory.text.words.shingles`; only what is aimed at depends on it
KINDS = ("words", "passage", "cut")

Kept = tuple[str, bool]  # language, and whether its script has no spaces


def tokens_of(text: str, unspaced: bool) -> tuple[list[str], list[str]]:
    """(tokens, what stands after each): words and the whitespace between them, or characters and nothing."""
    if unspaced:
        return list(text), [""] * len(text)
    pieces = re.split(r"(\s+)", text)
    return pieces[::2], [*pieces[1::2], ""]


def pools(documents: Iterable[Document]) -> dict[Kept, list[str]]:
    """Running text of the first documents of every language, as tokens without whitespace."""
    found: dict[Kept, list[str]] = {}
    for document in documents:
        unspaced = is_unspaced(document.text)
        pool = found.setdefault((document.language, unspaced), [])
        if len(pool) < POOL:
            pool += "".join(document.text.split()) if unspaced else document.text.split()
    return found


def near_copy(text: str, kind: str, jaccard: float, pool: list[str], drawn: random.Random) -> str:
    """A copy whose shingles share about `jaccard` with the text's; count what it really is.

    With k-token shingles and a share s of the tokens edited, about (1 - s)^k of the shingles stay when the edits are
    scattered (`words`: three in five replaced, one in five removed, one in five doubled by another word) and 1 - s when
    one passage is replaced (`passage`) or removed (`cut`).
    """
    tokens, spaces = tokens_of(text, is_unspaced(text))
    stay = jaccard if kind == "cut" else 2 * jaccard / (1 + jaccard)
    share = 1 - stay ** (1 / SHINGLE) if kind == "words" else 1 - stay
    count = min(len(tokens), max(1, round(share * len(tokens))))
    if kind == "words":
        for at in drawn.sample(range(len(tokens)), count):
            how, other = drawn.random(), drawn.choice(pool)
            tokens[at] = other if how < 0.6 else "" if how < 0.8 else tokens[at] + (spaces[at] or "") + other
    else:
        start = drawn.randrange(len(tokens) - count + 1)
        taken = drawn.randrange(max(1, len(pool) - count))
        gap = " " if any(spaces) else ""
        tokens[start : start + count] = [gap.join(pool[taken : taken + count])] if kind == "passage" else []
        spaces[start : start + count] = spaces[start + count - 1 : start + count] if kind == "passage" else []
    return "".join(token + space for token, space in zip(tokens, spaces, strict=True)).strip()


class FarCopies:
    """Copies of documents with 30 to 60 % of the words replaced: for .3, about 9 % of the shingles are shared.

    Vectorised, 7 to 10 MB/s: words are object arrays, unspaced text is an array of code points.
    """

    def __init__(self, pools: Mapping[Kept, list[str]]) -> None:
        self._words = {kept: np.array(pool, dtype=object) for kept, pool in pools.items() if not kept[1]}
        self._characters = {kept: _codes("".join(pool)) for kept, pool in pools.items() if kept[1]}

    def copy(self, text: str, language: str, drawn: np.random.Generator) -> str:
        """One copy; another each time for the same generator."""
        share = drawn.uniform(0.3, 0.6)
        unspaced = is_unspaced(text)
        if unspaced:
            codes = _codes(text).copy()
            chosen = (drawn.random(len(codes)) < share) & (codes > 0x20)
            pool = self._characters[language, True]
            codes[chosen] = pool[drawn.integers(len(pool), size=int(chosen.sum()))]
            return codes.tobytes().decode("utf-32-le")
        pieces = re.split(r"(\s+)", text)
        words = np.array(pieces[::2], dtype=object)
        chosen = drawn.random(len(words)) < share
        other = self._words[language, False]
        words[chosen] = other[drawn.integers(len(other), size=int(chosen.sum()))]
        pieces[::2] = words.tolist()
        return "".join(pieces)


def _codes(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
