"""Near-duplicates of a column of texts: shingle hashes, MinHash band keys, exact Jaccard. Kernels over its buffer.

Shingles are those of `factory.text.words.shingles`: word n-grams, character n-grams without blanks for scripts written
without spaces, a text shorter than the window its own one shingle, none for a text of blanks. MinHash: Broder 1997, "On
the resemblance and containment of documents"; banding: Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets",
section 3.4.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .characters import MULTIPLE, SPACE, TABLE, UNSPACED_LETTER, characters
from .compiled import njit
from .segments import Texts, bytes_table, words_of
from .utf8 import SEED, blend, class_of, code_point, stir
from .words import UNSPACED_SHARE

WINDOW = np.uint64(0xD1342543DE82EF95)  # multiplier of the polynomial over a window's tokens
EMPTY = np.uint64(0)  # the band key of a text without shingles; no other text has it


def shingle_hashes(texts: Texts, ngram: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """(rows [texts + 1], hashes): those of text i are hashes[rows[i]:rows[i + 1]], as they come, repeats included.

    At 32 bits two of a thousand shingles agree by chance once in ten thousand texts, and move a Jaccard by .001 then.
    """
    rows, tokens = _tokens(texts.data, texts.offsets, *characters(), UNSPACED_SHARE)
    found: tuple[NDArray[np.int64], NDArray[np.uint32]] = _windows(rows, tokens, ngram)
    return found


def band_keys(rows: NDArray[np.int64], hashes: NDArray[np.uint32], bands: int, width: int) -> NDArray[np.uint64]:
    """Keys of each text's bands: uint64 [texts, bands]. Two texts of Jaccard s share one with 1 - (1 - s^width)^bands.

    Cost: bands * width multiplications of 32 bits a shingle, eight at a time.
    """
    multipliers, addends = _permutations(bands * width)
    found: NDArray[np.uint64] = _band_keys(rows, hashes, multipliers, addends, bands, width)
    return found


@cache
def _permutations(count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Multipliers (odd: each permutes the 32-bit numbers) and addends; the first n are always the same."""
    drawn = Random(1997)
    pairs = [(drawn.getrandbits(32) | 1, drawn.getrandbits(32)) for _ in range(count)]
    multipliers, addends = np.array(pairs, np.uint32).T
    return np.ascontiguousarray(multipliers), np.ascontiguousarray(addends)


def proposed(similarity: float, bands: int, width: int) -> float:
    """Probability that two texts of a Jaccard similarity share a band."""
    return float(1.0 - (1.0 - similarity**width) ** bands)


