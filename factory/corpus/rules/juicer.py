"""Data-Juicer's common filters on text, with its defaults.

Chen et al. 2024, "Data-Juicer: A One-Stop Data Processing System for Large Language Models"; the filters go back to
BigScience's for ROOTS (Laurençon et al. 2022).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Batch, Text

from ..lists import read_list
from .limits import Limit, Numbers, drop_outside, share
from .word_lists import ordered

if TYPE_CHECKING:
    from factory.text.column import TextColumn

Reading = Literal["words", "data_juicer"]
Share = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Window = Annotated[int, Field(ge=1)]


@factory.step
def data_juicer(
    batch: Batch[Text],
    reading: Reading = "words",
    min_alphanumeric: Share | None = 0.25,
    max_alphanumeric: Share | None = None,
    min_average_line: Count | None = 10,
    max_average_line: Count | None = None,
    min_longest_line: Count | None = 10,
    max_longest_line: Count | None = None,
    max_char_repetition: Share | None = 0.5,
    char_window: Window = 10,
    max_word_repetition: Share | None = 0.5,
    word_window: Window = 10,
    max_special: Share | None = 0.25,
    min_chars: Count | None = 10,
    max_chars: Count | None = None,
    min_words: Count | None = 10,
    max_words: Count | None = None,
    flagged_words: Path | None = None,
    max_flagged: Share = 0.045,
    stop_words: Path | None = None,
    min_stop_words: Share = 0.3,
) -> Batch[Text]:
    """Keep texts that pass Data-Juicer's filters on text. null turns one off.

    min_alphanumeric, max_alphanumeric  letters and digits, a share of the characters
    min_average_line, max_average_line  characters of the text for each of its lines, blank ones too
    min_longest_line, max_longest_line  characters of the longest line
    max_char_repetition  occurrences of the commonest of windows of `char_window` characters over all windows; the
                         commonest are as many as the square root of how many differ, if so many occur twice
    max_word_repetition  occurrences of windows of `word_window` words that occur twice over all windows
    max_special          blanks, digits, punctuation and symbols, a share of the characters. Data-Juicer has a list,
                         with a few letters of Chinese and Japanese in it
    min_chars, max_chars, min_words, max_words  in the text
    flagged_words        a file, one word a line: at most the share `max_flagged` of the words
    stop_words           a file, one word a line: at least the share `min_stop_words` of the words
    reading              what a word is:
      words        the recommended one. Unicode words, characters of scripts without blanks
      data_juicer  What blanks part, without special characters at both ends, if anything is left. Chinese texts have
                   few words, and are dropped.
    """
    flagged = read_list(flagged_words, ordered) if flagged_words else []
    stops = read_list(stop_words, ordered) if stop_words else []
    numbers = {
        **batch.measure(shape, char_window=char_window),
        **batch.measure(wording, reading=reading, word_window=word_window, flagged=flagged, stop_words=stops),
    }
    return drop_outside(
        batch,
        numbers,
        [
            Limit("alphanumeric characters", "alphanumeric", min_alphanumeric, max_alphanumeric),
            Limit("average line length", "average_line", min_average_line, max_average_line),
            Limit("longest line", "longest_line", min_longest_line, max_longest_line),
            Limit("too many repeated characters", "char_repetition", most=max_char_repetition),
            Limit("too many repeated words", "word_repetition", most=max_word_repetition),
            Limit("too many special characters", "special", most=max_special),
            Limit("text length", "chars", min_chars, max_chars),
            Limit("number of words", "words", min_words, max_words),
            Limit("too many flagged words", "flagged", most=max_flagged if flagged else None),
            Limit("too few stop words", "stop_words", least=min_stop_words if stops else None),
        ],
    )


def shape(texts: TextColumn, char_window: int) -> Numbers:
    """Characters and lines: [texts] each."""
    import numpy as np

    from factory.text.counts import kinds, longest
    from factory.text.sequences import char_windows
    from factory.text.splits import split

    found, lines, chars = kinds(texts.texts), split(texts.texts), texts.chars
    data, offsets = texts.texts
    ended = (offsets[1:] > offsets[:-1]) & (data[np.maximum(offsets[1:] - 1, 0)] == 10) if len(data) else chars > 0
    windows = char_windows(texts.texts, char_window)
    return {
        "alphanumeric": share(found.alphanumeric, chars, 0),
        "special": share(found.special, chars, 0),
        "chars": chars,
        "average_line": share(chars, np.where(chars > 0, np.diff(lines.rows) - ended, 0), 0),
        "longest_line": longest(lines.rows, lines.chars),
        "char_repetition": share(windows.commonest, windows.total, 0),
    }


def wording(
    texts: TextColumn, reading: Reading, word_window: int, flagged: list[str], stop_words: list[str]
) -> Numbers:
    """Words: [texts] each."""
    import numpy as np

    from factory.text.sequences import bare, word_windows

    words = texts.words if reading == "words" else bare(texts.texts, texts.blank_words)
    many, windows = np.diff(words.rows), word_windows(words, word_window)
    numbers = {"words": many, "word_repetition": share(windows.repeated, windows.total, 0)}
    for name, wanted in (("flagged", flagged), ("stop_words", stop_words)):
        numbers[name] = share(_found(words, wanted, reading), many, 0)
    return numbers


def _found(words: Any, wanted: list[str], reading: Reading) -> Any:
    """How many words of each text are in a list."""
    import pyarrow as pa

    from factory.text.column import TextColumn
    from factory.text.sequences import phrase_counts
    from factory.text.splits import folded

    column = TextColumn(pa.array(wanted, pa.string()))
    return phrase_counts(words, column.words if reading == "words" else folded(column.texts, column.blank_words))
