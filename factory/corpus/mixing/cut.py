"""Long texts cut to the length that a model trains on, so that nothing of them is truncated."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

import factory
from factory import InputError, Model, Text, derive
from factory.text.words import words

from .boundaries import PARAGRAPH_END, SENTENCE_END, last_end, last_word_end, parts_words, whole_character
from .measure import Unit, lengths, tokenizer_of


@factory.step
def cut(
    record: Text,
    seq_len: Annotated[int, Field(ge=1)],
    overlap: Annotated[int, Field(ge=0)] = 0,
    unit: Unit = "words",
    tokenizer: Model | None = None,
) -> Iterator[Text]:
    """Cut a text into parts of at most `seq_len`: behind paragraphs, else sentences, else words, else characters.

    A cut is made at the last end of a paragraph in the second half of what fits; where there is none, of a sentence;
    then of a word. No text is lost: without overlap the parts, joined, are the text. Each part knows its number from 1
    (meta.part) and the character it begins at (meta.start).

    seq_len    the most that a part holds; leave room for the tokens that a trainer puts around a text
    overlap    about how much of a part's end is repeated at the begin of the next, whole words; at most half of seq_len
    unit       what is counted without a `tokenizer`: words (characters where words are not spaced) or characters
    tokenizer  a model whose tokens are counted. A single character may be more tokens than a very small seq_len
    """
    if 2 * overlap > seq_len:
        raise InputError(f"cut: overlap {overlap} must be at most half of seq_len {seq_len}")
    text = record["text"]
    for number, (start, end) in enumerate(spans(text, seq_len, overlap, unit, tokenizer), 1):
        meta = {**record.get("meta", {}), "part": number, "start": start}
        yield derive(record, text=text[start:end], meta=meta)


def spans(
    text: str, seq_len: int, overlap: int = 0, unit: Unit = "words", tokenizer: Model | None = None
) -> Iterator[tuple[int, int]]:
    """(begin, end) of each part, in characters. A text that fits is one part; an empty one has none."""
    starts = unit_starts(text, unit, tokenizer)
    if len(starts) <= seq_len:
        if text:
            yield 0, len(text)
        return
    exact = tokenizer is None and (unit == "characters" or text.isascii())  # parts have as many units as they should
    start = behind = 0  # behind: the end of the part before
    while behind < len(text):
        end = _end(text, starts, start, behind, seq_len)
        if not exact:
            end = _fitted(text, starts, start, behind, end, seq_len, unit, tokenizer)
        if end <= behind:  # the overlap left no room, since its tokens came out otherwise
            start = behind
            continue
        yield start, end
        behind = end
        start = _overlapped(text, starts, start, end, overlap)


def unit_starts(text: str, unit: Unit, tokenizer: Model | None) -> Sequence[int]:
    """The characters at which the words, characters or tokens of a text begin, ascending."""
    if tokenizer is not None:
        found = tokenizer_of(tokenizer)(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return [start for start, _ in found["offset_mapping"]]
    return range(len(text)) if unit == "characters" else _word_starts(text)


def _word_starts(text: str) -> list[int]:
    """Words come without their places, so each is looked for behind the one before; nothing but no words is between."""
    folded = text.casefold().replace("’", "'")
    starts, at = [], 0
    for word in words(text):
        at = folded.index(word, at)
        starts.append(at)
        at += len(word)
    if len(folded) == len(text):
        return starts
    source = [place for place, character in enumerate(text) for _ in character.casefold()]  # ß is folded to ss
    return [source[at] for at in starts]


def _end(text: str, starts: Sequence[int], start: int, behind: int, most: int) -> int:
    """Where a part that begins at `start` and holds at most `most` units ends."""
    first = bisect_left(starts, start)
    if first + most >= len(starts):
        return len(text)
    furthest = starts[first + most]  # where the first unit begins that does not fit
    if furthest <= start:  # one character is more tokens than fit
        return whole_character(text, start, start + 1)
    floor = max(behind, start + (furthest - start) // 2)
    for pattern in (PARAGRAPH_END, SENTENCE_END):
        if floor < furthest and (end := last_end(pattern, text, floor, furthest)) > floor:
            return end
    end = last_word_end(text, floor, furthest) if floor < furthest else furthest
    return end if end > floor else whole_character(text, start, furthest)


def _fitted(
    text: str, starts: Sequence[int], start: int, behind: int, end: int, seq_len: int, unit: Unit,
    tokenizer: Model | None,
) -> int:  # fmt: skip
    """The end moved to the front until the part alone is no longer than `seq_len`: cut out, it may be more tokens."""
    most = seq_len
    while end - start > 1 and (found := lengths([text[start:end]], unit, tokenizer)[0]) > seq_len:
        most -= max(1, found - seq_len)
        shorter = _end(text, starts, start, behind, most) if most > 0 else end
        end = shorter if start < shorter < end else whole_character(text, start, start + max(1, (end - start) // 2))
    return end


def _overlapped(text: str, starts: Sequence[int], start: int, end: int, overlap: int) -> int:
    """Where the next part begins: the first word not more than `overlap` units before `end`."""
    if not overlap:
        return end
    at = max(starts[max(0, bisect_left(starts, end) - overlap)], start + 1)
    while at < end and not parts_words(text, at):
        at += 1
    return min(at, end)
