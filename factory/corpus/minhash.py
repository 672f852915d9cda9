"""Near-duplicates by MinHash (Broder 1997), found by banding, checked by the exact Jaccard similarity.

Measured over shingles: word n-grams, or character n-grams in scripts without spaces, as in `factory.text`. Digits
count; a text shorter than the window is its own one shingle. What the sketches propose is decided on the shingles
themselves, against kept records only, so similarity never chains from one dropped record to the next.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import factory
from factory import Context, Dataset, Drop, Drops, InputError, Record, Shard
from factory.text.words import is_unspaced, words

from .reshape import full_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

EMPTY = 0xFFFFFFFF  # every value of the signature of a text without shingles
RECALL = 0.98  # of a pair exactly at the threshold; bands are chosen for it
CHUNK = 2048  # shingles hashed at a time: 1 MB at 128 permutations, which stays in the cache


@factory.step
def dedup_minhash(
    dataset: Dataset[Record], ctx: Context, threshold: float = 0.8, permutations: int = 128, ngram: int = 5
) -> Drops:
    """Drop records whose text is nearly that of an earlier one that is kept.

    The first in dataset order stays. Details name the kept record and the exact similarity. Records without text stay.

    threshold     Jaccard similarity of shingles from which two texts are one, above 0 and at most 1
    permutations  length of a signature; more find more pairs just at the threshold
    ngram         words a shingle; characters in Chinese, Japanese, Thai and their like
    """
    if not 0 < threshold <= 1 or permutations < 1 or ngram < 1:
        raise InputError(
            "dedup_minhash: threshold must be above 0 and at most 1, permutations and ngram at least 1; "
            f"found {threshold}, {permutations}, {ngram}"
        )
    import numpy as np

    if not dataset.shards:
        return Drops()
    bands, rows = choose_bands(threshold, permutations)
    signed = list(ctx.map(sign_shard, dataset.shards, permutations, ngram))
    signatures = np.concatenate(signed)
    ctx.report("What dedup_minhash finds", curve(bands, rows, threshold))
    keys, shared = band_keys(signatures, bands, rows)
    return _anchored(dataset, signatures, keys, shared, threshold, ngram)


def sign_shard(shard: Shard, permutations: int, ngram: int) -> Array:
    """Signatures of a shard's records: uint32 [records, permutations], all EMPTY for one without text."""
    import numpy as np

    numbers = TokenNumbers()
    rows = [sign(shingle_hashes(full_text(record), ngram, numbers), permutations) for record in shard.records()]
    return np.array(rows, dtype=np.uint32).reshape(len(rows), permutations)


class TokenNumbers(dict[str, int]):
    """token → 64-bit hash, computed once for each different token; the same in every process."""

    def __missing__(self, token: str) -> int:
        if len(self) > 1 << 20:
            self.clear()
        number = self[token] = int.from_bytes(blake2b(token.encode(errors="surrogatepass"), digest_size=8).digest())
        return number


