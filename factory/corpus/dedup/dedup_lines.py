"""Repeated lines and paragraphs cut out of texts: menus, notices, templates, passages that many pages share.

Wenzek et al. 2020, "CCNet: Extracting High Quality Monolingual Datasets from Web Crawl Data", section 3.1, cut every
paragraph that occurred before, known by 64 bits of a hash; Li et al. 2024, "DataComp-LM", do so with a Bloom filter,
which cuts some that did not. Here parts are compared as they stand, not without case, digits and punctuation as in
CCNet. Penedo et al. 2024, "The FineWeb Datasets", warn: cutting lines on top of MinHash made their models worse.

Shards are read one by one, their hashes matched by ranges, then shards cut, each on all workers. What passes between
lies on disk: 12 bytes for each line that counts, 16 for each that goes, and the texts that change. Of n different lines
two have one hash with a probability of n² / 2^65.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Context, Dataset, InputError, Record, Shard, Text

from .cutting import SHOWN, Changes, Repeats, Rule, cut_out
from .matching import Arrays, by_key, going, in_shard, places_of, portions, ranges_for, stacked, within


@factory.step
def dedup_lines(
    dataset: Dataset[Text],
    ctx: Context,
    unit: Literal["line", "paragraph"] = "line",
    keep: Literal["first", "none"] = "first",
    max_count: Annotated[int, Field(ge=1)] | None = None,
    min_words: Annotated[int, Field(ge=1)] = 5,
    min_chars: Annotated[int, Field(ge=0)] = 1,
) -> Iterator[Record]:
    """Cut out lines or paragraphs that occur more than once, in one text or in several.

    Lines count without blanks at their ends, otherwise as they stand; paragraphs are lines without a blank line between
    them. Dataset order decides which is the first, and the records stay in it. meta.dedup_lines has how many lines and
    characters went.

    unit       line, or paragraph
    keep       first: of equal lines the first stays. none: lines that occur in more than `max_count` records go
               everywhere, as what is boilerplate is wanted nowhere
    max_count  goes with `keep: none`; 1 when not given
    min_words  shorter lines are left alone: "}", "Yes.", headings. Characters count as words in Chinese, Japanese,
               Thai and their like
    min_chars  records that lost lines and have fewer characters left are dropped as "repeated lines" with the id of the
               record in which the first of these lines stays. What was the first of its kind in such a record goes
               with it
    """
    if max_count is not None and keep == "first":
        raise InputError("dedup_lines: max_count goes with `keep: none`; with `keep: first` every repeat goes")
    least = None if keep == "first" else max_count or 1
    units = f"{unit}s"
    parts = ctx.memos(find_parts, dataset.shards, units, min_words)
    ranges = ranges_for(sum(len(part.load()["keys"]) for part in parts))
    matches = ctx.memos(match_parts, range(ranges), ranges, parts, least)
    common = [entry for match in matches for entry in match.load()["common"]]
    common.sort(key=lambda entry: (-entry[0], entry[2]))
    repeats = Repeats(("times", "records"), common[:SHOWN])
    rule = Rule(f"repeated {units}", min_chars)
    yield from cut_out(dataset, ctx, cut_parts, units, parts, matches, units, rule, repeats)


def find_parts(shard: Shard, units: str, min_words: int) -> Arrays:
    """The lines or paragraphs of a shard.

    rows    int64; those of record i are numbers rows[i] to rows[i + 1]
    keys    uint64, sorted: hashes of those of at least `min_words`
    places  uint32: their numbers, ascending for equal keys
    """
    import numpy as np

    rows, long = [], []
    start = 0
    for column in portions(shard):
        found = getattr(column, units)
        begun = column.words.start
        words = np.searchsorted(begun, found.end) - np.searchsorted(begun, found.start)
        at = np.flatnonzero(words >= min_words)
        rows.append(found.rows)
        long.append({"keys": found.hash[at], "places": (at + start).astype(np.uint32)})
        start += len(found.start)
    return {"rows": stacked(rows), **by_key(long, keys=np.uint64, places=np.uint32)}


def match_parts(number: int, ranges: int, parts: Sequence[Any], max_count: int | None) -> Arrays:
    """What goes, of the parts whose hashes lie in the numbered range.

    gone, source  places, ascending, and for each the place of the part that stays for it; -1 when none does
    common        (times, records, place of the first) of those that occur most often of what goes

    max_count  parts in more records go, all of them; None: every part goes but the first of those it equals
    """
    import numpy as np

    from factory.text.windows import earliest

    loaded = [part.load() for part in parts]
    where = places_of(loaded)
    entries = []
    begun = 0
    for part, start in zip(loaded, where.starts.tolist(), strict=False):
        some = within(part["keys"], number, ranges)
        held = part["places"][some].astype(np.int64)
        owners = np.searchsorted(part["rows"], held, side="right") - 1 + begun
        entries.append({"keys": part["keys"][some], "places": held + start, "owners": owners})
        begun += len(part["rows"]) - 1
    held = by_key(entries, keys=np.uint64, places=np.int64, owners=np.int64)
    place, owner = held["places"], held["owners"]
    first = earliest(held["keys"], held["keys"])
    new = np.concatenate([np.ones(min(1, len(owner)), bool), (owner[1:] != owner[:-1]) | (first[1:] != first[:-1])])
    times, records = np.bincount(first), np.bincount(first, new).astype(np.int64)
    at = np.flatnonzero(first != np.arange(len(first)) if max_count is None else records[first] > max_count)
    source = place[first[at]] if max_count is None else np.full(len(at), -1)
    heads = np.unique(first[at])
    heads = heads[np.lexsort((place[heads], -times[heads]))[:SHOWN]]
    common = list(zip(times[heads].tolist(), records[heads].tolist(), place[heads].tolist(), strict=True))
    return {**going(place[at], source), "common": common}


def cut_parts(item: Sequence[Any], units: str, parts: Sequence[Any], matches: Sequence[Any]) -> Arrays:
    """What cutting does to the texts of a shard, [its number, the shard], as `Changes` tells it."""
    import numpy as np

    number, shard = item
    at, source = in_shard(matches, *places_of([part.load() for part in parts]).starts[number : number + 2].tolist())
    changes, row, start = Changes(), 0, 0
    for column in portions(shard):
        found = getattr(column, units)
        some = slice(*np.searchsorted(at, (start, start + len(found.start))))
        gone = np.zeros(len(found.start), np.bool_)
        gone[at[some] - start] = True
        changes.add(column, found, gone, source[some], row)
        row += len(column)
        start += len(found.start)
    return changes.result()
