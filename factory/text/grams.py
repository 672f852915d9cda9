"""How much of a text its n-grams of words take: the commonest one, and those that occur again.

An n-gram can occur twice only where both (n-1)-grams in it do: behind the first n little is left to count. All n from
2 to 10 together cost 2 to 3 times as much as 2 alone, 18 ns a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compiled import njit
from .passes import Words
from .repeats import number, table_for
from .segments import Segments, Texts
from .utf8 import SEED, STIR

# How the share of the commonest n-gram is counted: numerators
COVERED, LARGEST, TIMES, SPACED, REPLACED = range(5)
# How the share of n-grams that occur more than once is counted
LATER, EVERY, GREEDY, SUMMED, FRESH = range(5)
TOP, AGAIN = 1, 2
NOWHERE = np.zeros(0, np.int64)


class Grams(NamedTuple):
    """What n-grams take of each text, in the units of `sizes`: column n for n-grams of n words, as far as asked for."""

    top: NDArray[np.int64]
    again: NDArray[np.int64]
    total: NDArray[np.int64]  # of all n-grams, each counted whole; filled for SUMMED alone


def grams(
    texts: Texts, words: Segments | Words, sizes: NDArray[Any], top_of: Sequence[int], again_of: Sequence[int],
    top: int = COVERED, again: int = LATER,
) -> Grams:  # fmt: skip
    """How much of each text its commonest n-gram takes, for each n of `top_of`, and its repeated ones, of `again_of`.

    words  where they stand is needed for REPLACED alone
    sizes  of the words, characters or bytes: [words]
    top    COVERED   words in any occurrence of the commonest n-gram, each once; 0 where none occurs twice. Of equally
                     common ones the largest, then the first
           LARGEST   its size by its occurrences; 0 where none occurs twice. Of equally common ones the largest
           TIMES     its size by its occurrences, a single one too; of equally common ones the first
           SPACED    the same, with a blank between its words
           REPLACED  what `str.replace` takes from the text for its words joined by blanks; of equals the first
    again  LATER     words in second and later occurrences of n-grams, each word once
           EVERY     words in all occurrences of n-grams that occur twice, each word once
           GREEDY    from left to right: an n-gram met before counts whole, and the walk goes on behind it
           SUMMED    sizes of all occurrences of n-grams that occur twice, overlaps counted again and again
           FRESH     as LATER, with the blanks between the words that count
    """
    start, end = (words.start, words.end) if isinstance(words, Segments) else (NOWHERE, NOWHERE)
    wanted = np.zeros(max([*top_of, *again_of, 1]) + 1, np.uint8)
    wanted[list(top_of)] |= TOP
    wanted[list(again_of)] |= AGAIN
    return Grams(*_grams(texts.data, texts.offsets, words.rows, start, end, words.hash, sizes, wanted, top, again))


@njit(inline="always")
def _longer(gram: Any, word: Any) -> Any:
    """The hash of an n-gram with one more word."""
    h = gram * STIR + word
    h ^= h >> np.uint64(32)
    h *= SEED
    return h ^ (h >> np.uint64(29))


@njit(cache=True, nogil=True)
def _sifted(keys: Any, at: Any, many: int, sieve: Any) -> int:
    """Take out most keys that occur once; how many are left. No branch depends on a key: 2 ns each."""
    slots = 4
    while slots < 4 * many:
        slots *= 2
    sieve[:slots] = 0
    mask = np.uint64(slots - 1)
    for place in range(many):
        met = sieve[keys[place] & mask]
        sieve[keys[place] & mask] = met + np.uint8(met < 2)
    kept = 0
    for place in range(many):
        key = keys[place]
        keys[kept], at[kept] = key, at[place]
        kept += sieve[key & mask] == 2
    return kept


@njit(cache=True, nogil=True)
def _grams(
    data: Any, offsets: Any, rows: Any, start: Any, end: Any, words: Any, sizes: Any, wanted: Any, top: int, again: int
) -> Any:
    texts, largest = len(rows) - 1, len(wanted) - 1
    longest, table = table_for(rows)
    sieve = np.empty(2 * len(table), np.uint8)
    keys = np.empty(longest, np.uint64)  # the n-grams that may occur twice, by place
    at, ids, counts = np.empty(longest, np.int64), np.empty(longest, np.int64), np.empty(longest, np.int64)
    tops, repeated = np.zeros((texts, largest + 1), np.int64), np.zeros((texts, largest + 1), np.int64)
    total = np.zeros((texts, largest + 1 if again == SUMMED else 0), np.int64)
    base = 0
    for text in range(texts):
        first, last = rows[text], rows[text + 1]
        many = last - first
        for place in range(many):
            at[place] = first + place
            keys[place] = words[first + place]
        for n in range(2, largest + 1):
            if last - first < n:
                break
            kept = 0
            for place in range(many - 1):  # both (n-1)-grams of it occur twice; the last in a text begins none
                keys[kept] = _longer(keys[place], words[at[place] + n - 1])
                follows = at[place + 1] == at[place] + 1
                at[kept] = at[place]
                kept += follows
            kept = _sifted(keys, at, kept, sieve)
            number(keys, kept, table, base, ids, counts)
            base += kept
            many = 0
            for place in range(kept):
                gram = ids[place]
                keys[many], at[many], ids[many] = keys[place], at[place], gram
                many += counts[gram] > 1
            if wanted[n] & TOP:
                place, count = _commonest(at, ids, counts, many, sizes, n, top)
                begun = at[place] if count > 1 else first
                if top == REPLACED:
                    tops[text, n] = _replaced(data, offsets[text], offsets[text + 1], start, end, begun, n)
                elif count > 1 and top == COVERED:
                    tops[text, n] = _covered(at, ids, many, ids[place], sizes, n)
                elif count > 1 or top >= TIMES:
                    tops[text, n] = count * (_size(sizes, begun, n) + (n - 1 if top == SPACED else 0))
            if wanted[n] & AGAIN:
                repeated[text, n] = _again(at, ids, counts, many, sizes, n, again)
            if again == SUMMED:
                for begun in range(first, last - n + 1):
                    total[text, n] += _size(sizes, begun, n)
            if not many and again != SUMMED and top < TIMES:
                break
    return tops, repeated, total


@njit(cache=True, nogil=True)
def _size(sizes: Any, first: Any, n: Any) -> Any:
    size = np.int64(0)
    for word in range(first, first + n):
        size += np.int64(sizes[word])
    return size


@njit(cache=True, nogil=True)
def _commonest(at: Any, ids: Any, counts: Any, many: int, sizes: Any, n: int, top: int) -> Any:
    """(place of the first occurrence of the commonest n-gram, its occurrences); (0, 1) where none occurs twice."""
    best, most, largest = 0, 1, np.int64(0)
    highest = np.int64(-1)
    for place in range(many):
        if ids[place] <= highest:
            continue
        highest = ids[place]
        count = counts[ids[place]]
        if count > most or (top <= LARGEST and count == most):
            size = _size(sizes, at[place], n) if top <= LARGEST else np.int64(0)
            if count > most or size > largest:
                best, most, largest = place, count, size
    return best, most


@njit(cache=True, nogil=True)
def _covered(at: Any, ids: Any, many: int, gram: int, sizes: Any, n: int) -> Any:
    """The size of the words in occurrences of one n-gram, each word once."""
    covered, behind = np.int64(0), np.int64(0)
    for place in range(many):
        if ids[place] == gram:
            for word in range(max(at[place], behind), at[place] + n):
                covered += np.int64(sizes[word])
            behind = at[place] + n
    return covered


@njit(cache=True, nogil=True)
def _again(at: Any, ids: Any, counts: Any, many: int, sizes: Any, n: int, again: int) -> Any:
    """The numerator for repeated n-grams; `counts` is used up."""
    found, behind = np.int64(0), np.int64(0)
    for place in range(many):
        gram, begun = ids[place], at[place]
        if again == SUMMED:
            found += _size(sizes, begun, n)
            continue
        if again == GREEDY and begun < behind:
            continue
        if again != EVERY and counts[gram] > 0:  # the first occurrence: a negative count says that it was met
            counts[gram] = -1
            continue
        fresh = max(begun, behind)
        for word in range(fresh, begun + n):
            found += np.int64(sizes[word])
        if again == FRESH:
            found += min(begun + n - fresh, n - 1)
        behind = begun + n
    return found


@njit(cache=True, nogil=True)
def _replaced(data: Any, first: int, stop: int, start: Any, end: Any, begun: int, n: int) -> int:
    """Characters of a text in the words begun..begun + n joined by blanks, found from left to right."""
    size = n - 1
    for word in range(begun, begun + n):
        size += end[word] - start[word]
    needle = np.empty(size, np.uint8)
    many = 0
    for word in range(begun, begun + n):
        if word > begun:
            needle[many] = 32
            many += 1
        for byte in range(start[word], end[word]):
            needle[many] = data[byte]
            many += 1
    chars: Any = 0
    for letter in needle:
        chars += np.int64(letter & 0xC0 != 0x80)
    found, place = 0, first
    while place + size <= stop:
        same = 0
        while same < size and data[place + same] == needle[same]:
            same += 1
        if same == size:
            found += chars
            place += size
        else:
            place += 1
    return found


__all__ = ["Grams", "grams"]
