"""Exact repeats of 50 tokens and more cut out of texts, wherever they begin and end.

Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better", section 4.1: a run of 50 tokens that stands
twice is cut; Penedo et al. 2023, "The RefinedWeb Dataset", do so as well. They find it by a suffix array over the whole
corpus in one memory. Here every window of so many tokens is known by its hash, and only hashes are sorted, a range at a
time. A token is a word, case and punctuation aside, or a character where words are not spaced (`factory.text.words`).

Three passes over the shards and two over ranges of hashes, each on all workers. Of each window a sample is taken by
winnowing (`factory.text.windows.winnow`), such that equal windows have equal samples: 2 / 27 of all places for 50
tokens. Samples that occur at one place only are done with. Of the others all windows are known by 128 bits, sorted, and
all but the first of equal ones covered. Time is linear in the tokens but for the sorting of samples and suspects;
memory is that of a shard or of a range, 300 MB. On disk lie 8 bytes for every sample, which is 0.6 a token, 20 for each
window whose sample is not alone and 16 for each repeat: what is repeated often is what costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

import factory
from factory import Context, Dataset, Record, Shard, Text

from .cutting import SHOWN, Changes, Repeats, Rule, cut_out
from .matching import Arrays, by_key, going, in_shard, places_of, portions, ranges_for, stacked, within

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@factory.step
def dedup_substrings(
    dataset: Dataset[Text],
    ctx: Context,
    tokens: Annotated[int, Field(ge=2, le=10_000)] = 50,
    max_share: Annotated[float, Field(gt=0, le=1)] = 1.0,
    min_chars: Annotated[int, Field(ge=0)] = 1,
) -> Iterator[Record]:
    """Cut out every run of `tokens` tokens and more that occurred before, in an earlier text or earlier in the same.

    Dataset order decides what is earlier, and the records stay in it. Exactly those tokens go that lie in a window of
    so many tokens which equals an earlier one, but for tokens that the two share. So of windows that are equal in the
    input only the first can be whole in what is left; a new repeat can only be where two ends now meet. Line ends and
    blank lines around a cut stay. meta.dedup_substrings has how many words and characters went.

    tokens     words, case and punctuation aside; characters in Chinese, Japanese, Thai and their like
    max_share  records of which a larger share of the tokens would go are dropped instead, as "repeated text"
    min_chars  likewise those that lost something and have fewer characters left. Details name the record in which what
               went first occurred. What occurred first in a dropped record goes with it
    """
    samples = ctx.memos(sample_shard, dataset.shards, tokens)
    ranges = ranges_for(sum(len(memo.load()["samples"]) for memo in samples))
    repeated = ctx.memos(repeated_samples, range(ranges), ranges, samples)
    pairs = [[shard, memo] for shard, memo in zip(dataset.shards, samples, strict=True)]
    windows = ctx.memos(suspect_windows, pairs, tokens, repeated)
    ranges = ranges_for(sum(len(memo.load()["keys"]) for memo in windows))
    matches = ctx.memos(match_windows, range(ranges), ranges, windows, samples, tokens)
    repeats = Repeats(("times",), _commonest(matches, tokens), tokens)
    rule = Rule("repeated text", min_chars, max_share)
    yield from cut_out(dataset, ctx, cut_windows, tokens, samples, matches, "words", rule, repeats)


def sample_shard(shard: Shard, tokens: int) -> Arrays:
    """Samples of all windows of a shard, uint64, sorted; record i has the tokens rows[i] to rows[i + 1]."""
    import numpy as np

    from factory.text.segments import word_hashes
    from factory.text.windows import winnow

    rows, samples = [], [np.zeros(0, np.uint64)]
    for column in portions(shard):
        starts, hashes = word_hashes(column.texts)
        rows.append(starts)
        samples.append(winnow(starts, hashes, tokens).hash)
    return {"rows": stacked(rows), "samples": np.sort(np.concatenate(samples))}


def repeated_samples(number: int, ranges: int, samples: Sequence[Any]) -> NDArray[np.uint64]:
    """Samples of the numbered range that are there more than once, sorted, each once."""
    import numpy as np

    loaded = [memo.load()["samples"] for memo in samples]
    keys = np.sort(np.concatenate([np.zeros(0, np.uint64), *(one[within(one, number, ranges)] for one in loaded)]))
    return np.unique(keys[1:][keys[1:] == keys[:-1]])


def suspect_windows(item: Sequence[Any], tokens: int, repeated: Sequence[Any]) -> Arrays:
    """Windows whose sample is not alone, of a shard: [the shard, its samples].

    keys, checks  uint64: two hashes of each, sorted by the first
    places        uint32: the token of the shard at which it begins; ascending for equal keys
    """
    import numpy as np

    from factory.text.segments import word_hashes
    from factory.text.windows import Winnowed, long_hashes, winnow

    shard, held = item
    mine = _common_to(held.load()["samples"], repeated)
    suspects = []
    start = 0
    for column in portions(shard):
        starts, hashes = word_hashes(column.texts)
        chosen = winnow(starts, hashes, tokens)
        at = np.flatnonzero(_among(chosen.hash, mine))
        if len(at):
            some = Winnowed(chosen.first[at], chosen.windows[at], chosen.hash[at])
            first, keys, checks = long_hashes(hashes, some, tokens)
            suspects.append({"keys": keys, "checks": checks, "places": (first + start).astype(np.uint32)})
        start += len(hashes)
    return by_key(suspects, keys=np.uint64, checks=np.uint64, places=np.uint32)


def _common_to(samples: NDArray[np.uint64], repeated: Sequence[Any]) -> NDArray[np.uint64]:
    """A shard's samples that are among the repeated ones of any range; sorted, each once."""
    import numpy as np

    found = [np.zeros(0, np.uint64)]
    for number, memo in enumerate(repeated):
        some = samples[within(samples, number, len(repeated))]
        found.append(np.unique(some[_among(some, memo.load())]))
    return np.concatenate(found)