def choose_bands(threshold: float, recall: float, permutations: int) -> tuple[int, int]:
    """(bands, width): the widest bands, as many as needed, that propose a pair at `threshold` with `recall`.

    Wide bands propose fewer pairs that the check then rejects, and no more permutations are used than recall asks for.
    Where `permutations` cannot give the recall, bands of one value come nearest.
    """
    for width in range(permutations, 0, -1):
        if proposed(threshold, permutations // width, width) >= recall:
            bands = next(n for n in range(1, permutations + 1) if proposed(threshold, n, width) >= recall)
            return bands, width
    return permutations, 1


@njit(nogil=True)
def is_unspaced(data: Any, at: Any, stop: Any, classes: Any, share: Any) -> Any:
    """`factory.text.words.is_unspaced` of one text."""
    unspaced = seen = 0
    while at < stop:
        code, width = code_point(data, at)
        kind = class_of(code, classes)
        seen += not kind & SPACE
        unspaced += (kind & UNSPACED_LETTER) != 0
        at += width
    return unspaced > share * seen


@njit(nogil=True)
def characters_of(
    data: Any, at: Any, stop: Any, classes: Any, fold: Any, expansions: Any, tokens: Any, found: Any
) -> Any:
    """Write the case-folded characters of one text, blanks left out, as tokens.

    (how many there are with them, characters without blanks, unspaced letters among these)
    """
    seen = unspaced = 0
    while at < stop:
        code, width = code_point(data, at)
        kind = class_of(code, classes)
        at += width
        if kind & SPACE:
            continue
        seen += 1
        if kind & UNSPACED_LETTER:  # they have no case
            unspaced += 1
            tokens[found] = np.uint64(code) * SEED
            found += 1
            continue
        folded = np.int64(fold[code]) if code < TABLE and code != 0x2019 else code
        if folded < MULTIPLE:
            tokens[found] = np.uint64(folded) * SEED
            found += 1
            continue
        for part in range(3):
            if expansions[folded & (MULTIPLE - 1), part]:
                tokens[found] = np.uint64(expansions[folded & (MULTIPLE - 1), part]) * SEED
                found += 1
    return found, seen, unspaced


@njit(cache=True, nogil=True)
def _tokens(data: Any, offsets: Any, classes: Any, fold: Any, expansions: Any, share: Any) -> Any:
    """Hashes of what shingles are made of: words; characters where a text is unspaced, or has no words."""
    texts = len(offsets) - 1
    tokens = np.empty(2 * (offsets[-1] - offsets[0]) + 2 * texts, np.uint64)  # ﬃ has three bytes and folds to three
    rows = np.zeros(texts + 1, np.int64)
    nowhere, none = np.empty(0, np.int64), np.empty(0, np.int32)
    table = bytes_table(classes, fold)
    found = 0
    for text in range(texts):
        at, stop = offsets[text], offsets[text + 1]
        wide = 0  # characters of three bytes and more, as unspaced letters are, but Hangul
        for byte in range(at, stop):
            wide += (0xE0 <= data[byte] < 0xEA) | (data[byte] > 0xED)
        if 8 * wide > stop - at:  # over a third of the bytes
            behind, seen, unspaced = characters_of(data, at, stop, classes, fold, expansions, tokens, found)
            if unspaced > share * seen:
                rows[text + 1] = found = behind
                continue
        behind, unspaced = words_of(
            data, at, stop, table, classes, fold, expansions, False, nowhere, nowhere, none, tokens, found
        )
        if behind == found or (unspaced and is_unspaced(data, at, stop, classes, share)):
            behind, _, _ = characters_of(data, at, stop, classes, fold, expansions, tokens, found)
        rows[text + 1] = found = behind
    return rows, tokens[:found]


@njit(cache=True, nogil=True)
def _windows(rows: Any, tokens: Any, ngram: Any) -> Any:
    """Hashes of runs of `ngram` tokens; of all tokens where there are fewer. A rolling polynomial, then stirred."""
    leaving = np.uint64(1)
    for _ in range(ngram):
        leaving *= WINDOW
    hashes = np.empty(len(tokens), np.uint32)
    starts = np.zeros(len(rows), np.int64)
    found = 0
    for text in range(len(rows) - 1):
        first, last = rows[text], rows[text + 1]
        h = np.uint64(0)
        for at in range(first, last):
            h = h * WINDOW + tokens[at]
            if at - first >= ngram:
                h -= tokens[at - ngram] * leaving
            if at - first >= ngram - 1:
                hashes[found] = np.uint32(stir(h) >> np.uint64(32))
                found += 1
        if 0 < last - first < ngram:
            hashes[found] = np.uint32(stir(h + np.uint64(last - first)) >> np.uint64(32))
            found += 1
        starts[text + 1] = found
    return starts, hashes[:found]


@njit(cache=True, nogil=True)
def _band_keys(rows: Any, hashes: Any, multipliers: Any, addends: Any, bands: Any, width: Any) -> Any:
    keys = np.zeros((len(rows) - 1, bands), np.uint64)
    least = np.empty(len(multipliers), np.uint32)
    for text in range(len(rows) - 1):
        if rows[text] == rows[text + 1]:
            continue
        least[:] = np.uint32(0xFFFFFFFF)
        for at in range(rows[text], rows[text + 1]):
            x = hashes[at]
            for each in range(len(multipliers)):
                least[each] = min(least[each], np.uint32(multipliers[each] * x + addends[each]))
        for band in range(bands):
            h = np.uint64(band + 1) * SEED
            for each in range(band * width, (band + 1) * width):
                h = blend(h, least[each])
            keys[text, band] = max(stir(h), np.uint64(1))
    return keys


BUCKET = 64  # of the texts that share a band key, each is compared with the first 64: a key shared by more is rare


@njit(cache=True, nogil=True)
def pairs(keys: Any, owners: Any) -> Any:
    """(earlier, later): the owners that stand together under one key. `keys` are sorted; owners are, within a key."""
    total = 0
    for filling in range(2):
        if filling:
            first, second = np.empty(total, np.int64), np.empty(total, np.int64)
        else:
            first, second = np.empty(0, np.int64), np.empty(0, np.int64)
        total = 0
        start = 0
        for at in range(1, len(keys) + 1):
            if at < len(keys) and keys[at] == keys[start]:
                continue
            if filling == 0 and at - start > 1:
                owners[start:at].sort()
            for later in range(start + 1, at):
                for earlier in range(start, min(later, start + BUCKET)):
                    if filling:
                        first[total], second[total] = owners[earlier], owners[later]
                    total += 1
            start = at
    return first, second


@njit(inline="always")
def slot_of(table: Any, value: Any) -> Any:
    """Where a hash is in an open-addressing table of a power of two, or the free place where it would be."""
    at = (np.int64(value) * 0x9E3779B1 >> 12) & (len(table) - 1)
    while table[at] and table[at] != value:
        at = (at + 1) & (len(table) - 1)
    return at


@njit(inline="always")
def table_for(count: Any) -> Any:
    """An empty table that is at most half full with `count` hashes; zero is no hash."""
    size = 16
    while size < 2 * count:
        size *= 2
    return np.zeros(size, np.uint32)


@njit(cache=True, nogil=True)
def distinct(rows: Any, hashes: Any, wanted: Any) -> Any:
    """The shingles of the wanted texts without repeats: (rows [wanted + 1], hashes). A zero counts as a one."""
    total = 0
    for text in wanted:
        total += rows[text + 1] - rows[text]
    flat = np.empty(total, np.uint32)
    starts = np.zeros(len(wanted) + 1, np.int64)
    filled = 0
    for number in range(len(wanted)):
        first, last = rows[wanted[number]], rows[wanted[number] + 1]
        table = table_for(last - first)
        for each in range(first, last):
            value = max(hashes[each], np.uint32(1))
            at = slot_of(table, value)
            if not table[at]:
                table[at] = flat[filled] = value
                filled += 1
        starts[number + 1] = filled
    return starts, flat[:filled]


@njit(cache=True, nogil=True)
def jaccards(rows: Any, hashes: Any, first: Any, second: Any, least: Any) -> Any:
    """Jaccard similarity of pairs of texts, sorted by the first; `rows` and `hashes` are those of `distinct`.

    A pair is left, and counts as 0, as soon as it cannot reach `least`.
    """
    found = np.zeros(len(first), np.float64)
    table = table_for(0)
    for pair in range(len(first)):
        one, other = first[pair], second[pair]
        if pair == 0 or one != first[pair - 1]:
            table = table_for(rows[one + 1] - rows[one])
            for each in range(rows[one], rows[one + 1]):
                table[slot_of(table, hashes[each])] = hashes[each]
        total = rows[one + 1] - rows[one] + rows[other + 1] - rows[other]
        # both / (total - both) >= least; a hair less, so that rounding leaves no pair that is just at it
        needed = np.int64(np.floor(least * total / (1 + least) - 1e-9))
        both, missing = 0, rows[other + 1] - rows[other] - needed
        for each in range(rows[other], rows[other + 1]):
            if table[slot_of(table, hashes[each])]:
                both += 1
            else:
                missing -= 1
                if missing < 0:
                    break
        if missing >= 0 and total > both:
            found[pair] = both / (total - both)
    return found


@njit(cache=True, nogil=True)
def anchor(first: Any, second: Any, similarity: Any, order: Any, rows: Any) -> Any:
    """The kept text that each text is dropped for, or -1; and the edge between them.

    order  texts by preference, the best first; each is kept unless it has an edge to one kept before it
    rows   edges of text i are order-independent slots rows[i] to rows[i + 1] of `first` (the text) and `second`

    Every dropped text has an edge to its anchor, and anchors are kept: similarity never chains.
    """
    kept = np.zeros(len(order), np.bool_)
    anchors = np.full(len(order), -1, np.int64)
    edges = np.full(len(order), -1, np.int64)
    for text in order:
        best = -1.0
        for edge in range(rows[text], rows[text + 1]):
            if kept[second[edge]] and similarity[edge] > best:
                best, anchors[text], edges[text] = similarity[edge], second[edge], edge
        kept[text] = anchors[text] < 0
    return anchors, edges
