"""Parts of texts known by their hashes: found shard by shard, matched by ranges of hashes, named by their places.

Parts are counted through all shards in dataset order, so a number, a place, names one: the parts of record r of shard s
are starts[s] + rows[s][r] to starts[s] + rows[s][r + 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from factory import Shard

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from factory.text.column import TextColumn

Arrays = dict[str, Any]  # by name

RANGE_KEYS = 1 << 23  # hashes that are sorted together: 300 MB with all that goes with them


def portions(shard: Shard) -> Iterator[TextColumn]:
    """The texts of a shard, at most 1,024 at a time."""
    from factory.text.column import TextColumn

    return (TextColumn(table.column("text")) for table in shard.tables(["text"]))


def stacked(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """`rows` of a shard from those of its portions, each counted from 0."""
    import numpy as np

    found = [np.zeros(1, np.int64)]
    for one in rows:
        found.append(one[1:] + found[-1][-1])
    return np.concatenate(found)


def ranges_for(keys: int) -> int:
    """In how many ranges so many hashes are sorted."""
    return max(1, -(-keys // RANGE_KEYS))


def within(keys: NDArray[np.uint64], number: int, ranges: int) -> slice:
    """Where the hashes of one of `ranges` equal ranges lie among sorted ones."""
    import numpy as np

    low, high = np.uint64((number << 64) // ranges), np.uint64(((number + 1) << 64) // ranges - 1)
    return slice(int(np.searchsorted(keys, low)), int(np.searchsorted(keys, high, side="right")))


def by_key(entries: Sequence[Arrays], **kinds: Any) -> Arrays:
    """Arrays of all entries, joined by name (name=type), in the order of `keys`; equal keys stay as they come."""
    import numpy as np

    joined = {
        name: np.concatenate([np.zeros(0, kind), *(entry[name] for entry in entries)]) for name, kind in kinds.items()
    }
    order = np.argsort(joined["keys"], kind="stable")
    return {name: values[order] for name, values in joined.items()}


def going(gone: NDArray[np.int64], source: NDArray[np.int64]) -> Arrays:
    """Places of what goes, ascending, and what each repeats: what `in_shard` reads of a match."""
    import numpy as np

    order = np.argsort(gone)
    return {"gone": gone[order], "source": source[order]}


def in_shard(matches: Sequence[Any], begun: int, behind: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What goes of the parts begun..behind, a shard's: places counted from `begun`, ascending, and their sources."""
    import numpy as np

    gone, source = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for match in matches:
        held = match.load()
        some = slice(*np.searchsorted(held["gone"], (begun, behind)))
        gone.append(held["gone"][some] - begun)
        source.append(held["source"][some])
    places = np.concatenate(gone)
    order = np.argsort(places)
    return places[order], np.concatenate(source)[order]


class Places(NamedTuple):
    """Where parts are, by their number through all shards."""

    starts: NDArray[np.int64]  # [shards + 1]
    rows: list[NDArray[np.int64]]  # of each shard

    def home(self, place: int) -> tuple[int, int, int]:
        """(shard, record in it, part in that)."""
        import numpy as np

        shard = int(np.searchsorted(self.starts, place, side="right")) - 1
        part = place - int(self.starts[shard])
        record = int(np.searchsorted(self.rows[shard], part, side="right")) - 1
        return shard, record, part - int(self.rows[shard][record])


def places_of(parts: Sequence[Any]) -> Places:
    """Places of the parts that a pass over the shards found: its results, each with `rows`."""
    import numpy as np

    rows = [part["rows"] for part in parts]
    return Places(np.cumsum([0, *(int(one[-1]) for one in rows)]), rows)
