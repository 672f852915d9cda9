"""Byte-pair merges that go on from the tokens of a tokenizer that is there. A numba kernel.

Sennrich et al. 2016 (arXiv:1508.07909, algorithm 1): the commonest pair of neighbours becomes a symbol, again and
again. Here a pair has to make whole characters: a character's bytes are joined from its first to its last, and only
whole characters are joined to others, or to a blank. So what another character is cut into can change only where it
begins with the same bytes, and runs have none of those (`alphabets.beginnings_shared`).

An occurrence of a pair can vanish but not come back, so counts kept in the heap are upper bounds: a pair that is popped
is counted anew in its list of places, and goes back if it has become rarer. No count is ever taken down in between.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from factory.text.compiled import njit

# What a symbol is made of: blanks alone; whole characters; the first bytes of one; bytes inside of one; anything else
BLANK, WHOLE, BEGUN, INSIDE, OTHER = range(5)
LOW = 0xFFFFFFFF  # a pair is one number: its left symbol above 32 bits, its right one below


class Symbols(NamedTuple):
    """What each symbol is, by its id: [symbols]."""

    kind: NDArray[np.int8]
    size: NDArray[np.int8]  # BEGUN: bytes that the character lacks; INSIDE: bytes
    chars: NDArray[np.int16]  # characters that begin in it, blanks aside


class Sequences(NamedTuple):
    """Runs of symbols, each once: the symbols of run i are symbols[starts[i] : starts[i + 1]], and it stood weights[i]
    times.
    """

    symbols: NDArray[np.int32]
    starts: NDArray[np.int64]
    weights: NDArray[np.int64]


class Merges(NamedTuple):
    """Merge k joins left[k] and right[k] to the symbol with the id (symbols before) + k: [merges] each."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    saved: NDArray[np.int64]  # tokens that it saved when it was made
    uses: NDArray[np.int64]  # times that its symbol stands in the runs when all are made


def learn(sequences: Sequences, symbols: Symbols, count: int, min_frequency: int, max_chars: int) -> Merges:
    """At most `count` merges, each of a pair that stood at least `min_frequency` times, of at most `max_chars`.

    Of equally common pairs the one of the earlier symbols comes first. About 1 µs for each symbol, and 12 bytes of
    memory for each of its up to three pairs.
    """
    run = np.repeat(np.arange(len(sequences.weights), dtype=np.int32), np.diff(sequences.starts))
    count = min(count, len(run))
    kind, size, chars = (np.concatenate([one, np.zeros(count, one.dtype)]) for one in symbols)
    here = sequences.symbols.astype(np.int32)
    known = len(symbols.kind)
    return Merges(*_learn(here, run, sequences.weights, kind, size, chars, known, count, min_frequency, max_chars))


@njit(inline="always")
def _joined(kind: Any, size: Any, chars: Any, left: Any, right: Any, max_chars: Any) -> Any:
    """The kind of a pair's symbol, or OTHER where the two do not go together."""
    a, b = kind[left], kind[right]
    if chars[left] + chars[right] > max_chars:
        return OTHER
    if b == WHOLE and a in (BLANK, WHOLE):
        return WHOLE
    if a == BEGUN and b == INSIDE and size[right] <= size[left]:
        return WHOLE if size[right] == size[left] else BEGUN
    return OTHER


@njit(cache=True, nogil=True)
def _counted(
    places: Any, begin: Any, end: Any, here: Any, after: Any, run: Any, weights: Any, left: Any, right: Any
) -> Any:
    """(occurrences of a pair by weight, end of its list when those that vanished are taken out)."""
    total, kept, taken = 0, begin, -1
    for at in range(begin, end):
        place = places[at]
        follower = after[place]
        if here[place] != left or follower < 0 or here[follower] != right:
            continue
        places[kept] = place
        kept += 1
        if place != taken:  # of `aaa` only one pair can be joined
            total += weights[run[place]]
            taken = follower
    return total, kept


@njit(cache=True, nogil=True)
def _neighbours(run: Any) -> Any:
    before = np.empty(len(run), np.int64)
    after = np.empty(len(run), np.int64)
    for place in range(len(run)):
        before[place] = place - 1 if place > 0 and run[place - 1] == run[place] else -1
        after[place] = place + 1 if place + 1 < len(run) and run[place + 1] == run[place] else -1
    return before, after


@njit(cache=True, nogil=True)
def _grown(values: Any, size: Any) -> Any:
    if size <= len(values):
        return values
    larger = np.empty(max(size, 2 * len(values)), values.dtype)
    larger[: len(values)] = values
    return larger


