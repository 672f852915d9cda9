"""Gopher's quality rules, in the ways in which six systems read them.

Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", table A1 and section
A1.1. The paper does not say what a word is, nor whether repeated stop words count; so everybody decided.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Batch, Text

from .limits import Limit, Numbers, drop_outside, share

if TYPE_CHECKING:
    from factory.text.column import TextColumn

Reading = Literal["gopher", "datatrove", "dolma", "dclm", "datamap", "nemo"]
Share = Annotated[float, Field(ge=0)]

STOP_WORDS = ["the", "be", "to", "of", "and", "that", "have", "with"]
BULLETS = "•‣▪●◦-*"
DCLM_BULLETS = "●•*-"
NEMO_BULLETS = "•‣⁃⁌⁍∙○●◘◦⦾⦿"
ELLIPSES = ("...", "…")
DCLM_ELLIPSES = ("...", ". . .", "…")
NEMO_ELLIPSES = ("...", "[...]", "…", "(...)", "[…]", "-»", "read more..", "read more")
# Tokens of these alone are no words for datatrove: ASCII marks and some of other scripts (also the full-width 1).
PUNCTUATION = string.punctuation + "–—…„“”’´«»►━∶" + "、，．：；！？％～（）【】「」《》〈〉１"
STRICT = frozenset({"datatrove", "dclm", "datamap"})  # readings that drop a text without words for each rule on words


@factory.step
def gopher_quality(
    batch: Batch[Text],
    reading: Reading = "gopher",
    min_words: int | None = 50,
    max_words: int | None = 100_000,
    min_mean_length: float | None = 3,
    max_mean_length: float | None = 10,
    max_symbols: Share | None = 0.1,
    max_bullets: Share | None = 0.9,
    max_ellipses: Share | None = 0.3,
    min_alphabetic: Share | None = 0.8,
    min_stop_words: int | None = 2,
    stop_words: list[str] = STOP_WORDS,
    distinct: bool | None = None,
) -> Batch[Text]:
    """Keep texts that pass Gopher's quality rules. Made for English and its like; null turns a rule off.

    min_words, max_words  words in the text
    min_mean_length, max_mean_length  characters a word, on the average
    max_symbols     `#` per word, and ellipses (`...` or `…`) per word
    max_bullets     share of lines that begin with a bullet
    max_ellipses    share of lines that end with an ellipsis
    min_alphabetic  share of words with at least one letter
    min_stop_words  how many of `stop_words` must occur
    distinct        whether a stop word counts once however often it occurs; null: as the reading has it
    reading         what a word, a line and a symbol is:
      gopher     the recommended one. Words are what blanks part; `#` and ellipses are limited each by itself; lines are
                 stripped and not blank, bullets are • ‣ ▪ ● ◦ - *; different stop words count, in either case, where
                 they stand as Unicode words (in Chinese: characters). A text without words passes the rules on words.
      datatrove  Words are tokens, each punctuation mark one of them: spaCy's there, here those of
                 `factory.text.tokens`. Tokens of marks alone count for none in the first two rules, but in the others.
                 `#` and ellipses each by itself; lines with blank ones; bullets • and -; different stop words, as they
                 are written.
      dolma      Words between blanks; the median of their lengths; words with a `#` or `…` in them; lines as they
                 stand, with blank ones; bullets * and -; only `…` ends a line; stop words each time, as written.
      dclm       Words between blanks; `#` and ellipses together, `. . .` being one, too; lines stripped and not blank;
                 bullets ● • * -; stop words each time, in either case. No words: dropped.
      datamap    As dclm, but lengths in bytes, bullets on lines as they stand with blank ones, ellipses on lines
                 that are not empty; a text of one word fails `min_alphabetic`.
      nemo       Words between blanks; words that are an ellipsis or mostly `#`; lines that are not blank; twelve round
                 bullets, none of ASCII; stop words each time, as written. No words or lines: the worst share.
    """
    numbers = batch.measure(quality, reading=reading, stop_words=sorted(set(stop_words)))
    if distinct is None:
        distinct = reading in ("gopher", "datatrove")
    strict = reading in STRICT
    symbols = [("too many symbols", "symbols")]
    if reading in ("gopher", "datatrove"):
        symbols = [("too many hash signs", "hash_signs"), ("too many ellipses", "ellipses")]
    return drop_outside(
        batch,
        numbers,
        [
            Limit("too few words", "words", least=min_words),
            Limit("too many words", "words", most=max_words),
            Limit("mean word length", "mean_length", min_mean_length, max_mean_length, strict),
            *(Limit(reason, number, most=max_symbols, strict=strict) for reason, number in symbols),
            Limit("too many bullet lines", "bullets", most=max_bullets),
            Limit("too many ellipsis lines", "ellipsis_lines", most=max_ellipses),
            Limit("too few alphabetic words", "alphabetic", least=min_alphabetic, strict=strict),
            Limit("too few stop words", "distinct_stop_words" if distinct else "stop_words", least=min_stop_words),
        ],
    )


def quality(texts: TextColumn, reading: Reading, stop_words: list[str]) -> Numbers:
    """What the rules look at, in one reading: [texts] each.

    words, mean_length, bullets, ellipsis_lines, alphabetic (shares), stop_words (each time), distinct_stop_words, and
    hash_signs and ellipses per word, or symbols per word.
    """
    how = {"gopher": _gopher, "datatrove": _datatrove, "dolma": _dolma, "dclm": _dclm, "datamap": _datamap}
    return how.get(reading, _nemo)(texts, stop_words)


def stop_word_counts(rows: Any, hashes: Any, wanted: Any) -> Numbers:
    """Occurrences of words with the hashes of `wanted`, a column of parts one of which is made of each stop word."""
    from factory.text.repeats import occurrences

    single = wanted.rows[1:] - wanted.rows[:-1] == 1
    count, different = occurrences(rows, hashes, wanted.hash[wanted.rows[:-1][single]])
    return {"stop_words": count, "distinct_stop_words": different}


def _column(words: list[str]) -> TextColumn:
    import pyarrow as pa

    from factory.text.column import TextColumn

    return TextColumn(pa.array(words, pa.string()))


def _gopher(texts: TextColumn, stop_words: list[str]) -> Numbers:
    import numpy as np

    from factory.text.parts import marks
    from factory.text.passes import lines_of, words_of

    (words, found), lines = words_of(texts), lines_of(texts)
    ends = marks(texts.texts, lines, BULLETS, ELLIPSES)
    many = np.diff(lines.rows)
    return {
        "words": found.words,
        "mean_length": share(texts.chars - found.blanks, found.words),
        "hash_signs": share(found.hash_signs, found.words),
        "ellipses": share(found.ellipses, found.words),
        "bullets": share(ends.opening, many, 0),
        "ellipsis_lines": share(ends.closing, many, 0),
        "alphabetic": share(found.alphabetic, found.words),
        **stop_word_counts(words.rows, words.hash, words_of(_column(stop_words))[0]),
    }


def _datatrove(texts: TextColumn, stop_words: list[str]) -> Numbers:
    import numpy as np

    from factory.text.counts import sums, symbols
    from factory.text.parts import all_in, alphabetic, marks
    from factory.text.splits import ALL, STRIPPED, split
    from factory.text.tokens import tokens

    from .terminals import TERMINALS

    parts, found = tokens(texts.texts), symbols(texts.texts)
    worded = ~all_in(texts.texts, parts, PUNCTUATION + TERMINALS)
    words = sums(parts.rows, worded)
    every = np.diff(parts.rows)
    lines = np.diff(split(texts.texts, keep=ALL).rows) - _unended(texts)
    ends = marks(texts.texts, split(texts.texts, keep=STRIPPED), "•-", ELLIPSES)
    return {
        "words": words,
        "mean_length": share(sums(parts.rows, np.where(worded, parts.chars, 0)), words),
        "hash_signs": share(found.hash_signs, every),
        "ellipses": share(found.ellipses, every),
        "bullets": share(ends.opening, lines, 0),
        "ellipsis_lines": share(ends.closing, lines, 0),
        "alphabetic": share(alphabetic(texts.texts, parts), every),
        **_token_counts(texts, parts, stop_words),
    }


def _token_counts(texts: TextColumn, parts: Any, stop_words: list[str]) -> Numbers:
    """Stop words among tokens; single letters of scripts without blanks, which make tokens of two, among letters."""
    from factory.text.tokens import tokens
    from factory.text.words import is_unspaced

    letters = [word for word in stop_words if len(word) == 1 and is_unspaced(word)]
    others = [word for word in stop_words if word not in letters]
    found = stop_word_counts(parts.rows, parts.hash, tokens(_column(others).texts))
    if not letters:
        return found
    alone = stop_word_counts(texts.words.rows, texts.words.hash, _column(letters).words)
    return {name: found[name] + alone[name] for name in found}


def _unended(texts: TextColumn) -> Any:
    """1 for texts that are empty or end with a newline: `str.splitlines` sees no line behind it."""
    import numpy as np

    data, offsets = texts.texts
    first, last = offsets[:-1], offsets[1:]
    return (first == last) | (data[np.maximum(last - 1, 0)] == 10 if len(data) else first == last)


def _dolma(texts: TextColumn, stop_words: list[str]) -> Numbers:
    import numpy as np

    from factory.text.counts import medians, sums
    from factory.text.parts import alphabetic, marks, runs
    from factory.text.splits import split

    parts, lines = texts.blank_words, split(texts.texts)
    words, many = np.diff(parts.rows), np.diff(lines.rows)
    ends = marks(texts.texts, lines, "*-", ("…",))
    return {
        "words": words,
        "mean_length": medians(parts.rows, parts.chars),
        "symbols": share(sums(parts.rows, runs(texts.texts, parts, "#…") > 0), words, 0),
        "bullets": share(ends.opening, many, 0),
        "ellipsis_lines": share(ends.closing, many, 0),
        "alphabetic": share(alphabetic(texts.texts, parts), words, 0),
        **stop_word_counts(parts.rows, parts.hash, _column(stop_words).blank_words),
    }


def _dclm(texts: TextColumn, stop_words: list[str]) -> Numbers:
    import numpy as np

    from factory.text.counts import symbols
    from factory.text.parts import count_of, marks
    from factory.text.splits import folded

    found, parts, lines = symbols(texts.texts), texts.blank_words, texts.lines
    ends = marks(texts.texts, lines, DCLM_BULLETS, DCLM_ELLIPSES)
    many = np.diff(lines.rows)
    wanted = _column(stop_words)
    return {
        "words": found.words,
        "mean_length": share(texts.chars - found.blanks, found.words),
        "symbols": share(found.hash_signs + found.ellipses + count_of(texts.texts, ". . ."), found.words),
        "bullets": share(ends.opening, many, 0),
        "ellipsis_lines": share(ends.closing, many, 0),
        "alphabetic": share(found.alphabetic, found.words),
        **stop_word_counts(parts.rows, folded(texts.texts, parts).hash, folded(wanted.texts, wanted.blank_words)),
    }


def _datamap(texts: TextColumn, stop_words: list[str]) -> Numbers:
    import numpy as np

    from factory.text.counts import sums, symbols
    from factory.text.parts import count_of, marks
    from factory.text.splits import FILLED, split

    numbers, parts, found = _dclm(texts, stop_words), texts.blank_words, symbols(texts.texts)
    words, spaced = found.words, count_of(texts.texts, ". . .")
    every, filled = split(texts.texts), split(texts.texts, keep=FILLED)
    signs = found.hash_signs + found.ellipses + spaced
    return {
        **numbers,
        "mean_length": share(sums(parts.rows, parts.end - parts.start), words),
        "symbols": share(signs, np.maximum(words - 2 * spaced, 1)),  # `. . .` is one word there, not three
        "bullets": share(marks(texts.texts, every, DCLM_BULLETS, ()).opening, np.diff(every.rows), 0),
        "ellipsis_lines": share(marks(texts.texts, filled, "", DCLM_ELLIPSES).closing, np.diff(filled.rows), 0),
        "alphabetic": np.where(words == 1, np.nan, numbers["alphabetic"]),
    }


def _nemo(texts: TextColumn, stop_words: list[str]) -> Numbers:
    import numpy as np

    from factory.text.counts import sums
    from factory.text.parts import alphabetic, marks
    from factory.text.splits import STRIPPED, split

    parts, lines = texts.blank_words, split(texts.texts, keep=STRIPPED)
    words, many = np.diff(parts.rows), np.diff(lines.rows)
    ends = marks(texts.texts, lines, NEMO_BULLETS, NEMO_ELLIPSES)
    return {
        "words": words,
        "mean_length": share(sums(parts.rows, parts.chars), words, 0),
        "symbols": share(_symbol_words(texts), words, 1),
        "bullets": share(ends.opening, many, 1),
        "ellipsis_lines": share(ends.closing, many, 1),
        "alphabetic": share(alphabetic(texts.texts, parts), words, 0),
        **stop_word_counts(parts.rows, parts.hash, _column(stop_words).blank_words),
    }


def _symbol_words(texts: TextColumn) -> Any:
    """Words that are an ellipsis, or in which there are runs of `#` for more than half of the characters."""
    import numpy as np

    from factory.text.counts import sums
    from factory.text.parts import runs

    parts = texts.blank_words
    marks = _column([mark for mark in NEMO_ELLIPSES if " " not in mark]).blank_words
    hashes = 2 * runs(texts.texts, parts, "#") > parts.chars
    return sums(parts.rows, hashes | np.isin(parts.hash, marks.hash))
