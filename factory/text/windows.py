"""Runs of tokens by their hashes: of any length from one prefix sum, sampled without losing an equal pair, looked up.

A run's hash is a polynomial over its tokens' 64-bit hashes, modulo 2^64, then stirred. Of n different runs two agree
with a probability of about n² / 2^65.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compiled import njit
from .utf8 import SEED, stir

FIRST = 0xD1342543DE82EF95  # multipliers; both are 5 modulo 8, so that their powers differ in as many bits as can be
SECOND = 0xF1357AEA2E62A9C5
WRAP = 1 << 64

Hashes = NDArray[np.uint64]


class Winnowed(NamedTuple):
    """Samples of texts, and which windows each stands for: `windows[i]` of them from token `first[i]` on."""

    first: NDArray[np.int64]
    windows: NDArray[np.int64]
    hash: Hashes


def winnow(rows: NDArray[np.int64], tokens: Hashes, length: int) -> Winnowed:
    """One sample for every window of `length` tokens, such that equal windows have equal samples; a sample serves many.

    rows, tokens  token hashes; those of text i are tokens[rows[i]:rows[i + 1]]

    Winnowing (Schleimer, Wilkerson and Aiken 2003, "Winnowing: Local Algorithms for Document Fingerprinting"): a window
    is known by the least hash among its k-grams, the leftmost of equal ones, with k half of `length`. Which one that is
    follows from the window's tokens alone, so nothing is lost: when a window stands at two places, its sample stands at
    two as well, equally far from each. A sample serves the windows in a row that share its place, so of random text
    2 / (length - k + 2) of all places are samples: 1 in 13.5 for 50 tokens. Cost: a third of what finding the
    words costs.
    """
    gram = (length + 1) // 2
    found = _winnow(rows, _sums(tokens, np.uint64(FIRST)), gram, _power(FIRST, gram), length - gram + 1)
    return Winnowed(*found)


def runs(tokens: Hashes, first: NDArray[np.int64], length: int) -> Hashes:
    """Hashes of the runs of `length` tokens that begin at the tokens `first`."""
    sums = _sums(tokens, np.uint64(FIRST))
    found: Hashes = _runs(sums, first, length, _power(FIRST, length))
    return found


def long_hashes(tokens: Hashes, chosen: Winnowed, length: int) -> tuple[NDArray[np.int64], Hashes, Hashes]:
    """The windows that the samples stand for: (first token, hash, a second hash): 128 bits together."""
    first = np.concatenate([np.zeros(0, np.int64), np.repeat(chosen.first, chosen.windows)])
    behind = np.cumsum(chosen.windows)
    first += np.arange(len(first)) - np.repeat(behind - chosen.windows, chosen.windows)
    other: Hashes = _runs(_sums(tokens, np.uint64(SECOND)), first, length, _power(SECOND, length))
    return first, runs(tokens, first, length), other


def earliest(keys: Hashes, checks: Hashes) -> NDArray[np.int64]:
    """For each entry the first that has its key and its check; `keys` are sorted, and equal ones in order."""
    found: NDArray[np.int64] = _earliest(keys, checks)
    return found


def covered(first: NDArray[np.int64], source: NDArray[np.int64], length: int, tokens: int) -> NDArray[np.bool_]:
    """Which of a text's or a shard's tokens lie in windows that repeat others: [tokens].

    first   where the windows begin
    source  where the windows that they repeat begin, smaller, negative when before these tokens. Where the two overlap,
            the tokens of the earlier window are not covered by the later one
    """
    found: NDArray[np.bool_] = _covered(first, source, length, tokens)
    return found


class Table(NamedTuple):
    """Runs to look for, of some lengths, each of at least `anchor` tokens."""

    keys: Hashes  # [runs] sorted; `keyed` hashes
    lengths: NDArray[np.int64]
    anchor: int
    bits: NDArray[np.uint64]  # which hashes of the first `anchor` tokens there are: of 32 bits for each run, one


def make_table(keys: Hashes, lengths: NDArray[np.int64], anchors: Hashes, anchor: int) -> Table:
    """A table of runs.

    keys     [runs] `keyed` hashes, sorted, each once
    lengths  those that occur
    anchors  hashes of the runs' first `anchor` tokens
    """
    size = 1 << max(6, (32 * len(keys)).bit_length())
    bits = np.zeros(size >> 6, np.uint64)
    at = anchors >> np.uint64(64 - size.bit_length() + 1)
    np.bitwise_or.at(bits, (at >> np.uint64(6)).astype(np.int64), np.uint64(1) << (at & np.uint64(63)))
    return Table(keys, lengths, anchor, bits)


def keyed(hashes: Hashes, length: int) -> Hashes:
    """Hashes of runs with their length in them, so that runs of several lengths go into one table."""
    found: Hashes = _keyed(hashes, length)
    return found


def look_up(rows: NDArray[np.int64], tokens: Hashes, table: Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(text, number of the run in `table.keys`) for every place at which a run of the table stands in a text.

    Cost: a bit read for each token, and a search of the table for one in 32 and each that hits: what finding the words
    costs, with a million runs.
    """
    none = np.zeros(0, np.int64)
    if not len(table.keys):
        return none, none
    sums = _sums(tokens, np.uint64(FIRST))
    first, text = _anchored(rows, sums, table.anchor, _power(FIRST, table.anchor), table.bits)
    texts, found = [none], [none]
    for length in table.lengths.tolist():
        fits = first + length <= rows[text + 1]
        begin, held = first[fits], text[fits]
        keys = keyed(_runs(sums, begin, length, _power(FIRST, length)), length)
        at = np.searchsorted(table.keys, keys)
        hit = np.flatnonzero(table.keys[np.minimum(at, len(table.keys) - 1)] == keys)
        texts.append(held[hit])
        found.append(at[hit])
    return np.concatenate(texts), np.concatenate(found)


