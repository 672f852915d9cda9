"""Words of a list that the user brings, counted in texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

import factory
from factory import Batch, Text

from ..lists import read_list
from .limits import Limit, Numbers, drop_outside, share

if TYPE_CHECKING:
    from factory.text.column import TextColumn


@factory.step
def bad_words(
    batch: Batch[Text],
    words: Path,
    max_count: Annotated[int, Field(ge=0)] | None = 0,
    max_share: Annotated[float, Field(ge=0)] | None = None,
) -> Batch[Text]:
    """Drop texts with words or phrases of a list.

    They count where they stand as whole words in either case, and within words where a script has no blanks. C4 and
    its like use lists by Shutterstock (LDNOOBW): mind that they drop texts on medicine, and on some people.

    words      a file, one word or phrase a line; empty lines and lines that begin with # do not count
    max_count  how many may stand in a text; null for any number
    max_share  how many for each Unicode word of the text (a character in Chinese); null for any share
    """
    numbers = batch.measure(listed, phrases=read_list(words, ordered))
    return drop_outside(
        batch,
        numbers,
        [
            Limit("bad words", "listed", most=max_count),
            Limit("too large a share of bad words", "share", most=max_share),
        ],
    )


def ordered(entries: Sequence[str]) -> list[str]:
    """The words of a list, each once."""
    return sorted(set(entries))


def listed(texts: TextColumn, phrases: list[str]) -> Numbers:
    """How many of `phrases` stand in a text, and for each of its words: [texts] each."""
    import numpy as np
    import pyarrow as pa

    from factory.text.column import TextColumn
    from factory.text.sequences import phrase_counts

    found: Any = phrase_counts(texts.words, TextColumn(pa.array(phrases, pa.string())).words)
    return {"listed": found, "share": share(found, np.diff(texts.words.rows), 0)}
