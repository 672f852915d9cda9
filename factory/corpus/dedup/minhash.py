"""Near-duplicates by MinHash (Broder 1997), found by banding, checked by the exact Jaccard similarity.

Measured over shingles: word n-grams, or character n-grams in scripts without spaces, as in `factory.text`. Digits
count; a text shorter than the window is its own one shingle; a text of blanks has none and equals nothing. What the
sketches propose is decided on the shingles themselves and against kept records only, so similarity never chains.

Shards are signed one by one and matched by ranges of band keys, so both halves run on all workers. What passes between
them lies on disk: for each record 12 bytes a band and 4 bytes a shingle. The driver holds verified pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Context, Dataset, Drop, Drops, Index, InputError, Record, Shard

from ..reshape import full_text
from .matching import ranges_for, within

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Part = dict[str, Any]  # what `sign_shard` returns

CHECKED_AT_ONCE = 1 << 16  # pairs; their shingles are in memory together, 160 MB at 300 a text
PORTION = 1024  # records signed at a time
LARGE = 0.01  # a cluster over this share of the corpus is told of


@factory.step
def dedup_minhash(
    dataset: Dataset[Record],
    ctx: Context,
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8,
    recall: Annotated[float, Field(gt=0, lt=1)] = 0.99,
    permutations: Annotated[int, Field(ge=1, le=4096)] = 128,
    ngram: Annotated[int, Field(ge=1, le=100)] = 5,
    keep: Literal["first", "longest", "newest", "best"] = "first",
    by: str | None = None,
    against: Dataset[Record] | None = None,
    index: Index | None = None,
) -> Drops:
    """Drop records whose text is nearly that of another one that is kept.

    Details name the kept record and the exact similarity: every dropped record is at least `threshold` from the one
    that stays. Records without text stay.

    threshold     Jaccard similarity of shingles from which two texts are one
    recall        least probability with which a pair just at the threshold is found; the number and width of bands
                  follow from both, and the report has the curve
    permutations  the most values a signature may have; fewer are used where fewer give the recall
    ngram         words a shingle; characters in Chinese, Japanese, Thai and their like
    keep          which of a group stays: the first in dataset order, the longest (in shingles), the newest, the best
    by            field of meta that tells: a date (ISO 8601) or number for `newest` (`date` unless told), a number for
                  `best`, the highest first; records without it come last
    against       another dataset: what is near one of its records is dropped, and it is left alone
    index         the same with what `minhash_index` stored
    """
    from factory.text.near import choose_bands

    bands, width = choose_bands(threshold, recall, permutations)
    if index is not None:
        bands, width = _as_indexed(index, threshold, recall, ngram)
    field = by or {"newest": "date"}.get(keep)
    if keep == "best" and field is None:
        raise InputError("dedup_minhash: keep: best needs `by`, the field of meta that holds the score")
    others = against.shards if against is not None else []
    held: list[Any] = [str(index.path)] if index is not None else []
    held += ctx.memos(sign_shard, others, ngram, bands, width, None)
    parts = [*held, *ctx.memos(sign_shard, dataset.shards, ngram, bands, width, field)]
    sizes = [load_part(part)["records"] for part in parts]
    ranges = ranges_for(sum(sizes) * bands)
    edges = [
        {name: array.copy() for name, array in pairs.items()}  # not mapped: there may be more ranges than open files
        for pairs in ctx.map(match_range, range(ranges), ranges, parts, threshold)
    ]
    drops, notes = _decide(edges, parts, sizes, len(held), dataset, others, index, keep)
    ctx.report("What dedup_minhash finds", curve(bands, width, threshold) + notes)
    return drops


def _as_indexed(index: Index, threshold: float, recall: float, ngram: int) -> tuple[int, int]:
    """Bands of an index. Raises InputError when it cannot serve this search."""
    import orjson

    from factory.text.near import proposed

    assert index.path is not None
    made = orjson.loads((index.path / "minhash.json").read_bytes())
    if made["ngram"] != ngram:
        raise InputError(f"dedup_minhash: the index {index.uri} has shingles of {made['ngram']}, not of {ngram}")
    if (found := proposed(threshold, made["bands"], made["width"])) < recall:
        raise InputError(
            f"dedup_minhash: the index {index.uri} finds a pair at {threshold:g} with probability {found:.2f}, "
            f"not {recall:g}; make it with a lower threshold"
        )
    return made["bands"], made["width"]


def sign_shard(shard: Shard, ngram: int, bands: int, width: int, field: str | None) -> Part:
    """What finding needs to know of a shard's records.

    records   how many
    keys      uint64 [bands of records with text], sorted; `owners` are their records, uint32
    shingles  uint32; those of record i are shingles[rows[i]:rows[i + 1]]
    rank      float64 [records], the field's value as a number; none without a field
    """
    import numpy as np

    from factory.text.near import EMPTY, band_keys, shingle_hashes
    from factory.text.segments import buffers

    rows, shingles, keys = [np.zeros(1, np.int64)], [], []
    ranks: list[float] = []
    for texts, metas in _columns(shard, field is not None):
        starts, hashes = shingle_hashes(buffers(texts), ngram)
        rows.append(starts[1:] + rows[-1][-1])
        shingles.append(hashes)
        keys.append(band_keys(starts, hashes, bands, width))
        ranks += [_number(meta, str(field)) for meta in metas]
    found = np.concatenate(keys) if keys else np.zeros((0, bands), np.uint64)
    flat = found.ravel()
    order = np.argsort(flat)
    order = order[np.searchsorted(flat, EMPTY, side="right", sorter=order) :]
    return {
        "records": len(found),
        "keys": flat[order],
        "owners": (order // bands).astype(np.uint32),
        "rows": np.concatenate(rows),
        "shingles": np.concatenate(shingles) if shingles else np.zeros(0, np.uint32),
        "rank": np.array(ranks) if field is not None else None,
    }


def _columns(shard: Shard, with_meta: bool) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Texts of a shard's records in portions, as Arrow columns, with their meta if it is wanted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = set(pq.read_schema(shard.path).names)
    if not with_meta and names - set(Record.__annotations__) == {"text"}:
        yield from ((table.column("text"), []) for table in shard.tables(["text"]))
        return
    records = shard.records()
    while portion := list(islice(records, PORTION)):
        texts = pa.array([full_text(record) for record in portion], pa.string())
        yield texts, [record["meta"] for record in portion] if with_meta else []


def _number(meta: dict[str, Any], field: str) -> float:
    """A field of meta as a number; a date in seconds, in UTC when it names no zone; -inf where there is none."""
    value: Any = meta.get(field)
    for read in (float, _seconds):
        try:
            return float(read(value))
        except (TypeError, ValueError, OverflowError):
            continue
    return float("-inf")


def _seconds(date: str) -> float:
    found = datetime.fromisoformat(date)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def load_part(part: Any) -> Part:
    """What `sign_shard` returned, from its memo or from the folder of an index; arrays are mapped, not read."""
    if not isinstance(part, str):
        found: Part = part.load()
        return found
    import numpy as np

    names = ("keys", "owners", "rows", "shingles")
    arrays = {name: np.load(Path(part) / f"{name}.npy", mmap_mode="r") for name in names}
    return {"records": len(arrays["rows"]) - 1, **arrays, "rank": None}


def match_range(number: int, ranges: int, parts: list[Any], threshold: float) -> dict[str, NDArray[Any]]:
    """Pairs that share a band key of the numbered range and are at least `threshold` alike: first < second, similarity.

    Records are counted through all parts.
    """
    import numpy as np

    from factory.text.near import pairs

    keys, owners, starts = [], [], [0]
    for part in parts:  # one is open at a time: a process may map some thousand files, and what it maps is its memory
        loaded = load_part(part)
        some = within(loaded["keys"], number, ranges)
        keys.append(np.array(loaded["keys"][some]))
        owners.append(loaded["owners"][some].astype(np.int64) + starts[-1])
        starts.append(starts[-1] + loaded["records"])
        del loaded
    if starts[-1] >= 1 << 32:
        raise InputError(f"dedup_minhash compares at most {1 << 32:,} records at once, not {starts[-1]:,}")
    joined = np.concatenate(keys) if keys else np.zeros(0, np.uint64)
    order = np.argsort(joined)
    first, second = pairs(joined[order], np.concatenate(owners)[order] if keys else np.zeros(0, np.int64))
    packed = np.unique((first.astype(np.uint64) << np.uint64(32)) | second.astype(np.uint64))
    first, second = (packed >> np.uint64(32)).astype(np.int64), (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
    similarity = np.zeros(len(first))
    for at in range(0, len(first), CHECKED_AT_ONCE):
        some = slice(at, at + CHECKED_AT_ONCE)
        similarity[some] = _similarities(parts, np.array(starts), first[some], second[some], threshold)
    near = similarity >= threshold
    return {"first": first[near], "second": second[near], "similarity": similarity[near]}


def _similarities(
    parts: list[Any], starts: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], least: float
) -> NDArray[np.float64]:
    """Exact Jaccard of pairs of records, 0 below `least`; the shingles of each record are read once."""
    import numpy as np

    from factory.text.near import distinct, jaccards

    wanted = np.unique(np.concatenate([first, second]))
    rows, hashes = [np.zeros(1, np.int64)], []
    cuts = np.searchsorted(wanted, starts)
    for part, start, begin, end in zip(parts, starts, cuts[:-1], cuts[1:], strict=False):
        if begin < end:
            loaded = load_part(part)
            held, flat = distinct(loaded["rows"], loaded["shingles"], wanted[begin:end] - start)
            del loaded
            rows.append(held[1:] + rows[-1][-1])
            hashes.append(flat)
    places = np.searchsorted(wanted, first), np.searchsorted(wanted, second)
    found: NDArray[np.float64] = jaccards(np.concatenate(rows), np.concatenate(hashes), *places, least)
    return found


def _decide(
    edges: list[dict[str, Any]], parts: list[Any], sizes: list[int], held: int, dataset: Dataset[Record],
    others: list[Shard], index: Index | None, keep: str,
) -> tuple[Drops, str]:  # fmt: skip
    """Verified pairs to drops: records in order of preference, each kept unless it is near one kept before it."""
    import numpy as np

    from factory.text.near import anchor

    first, second, similarity = (
        np.concatenate([part[name] for part in edges]) for name in ("first", "second", "similarity")
    )
    suspects = np.unique(np.concatenate([first, second]))
    starts = np.cumsum([0, *sizes])
    mine = suspects >= starts[held]
    # Both directions, sorted by the record they are looked up for; a pair met in two ranges stands twice, harmlessly.
    near: NDArray[np.int64] = np.searchsorted(suspects, np.concatenate([first, second]))
    far: NDArray[np.int64] = np.searchsorted(suspects, np.concatenate([second, first]))
    order = np.argsort(near, kind="stable")
    order = order[mine[near[order]]]  # what others hold has no edges, so it is kept: it is not ours to drop
    near, far, alike = near[order], far[order], np.concatenate([similarity, similarity])[order]
    rows = np.searchsorted(near, np.arange(len(suspects) + 1))
    rank = _ranks(parts, starts, suspects, keep)
    preferred = np.lexsort((suspects, -rank, mine))
    anchors, chosen = anchor(near, far, alike, preferred, rows)
    gone = np.flatnonzero(anchors >= 0)
    names = _names(dataset, others, index, starts, suspects[np.unique(np.concatenate([gone, anchors[gone]]))])
    drops = Drops()
    for at in gone.tolist():
        kept = names[int(suspects[anchors[at]])]
        drops[names[int(suspects[at])]] = Drop("near-duplicate", of=kept, jaccard=float(alike[chosen[at]]))
    return drops, _told(drops, len(first), int(starts[-1] - starts[held]))


def _ranks(parts: list[Any], starts: NDArray[np.int64], suspects: NDArray[np.int64], keep: str) -> NDArray[np.float64]:
    """How much each record is preferred: the more the better; all alike where the first stays."""
    import numpy as np

    rank = np.zeros(len(suspects))
    if keep == "first":
        return rank
    cuts = np.searchsorted(suspects, starts)
    for number, (begin, end) in enumerate(pairwise(cuts.tolist())):
        part, wanted = load_part(parts[number]), suspects[begin:end] - starts[number]
        if keep == "longest":
            rank[begin:end] = part["rows"][wanted + 1] - part["rows"][wanted]
        elif part["rank"] is not None:
            rank[begin:end] = part["rank"][wanted]
    return rank


def _names(
    dataset: Dataset[Record], others: list[Shard], index: Index | None, starts: NDArray[np.int64],
    wanted: NDArray[np.int64],
) -> dict[int, str]:  # fmt: skip
    """Ids of records by their number through all parts; only shards that hold one are read."""
    import numpy as np
    import pyarrow.parquet as pq

    found: dict[int, str] = {}
    readers: list[Any] = [shard.ids for shard in [*others, *dataset.shards]]
    if index is not None:
        readers.insert(0, lambda: pq.read_table(f"{index.path}/ids.parquet")["id"].to_pylist())
    cuts = np.searchsorted(wanted, starts)
    for read, start, begin, end in zip(readers, starts, cuts[:-1], cuts[1:], strict=False):
        if begin < end:
            ids = read()
            found.update((number, ids[number - start]) for number in wanted[begin:end].tolist())
    return found


def curve(bands: int, width: int, threshold: float) -> str:
    """What the threshold means, as Markdown."""
    from factory.text.near import proposed

    points = sorted({0.5, 0.6, 0.7, 0.8, 0.9, threshold})
    head = (
        f"{bands} bands of {width}. Pairs of records are proposed with the probability below, then checked exactly:\n"
    )
    head += f"those of similarity {threshold:g} and more are duplicates.\n\n| similarity | proposed |\n|---|---|\n"
    return head + "\n".join(f"| {point:g} | {proposed(point, bands, width):.3f} |" for point in points)


def _told(drops: Drops, pairs: int, records: int) -> str:
    """What came of it, and which records stand for a large part of the corpus."""
    groups = Counter(drop.details["of"] for drop in drops.values())
    text = (
        f"\n\n{pairs:,} pairs were duplicates; {len(drops):,} of {records:,} records were dropped for {len(groups):,}."
    )
    large = [(name, count) for name, count in groups.most_common(5) if count > max(1, LARGE * records)]
    if large:
        text += f"\n\nRecords that stand for over {LARGE:.0%} of the corpus, and for how many:\n\n"
        text += "\n".join(f"- `{name}`: {count:,}" for name, count in large)
    return text
