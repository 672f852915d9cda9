"""FineWeb's quality rules: lists, menus and pages that say everything twice.

Penedo et al. 2024, "The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

import factory
from factory import Batch, Text

from .limits import Limit, Numbers, drop_outside, share
from .terminals import QUOTES, TERMINALS

if TYPE_CHECKING:
    from factory.text.column import TextColumn

Reading = Literal["fineweb", "datatrove", "datatrove_first"]
Share = Annotated[float, Field(ge=0)]

FIRST_TERMINALS = ".'\"!?"


@factory.step
def fineweb(
    batch: Batch[Text],
    reading: Reading = "fineweb",
    min_ended_lines: Share | None = 0.12,
    max_short_lines: Share | None = 0.67,
    short_line: Annotated[int, Field(ge=0)] = 30,
    max_repeated_chars: Share | None = 0.01,
    max_newlines: Share | None = 0.3,
) -> Batch[Text]:
    """Keep texts that pass FineWeb's quality rules. null turns a rule off.

    min_ended_lines     share of lines that end as a sentence does
    max_short_lines     share of lines of at most `short_line` characters
    max_repeated_chars  share of characters in lines that stood in the text before
    max_newlines        newlines per word
    reading             what a line, its end and a word is; no text without lines passes:
      fineweb    the recommended one. Lines are stripped and not blank; they end in a character that ends sentences in
                 any script (Unicode's Sentence_Terminal), or in a quote or bracket that may stand behind one. Shares
                 are of these lines and their characters; words are what blanks part, in Chinese and its like letters.
      datatrove  Lines are not blank, as they stand, and end in a character that ends sentences, no quote; characters
                 are all but newlines; words are tokens, punctuation too: spaCy's there, those of
                 `factory.text.tokens` here.
      datatrove_first  datatrove's first version of the filter: all lines, blank ones too; ends are . ' \" ! ?; a share
                 equal to its limit is dropped, but for newlines. Words are the tokens of `datatrove`; NLTK's there.
    """
    numbers = batch.measure(shape, reading=reading, short_line=short_line)
    at_limit = reading == "datatrove_first"
    return drop_outside(
        batch,
        numbers,
        [
            Limit("no lines", "lines", least=1),
            Limit("too few lines end as sentences do", "ended_lines", least=min_ended_lines, open=at_limit),
            Limit("too many short lines", "short_lines", most=max_short_lines, open=at_limit),
            Limit("too many characters in repeated lines", "repeated_chars", most=max_repeated_chars, open=at_limit),
            Limit("too many newlines", "newlines", most=max_newlines, strict=True),
        ],
    )


def shape(texts: TextColumn, reading: Reading, short_line: int) -> Numbers:
    """What the rules look at, in one reading: [texts] each; lines is a count, the others are shares."""
    import numpy as np

    from factory.text.counts import at_most
    from factory.text.parts import ending_in
    from factory.text.passes import lines_of, symbols_of
    from factory.text.repeats import repeats
    from factory.text.splits import ALL, MARKED, split
    from factory.text.tokens import tokens

    found = symbols_of(texts)
    if reading == "fineweb":
        lines, ends = lines_of(texts), TERMINALS + QUOTES + "…"
        words = found.words + found.unspaced
    else:
        lines = split(texts.texts, keep=MARKED if reading == "datatrove" else ALL)
        ends = TERMINALS if reading == "datatrove" else FIRST_TERMINALS
        words = np.diff(tokens(texts.texts).rows)
    many, newlines = np.diff(lines.rows), found.newlines
    by_line = repeats(lines.rows, lines.hash, lines.chars)
    chars = by_line.chars if reading == "fineweb" else texts.chars - newlines
    return {
        "lines": np.where(by_line.chars > 0, many, 0),
        "ended_lines": share(ending_in(texts.texts, lines, ends), many, 0),
        "short_lines": share(at_most(lines.rows, lines.chars, short_line), many, 0),
        "repeated_chars": share(by_line.again_chars, chars, 0),
        "newlines": share(newlines, words),
    }
