"""BM25 as a measure of likeness between instructions: how a search engine would score one for another."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

K1, B = 1.5, 0.75
EPSILON = 0.25  # a word in over half of all documents weighs this share of the average word


class Bm25Index:
    """Token sequences by key, scored against a query. It may grow.

    Okapi BM25 (Robertson and Zaragoza 2009, section 3.4) with idf = ln((N - n + 0.5) / (n + 0.5)); negative weights
    are replaced by EPSILON times the mean weight, as in gensim's version, by which BELLE's threshold was chosen.
    """

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self._lengths: list[int] = []
        self._postings: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)  # word -> (entry, times)
        self._held: Counter[int] = Counter()  # in how many entries a word is -> how many such words there are
        self._mean: float | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, key: Any, tokens: Sequence[str]) -> None:
        """Make a sequence known under `key`."""
        for token, times in Counter(tokens).items():
            held = len(self._postings[token])
            self._held.update({held: -1, held + 1: 1} if held else {1: 1})
            self._postings[token].append((len(self.keys), times))
        self.keys.append(key)
        self._lengths.append(len(tokens))
        self._mean = None

    def best(self, tokens: Sequence[str]) -> tuple[Any, float] | None:
        """(key, score) of the sequence with the highest score, the first added of equal ones; None when empty."""
        if not self.keys:
            return None
        average = sum(self._lengths) / len(self._lengths) or 1.0
        scores: defaultdict[int, float] = defaultdict(float)
        for token, asked in Counter(tokens).items():
            holders = self._postings.get(token, ())
            if not holders:
                continue
            weight = asked * self._weight(len(holders)) * (K1 + 1)
            for entry, times in holders:
                scores[entry] += weight * times / (times + K1 * (1 - B + B * self._lengths[entry] / average))
        entry = min(scores, key=lambda at: (-scores[at], at), default=0)
        return self.keys[entry], scores.get(entry, 0.0)

    def _weight(self, held: int) -> float:
        weight = self._idf(held)
        return weight if weight >= 0 else EPSILON * self._mean_idf()

    def _idf(self, held: int) -> float:
        return math.log(len(self.keys) - held + 0.5) - math.log(held + 0.5)

    def _mean_idf(self) -> float:
        if self._mean is None:
            words = sum(self._held.values())
            self._mean = sum(self._idf(held) * number for held, number in self._held.items()) / max(1, words)
        return self._mean
