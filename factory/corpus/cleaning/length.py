"""A filter by length."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

import factory
from factory import Drop, Record
from factory.text.words import words

from ..reshape import full_text

Count = Annotated[int, Field(ge=0)]


@factory.step
def length(
    record: Record,
    min_chars: Count = 0,
    max_chars: Count | None = None,
    min_words: Count = 0,
    max_words: Count | None = None,
) -> bool:
    """Keep records whose text, all columns together, is neither too short nor too long.

    min_chars, max_chars  characters
    min_words, max_words  words where words are spaced, characters in Chinese, Japanese, Thai and their like
    """
    text = full_text(record)
    _within(len(text), min_chars, max_chars, "characters")
    if min_words or max_words is not None:
        _within(len(words(text)), min_words, max_words, "words")
    return True


def _within(count: int, least: int, most: int | None, what: str) -> None:
    if count < least:
        raise Drop(f"too few {what}", found=count, least=least)
    if most is not None and count > most:
        raise Drop(f"too many {what}", found=count, most=most)
