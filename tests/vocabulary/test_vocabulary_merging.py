"""Merges are those of the plain algorithm, and join whole characters only."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from factory.vocabulary.merging import BEGUN, BLANK, INSIDE, OTHER, WHOLE, Merges, Sequences, Symbols, learn

# id: (kind, size, chars)
ALPHABET = [
    (WHOLE, 0, 1), (WHOLE, 0, 1), (WHOLE, 0, 2), (BLANK, 0, 0), (BEGUN, 2, 1), (BEGUN, 1, 1), (INSIDE, 1, 0),
    (INSIDE, 2, 0), (OTHER, 0, 1),
]  # fmt: skip


def symbols(known: list[tuple[int, int, int]]) -> Symbols:
    kind, size, chars = zip(*known, strict=True)
    return Symbols(np.array(kind, np.int8), np.array(size, np.int8), np.array(chars, np.int16))


def sequences(runs: dict[tuple[int, ...], int]) -> Sequences:
    lengths = np.cumsum([0, *map(len, runs)])
    flat = [one for run in runs for one in run]
    return Sequences(np.array(flat, np.int32), lengths.astype(np.int64), np.array(list(runs.values()), np.int64))


def plainly(
    runs: dict[tuple[int, ...], int], known: list[tuple[int, int, int]], count: int, least: int, most: int
) -> tuple[list[tuple[int, int, int]], Counter[int]]:
    """The same by counting every pair anew for each merge."""
    known, held, found = list(known), [(list(run), weight) for run, weight in runs.items()], []

    def joined(left: int, right: int) -> tuple[int, int, int] | None:
        (a, x, n), (b, y, m) = known[left], known[right]
        if n + m > most:
            return None
        if (a, b) in ((BLANK, WHOLE), (WHOLE, WHOLE)):
            return WHOLE, 0, n + m
        if (a, b) == (BEGUN, INSIDE) and y <= x:
            return (BEGUN, x - y, n) if y < x else (WHOLE, 0, n)
        return None

    for _ in range(count):
        seen: Counter[tuple[int, int]] = Counter()
        for run, weight in held:
            at = 0
            taken: dict[tuple[int, int], int] = {}
            for at in range(len(run) - 1):
                pair = (run[at], run[at + 1])
                if joined(*pair) and taken.get(pair) != at:  # overlapping pairs of one symbol count once
                    seen[pair] += weight
                    taken[pair] = at + 1
        if not seen or max(seen.values()) < least:
            break
        (left, right), times = min(seen.items(), key=lambda item: (-item[1], item[0]))
        made = len(known)
        known.append(joined(left, right) or (OTHER, 0, 0))
        found.append((left, right, times))
        for run, _weight in held:
            at = 0
            while at + 1 < len(run):
                if (run[at], run[at + 1]) == (left, right):
                    run[at : at + 2] = [made]
                at += 1
    uses = Counter()
    for run, weight in held:
        for one in run:
            uses[one] += weight
    return found, uses


RUNS = st.dictionaries(
    st.lists(st.integers(0, len(ALPHABET) - 1), min_size=1, max_size=12).map(tuple), st.integers(1, 5), max_size=12
)


@given(runs=RUNS, count=st.integers(0, 12), least=st.integers(1, 4), most=st.integers(1, 6))
def test_merges_are_those_of_the_plain_algorithm(
    runs: dict[tuple[int, ...], int], count: int, least: int, most: int
) -> None:
    found = learn(sequences(runs), symbols(ALPHABET), count, least, most)
    expected, uses = plainly(runs, ALPHABET, count, least, most)
    assert triples(found) == expected
    assert found.uses.tolist() == [uses[len(ALPHABET) + at] for at in range(len(expected))]


def triples(merges: Merges) -> list[tuple[int, int, int]]:
    return list(zip(merges.left.tolist(), merges.right.tolist(), merges.saved.tolist(), strict=True))


def test_of_three_equal_symbols_one_pair_is_joined() -> None:
    found = learn(sequences({(0, 0, 0): 4}), symbols(ALPHABET), 5, 1, 8)
    assert triples(found) == [(0, 0, 4), (9, 0, 4)]
