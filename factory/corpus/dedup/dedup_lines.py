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
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Context, Dataset, InputError, Record, Shard, Text

from .cutting import (
    Changes,
    Places,
    Rule,
    as_cell,
    places_of,
    portions,
    ranges_for,
    records_left,
    stacked,
    summary,
    text_at,
    within,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN = 20  # repeats in the report


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
    keys = sum(len(part.load()["keys"]) for part in parts)
    ranges = ranges_for(keys)
    matches = ctx.memos(match_parts, range(ranges), ranges, parts, least)
    numbered = [[number, shard] for number, shard in enumerate(dataset.shards)]
    changes = list(ctx.map(cut_parts, numbered, units, parts, matches))
    places = places_of([part.load() for part in parts])
    rule = Rule(f"repeated {units}", min_chars)
    ctx.report("What dedup_lines cut", summary(changes, places, units, rule) + _common(dataset, matches, places, units))
    yield from records_left(dataset, ctx, changes, places, units, rule)


def find_parts(shard: Shard, units: str, min_words: int) -> dict[str, NDArray[Any]]:
    """The lines or paragraphs of a shard.

    rows    int64; those of record i are numbers rows[i] to rows[i + 1]
    keys    uint64, sorted: hashes of those of at least `min_words`
    places  uint32: their numbers, ascending for equal keys
    """
    import numpy as np

    rows, keys, places = [], [np.zeros(0, np.uint64)], [np.zeros(0, np.uint32)]
    start = 0
    for column in portions(shard):
        found = getattr(column, units)
        begun = column.words.start
        long = np.searchsorted(begun, found.end) - np.searchsorted(begun, found.start) >= min_words
        rows.append(found.rows)
        keys.append(found.hash[long])
        places.append((np.flatnonzero(long) + start).astype(np.uint32))
        start += len(found.start)
    joined = np.concatenate(keys)
    order = np.argsort(joined, kind="stable")
    return {"rows": stacked(rows), "keys": joined[order], "places": np.concatenate(places)[order]}


def match_parts(number: int, ranges: int, parts: Sequence[Any], max_count: int | None) -> dict[str, Any]:
    """What goes, of the parts whose hashes lie in the numbered range.

    gone, source  places, ascending, and for each the place of the part that stays for it; -1 when none does
    common        (times, records, place of the first) of those that occur most often of what goes

    max_count  parts in more records go, all of them; None: every part goes but the first of those it equals
    """
    import numpy as np

    from factory.text.windows import earliest

    loaded = [part.load() for part in parts]
    where = places_of(loaded)
    slices = [within(part["keys"], number, ranges) for part in loaded]
    keys = np.concatenate([np.zeros(0, np.uint64), *(p["keys"][s] for p, s in zip(loaded, slices, strict=True))])
    places, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    begun = 0
    for part, some, start in zip(loaded, slices, where.starts.tolist(), strict=False):
        held = part["places"][some].astype(np.int64)
        places.append(held + start)
        owners.append(np.searchsorted(part["rows"], held, side="right") - 1 + begun)
        begun += len(part["rows"]) - 1
    order = np.argsort(keys, kind="stable")  # equal keys stay in dataset order
    place, owner = np.concatenate(places)[order], np.concatenate(owners)[order]
    first = earliest(keys[order], keys[order])
    new = np.concatenate([np.ones(min(1, len(owner)), bool), (owner[1:] != owner[:-1]) | (first[1:] != first[:-1])])
    times, records = np.bincount(first), np.bincount(first, new).astype(np.int64)
    at = np.flatnonzero(first != np.arange(len(first)) if max_count is None else records[first] > max_count)
    source = place[first[at]] if max_count is None else np.full(len(at), -1)
    heads = np.unique(first[at])
    heads = heads[np.lexsort((place[heads], -times[heads]))[:SHOWN]]
    common = list(zip(times[heads].tolist(), records[heads].tolist(), place[heads].tolist(), strict=True))
    sorted_by_place = np.argsort(place[at])
    return {"gone": place[at][sorted_by_place], "source": source[sorted_by_place], "common": common}


def cut_parts(item: Sequence[Any], units: str, parts: Sequence[Any], matches: Sequence[Any]) -> dict[str, Any]:
    """What cutting does to the texts of a shard, [its number, the shard], as `Changes` tells it."""
    import numpy as np

    number, shard = item
    first, behind = places_of([part.load() for part in parts]).starts[number : number + 2]
    places, sources = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for match in matches:
        held = match.load()
        some = slice(*np.searchsorted(held["gone"], (first, behind)))
        places.append(held["gone"][some] - first)
        sources.append(held["source"][some])
    order = np.argsort(np.concatenate(places))
    at, source = np.concatenate(places)[order], np.concatenate(sources)[order]
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


def _common(dataset: Dataset[Any], matches: Sequence[Any], places: Places, units: str) -> str:
    """The repeats that were commonest, as a table of Markdown."""
    found = [entry for match in matches for entry in match.load()["common"]]
    found.sort(key=lambda entry: (-entry[0], entry[2]))
    if not found:
        return ""
    rows = [
        f"| {times:,} | {records:,} | {as_cell(text_at(dataset, places, place, units))} |"
        for times, records, place in found[:SHOWN]
    ]
    return "\n".join([f"\n\n| times | records | the commonest {units} |", "|---|---|---|", *rows])
