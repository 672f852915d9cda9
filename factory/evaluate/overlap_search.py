"""Texts of records looked for in evaluation sets: the same, nearly the same, or with a run of words in common.

The items of all sets make one table; every shard is looked through for it, 1,024 records at a time, on all workers.
Memory: the table, some 40 bytes for each word of the evaluation sets, and a portion's words. Cost: 47 ms of CPU for
1,024 records of 100 words, against 5,000 items of 60.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any

from factory import Record, Shard, digest, text_of
from factory.text.words import is_unspaced

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = dict[str, Any]  # by name

HOW = ("exact", "near", "n-gram")  # the plainest first
EXACT, NEAR, NGRAM = range(3)
SHINGLE = 5  # words or characters, as in dedup_minhash
RECALL, PERMUTATIONS = 0.99, 128  # a pair that is just near is found with this probability, as in dedup_minhash
PORTION = 1024  # records
Hit = tuple[int, float, int]  # place in HOW, -similarity, item: the least is what is told of a record
KEPT = frozenset(Record.__annotations__)


def said(record: Mapping[str, Any]) -> str:
    """All text of a record, whatever its type, its parts joined by a blank line."""
    return "\n\n".join(_texts([value for name, value in record.items() if name not in KEPT]))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):  # a message
        yield from _texts(value.get("content"))
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def units(record: Mapping[str, Any]) -> list[str]:
    """What of a record is compared: all of it, and what it asks alone; none twice, none without text."""
    asked = [text_of(record["prompt"])] if record.get("prompt") else []
    asked += [turn["content"] for turn in record.get("messages") or () if turn["role"] == "user"]
    return [text for text in dict.fromkeys([said(record), *asked]) if text.strip()]


def plain(text: str) -> str:
    """What texts are the same by: case, spacing and punctuation at either end do not count."""
    line = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    begin, end = 0, len(line)
    while begin < end and unicodedata.category(line[begin])[0] in "PZ":
        begin += 1
    while begin < end and unicodedata.category(line[end - 1])[0] in "PZ":
        end -= 1
    return line[begin:end] or line


def read_items(shard: Shard, ngram: int, wide: int, near: bool) -> Arrays:
    """What is looked for of a shard's items. Items are numbered from 0.

    asked       bool [items] whether each has text
    exact, of   uint64 [units] hashes of `plain` texts, and the item of each
    rows, shingles  distinct shingles of unit i are shingles[rows[i]:rows[i + 1]]
    gram, item  uint64 [n-grams] `keyed` hashes, and the item of each
    anchor      uint64 [n-grams] hash of its first min(ngram, wide) words
    """
    import numpy as np

    from factory.text.windows import keyed, runs

    asked: list[bool] = []
    parts: dict[str, list[Any]] = {name: [] for name in ("exact", "of", "gram", "item", "anchor", "length")}
    near_rows, near_hashes = [np.zeros(1, np.int64)], [np.zeros(0, np.uint32)]
    for records in _portions(shard):
        owners, texts = _units_of(records)
        parts["exact"].append(_exact(texts))
        parts["of"].append(owners + len(asked))
        rows, shingles = _shingles(texts) if near else (np.zeros(len(texts) + 1, np.int64), np.zeros(0, np.uint32))
        near_rows.append(rows[1:] + near_rows[-1][-1])
        near_hashes.append(shingles)
        whole = [said(record) for record in records]
        starts, words = _words(whole)
        for at, (text, (start, end)) in enumerate(zip(whole, pairwise(starts.tolist()), strict=True), len(asked)):
            size = wide if is_unspaced(text) else ngram
            first = np.arange(max(0, end - start - size + 1))
            parts["gram"].append(keyed(runs(words[start:end], first, size), size))
            parts["anchor"].append(runs(words[start:end], first, min(ngram, wide)))
            parts["item"].append(np.full(len(first), at))
            parts["length"].append(np.full(len(first), size))
        asked += [bool(text.strip()) for text in whole]
    kinds = {"exact": np.uint64, "gram": np.uint64, "anchor": np.uint64}
    found = {name: np.concatenate([np.zeros(0, kinds.get(name, np.int64)), *values]) for name, values in parts.items()}
    return {
        **found,
        "asked": np.array(asked, bool),
        "rows": np.concatenate(near_rows),
        "shingles": np.concatenate(near_hashes),
    }


def gather_items(anchor: int, near: float | None, items: Sequence[Any]) -> Arrays:
    """One table of all items, numbered through all sets.

    exact, of      sorted by `exact`
    keys, lengths, anchor, bits  what `factory.text.windows.look_up` looks for; `item` is the first that has each key
    rows, shingles, of_unit      the units, with the item of each
    bands, unit    uint64 [band keys] sorted, and the unit of each
    """
    import numpy as np

    from factory.text.near import EMPTY, band_keys, choose_bands
    from factory.text.windows import make_table

    loaded = [memo.load() for memo in items]
    starts = np.cumsum([0, *(len(one["asked"]) for one in loaded)])
    joined = {
        name: np.concatenate([one[name] for one in loaded])
        for name in ("exact", "gram", "anchor", "length", "shingles")
    }
    of, item = (
        np.concatenate([one[name] + start for one, start in zip(loaded, starts[:-1], strict=True)]).astype(np.int64)
        for name in ("of", "item")
    )
    order = np.argsort(joined["exact"], kind="stable")
    keys, first = np.unique(joined["gram"], return_index=True)
    table = make_table(keys, np.unique(joined["length"]), joined["anchor"], anchor)
    sizes = np.concatenate([np.diff(one["rows"]) for one in loaded])
    rows = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    bands, width = choose_bands(near or 1.0, RECALL, PERMUTATIONS)
    banded = band_keys(rows, joined["shingles"], bands, width).ravel()
    unit = np.repeat(np.arange(len(rows) - 1), bands)
    kept = np.flatnonzero(banded != EMPTY)
    kept = kept[np.argsort(banded[kept], kind="stable")]
    return {
        **table._asdict(),
        "asked": np.concatenate([one["asked"] for one in loaded]),
        "exact": joined["exact"][order],
        "of": of[order],
        "item": item[first],
        "rows": rows,
        "shingles": joined["shingles"],
        "of_unit": of,
        "bands": banded[kept],
        "unit": unit[kept],
    }


def find_items(shard: Shard, table: Any, near: float | None) -> Arrays:
    """The records of a shard that overlap, each once: `row`, `item`, `how` (place in HOW), `similarity`."""
    import numpy as np

    held = table.load()
    found: dict[str, list[Any]] = {"row": [], "item": [], "how": [], "similarity": []}
    begun = 0
    for records in _portions(shard):
        owners, texts = _units_of(records)
        best: dict[int, Hit] = {}
        near_ones = _near(owners, texts, held, near) if near is not None else ()
        for row, hit in chain(_same(owners, texts, held), near_ones, _runs(records, held)):
            best[row] = min(best.get(row, hit), hit)
        for row, (how, less, item) in sorted(best.items()):
            for name, value in (("row", begun + row), ("item", item), ("how", how), ("similarity", -less)):
                found[name].append(value)
        begun += len(records)
    return {name: np.array(values, np.float64 if name == "similarity" else np.int64) for name, values in found.items()}


def _same(owners: NDArray[np.int64], texts: Sequence[str], held: Arrays) -> Iterator[tuple[int, Hit]]:
    import numpy as np

    keys = _exact(texts)
    at = np.searchsorted(held["exact"], keys)
    for unit in np.flatnonzero(np.append(held["exact"], np.uint64(0))[at] == keys).tolist():
        if at[unit] < len(held["exact"]):  # else it only equals the end of the list
            yield int(owners[unit]), (EXACT, -1.0, int(held["of"][at[unit]]))


def _runs(records: Sequence[Any], held: Arrays) -> Iterator[tuple[int, Hit]]:
    from factory.text.windows import Table, look_up

    rows, words = _words([said(record) for record in records])
    text, gram = look_up(rows, words, Table(*(held[name] for name in Table._fields)))
    for row, key in zip(text.tolist(), gram.tolist(), strict=True):
        yield row, (NGRAM, -1.0, int(held["item"][key]))


def _near(owners: NDArray[np.int64], texts: Sequence[str], held: Arrays, least: float) -> Iterator[tuple[int, Hit]]:
    """Pairs that share a band, checked by the exact Jaccard similarity of their shingles."""
    import numpy as np

    from factory.text.near import EMPTY, band_keys, choose_bands, jaccards

    rows, shingles = _shingles(texts)
    bands, width = choose_bands(least, RECALL, PERMUTATIONS)
    keys = band_keys(rows, shingles, bands, width).ravel()
    low, high = (np.searchsorted(held["bands"], keys, side) for side in ("left", "right"))
    count = np.where(keys == EMPTY, 0, high - low)
    mine = np.repeat(np.arange(len(keys)) // bands, count)
    within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    theirs = held["unit"][np.repeat(low, count) + within]
    units = len(rows) - 1
    pairs = np.unique(np.stack([mine, theirs + units], 1), axis=0) if len(mine) else np.zeros((0, 2), np.int64)
    both = np.concatenate([rows, held["rows"][1:] + rows[-1]])
    similar = jaccards(both, np.concatenate([shingles, held["shingles"]]), pairs[:, 0], pairs[:, 1], least)
    for pair in np.flatnonzero(similar >= least).tolist():
        unit, other = int(pairs[pair, 0]), int(pairs[pair, 1]) - units
        yield int(owners[unit]), (NEAR, -float(similar[pair]), int(held["of_unit"][other]))


def _portions(shard: Shard) -> Iterator[list[Any]]:
    records = shard.records()
    while portion := list(islice(records, PORTION)):
        yield portion


def _units_of(records: Sequence[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """The units of all records, and the place of the record of each."""
    import numpy as np

    found = [(at, text) for at, record in enumerate(records) for text in units(record)]
    return np.array([at for at, _ in found], np.int64), [text for _, text in found]


def _exact(texts: Sequence[str]) -> NDArray[np.uint64]:
    import numpy as np

    return np.array([int(digest(plain(text).encode("utf-8", "replace")), 16) for text in texts], np.uint64)


def _words(texts: Sequence[str]) -> tuple[Any, Any]:
    from factory.text.segments import word_hashes

    return word_hashes(_buffers(texts))


def _shingles(texts: Sequence[str]) -> tuple[Any, Any]:
    """(rows [texts + 1], hashes), those of a text without repeats."""
    import numpy as np

    from factory.text.near import distinct, shingle_hashes

    rows, hashes = shingle_hashes(_buffers(texts), SHINGLE)
    found: tuple[Any, Any] = distinct(rows, hashes, np.arange(len(texts)))
    return found


def _buffers(texts: Sequence[str]) -> Any:
    import pyarrow as pa

    from factory.text.segments import buffers

    return buffers(pa.array([text.encode("utf-8", "replace").decode() for text in texts], pa.string()))
