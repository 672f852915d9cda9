"""Kernels of an index by ROUGE-L: who shares enough of a sequence's rarest tokens, and the longest common subsequence.

Cost of a look-up: the holders of the rarer half of the query's tokens are counted, one addition each; for the few with
enough hits one pass over their tokens, of three operations for 64 tokens of the query each. With 20,000 short texts
of documentation that is 10 µs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import njit

ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
SLACK = 1e-9  # bounds give way by this much, so that rounding never hides a pair the definition would find


@njit(cache=True, nogil=True)
def f_measure(common: Any, m: Any, n: Any) -> Any:
    """F of a longest common subsequence, computed in rouge_score's steps: at the threshold the last bit decides."""
    precision, recall = common / n, common / m
    return 2 * precision * recall / (precision + recall) if common else 0.0


@njit(cache=True, nogil=True)
def add(
    numbers: Any, at: Any, starts: Any, tokens: Any, head: Any, held: Any, after: Any, entry: Any, times: Any,
    postings: Any, slot: Any,
) -> Any:  # fmt: skip
    """Write sequence `at` into the arrays, which have room for it; the number of postings then.

    starts, tokens       sequence i is tokens[starts[i]:starts[i + 1]]
    head, held           of each token its latest posting (-1: none), and how many it has
    after, entry, times  of each posting the token's earlier one, the sequence, and how often the token is in it
    slot                 room for a number a token, all 0 before and after
    """
    start = starts[at]
    starts[at + 1] = start + len(numbers)
    for place in range(len(numbers)):
        token = numbers[place]
        tokens[start + place] = token
        if slot[token]:
            times[slot[token] - 1] += 1
            continue
        after[postings], entry[postings], times[postings] = head[token], at, 1
        head[token] = postings
        held[token] += 1
        postings += 1
        slot[token] = postings
    for place in range(len(numbers)):
        slot[numbers[place]] = 0
    return postings


@njit(cache=True, nogil=True)
def nearest(
    numbers: Any, threshold: Any, starts: Any, tokens: Any, head: Any, held: Any, after: Any, entry: Any, times: Any,
    hits: Any, slot: Any,
) -> Any:  # fmt: skip
    """(sequence, F) of the most similar one with F > threshold, the first of equal ones; (-1, threshold) without one.

    numbers      the query; -1 for tokens that no sequence has
    hits         room for a number a sequence, all 0 before and after
    others       as in `add`
    """
    m = len(numbers)
    own, often = np.empty(m, np.int64), np.zeros(m, np.int64)
    count = rest = 0
    for place in range(m):
        token = numbers[place]
        if token < 0:
            continue
        rest += 1
        if not slot[token]:
            own[count] = token
            count += 1
            slot[token] = count
        often[slot[token] - 1] += 1
    least = max(1, int(np.ceil(m * threshold / (2 - threshold) - SLACK)))
    touched, met = np.empty(64, np.int64), 0
    for each in np.argsort(held[own[:count]]):
        if rest < least:  # whoever was not met by now shares too few
            break
        rest -= often[each]
        posting = head[own[each]]
        while posting >= 0:
            other = entry[posting]
            if not hits[other]:
                if met == len(touched):
                    touched = np.append(touched, np.empty(met, np.int64))
                touched[met] = other
                met += 1
            hits[other] += min(times[posting], often[each])
            posting = after[posting]
    best, found = threshold, -1
    width = (m + 63) >> 6
    masks, row = np.zeros((0, width), np.uint64), np.empty(width, np.uint64)
    for each in range(met):
        other = touched[each]
        n = starts[other + 1] - starts[other]
        needed = best * (m + n) / 2 - SLACK
        if min(hits[other] + rest, m, n) >= needed:
            if not len(masks):
                masks = _masks(numbers, slot, count, width)
            common = _common(tokens[starts[other] : starts[other + 1]], slot, masks, row, m)
            score = f_measure(common, m, n)
            if score > best or (found >= 0 and score == best and other < found):
                best, found = score, other
        hits[other] = 0
    for each in range(count):
        slot[own[each]] = 0
    return found, best


@njit(cache=True, nogil=True)
def _masks(numbers: Any, slot: Any, count: Any, width: Any) -> Any:
    """Where in the query each of its tokens stands, as bits: [tokens, 64-bit words]."""
    masks = np.zeros((count, width), np.uint64)
    for place in range(len(numbers)):
        if numbers[place] >= 0:
            masks[slot[numbers[place]] - 1, place >> 6] |= np.uint64(1) << np.uint64(place & 63)
    return masks


@njit(cache=True, nogil=True)
def _common(other: Any, slot: Any, masks: Any, row: Any, m: Any) -> Any:
    """The length of the longest common subsequence (Hyyrö 2004, "Bit-Parallel LCS-length Computation Revisited").

    Bit j of the row is 0 where the subsequence grows at token j of the query; tokens that it lacks change nothing.
    """
    row[:] = ONES
    for token in other:
        if not slot[token]:
            continue
        mask = masks[slot[token] - 1]
        carry = np.uint64(0)
        for word in range(len(row)):
            bits = row[word]
            matched = bits & mask[word]
            total = bits + matched
            full = total + carry
            carry = np.uint64(total < bits) | np.uint64(full < total)
            row[word] = full | (bits & ~mask[word])
    zeros = 0
    for word in range(len(row)):
        bits = ~row[word]
        if word == len(row) - 1 and m & 63:
            bits &= (np.uint64(1) << np.uint64(m & 63)) - np.uint64(1)
        while bits:
            bits &= bits - np.uint64(1)
            zeros += 1
    return zeros
