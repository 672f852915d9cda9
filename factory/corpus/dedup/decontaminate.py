"""Evaluation sets kept out of training data: records that share an n-gram with an item are dropped, and all is told.

Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C: a 13-gram of words in lower case and without
punctuation that a document shares with an evaluation item; n-grams found in more than ten documents were ignored there,
as these are phrases and legal notices for the most part. Words are those of `factory.text.words`.

The items' n-grams make one table, every shard is looked through for them, what is common is counted over all shards,
and each shard is judged by that, on all workers. Memory: some 40 bytes for each word of the evaluation sets, mapped
and shared, and a shard's hits; the corpus is read once. n-grams are compared by 64 bits of a hash: a corpus of 10^10
words and 10^7 n-grams meet by chance once in two hundred times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

import factory
from factory import Context, Dataset, Drop, Drops, InputError, Record, Shard

from ..reshape import full_text
from .contamination import Told

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Found = dict[str, Any]  # arrays by name

PORTION = 1024  # records looked through at a time
PAIRS = 1 << 22  # (record, item) pairs judged at a time: 100 MB
WHOLE = 1 << 32  # apart from every length, see `read_items`


@factory.step
def decontaminate(
    dataset: Dataset[Record],
    against: Dataset[Record] | list[Dataset[Record]] | dict[str, Dataset[Record]],
    ctx: Context,
    ngram: Annotated[int, Field(ge=1, le=100)] = 13,
    characters: Annotated[int, Field(ge=1, le=400)] | None = None,
    min_words: Annotated[int, Field(ge=1)] = 8,
    min_share: Annotated[float, Field(ge=0, le=1)] = 0.0,
    max_documents: Annotated[int, Field(ge=1)] | None = None,
) -> Drops:
    """Drop records that contain n-grams of evaluation items. The report tells the hits of each set and item.

    Details name the item, its set, an n-gram of it (the rarest), and the share of the item's n-grams that the record
    contains. What an item says is all text of its record, a prompt and an answer together.

    against        evaluation sets: one, a list (called 1, 2, …), or name → set
    ngram          words; punctuation and case do not count
    characters     the same for items in Chinese, Japanese, Thai and their like, in characters; twice `ngram` when not
                   given, which is about as much text
    min_words      an item of fewer words than `ngram` is sought whole; one of fewer than this would be found anywhere,
                   so only a record that says nothing else is dropped for it. As many characters in proportion
    min_share      the share of an item's n-grams that a record must contain; 0: one is enough
    max_documents  n-grams in more records are ignored and told of; 10 for GPT-3. Not given, none is: on a corpus with
                   many copies of an evaluation set its n-grams are frequent too
    """
    listed = [against] if isinstance(against, Dataset) else against
    sets = listed if isinstance(listed, dict) else {str(n): one for n, one in enumerate(listed, 1)}
    if not sets:
        raise InputError("decontaminate: `against` names no evaluation set")
    wide = characters or 2 * ngram
    anchor = min(min_words, ngram, wide)
    shards = [shard for one in sets.values() for shard in one.shards]
    items = ctx.memos(read_items, shards, ngram, wide, min_words, anchor)
    [table] = ctx.memos(gather_items, [anchor], items)
    hits = ctx.memos(find_items, dataset.shards, table)
    [known] = ctx.memos(count_documents, [max_documents], hits, table)
    judged = list(ctx.map(judge, hits, table, known, min_share))
    told = Told(sets, table.load(), known.load(), judged)
    drops = Drops()
    for shard, found in zip(dataset.shards, judged, strict=True):
        ids = shard.ids() if len(found["row"]) else []
        for row, item, gram, share in zip(*(found[k].tolist() for k in ("row", "item", "gram", "share")), strict=True):
            named = {"of": told.name(item), "set": told.set_of(item), "ngram": told.ngram(gram)}
            drops[ids[row]] = Drop("contaminated", **named, share=round(share, 4))
    ctx.report("What decontaminate found", told.report(judged, len(dataset), max_documents))
    return drops


def read_items(shard: Shard, ngram: int, wide: int, min_words: int, anchor: int) -> Found:
    """The n-grams of the items of a shard.

    size    int64 [items] n-grams of each, equal ones once; 0 for an item without words
    item    of each n-gram, ascending; `at` its first word in the item's text, `length` its words
    key     uint64, what it is known by; that of an item that only a whole text can be has WHOLE added to its length
    anchor  a hash of its first `anchor` words; 0 for those items
    """
    import numpy as np

    from factory.text.segments import buffers, word_hashes
    from factory.text.windows import keyed, runs
    from factory.text.words import is_unspaced

    kinds = {"item": np.int64, "at": np.int64, "length": np.int64, "key": np.uint64, "anchor": np.uint64}
    found: dict[str, list[Any]] = {name: [np.zeros(0, kind)] for name, kind in kinds.items()}
    sizes: list[int] = []
    for texts in _texts(shard):
        rows, hashes = word_hashes(buffers(texts))
        for text, (start, end) in zip(texts.to_pylist(), pairwise(rows.tolist()), strict=True):
            words = end - start
            unspaced = is_unspaced(text)
            size = min(wide if unspaced else ngram, words)
            short = words < max(anchor, min(size, min_words * wide // ngram if unspaced else min_words))
            first = np.arange(words - size + 1 if words else 0)
            own = hashes[start:end]
            keys, at = np.unique(keyed(runs(own, first, size), size + WHOLE * short), return_index=True)
            anchors = np.zeros(len(at), np.uint64) if short else runs(own, at, anchor)
            entry = {"item": len(sizes), "at": at, "length": size, "key": keys, "anchor": anchors}
            for name, values in entry.items():
                found[name].append(np.broadcast_to(np.asarray(values, kinds[name]), len(at)))
            sizes.append(len(at))
    return {"size": np.array(sizes, np.int64), **{name: np.concatenate(values) for name, values in found.items()}}


def gather_items(anchor: int, items: Sequence[Any]) -> Found:
    """One table of all items, counted through all sets: the n-grams of all, and which items have each.

    keys, lengths, anchor, bits  what `factory.text.windows.look_up` looks for
    rows, items  the items of n-gram g are items[rows[g]:rows[g + 1]], ascending
    at, length   where it stands in the first of them, in words
    size         int64 [items] n-grams of each
    longest      words of the longest item that only a whole text can be; 0 when there is none
    """
    import numpy as np

    from factory.text.windows import make_table

    loaded = [memo.load() for memo in items]
    names = ("size", "item", "at", "length", "key", "anchor")
    joined = {name: np.concatenate([one[name] for one in loaded]) for name in names} if loaded else {}
    if not loaded:
        joined = {name: np.zeros(0, np.uint64 if name in ("key", "anchor") else np.int64) for name in names}
    counts = [len(one["item"]) for one in loaded]
    starts = np.cumsum([0, *(len(one["size"]) for one in loaded)])[:-1]
    item = joined["item"] + np.repeat(starts, counts).astype(np.int64)
    order = np.lexsort((item, joined["key"]))
    keys, first = np.unique(joined["key"][order], return_index=True)
    whole = joined["anchor"] == 0
    lengths = np.unique(joined["length"][~whole])
    table = make_table(keys, lengths, joined["anchor"][~whole], anchor)
    return {
        **table._asdict(),
        "rows": np.append(first, len(order)),
        "items": item[order],
        "at": joined["at"][order][first],
        "length": joined["length"][order][first],
        "size": joined["size"],
        "longest": int(joined["length"][whole].max(initial=0)),
    }


def find_items(shard: Shard, table: Any) -> Found:
    """Which n-grams of the table each record of a shard contains: `row` and `gram`, by record, each pair once."""
    import numpy as np

    from factory.text.segments import buffers, word_hashes
    from factory.text.windows import Table, keyed, look_up, runs

    held = table.load()
    wanted = Table(*(held[name] for name in Table._fields))
    pairs = [np.zeros(0, np.uint64)]
    records = 0
    for texts in _texts(shard):
        rows, hashes = word_hashes(buffers(texts))
        text, gram = look_up(rows, hashes, wanted)
        pairs.append(_paired(text + records, gram))
        words = np.diff(rows)
        for size in np.unique(words[(words > 0) & (words <= held["longest"])]).tolist():
            short = np.flatnonzero(words == size)
            keys = keyed(runs(hashes, rows[short], size), size + WHOLE)
            at = np.searchsorted(wanted.keys, keys)
            hit = np.flatnonzero(wanted.keys[np.minimum(at, len(wanted.keys) - 1)] == keys)
            pairs.append(_paired(short[hit] + records, at[hit]))
        records += len(texts)
    packed = np.unique(np.concatenate(pairs))
    gram = (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return {"row": (packed >> np.uint64(32)).astype(np.int64), "gram": gram}


def _paired(row: NDArray[np.int64], gram: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Row and n-gram as one number, each pair once."""
    import numpy as np

    return np.unique((row.astype(np.uint64) << np.uint64(32)) | gram.astype(np.uint64))