def shingle_hashes(text: str, ngram: int, numbers: TokenNumbers) -> Array:
    """The different shingles of a text as sorted 64-bit hashes; none for a text of whitespace alone."""
    import numpy as np

    tokens: list[str] | str = [] if is_unspaced(text) else words(text)
    tokens = tokens or "".join(text.casefold().split())  # unspaced, or nothing but punctuation
    if not tokens:
        return np.zeros(0, np.uint64)
    hashed = np.fromiter(map(numbers.__getitem__, tokens), np.uint64, len(tokens))
    del tokens  # 60 bytes a word: of a line of 50 MB the largest thing in memory
    window = min(ngram, len(hashed))
    grams = np.full(len(hashed) - window + 1, window, np.uint64)
    for start in range(window):  # a polynomial in the window's tokens, then mixed as in SplitMix64
        grams = grams * np.uint64(0x9E3779B97F4A7C15) + hashed[start : start + len(grams)]
    grams = (grams ^ (grams >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    grams = (grams ^ (grams >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.unique(grams ^ (grams >> np.uint64(31)))


@lru_cache(maxsize=8)
def _permutations(count: int) -> tuple[Array, Array]:
    """Multipliers (odd, so each is a permutation of 32-bit numbers) and addends, uint32 [count, 1]."""
    import numpy as np

    drawn = random.Random(count)
    multipliers = np.array([drawn.getrandbits(32) | 1 for _ in range(count)], dtype=np.uint32)
    return multipliers[:, None], np.array([drawn.getrandbits(32) for _ in range(count)], dtype=np.uint32)[:, None]


def sign(grams: Array, permutations: int) -> Array:
    """The least value of each permutation over the shingles: uint32 [permutations]."""
    import numpy as np

    multipliers, addends = _permutations(permutations)
    low = (grams >> np.uint64(32)).astype(np.uint32)
    least = np.full(permutations, EMPTY, np.uint32)
    for start in range(0, len(low), CHUNK):
        values = multipliers * low[None, start : start + CHUNK] + addends
        np.minimum(least, values.min(axis=1), out=least)
    return least


def choose_bands(threshold: float, permutations: int) -> tuple[int, int]:
    """(bands, rows a band): the longest bands that still find a pair at the threshold with probability RECALL.

    Longer bands propose fewer pairs that the check then rejects. A pair of similarity s is proposed with probability
    1 - (1 - s^rows)^bands.
    """
    best = 1
    for rows in range(1, permutations + 1):
        if proposed(threshold, permutations // rows, rows) >= RECALL:
            best = rows
    return permutations // best, best


def proposed(similarity: float, bands: int, rows: int) -> float:
    return 1.0 - (1.0 - similarity**rows) ** bands


def curve(bands: int, rows: int, threshold: float) -> str:
    """What the threshold means, as Markdown."""
    points = sorted({0.5, 0.6, 0.7, 0.8, 0.9, threshold})
    head = f"{bands} bands of {rows}. Pairs of records are proposed with the probability below, then checked exactly:\n"
    head += f"those of similarity {threshold:g} and more are duplicates.\n\n| similarity | proposed |\n|---|---|\n"
    return head + "\n".join(f"| {point:g} | {proposed(point, bands, rows):.3f} |" for point in points)


def band_keys(signatures: Array, bands: int, rows: int) -> tuple[Array, Array]:
    """uint64 keys [records, bands], and whether another record has the same key. Empty texts have none."""
    import numpy as np

    keys = np.zeros((len(signatures), bands), np.uint64)
    shared = np.zeros((len(signatures), bands), bool)
    filled = ~(signatures == EMPTY).all(axis=1)
    for band in range(bands):
        key = np.full(len(signatures), band + 1, np.uint64)
        for row in range(band * rows, (band + 1) * rows):
            key = (key ^ signatures[:, row]) * np.uint64(0x100000001B3)
            key ^= key >> np.uint64(29)
        keys[:, band] = key
        _, group, sizes = np.unique(key[filled], return_inverse=True, return_counts=True)
        shared[filled, band] = sizes[group] > 1
    return keys, shared


def _anchored(
    dataset: Dataset[Record], signatures: Array, keys: Array, shared: Array, threshold: float, ngram: int
) -> Drops:
    """Records in order, each compared with the kept ones that share a band with it, likeliest first.

    Only records that share a band are read again, and only the shingles of kept ones among them stay in memory.
    """
    import numpy as np

    kept: dict[tuple[int, int], list[int]] = {}
    anchors: dict[int, tuple[str, Array]] = {}
    drops = Drops()
    # Four standard deviations of the sketch below the threshold nothing is worth a check.
    worth = threshold - 4 * (threshold * (1 - threshold) / signatures.shape[1]) ** 0.5
    wanted = np.logical_or.reduce(shared, axis=1)
    for at, name, grams in _suspects(dataset, wanted, ngram):
        mine = [(band, int(keys[at, band])) for band in np.flatnonzero(shared[at]).tolist()]
        near = sorted({other for key in mine for other in kept.get(key, ())})
        estimates = (signatures[near] == signatures[at]).mean(axis=1) if near else np.zeros(0)
        for estimate, other in sorted(zip(estimates.tolist(), near, strict=True), key=lambda pair: (-pair[0], pair[1])):
            if estimate < worth:
                break
            anchor, theirs = anchors[other]
            if (similarity := jaccard(grams, theirs, threshold)) >= threshold:
                drops[name] = Drop("near-duplicate", of=anchor, jaccard=similarity)
                break
        if name not in drops:
            anchors[at] = name, grams
            for key in mine:
                kept.setdefault(key, []).append(at)
    return drops


def _suspects(dataset: Dataset[Record], wanted: Array, ngram: int) -> Iterator[tuple[int, str, Array]]:
    """(number in the dataset, id, shingles) of the wanted records in order; shards without any are not read."""
    numbers = TokenNumbers()
    start = 0
    for shard in dataset.shards:
        count = len(shard.ids())
        if wanted[start : start + count].any():
            for at, record in enumerate(shard.records(), start):
                if wanted[at]:
                    yield at, record["id"], shingle_hashes(full_text(record), ngram, numbers)
        start += count


def jaccard(one: Array, other: Array, least: float = 0.0) -> float:
    """Jaccard similarity of two sorted arrays of different hashes; 0 at once when their sizes exclude `least`."""
    import numpy as np

    if min(len(one), len(other)) < least * max(len(one), len(other)) or not len(one):
        return 0.0
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)
