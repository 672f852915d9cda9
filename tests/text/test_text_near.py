"""Kernels measure near-duplicates as plain Python does."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from factory.text import near
from factory.text.segments import buffers
from factory.text.words import is_unspaced, shingles

EXAMPLES = settings.default.max_examples  # fewer in `make check`

MIXED = st.text("ab 1éßŉ\n\u3000中文ไท!’\U00020000", max_size=60)


def shingled(texts: list[str], ngram: int) -> list[set[int]]:
    rows, hashes = near.shingle_hashes(buffers(pa.array(texts, pa.string())), ngram)
    return [set(hashes[start:end].tolist()) for start, end in pairwise(rows)]


@settings(max_examples=3 * EXAMPLES)
@given(MIXED, MIXED, st.integers(1, 6))
def test_shingles_are_those_of_the_words_module(one: str, other: str, ngram: int) -> None:
    assume(is_unspaced(one) == is_unspaced(other))  # `shingles` joins words by a blank and characters by none
    first, second = shingled([one, other], ngram)
    a, b = shingles(one, ngram), shingles(other, ngram)
    assert (len(first), len(second), len(first & second)) == (len(a), len(b), len(a & b))


def test_jaccard_is_that_of_sets() -> None:
    texts = ["a b c d e f g", "a b c d e f h", "x", "", "a b c d e f g"]
    rows, hashes = near.shingle_hashes(buffers(pa.array(texts)), 3)
    starts, flat = near.distinct(rows, hashes, np.arange(5))
    first, second = np.array([0, 0, 0, 0, 3]), np.array([1, 2, 3, 4, 3])
    assert near.jaccards(starts, flat, first, second, 0.0).tolist() == pytest.approx([4 / 6, 0, 0, 1, 0])


@settings(deadline=None)
@given(st.lists(st.text("abcdef", min_size=1), min_size=2, max_size=6), st.sampled_from([0.25, 0.5, 0.8, 1.0]))
def test_pairs_that_reach_the_threshold_are_measured_and_no_others(texts: list[str], least: float) -> None:
    rows, hashes = near.shingle_hashes(buffers(pa.array([" ".join(text) for text in texts])), 1)
    starts, flat = near.distinct(rows, hashes, np.arange(len(texts)))
    first, second = np.triu_indices(len(texts), 1)
    found = near.jaccards(starts, flat, first, second, least)
    for one, other, similarity in zip(first, second, found, strict=True):
        a, b = set(texts[one]), set(texts[other])
        exact = len(a & b) / len(a | b)
        assert similarity in (pytest.approx(exact), 0)
        assert similarity == pytest.approx(exact) or exact < least


def test_texts_share_bands_as_often_as_the_formula_says() -> None:
    """Pairs of Jaccard 2/3: of 600 in 16 bands of 6 the share found is within four standard deviations."""
    drawn = np.random.default_rng(5)
    words = drawn.integers(0, 1 << 30, (600, 100))
    texts = [" ".join(map(str, row[:80])) for row in words] + [" ".join(map(str, row[20:])) for row in words]
    rows, hashes = near.shingle_hashes(buffers(pa.array(texts)), 1)
    keys = near.band_keys(rows, hashes, 16, 6)
    found = (keys[:600] == keys[600:]).any(axis=1).mean()
    expected = near.proposed(0.6, 16, 6)
    assert abs(found - expected) < 4 * (expected * (1 - expected) / 600) ** 0.5


def test_a_text_without_shingles_has_no_keys_and_no_two_texts_share_the_empty_one() -> None:
    rows, hashes = near.shingle_hashes(buffers(pa.array(["", " ", "a"])), 5)
    keys = near.band_keys(rows, hashes, 4, 2)
    assert (keys[:2] == near.EMPTY).all()
    assert (keys[2] != near.EMPTY).all()


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("recall", [0.5, 0.9, 0.99])
def test_bands_are_as_wide_as_recall_allows_and_no_more_than_it_needs(threshold: float, recall: float) -> None:
    bands, width = near.choose_bands(threshold, recall, 128)
    assert bands * width <= 128
    assert near.proposed(threshold, bands, width) >= recall
    assert bands == 1 or near.proposed(threshold, bands - 1, width) < recall
    assert width == 128 or near.proposed(threshold, 128 // (width + 1), width + 1) < recall


def test_pairs_are_of_equal_keys_and_large_groups_are_compared_with_their_first() -> None:
    keys = np.array([1, 1, 1, 2, 3, 3], np.uint64)
    first, second = near.pairs(keys, np.array([4, 5, 9, 1, 0, 7]))
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(4, 5), (4, 9), (5, 9), (0, 7)]
    first, second = near.pairs(np.ones(200, np.uint64), np.arange(200))
    assert set(second.tolist()) == set(range(1, 200))
    assert set(first.tolist()) == set(range(near.BUCKET))
