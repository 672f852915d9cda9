"""How files become pieces: big ones are cut at line ends or row groups, small ones packed by a hash of their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from factory import digest

PIECE = 64 << 20  # bytes
DEPTH = 6  # 64 buckets to begin with
BITS = 64


def buckets(sizes: Mapping[str, int], limit: int = PIECE) -> list[list[str]]:
    """Places in sorted groups of at most `limit` bytes, or of one file. `sizes` is place → bytes.

    A place's bucket is the head of its hash: the leaves of a binary trie that starts 6 deep and divides a leaf that
    is too heavy. So a new file changes one leaf (which may divide), whatever else there is.
    """
    bits = {place: int(digest(place.encode()), 16) for place in sizes}
    leaves: dict[int, list[str]] = {}
    for place in sorted(sizes):
        leaves.setdefault(bits[place] >> (BITS - DEPTH), []).append(place)
    return [part for leaf in sorted(leaves) for part in _divided(leaves[leaf], sizes, bits, DEPTH, limit)]


def _divided(
    places: list[str], sizes: Mapping[str, int], bits: Mapping[str, int], depth: int, limit: int
) -> Iterator[list[str]]:
    if len(places) == 1 or depth == BITS or sum(sizes[place] for place in places) <= limit:
        yield places
        return
    for side in (0, 1):
        if part := [place for place in places if bits[place] >> (BITS - 1 - depth) & 1 == side]:
            yield from _divided(part, sizes, bits, depth + 1, limit)


def cut_lines(path: Path, limit: int = PIECE) -> list[tuple[int, int, int]]:
    """(start, end, number of the first line) of parts of a file: each ends at the first line end past `limit` bytes.

    A part depends on nothing behind it, so appending changes the last part alone. Reads the file once (a count of
    line feeds, some 5 GB/s from memory); the result is remembered while the process lives.
    """
    stat = path.stat()
    return list(_cut(path, stat.st_size, stat.st_mtime_ns, limit))


def cut_row_groups(path: Path, limit: int = PIECE) -> list[tuple[int, int | None, int]]:
    """(first row group, behind the last, number of the first row) of parts of a Parquet file of about `limit` bytes.

    Bytes are those of the columns before compression. One part for a file that cannot be read: reading it tells why.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        groups = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return [(0, None, 1)]
    parts: list[tuple[int, int | None, int]] = []
    begun = row = size = 0
    for number in range(groups.num_row_groups):
        group = groups.row_group(number)
        if size and size + group.total_byte_size > limit:
            parts.append((begun, number, row + 1))
            row += sum(groups.row_group(one).num_rows for one in range(begun, number))
            begun, size = number, 0
        size += group.total_byte_size
    return [*parts, (begun, None, row + 1)]


@lru_cache(maxsize=1024)
def _cut(path: Path, size: int, mtime_ns: int, limit: int) -> tuple[tuple[int, int, int], ...]:
    starts = [(0, 1)]
    offset, line, target = 0, 1, limit
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            at = 0
            while (end := block.find(b"\n", max(at, target - offset))) >= 0:
                line += block.count(b"\n", at, end + 1)
                at = end + 1
                starts.append((offset + at, line))
                target = offset + at + limit
            line += block.count(b"\n", at)
            offset += len(block)
    if len(starts) > 1 and starts[-1][0] >= size:
        starts.pop()
    ends = [start for start, _ in starts[1:]] + [size]
    return tuple((start, end, first) for (start, first), end in zip(starts, ends, strict=True))
