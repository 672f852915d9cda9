"""Gopher's repetition rules, in the ways in which six systems read them.

Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", table A1. What is a
repeat (the first occurrence too?), what covers what, and what it is divided by differ in every system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Batch, Text

from .limits import Limit, Numbers, drop_outside, share

if TYPE_CHECKING:
    from factory.text.column import TextColumn
    from factory.text.repeats import Repeats

Reading = Literal["gopher", "datatrove", "dolma", "dclm", "datamap", "nemo"]
Share = Annotated[float, Field(ge=0)]
Grams = dict[Annotated[int, Field(ge=2, le=32)], Share]

TOP_GRAMS: Grams = {2: 0.20, 3: 0.18, 4: 0.16}
REPEATED_GRAMS: Grams = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


@factory.step
def gopher_repetition(
    batch: Batch[Text],
    reading: Reading = "gopher",
    lines: Share | None = 0.30,
    paragraphs: Share | None = 0.30,
    line_chars: Share | None = 0.20,
    paragraph_chars: Share | None = 0.20,
    top_grams: Grams = TOP_GRAMS,
    repeated_grams: Grams = REPEATED_GRAMS,
    min_words: int | None = None,
) -> Batch[Text]:
    """Keep texts that do not repeat themselves, by Gopher's rules and thresholds. null or {} turns a rule off.

    lines, paragraphs            the share of lines and paragraphs that are repeats
    line_chars, paragraph_chars  the share of characters in them
    top_grams       n: the share of characters in the commonest n-gram of words
    repeated_grams  n: the share of characters in n-grams that occur more than once
    min_words       shorter texts pass the rules on n-grams; null: 50 in the reading `gopher`, whose thresholds were set
                    for documents of 50 words and more, 0 in the others
    reading         what a repeat is, and of what it is a share:
      gopher     the recommended one. Second and later occurrences are repeats. Lines are stripped and not blank,
                 paragraphs are runs of lines without a blank one between; characters are those of all lines. Words are
                 Unicode words (characters of scripts without spaces), in either case; an n-gram takes the words in it,
                 each once however many n-grams cover it, of the characters of all words. The commonest n-gram counts if
                 it occurs twice, with all its occurrences; of equally common ones the longest counts.
      datatrove  As gopher, but divided by all characters of the text. Lines and paragraphs as they stand, parted by one
                 newline or more, by two or more. Words are tokens, punctuation too, as they are written: spaCy's there,
                 those of `factory.text.tokens` here. The commonest n-gram counts with blanks between its words, even
                 if it occurs once; repeats are met from left to right, and none begins within another.
      dolma      All occurrences of what occurs twice are repeats, blank lines too; no paragraphs. Words are what blanks
                 part, as they are written. Of the characters in all words: lines; the commonest n-gram, by its
                 occurrences. Repeated n-grams are a share of the characters of all n-grams.
      dclm       All occurrences of what occurs twice are repeats. Lines and paragraphs (parted by two newlines) are
                 stripped and not blank; a text of one is none's repeat, of none is dropped. Words as in gopher, but as
                 they are written. The commonest n-gram counts if it occurs twice, by its occurrences; of equally common
                 ones the longest; repeated n-grams take the words in them, each once.
      datamap    As dclm, in bytes; lines and paragraphs as they stand, if not empty; words in the commonest n-gram
                 count once each.
      nemo       Second and later occurrences are repeats. Lines are not blank, paragraphs parted by two newlines, both
                 as they stand. Words are what blanks part. The commonest n-gram takes all places of the text where its
                 words stand with a blank between, repeated ones their words, each once, and the blanks between, of all
                 characters of the text. A text shorter than n words is dropped.
    """
    limits = []
    for number, most, what in (("lines", lines, "repeated lines"), ("paragraphs", paragraphs, "repeated paragraphs")):
        limits.append(Limit(f"too many {what}", number, most=most, strict=True))
    for number, most, what in (("line_chars", line_chars, "lines"), ("paragraph_chars", paragraph_chars, "paragraphs")):
        limits.append(Limit(f"too many characters in repeated {what}", number, most=most, strict=True))
    for n, most in sorted(top_grams.items()):
        limits.append(Limit(f"too many characters in the top {n}-gram", f"top_{n}", most=most, strict=True))
    for n, most in sorted(repeated_grams.items()):
        limits.append(Limit(f"too many characters in repeated {n}-grams", f"repeated_{n}", most=most, strict=True))
    numbers = batch.measure(repetition, reading=reading, top=sorted(top_grams), repeated=sorted(repeated_grams))
    if min_words is None:
        min_words = 50 if reading == "gopher" else 0
    return drop_outside(batch, _spared(numbers, min_words), limits)


def _spared(numbers: Numbers, min_words: int) -> Numbers:
    """The numbers with no share of n-grams in texts below `min_words`."""
    import numpy as np

    short = numbers["words"] < min_words
    grams = [name for name in numbers if name.startswith(("top_", "repeated_"))]
    return {**numbers, **{name: np.where(short, 0.0, numbers[name]) for name in grams}}


def repetition(texts: TextColumn, reading: Reading, top: list[int], repeated: list[int]) -> Numbers:
    """What the rules look at, in one reading: [texts] each.

    words, lines, paragraphs, line_chars, paragraph_chars (shares; NaN: dropped), top_N for the n of `top`, repeated_N
    for those of `repeated`.
    """
    how = {"gopher": _gopher, "datatrove": _datatrove, "dolma": _dolma, "dclm": _dclm, "datamap": _datamap}
    return how.get(reading, _nemo)(texts, top, repeated)


def _shares(lines: Repeats, paragraphs: Repeats) -> Numbers:
    """Later occurrences of lines and paragraphs, over all of them."""
    return {
        "lines": share(lines.again, lines.parts, 0),
        "paragraphs": share(paragraphs.again, paragraphs.parts, 0),
        "line_chars": share(lines.again_chars, lines.chars, 0),
        "paragraph_chars": share(paragraphs.again_chars, paragraphs.chars, 0),
    }


def _gram_shares(found: Any, top: list[int], repeated: list[int], whole: Any) -> Numbers:
    return {
        **{f"top_{n}": share(found.top[:, n], whole, 0) for n in top},
        **{f"repeated_{n}": share(found.again[:, n], whole, 0) for n in repeated},
    }


def _gopher(texts: TextColumn, top: list[int], repeated: list[int]) -> Numbers:
    import numpy as np

    from factory.text.counts import sums
    from factory.text.grams import grams
    from factory.text.passes import lines_of, words_of
    from factory.text.repeats import paragraph_repeats, repeats

    lines, (words, _) = lines_of(texts), words_of(texts)
    found = grams(texts.texts, words, words.chars, top, repeated)
    return {
        "words": np.diff(words.rows),
        **_shares(repeats(lines.rows, lines.hash, lines.chars), paragraph_repeats(texts.texts, lines)),
        **_gram_shares(found, top, repeated, sums(words.rows, words.chars)),
    }


def _datatrove(texts: TextColumn, top: list[int], repeated: list[int]) -> Numbers:
    import numpy as np

    from factory.text.grams import GREEDY, SPACED, grams
    from factory.text.repeats import repeats
    from factory.text.splits import split
    from factory.text.tokens import tokens

    lines = split(texts.texts, breaks=1, greedy=True)
    paragraphs = split(texts.texts, breaks=2, greedy=True, stripped=True)
    by_line = repeats(lines.rows, lines.hash, lines.chars)
    by_paragraph = repeats(paragraphs.rows, paragraphs.hash, paragraphs.chars)
    words = tokens(texts.texts)
    found = grams(texts.texts, words, words.chars, top, repeated, SPACED, GREEDY)
    empty = np.where(texts.chars > 0, 0, np.nan)
    return {
        "words": np.diff(words.rows),
        "lines": share(by_line.again, by_line.parts) + empty,
        "paragraphs": share(by_paragraph.again, by_paragraph.parts) + empty,
        "line_chars": share(by_line.again_chars, texts.chars),
        "paragraph_chars": share(by_paragraph.again_chars, texts.chars),
        **_gram_shares(found, top, repeated, texts.chars),
    }


def _dolma(texts: TextColumn, top: list[int], repeated: list[int]) -> Numbers:
    import numpy as np

    from factory.text.counts import sums
    from factory.text.grams import SUMMED, TIMES, grams
    from factory.text.repeats import repeats
    from factory.text.splits import split

    lines, words = split(texts.texts), texts.blank_words
    by_line, chars = repeats(lines.rows, lines.hash, lines.chars), sums(words.rows, words.chars)
    found = grams(texts.texts, words, words.chars, top, repeated, TIMES, SUMMED)
    none = np.zeros(len(texts))
    return {
        "words": np.diff(words.rows),
        "lines": share(by_line.every, by_line.parts, 0),
        "paragraphs": none,
        "line_chars": by_line.every_chars / np.maximum(chars, 1),
        "paragraph_chars": none,
        **_gram_shares(found, top, [], chars),
        **{f"repeated_{n}": share(found.again[:, n], found.total[:, n], 0) for n in repeated},
    }


def _every(found: Repeats) -> tuple[Any, Any]:
    """All occurrences of what occurs twice, over all: (parts, characters). A single part repeats nothing."""
    import numpy as np

    single = found.parts == 1
    return tuple(
        np.where(single, 0.0, share(some, whole))
        for some, whole in ((found.every, found.parts), (found.every_chars, found.chars))
    )  # type: ignore[return-value]


def _dclm(texts: TextColumn, top: list[int], repeated: list[int]) -> Numbers:
    import numpy as np

    from factory.text.splits import STRIPPED, exact, split

    paragraphs = split(texts.texts, breaks=2, keep=STRIPPED)
    found = _all_occurrences(texts, texts.lines, paragraphs, exact(texts.texts, texts.words), False, top, repeated)
    empty = np.where(texts.chars > 0, 0.0, np.nan)  # every rule drops an empty text
    return {name: numbers if name == "words" else numbers + empty for name, numbers in found.items()}


def _datamap(texts: TextColumn, top: list[int], repeated: list[int]) -> Numbers:
    from factory.text.splits import FILLED, exact, split

    lines = split(texts.texts, keep=FILLED)
    paragraphs = split(texts.texts, breaks=2, keep=FILLED)
    return _all_occurrences(texts, lines, paragraphs, exact(texts.texts, texts.words), True, top, repeated)


def _all_occurrences(
    texts: TextColumn, lines: Any, paragraphs: Any, words: Any, in_bytes: bool, top: list[int], repeated: list[int]
) -> Numbers:
    import numpy as np

    from factory.text.counts import sums
    from factory.text.grams import COVERED, EVERY, LARGEST, grams
    from factory.text.repeats import repeats

    def size(parts: Any) -> Any:
        return parts.end - parts.start if in_bytes else parts.chars

    by_line = _every(repeats(lines.rows, lines.hash, size(lines)))
    by_paragraph = _every(repeats(paragraphs.rows, paragraphs.hash, size(paragraphs)))
    found = grams(texts.texts, words, size(words), top, repeated, COVERED if in_bytes else LARGEST, EVERY)
    return {
        "words": np.diff(words.rows),
        "lines": by_line[0],
        "paragraphs": by_paragraph[0],
        "line_chars": by_line[1],
        "paragraph_chars": by_paragraph[1],
        **_gram_shares(found, top, repeated, sums(words.rows, size(words))),
    }


def _nemo(texts: TextColumn, top: list[int], repeated: list[int]) -> Numbers:
    import numpy as np

    from factory.text.grams import FRESH, REPLACED, grams
    from factory.text.repeats import repeats
    from factory.text.splits import MARKED, split

    lines, paragraphs = split(texts.texts, keep=MARKED), split(texts.texts, breaks=2)
    words = texts.blank_words
    many = np.diff(words.rows)
    found = grams(texts.texts, words, words.chars, top, repeated, REPLACED, FRESH)
    numbers = {
        "words": many,
        **_shares(
            repeats(lines.rows, lines.hash, lines.chars), repeats(paragraphs.rows, paragraphs.hash, paragraphs.chars)
        ),
        **_gram_shares(found, top, repeated, texts.chars),
    }
    for n in top:
        numbers[f"top_{n}"] = np.where(many < n, 1.0, numbers[f"top_{n}"])
    for n in repeated:
        numbers[f"repeated_{n}"] = np.where(many < n, 1.0, numbers[f"repeated_{n}"])
    return {**numbers, "lines": np.where(many > 0, numbers["lines"], 1.0)}