def _among(values: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which values are among sorted ones."""
    import numpy as np

    if not len(known):
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    found: NDArray[np.bool_] = known[at] == values
    return found


def match_windows(number: int, ranges: int, windows: Sequence[Any], samples: Sequence[Any], tokens: int) -> Arrays:
    """Windows of the numbered range that equal an earlier one.

    gone, source  the places where they begin, ascending, and where the first of each begins
    common        (times, place of the first) of the commonest, none within `tokens` of another
    """
    import numpy as np

    from factory.text.windows import earliest

    starts = places_of([memo.load() for memo in samples]).starts
    entries = []
    for memo, start in zip(windows, starts.tolist(), strict=False):
        held = memo.load()
        some = within(held["keys"], number, ranges)
        entries.append(
            {
                "keys": held["keys"][some],
                "checks": held["checks"][some],
                "places": held["places"][some].astype(np.int64) + start,
            }
        )
    joined = by_key(entries, keys=np.uint64, checks=np.uint64, places=np.int64)
    place = joined["places"]
    first = earliest(joined["keys"], joined["checks"])
    at = np.flatnonzero(first != np.arange(len(first)))
    gone, source = place[at], place[first[at]]
    heads, times = np.unique(source, return_counts=True)
    apart = np.concatenate([np.ones(min(1, len(heads)), bool), np.diff(heads) >= tokens])
    heads, times = heads[apart], times[apart] + 1
    most = np.lexsort((heads, -times))[:SHOWN]
    return {**going(gone, source), "common": list(zip(times[most].tolist(), heads[most].tolist(), strict=True))}


def cut_windows(item: Sequence[Any], tokens: int, samples: Sequence[Any], matches: Sequence[Any]) -> Arrays:
    """What cutting does to the texts of a shard, [its number, the shard], as `Changes` tells it."""
    import numpy as np

    from factory.text.windows import covered

    number, shard = item
    where = places_of([memo.load() for memo in samples])
    begun, behind = where.starts[number : number + 2].tolist()
    at, source = in_shard(matches, begun, behind)
    gone = covered(at, source - begun, tokens, behind - begun)
    marked = np.flatnonzero(gone)
    # Where a window covers a token, so does the last one that begins at or before it.
    of = source[np.searchsorted(at, marked, side="right") - 1]
    changes, row, start = Changes(), 0, 0
    for column in portions(shard):
        size = int(where.rows[number][row + len(column)]) - start
        some = slice(*np.searchsorted(marked, (start, start + size)))
        if some.start < some.stop:  # else its words need not be sought again
            changes.add(column, column.words, gone[start : start + size], of[some], row)
        row += len(column)
        start += size
    return changes.result()


def _commonest(matches: Sequence[Any], tokens: int) -> list[tuple[int, ...]]:
    """(times, place of the first) of the repeats that were commonest; of windows that overlap, one."""
    shown: list[tuple[int, ...]] = []
    for less, place in sorted((-times, place) for match in matches for times, place in match.load()["common"]):
        if len(shown) < SHOWN and all(abs(place - other) >= tokens for _, other in shown):
            shown.append((-less, place))
    return shown
