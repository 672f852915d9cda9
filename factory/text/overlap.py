"""How much of one text is in another: ROUGE-L, and an exact index of what is already known by it.

ROUGE-L (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3) is the F-measure of the longest
common subsequence of two token sequences of lengths m and n; with beta = 1, as everywhere here, F = 2 LCS / (m + n). It
is computed as rouge_score does, from precision and recall, so that the two decide alike at a threshold.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from .words import is_unspaced, ngrams, words

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rouge_l(candidate: Sequence[Hashable], reference: Sequence[Hashable]) -> float:
    """ROUGE-L F of two token sequences, such as `factory.text.words.rouge_words` makes; 0 when one is empty."""
    from rapidfuzz.distance import LCSseq

    number: dict[Hashable, int] = {}
    first, second = ([number.setdefault(token, len(number)) for token in side] for side in (candidate, reference))
    common = LCSseq.similarity(first, second)
    if not common:
        return 0.0
    precision, recall = common / len(first), common / len(second)
    return 2 * precision * recall / (precision + recall)


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

    `nearest` decides as comparing with every sequence would. F > t needs a length n with m t / (2 - t) < n <
    m (2 - t) / t, and more than m t / (2 - t) shared tokens, so the query's rarest tokens, all but as many as that less
    one, hold one of these. Only sequences with such a token are looked at (rarest as the index stands at the moment:
    any order is exact), and the longest common subsequence is computed for those with enough hits.
    """

    def __init__(self) -> None:
        import numpy as np

        self.keys: list[Any] = []
        self._numbers: dict[Hashable, int] = {}
        self._postings = 0
        self._starts, self._hits = np.zeros(1, np.int64), np.zeros(0, np.int32)
        self._tokens = np.zeros(0, np.int32)
        self._head, self._held, self._slot = (np.zeros(0, np.int32) for _ in range(3))
        self._after, self._entry, self._times = (np.zeros(0, np.int32) for _ in range(3))

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, key: Any, tokens: Sequence[Hashable]) -> None:
        """Make a sequence known under `key`."""
        import numpy as np

        from .subsequences import add

        given = self._numbers
        numbers = np.array([given.setdefault(token, len(given)) for token in tokens], np.int32)
        at = len(self.keys)
        self._starts, self._hits = _room(self._starts, at + 2), _room(self._hits, at + 1)
        self._tokens = _room(self._tokens, int(self._starts[at]) + len(numbers))
        self._head, self._held, self._slot = (
            _room(array, len(given), blank) for array, blank in ((self._head, -1), (self._held, 0), (self._slot, 0))
        )
        self._after, self._entry, self._times = (
            _room(array, self._postings + len(numbers)) for array in (self._after, self._entry, self._times)
        )
        self._postings = add(
            numbers, at, self._starts, self._tokens, self._head, self._held, self._after, self._entry, self._times,
            self._postings, self._slot,
        )  # fmt: skip
        self.keys.append(key)

    def nearest(self, tokens: Sequence[Hashable], threshold: float) -> tuple[Any, float] | None:
        """(key, F) of the most similar sequence with F > `threshold`, the first added of equal ones; or None.

        Raises ValueError when the threshold is not within 0 and 1.
        """
        import numpy as np

        from .subsequences import nearest

        if not 0 <= threshold <= 1:
            raise ValueError(f"a ROUGE-L threshold lies between 0 and 1, not at {threshold}")
        numbers = np.array([self._numbers.get(token, -1) for token in tokens], np.int32)
        found, score = nearest(
            numbers, float(threshold), self._starts, self._tokens, self._head, self._held, self._after, self._entry,
            self._times, self._hits, self._slot,
        )  # fmt: skip
        return (self.keys[found], score) if found >= 0 else None


def _room(array: NDArray[Any], size: int, blank: int = 0) -> NDArray[Any]:
    """The array with room for `size` numbers: itself, or twice as long."""
    if size <= len(array):
        return array
    import numpy as np

    grown = np.full(max(64, 2 * size), blank, array.dtype)
    grown[: len(array)] = array
    return grown