def _power(base: int, exponent: int) -> np.uint64:
    return np.uint64(pow(base, exponent, WRAP))


@njit(cache=True, nogil=True)
def _sums(tokens: Any, base: Any) -> Any:
    found = np.empty(len(tokens) + 1, np.uint64)
    h = np.uint64(0)
    found[0] = h
    for at in range(len(tokens)):
        h = h * base + tokens[at]
        found[at + 1] = h
    return found


@njit(cache=True, nogil=True)
def _runs(sums: Any, first: Any, length: Any, power: Any) -> Any:
    found = np.empty(len(first), np.uint64)
    for at in range(len(first)):
        found[at] = stir(sums[first[at] + length] - sums[first[at]] * power)
    return found


@njit(cache=True, nogil=True)
def _keyed(hashes: Any, length: Any) -> Any:
    found = np.empty(len(hashes), np.uint64)
    for at in range(len(hashes)):
        found[at] = stir(hashes[at] + np.uint64(length) * SEED)
    return found


@njit(cache=True, nogil=True)
def _winnow(rows: Any, sums: Any, gram: Any, power: Any, span: Any) -> Any:
    first = np.empty(len(sums), np.int64)
    windows = np.empty(len(sums), np.int64)
    hashes = np.empty(len(sums), np.uint64)
    ring = np.empty(len(sums), np.uint64)
    found = 0
    for text in range(len(rows) - 1):
        begin, behind = rows[text], rows[text + 1] - gram + 1
        if behind - begin < span:
            continue
        best: Any = np.int64(-1)
        shown: Any = best
        least = np.uint64(0)
        for at in range(begin, behind):
            h = stir(sums[at + gram] - sums[at] * power)
            ring[at] = h
            window = at - span + 1
            if best < 0 or h < least:
                best, least = at, h
            elif best < window:  # it has left: once in `span` tokens, or oftener where hashes ascend
                best, least = window, ring[window]
                for each in range(window + 1, at + 1):
                    if ring[each] < least:
                        best, least = each, ring[each]
            if window >= begin:
                if best != shown:
                    first[found], windows[found], hashes[found] = window, 0, least
                    shown = best
                    found += 1
                windows[found - 1] += 1
    return first[:found].copy(), windows[:found].copy(), hashes[:found].copy()


@njit(cache=True, nogil=True)
def _earliest(keys: Any, checks: Any) -> Any:
    found = np.empty(len(keys), np.int64)
    start = 0
    for at in range(len(keys)):
        if keys[at] != keys[start]:
            start = at
        same = start
        while checks[same] != checks[at]:
            same += 1
        found[at] = same
    return found


@njit(cache=True, nogil=True)
def _covered(first: Any, source: Any, length: Any, tokens: Any) -> Any:
    edges = np.zeros(tokens + 1, np.int32)
    for at in range(len(first)):
        edges[max(first[at], source[at] + length)] += 1
        edges[first[at] + length] -= 1
    found = np.empty(tokens, np.bool_)
    depth = 0
    for at in range(tokens):
        depth += edges[at]
        found[at] = depth > 0
    return found


@njit(cache=True, nogil=True)
def _anchored(rows: Any, sums: Any, anchor: Any, power: Any, bits: Any) -> Any:
    first, texts = np.empty(len(sums), np.int64), np.empty(len(sums), np.int64)
    shift = np.uint64(64)
    size = np.uint64(len(bits)) * np.uint64(64)
    while size > np.uint64(1):
        size >>= np.uint64(1)
        shift -= np.uint64(1)
    found: Any = 0
    for text in range(len(rows) - 1):
        for at in range(rows[text], rows[text + 1] - anchor + 1):
            bit = stir(sums[at + anchor] - sums[at] * power) >> shift
            first[found], texts[found] = at, text
            found += np.int64((bits[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1))
    return first[:found].copy(), texts[:found].copy()
