"""How much of one text is in another: ROUGE-L, and an exact index of what is already known by it.

ROUGE-L (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3) is the F-measure of the longest
common subsequence of two token sequences of lengths m and n; with beta = 1, as everywhere here, F = 2 LCS / (m + n).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from .words import is_unspaced, ngrams, words

SLACK = 1e-9  # bounds give way by this much, so that rounding never hides a pair the definition would find


def rouge_l(candidate: Sequence[Hashable], reference: Sequence[Hashable]) -> float:
    """ROUGE-L F of two token sequences (see `factory.text.words`); 0 when both are empty."""
    from rapidfuzz.distance import LCSseq

    number: dict[Hashable, int] = {}
    first, second = ([number.setdefault(token, len(number)) for token in side] for side in (candidate, reference))
    total = len(first) + len(second)
    return 2 * LCSseq.similarity(first, second) / total if total else 0.0


def support(claim: str, source: str, besides: str = "") -> float:
    """The share of a claim's content words that stand in `source`: 1 when all do, or when it has none.

    Words of at least four letters or with a digit count, by their first five letters, so that inflections agree; in
    scripts written without spaces, pairs of characters. What stands in `besides` (the question) does not count.
    """
    said = _content(claim)
    new = said - _content(besides) or said
    return len(new & _content(source)) / len(new) if new else 1.0


def _content(text: str) -> set[str]:
    tokens = words(text)
    if is_unspaced(text):
        return {first + second for first, second in ngrams(tokens, 2)}
    return {token[:5] for token in tokens if len(token) > 3 or not token.isalpha()} or set(tokens)


class RougeIndex:
    """Token sequences by key; finds the nearest by ROUGE-L without comparing with each. Exact, and grows.

    `nearest` decides as comparing with every sequence would. Two bounds spare most comparisons: F > t needs a length n
    with m t / (2 - t) < n < m (2 - t) / t, and more than m t / (2 - t) shared tokens, so one of the query's
    m - floor(m t / (2 - t)) rarest tokens is among them. Only sequences that hold one of these are looked at, and
    the longest common subsequence is computed (bit-parallel, 64 tokens an operation) for those with enough hits.
    """

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self._sequences: list[list[int]] = []
        self._numbers: dict[Hashable, int] = {}
        # A token's second occurrence in a sequence counts as another token: shared tokens are then a set.
        self._holders: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, key: Any, tokens: Sequence[Hashable]) -> None:
        """Make a sequence known under `key`."""
        numbers = [self._numbers.setdefault(token, len(self._numbers)) for token in tokens]
        for token in _occurrences(numbers):
            self._holders[token].append(len(self.keys))
        self.keys.append(key)
        self._sequences.append(numbers)

    def nearest(self, tokens: Sequence[Hashable], threshold: float) -> tuple[Any, float] | None:
        """(key, F) of the most similar sequence with F > `threshold`, the first added of equal ones; or None.

        Raises ValueError when the threshold is not within 0 and 1.
        """
        from rapidfuzz.distance import LCSseq

        if not 0 <= threshold <= 1:
            raise ValueError(f"a ROUGE-L threshold lies between 0 and 1, not at {threshold}")
        m = len(tokens)
        if not m:
            return None
        numbers = [self._numbers.get(token, -1 - at) for at, token in enumerate(tokens)]  # unknown ones match nothing
        hits, probes = self._hits(numbers, threshold)
        best, found = threshold, -1
        for entry, count in hits.items():
            other = self._sequences[entry]
            total = m + len(other)
            needed = best * total / 2 - SLACK
            if count + m - probes < needed or len(other) < needed:
                continue
            common = LCSseq.similarity(numbers, other, score_cutoff=max(0, math.ceil(needed)))
            score = 2 * common / total
            if score > best or (found >= 0 and score == best and entry < found):
                best, found = score, entry
        return (self.keys[found], best) if found >= 0 else None

    def _hits(self, numbers: list[int], threshold: float) -> tuple[Counter[int], int]:
        """How many of the rarest tokens of a query each sequence holds, and how many these are."""
        occurrences = sorted(_occurrences(numbers), key=lambda token: len(self._holders.get(token, ())))
        least = max(1, math.ceil(len(numbers) * threshold / (2 - threshold) - SLACK))
        probes = occurrences[: len(numbers) - least + 1]
        hits: Counter[int] = Counter()
        for token in probes:
            hits.update(self._holders.get(token, ()))
        return hits, len(probes)


def _occurrences(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Each token with how often it was there before: a sequence's multiset of tokens as a set."""
    seen: Counter[int] = Counter()
    found = []
    for number in numbers:
        found.append((number, seen[number]))
        seen[number] += 1
    return found
