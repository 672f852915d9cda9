"""Bounds on the length of prompts and answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

import factory
from factory import Drop, Record
from factory.text.words import words

from .turns import turns

Count = Annotated[int, Field(ge=0)]


@factory.step
def turn_length(
    record: Record,
    min_prompt: Count = 1,
    max_prompt: Count | None = None,
    min_answer: Count = 1,
    max_answer: Count | None = None,
) -> bool:
    """Keep records whose prompts and answers are neither too short nor too long.

    min_prompt, max_prompt  words, or characters of scripts without spaces; of a conversation, the user's turns before
                            an answer are together its prompt. A text without a prompt has none to measure
    min_answer, max_answer  the same for answers; an answer without a word, such as "+", has the length 1
    """
    for prompt, answer in turns(record):
        if prompt or "text" not in record:
            _within(prompt, "prompt", min_prompt, max_prompt)
        _within(answer, "answer", min_answer, max_answer)
    return True


def _within(text: str, what: str, least: int, most: int | None) -> None:
    count = len(words(text)) or bool(text.strip())
    if count < least:
        raise Drop(f"{what} too short", words=int(count), least=least)
    if most is not None and count > most:
        raise Drop(f"{what} too long", words=int(count), most=most)
