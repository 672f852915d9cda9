"""Answers that go round in circles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

import factory
from factory import Drop, Record
from factory.text.words import is_unspaced, ngrams, words

from .turns import turns

REPEATED = 0.4  # share of n-grams that were there before, above which a text goes round in circles
PERIOD = 20  # words of the longest phrase whose repetition in a row is looked for
IN_A_ROW = 12  # words that a phrase must fill in a row, so that "ha ha ha" may stay


@factory.step
def repeated_text(
    record: Record,
    max_share: Annotated[float, Field(ge=0, le=1)] = REPEATED,
    max_in_a_row: Annotated[int, Field(ge=1)] = 4,
) -> bool:
    """Drop records with an answer that repeats itself, as models do that have lost the thread.

    max_share     of an answer's runs of four words (eight characters where a script has no spaces) that were in it
                  before; answers of fewer than eight (sixteen) such runs pass
    max_in_a_row  times that a phrase of up to 20 words may follow on itself, if it fills a dozen words. Phrases of
                  numbers alone, as in a matrix, may as they like

    Every answer of a conversation is judged by itself: turns may be alike.
    """
    for _, answer in turns(record):
        if share := repetition(answer, max_share):
            raise Drop("repeats itself", share=round(share, 3))
        if found := loop(words(answer), max_in_a_row):
            raise Drop("a phrase in a row", phrase=" ".join(found[0]), times=found[1])
    return True


def repetition(text: str, most: float = REPEATED) -> float:
    """The share of repeated word 4-grams (character 8-grams where unspaced) if it is above `most`, else 0."""
    size = 8 if is_unspaced(text) else 4
    grams = ngrams(words(text), size)
    if len(grams) < 2 * size:
        return 0.0
    share = 1 - len(set(grams)) / len(grams)
    return share if share > most else 0.0


def loop(tokens: Sequence[str], most: int) -> tuple[list[str], int] | None:
    """The phrase that follows on itself more than `most` times, with how often; the shortest, the first of them."""
    for period in range(1, min(PERIOD, len(tokens) // 2) + 1):
        run = 0
        for at in range(period, len(tokens) + 1):
            if at < len(tokens) and tokens[at] == tokens[at - period]:
                run += 1
                continue
            times = run // period + 1
            phrase = list(tokens[at - period : at])
            long_enough = run + period >= IN_A_ROW and any(any(map(str.isalpha, token)) for token in phrase)
            if times > most and long_enough:
                return list(tokens[at - run - period : at - run]), times
            run = 0
    return None
