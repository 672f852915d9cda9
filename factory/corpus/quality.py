"""Filters by length, by Gopher's quality rules and by Gopher's repetition rules.

Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", table A1, section A1.1.
Everybody reads these rules in another way; each step below says which reading it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import factory
from factory import Drop, Record, Text
from factory.text.words import words

from .reshape import full_text

BULLETS = ("•", "‣", "▪", "●", "◦", "-", "*")
STOP_WORDS = ["the", "be", "to", "of", "and", "that", "have", "with"]
PARAGRAPHS = re.compile(r"\n\s*\n")


@factory.step
def length(
    record: Record,
    min_chars: int = 0,
    max_chars: int | None = None,
    min_words: int = 0,
    max_words: int | None = None,
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


@factory.step
def gopher_quality(
    record: Text,
    min_words: int = 50,
    max_words: int = 100_000,
    min_mean_length: float = 3,
    max_mean_length: float = 10,
    max_symbols: float = 0.1,
    max_bullets: float = 0.9,
    max_ellipses: float = 0.3,
    min_alphabetic: float = 0.8,
    min_stop_words: int = 2,
    stop_words: list[str] = STOP_WORDS,
) -> bool:
    """Keep texts that pass Gopher's quality rules, read by whitespace as dolma and DCLM do: a word is what blanks part.

    Made for English and its like: texts without spaces between words fail. The defaults are the paper's.

    min_words, max_words  words in the text
    min_mean_length, max_mean_length  characters a word, on the average
    max_symbols     `#` per word, and ellipses (`...` or `…`) per word, each
    max_bullets     share of lines that begin with a bullet
    max_ellipses    share of lines that end with an ellipsis
    min_alphabetic  share of words with at least one letter
    min_stop_words  how many different ones of `stop_words` must occur
    """
    text = record["text"]
    tokens = text.split()
    _within(len(tokens), min_words, max_words, "words")
    if not tokens:
        return True
    mean = sum(map(len, tokens)) / len(tokens)
    if not min_mean_length <= mean <= max_mean_length:
        raise Drop("mean word length", found=round(mean, 2), least=min_mean_length, most=max_mean_length)
    ellipses = text.count("...") + text.count("…")
    for name, count in (("hash signs", text.count("#")), ("ellipses", ellipses)):
        _at_most(count / len(tokens), max_symbols, name)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    _at_most(sum(line.startswith(BULLETS) for line in lines) / len(lines), max_bullets, "bullet lines")
    _at_most(sum(line.endswith(("...", "…")) for line in lines) / len(lines), max_ellipses, "ellipsis lines")
    alphabetic = sum(any(map(str.isalpha, token)) for token in tokens) / len(tokens)
    if alphabetic < min_alphabetic:
        raise Drop("too few alphabetic words", found=round(alphabetic, 3), least=min_alphabetic)
    bare = {token.lower().strip(".,;:!?\"'()") for token in tokens}
    if (found := sum(word in bare for word in set(stop_words))) < min_stop_words:
        raise Drop("too few stop words", found=found, least=min_stop_words)
    return True


def _at_most(share: float, most: float, what: str) -> None:
    if share > most:
        raise Drop(f"too many {what}", found=round(share, 3), most=most)


@factory.step
def repetition(
    record: Text,
    lines: float = 0.30,
    paragraphs: float = 0.30,
    line_chars: float = 0.20,
    paragraph_chars: float = 0.20,
    top_grams: list[float] = [0.20, 0.18, 0.16],
    repeated_grams: list[float] = [0.15, 0.14, 0.13, 0.12, 0.11, 0.10],
    min_words: int = 50,
) -> bool:
    """Keep texts that do not repeat themselves, by Gopher's rules and thresholds.

    A repeat is a second or later occurrence; the first never counts. Words are script-aware, and the n-gram shares
    are characters in words over characters in all words, each word counted once however many n-grams cover it.

    lines, paragraphs            repeats over all; lines are stripped and not empty, paragraphs parted by blank lines
    line_chars, paragraph_chars  characters in repeats over characters in all
    top_grams       for n = 2, 3, 4: words covered by the commonest n-gram, all occurrences, if it occurs twice
    repeated_grams  for n = 5 to 10: words covered by repeats of n-grams
    min_words       shorter texts pass the n-gram rules, whose thresholds were set for documents of 50 words and more
    """
    text = record["text"]
    parts = {"lines": [line.strip() for line in text.splitlines()], "paragraphs": PARAGRAPHS.split(text)}
    for (name, found), by_count, by_chars in zip(
        parts.items(), (lines, paragraphs), (line_chars, paragraph_chars), strict=True
    ):
        count, characters = repeats([part.strip() for part in found if part.strip()])
        _at_most(count, by_count, f"repeated {name}")
        _at_most(characters, by_chars, f"characters in repeated {name}")
    tokens = words(text)
    if len(tokens) < min_words:
        return True
    sizes = [len(token) for token in tokens]
    numbers: dict[object, int] = {}
    grams = [numbers.setdefault(token, len(numbers)) for token in tokens]
    single = grams
    for n in range(2, 5 + len(repeated_grams)):
        numbers = {}
        pairs = zip(grams, single[n - 1 :], strict=False)
        grams = [numbers.setdefault(pair, len(numbers)) for pair in pairs]  # an n-gram is an (n-1)-gram and a word
        if n - 2 < len(top_grams):
            _at_most(top_share(grams, sizes, n), top_grams[n - 2], f"characters in the top {n}-gram")
        if n >= 5:
            _at_most(repeated_share(grams, sizes, n), repeated_grams[n - 5], f"characters in repeated {n}-grams")
    return True


def repeats(parts: Sequence[str]) -> tuple[float, float]:
    """(repeats over all parts, their characters over all characters); zero for no parts."""
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count += 1
            characters += len(part)
        seen.add(part)
    return (count / len(parts), characters / sum(map(len, parts))) if parts else (0.0, 0.0)


def top_share(grams: Sequence[int], sizes: Sequence[int], n: int) -> float:
    """Share of characters in words that the commonest n-gram covers; the first of equals, zero if none occurs twice."""
    if not grams:
        return 0.0
    top, count = Counter(grams).most_common(1)[0]
    return _covered((at for at, gram in enumerate(grams) if gram == top), sizes, n) if count > 1 else 0.0


def repeated_share(grams: Sequence[int], sizes: Sequence[int], n: int) -> float:
    """Share of characters in words that second and later occurrences of n-grams cover.

    `grams` are numbered in order of first occurrence, so a number below the highest so far is a repeat.
    """
    highest, again = -1, []
    for at, gram in enumerate(grams):
        if gram <= highest:
            again.append(at)
        else:
            highest = gram
    return _covered(again, sizes, n)


def _covered(starts: Iterable[int], sizes: Sequence[int], n: int) -> float:
    end = total = 0
    for start in starts:
        total += sum(sizes[max(start, end) : start + n])
        end = start + n
    return total / max(1, sum(sizes))