def _texts(shard: Shard) -> Iterator[Any]:
    """What the records of a shard say, in portions, as Arrow columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if set(pq.read_schema(shard.path).names) - set(Record.__annotations__) == {"text"}:
        yield from (table.column("text").combine_chunks() for table in shard.tables(["text"]))
        return
    records = shard.records()
    while portion := [full_text(record) for record in islice(records, PORTION)]:
        yield pa.array(portion, pa.string())


def count_documents(most: int | None, hits: Sequence[Any], table: Any) -> Found:
    """What all shards together say of the table's n-grams.

    documents  int64 [n-grams] records that contain each
    ignored    bool [n-grams] those in more than `most` records
    size       int64 [items] n-grams of each that are not ignored
    """
    import numpy as np

    held = table.load()
    documents = np.zeros(len(held["keys"]), np.int64)
    for memo in hits:
        documents += np.bincount(memo.load()["gram"], minlength=len(documents))
    ignored = documents > most if most is not None else np.zeros(len(documents), np.bool_)
    lost = held["items"][np.repeat(ignored, np.diff(held["rows"]))]
    size = held["size"] - np.bincount(lost, minlength=len(held["size"]))
    return {"documents": documents, "ignored": ignored, "size": size}


def judge(hits: Any, table: Any, known: Any, min_share: float) -> Found:
    """The contaminated records of a shard, and the items that were found in it.

    row, item, gram, share  for each record: the item of which it contains most, the first of equal ones; an n-gram
    found, records          items, ascending, and in how many records
    """
    import numpy as np

    all_hits, counted = hits.load(), known.load()
    kept = ~counted["ignored"][all_hits["gram"]]
    row, gram = all_hits["row"][kept], all_hits["gram"][kept]
    rows = table.load()["rows"]
    size = rows[gram + 1] - rows[gram]
    found: dict[str, list[Any]] = {name: [np.zeros(0, np.int64)] for name in ("row", "item", "gram", "share", "all")}
    before = np.concatenate([[0], np.cumsum(size)])
    start = 0
    while start < len(row):  # whole records, as many as make about PAIRS pairs
        end = int(np.searchsorted(before, before[start] + PAIRS))
        end = int(np.searchsorted(row, row[min(max(end, start + 1), len(row)) - 1], side="right"))
        some = _judged(row[start:end], gram[start:end], table.load(), counted, min_share)
        for name, values in some.items():
            found[name].append(values)
        start = end
    joined = {name: np.concatenate(values) for name, values in found.items()}
    items, records = np.unique(joined.pop("all"), return_counts=True)
    return {**joined, "found": items, "records": records}


def _judged(
    row: NDArray[np.int64], gram: NDArray[np.int64], table: Found, known: Found, min_share: float
) -> dict[str, NDArray[Any]]:
    """`judge` of some records; `all` has an item for every record in which it was found."""
    import numpy as np

    rows = table["rows"]
    size = rows[gram + 1] - rows[gram]
    within = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    item = table["items"][np.repeat(rows[gram], size) + within]
    row, gram = np.repeat(row, size), np.repeat(gram, size)
    order = np.lexsort((gram, known["documents"][gram], item, row))  # of an item's n-grams the rarest first
    row, item, gram = row[order], item[order], gram[order]
    new = np.flatnonzero(np.append(True, (row[1:] != row[:-1]) | (item[1:] != item[:-1]))[: len(row)])
    matched = np.diff(np.append(new, len(row)))
    row, item, gram = row[new], item[new], gram[new]
    share = matched / known["size"][item]
    enough = share >= min_share
    row, item, gram, share = row[enough], item[enough], gram[enough], share[enough]
    best = np.lexsort((item, -share, row))
    best = best[np.append(True, row[best][1:] != row[best][:-1])[: len(row)]]
    return {"row": row[best], "item": item[best], "gram": gram[best], "share": share[best], "all": item}
