"""Which part of a document a model is shown: passages that end with a sentence, spread over all of it."""

from __future__ import annotations

import random
import re

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n\s*\n")
LEAST = 0.25  # of `most`: a shorter passage, such as the last of a document, is chosen only when there is no other


def passages(text: str, most: int) -> list[str]:
    """A text in consecutive passages of at most `most` characters, each cut where a sentence ends if one does."""
    found = []
    rest = text.strip()
    while rest:
        first = beginning(rest, most)
        found.append(first)
        rest = rest[len(first) :].strip()
    return found


def chosen(text: str, most: int, count: int, draw: random.Random) -> list[str]:
    """`count` passages of a text in its order: one drawn from each of `count` equal parts, so that none is left out.

    A text with fewer passages than that gives some of them several times.
    """
    every = passages(text, most)
    every = [passage for passage in every if len(passage) >= LEAST * most] or every[:1]
    found = []
    for part in range(count):
        low, high = part * len(every) // count, (part + 1) * len(every) // count
        found.append(every[draw.randrange(low, max(low + 1, high))])
    return found


def beginning(text: str, most: int) -> str:
    """At most `most` characters of a text, up to the end of a sentence where there is one in the second half."""
    text = text.strip()
    if len(text) <= most:
        return text
    ends = [match.start() for match in _SENTENCE_END.finditer(text[: most + 1]) if most // 2 <= match.start() <= most]
    return text[: ends[-1] if ends else most].rstrip()