@njit(cache=True, nogil=True)
def _join(
    places: Any, begin: Any, end: Any, here: Any, before: Any, after: Any, left: Any, right: Any, made: Any
) -> Any:
    """Join a pair wherever it stands; the pairs that come about, as (keys, places), both in the order of places."""
    joined = np.empty(end - begin, np.int64)
    many = 0
    for at in range(begin, end):
        place = places[at]
        follower = after[place]
        if here[place] != left or follower < 0 or here[follower] != right:
            continue
        here[place], here[follower] = made, -1
        after[place] = after[follower]
        if after[place] >= 0:
            before[after[place]] = place
        joined[many] = place
        many += 1
    keys = np.empty(2 * many, np.int64)
    found = np.empty(2 * many, np.int64)
    new = 0
    for place in joined[:many]:
        if before[place] >= 0 and here[before[place]] != made:
            keys[new], found[new] = (np.int64(here[before[place]]) << 32) | made, before[place]
            new += 1
        if after[place] >= 0:
            keys[new], found[new] = (np.int64(made) << 32) | here[after[place]], place
            new += 1
    return keys[:new], found[:new]


@njit(cache=True, nogil=True)
def _listed(
    keys: Any, places: Any, lists: Any, heap: Any, here: Any, after: Any, run: Any, weights: Any, kind: Any, size: Any,
    chars: Any, min_frequency: Any, max_chars: Any,
) -> Any:  # fmt: skip
    """Add a list of places for each pair among `keys` that may be joined, and the pair to the heap.

    lists  (places, begins, ends, places filled, lists filled), as it is then returned
    """
    held, begins, ends, filled, many = lists
    order = np.argsort(keys, kind="mergesort")
    at = 0
    while at < len(order):
        key, stop = keys[order[at]], at
        while stop < len(order) and keys[order[stop]] == key:
            stop += 1
        left, right = key >> 32, key & LOW
        if stop - at > 0 and _joined(kind, size, chars, left, right, max_chars) != OTHER:
            held = _grown(held, filled + stop - at)
            for one in range(at, stop):
                held[filled + one - at] = places[order[one]]
            total, end = _counted(held, filled, filled + stop - at, here, after, run, weights, left, right)
            if total >= min_frequency:
                begins, ends = _grown(begins, many + 1), _grown(ends, many + 1)
                begins[many], ends[many] = filled, end
                heapq.heappush(heap, (np.int64(-total), key, np.int64(many)))
                filled, many = end, many + 1
        at = stop
    return held, begins, ends, filled, many


@njit(cache=True, nogil=True)
def _learn(
    here: Any, run: Any, weights: Any, kind: Any, size: Any, chars: Any, known: Any, count: Any, min_frequency: Any,
    max_chars: Any,
) -> Any:  # fmt: skip
    before, after = _neighbours(run)
    places = np.flatnonzero(after >= 0)
    keys = np.empty(len(places), np.int64)
    for at, place in enumerate(places):
        keys[at] = (np.int64(here[place]) << 32) | here[place + 1]
    heap = [(np.int64(0), np.int64(0), np.int64(0))]  # (-occurrences, pair, number of its list)
    heap.clear()
    lists = (np.empty(len(places), np.int64), np.empty(1024, np.int64), np.empty(1024, np.int64), 0, 0)
    lists = _listed(
        keys, places, lists, heap, here, after, run, weights, kind, size, chars, min_frequency, max_chars
    )  # fmt: skip
    lefts, rights, saved = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    done = 0
    while done < count and len(heap) > 0:
        minus, key, number = heapq.heappop(heap)
        left, right = key >> 32, key & LOW
        held, begins, ends, _, _ = lists
        total, ends[number] = _counted(held, begins[number], ends[number], here, after, run, weights, left, right)
        if total < -minus:
            if total >= min_frequency:
                heapq.heappush(heap, (np.int64(-total), key, number))
            continue
        made = known + done
        kind[made] = _joined(kind, size, chars, left, right, max_chars)
        size[made] = size[left] - size[right] if kind[left] == BEGUN else size[right]
        chars[made] = chars[left] + chars[right]
        lefts[done], rights[done], saved[done] = left, right, total
        done += 1
        keys, places = _join(held, begins[number], ends[number], here, before, after, left, right, made)
        lists = _listed(
            keys, places, lists, heap, here, after, run, weights, kind, size, chars, min_frequency, max_chars
        )  # fmt: skip
    uses = np.zeros(done, np.int64)
    for at in range(len(here)):
        if here[at] >= known:
            uses[here[at] - known] += weights[run[at]]
    return lefts[:done], rights[:done], saved[:done], uses
