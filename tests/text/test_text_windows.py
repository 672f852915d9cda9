"""Windows of tokens: hashes, samples and look-ups against plain Python."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.text import windows

LAW = settings(deadline=None, max_examples=100)
TEXTS = st.lists(st.lists(st.integers(1, 3), max_size=40), max_size=6)
DRAWN = np.random.default_rng(3).integers(0, 1 << 64, 100, np.uint64)  # a token's hash


def flat(texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return rows, DRAWN[np.array([token for text in texts for token in text], np.int64)]


def places(texts: list[list[int]], length: int) -> dict[int, tuple[int, ...]]:
    """Every window: its first token, counted through all texts → the window."""
    found, start = {}, 0
    for text in texts:
        for at in range(len(text) - length + 1):
            found[start + at] = tuple(text[at : at + length])
        start += len(text)
    return found


@LAW
@given(TEXTS, st.integers(2, 12))
def test_every_window_has_one_sample_and_equal_windows_have_equal_ones(texts: list[list[int]], length: int) -> None:
    chosen = windows.winnow(*flat(texts), length)
    served = {
        at: int(value)
        for first, count, value in zip(*chosen, strict=True)
        for at in range(int(first), int(first + count))
    }
    expected = places(texts, length)
    assert served.keys() == expected.keys()
    assert int(chosen.windows.sum()) == len(expected)
    by_window: dict[tuple[int, ...], set[int]] = {}
    for at, window in expected.items():
        by_window.setdefault(window, set()).add(served[at])
    assert all(len(values) == 1 for values in by_window.values())


@LAW
@given(TEXTS, st.integers(2, 12))
def test_the_sample_of_a_window_that_stands_twice_stands_twice(texts: list[list[int]], length: int) -> None:
    """So a sample that is alone has no window that is not."""
    chosen = windows.winnow(*flat(texts), length)
    times = {int(value): int(count) for value, count in zip(*np.unique(chosen.hash, return_counts=True), strict=True)}
    seen: dict[tuple[int, ...], int] = {}
    for window in places(texts, length).values():
        seen[window] = seen.get(window, 0) + 1
    for first, count, value in zip(*chosen, strict=True):
        for at in range(int(first), int(first + count)):
            if seen[places(texts, length)[at]] > 1:
                assert times[int(value)] > 1


def test_of_random_tokens_one_in_fourteen_is_a_sample() -> None:
    tokens = np.random.default_rng(1).integers(0, 1 << 64, 100_000, np.uint64)
    chosen = windows.winnow(np.array([0, len(tokens)]), tokens, 50)
    assert abs(len(chosen.hash) / len(tokens) - 2 / 27) < 0.002


@LAW
@given(TEXTS, st.integers(2, 12))
def test_hashes_tell_windows_apart(texts: list[list[int]], length: int) -> None:
    rows, tokens = flat(texts)
    first, keys, checks = windows.long_hashes(tokens, windows.winnow(rows, tokens, length), length)
    expected = places(texts, length)
    assert first.tolist() == sorted(expected)
    assert len(set(expected.values())) == len(set(keys.tolist())) == len(set(checks.tolist()))
    assert len(set(zip(keys.tolist(), checks.tolist(), strict=True))) == len(set(expected.values()))
    assert not set(keys.tolist()) & set(checks.tolist())


def test_earliest_looks_at_the_check_too() -> None:
    keys = np.array([1, 1, 1, 1, 2, 3, 3], np.uint64)
    checks = np.array([5, 6, 5, 6, 5, 1, 1], np.uint64)
    assert windows.earliest(keys, checks).tolist() == [0, 1, 0, 1, 4, 5, 5]


def test_a_window_does_not_cover_what_it_shares_with_the_one_it_repeats() -> None:
    gone = windows.covered(np.array([1, 2, 8]), np.array([0, 0, -7]), 4, 14)
    assert np.flatnonzero(gone).tolist() == [4, 5, 8, 9, 10, 11]


@LAW
@given(TEXTS, st.sets(st.lists(st.integers(1, 3), min_size=3, max_size=6).map(tuple), max_size=12), st.integers(1, 3))
def test_look_up_finds_every_run_wherever_it_stands(
    texts: list[list[int]], wanted: set[tuple[int, ...]], anchor: int
) -> None:
    rows, tokens = flat(texts)
    keys, anchors = {}, []
    for run in wanted:
        held = DRAWN[np.array(run)]
        keys[int(windows.keyed(windows.runs(held, np.zeros(1, np.int64), len(run)), len(run))[0])] = run
        anchors.append(windows.runs(held, np.zeros(1, np.int64), anchor)[0])
    lengths = np.array(sorted({len(run) for run in wanted}), np.int64)
    table = windows.make_table(np.array(sorted(keys), np.uint64), lengths, np.array(anchors, np.uint64), anchor)
    text, run = windows.look_up(rows, tokens, table)
    found = sorted((int(t), keys[int(table.keys[r])]) for t, r in zip(text, run, strict=True))
    expected = [
        (number, tuple(held[at : at + len(run)]))
        for number, held in enumerate(texts)
        for run in wanted
        for at in range(len(held))
        if tuple(held[at : at + len(run)]) == run
    ]
    assert found == sorted(expected)
    assert all(start <= end for start, end in pairwise(rows))
