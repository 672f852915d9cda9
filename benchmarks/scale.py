"""The arithmetic of a large corpus: tasks, memory, bytes moved and hours, from rates measured on one core.

Prints the tables of docs/scale.md. The rates are this machine's; measure yours (`benchmarks/dedup_minhash.py`, or the
times of a build of a few GB) and give them as options. What is a constant of the code is imported from it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from math import ceil

from factory.corpus.dedup.matching import RANGE_KEYS
from factory.corpus.dedup.minhash import CHECKED_AT_ONCE
from factory.corpus.sources.packing import PIECE
from factory.text.near import choose_bands

KEY = 12  # bytes of a band key and its owner, as stored
SHINGLE = 4  # bytes of a shingle hash
PAGE = 8192  # bytes fetched for the shingles of one record: two pages of 4 KiB
MOST = 1 << 32  # records in one comparison

OPTIONS = (  # name, default, meaning
    ("terabytes", 10.0, "text, uncompressed, 10^12 bytes"),
    ("record", 2900.0, "bytes of text a record, mean"),
    ("shingles", 0.14, "shingles a byte of text: one a word, about"),
    ("stored", 0.4, "bytes of Parquet a byte of text"),
    ("duplicates", 0.10, "share of the records that are dropped as near-duplicates"),
    ("similarity", 0.9, "of a duplicate and what it is dropped for, mean"),
    ("clean", 10.0, "MB/s a core: read, clean, filter, write"),
    ("sign", 73.0, "MB/s a core: sign_shard, shard to memo"),
    ("match", 1.6, "million band keys/s a core: match_range, verification included"),
    ("read", 260.0, "MB/s a core: text from Parquet"),
    ("write", 155.0, "MB/s a core: text to Parquet"),
    ("open", 0.13, "ms to open a part and find a range in it; 1 or more where the folder is on a network"),
    ("task", 1.2, "ms of the driver for a task"),
    ("shard", 24.0, "ms of the driver for the drops of a shard"),
    ("decide", 1.3, "microseconds of the driver for a verified pair"),
    ("edge", 160.0, "bytes of the driver for a verified pair, each time that it is found"),
    ("drop", 700.0, "bytes of the driver for a dropped record"),
    ("driver", 64.0, "GB of memory that the driver has"),
)


class Comparison:
    """One `dedup_minhash` over `terabytes` of text."""

    def __init__(self, rate: argparse.Namespace, terabytes: float) -> None:
        self.rate, self.text = rate, terabytes * 1e12
        self.bands, self.width = choose_bands(rate.threshold, rate.recall, rate.permutations)
        self.records = self.text / rate.record
        self.shards = ceil(self.text / PIECE)
        self.keys = self.records * self.bands
        self.ranges = ceil(self.keys / RANGE_KEYS)
        self.dropped = self.records * rate.duplicates
        # A pair is proposed in every band that it shares; bands lie in ranges of their own unless there are few.
        shared = self.bands * rate.similarity**self.width
        self.found = self.dropped * (self.ranges * (1 - (1 - 1 / self.ranges) ** shared))

    @property
    def driver_bytes(self) -> float:
        return self.found * self.rate.edge + self.dropped * self.rate.drop

    def tasks(self) -> list[tuple[str, float, float, str]]:
        """(what, tasks, core hours, what bounds the memory of one)."""
        rate = self.rate
        opening = self.shards * self.ranges * rate.open / 1e3
        return [
            ("read, clean, filter", self.shards, self.text / rate.clean / 1e6 / 3600, "a shard: its text twice, Arrow"),
            ("sign a shard", self.shards, self.text / rate.sign / 1e6 / 3600, "a shard: its text, shingles and keys"),
            ("match a range", self.ranges, self.keys / rate.match / 1e6 / 3600, f"{RANGE_KEYS:,} keys"),
            ("  opening the parts for it", self.shards * self.ranges, opening / 3600, "one part at a time"),
            ("apply the drops", self.shards, self.text * (1 / rate.read + 1 / rate.write) / 1e6 / 3600, "a shard"),
        ]

    def moved(self) -> list[tuple[str, float]]:
        """(what, bytes through the shared folder)."""
        stored = self.text * self.rate.stored
        return [
            ("Parquet read and written by cleaning", 2 * stored),
            ("Parquet read by signing", stored),
            (f"band keys written ({KEY} bytes each)", self.keys * KEY),
            (f"shingles written ({SHINGLE} bytes each)", self.text * self.rate.shingles * SHINGLE),
            ("band keys read by matching, each once", self.keys * KEY),
            ("shingles read to verify pairs, in pages", 2 * self.found * PAGE),
            ("Parquet read and written by applying the drops", 2 * stored),
        ]

    def driver_hours(self) -> float:
        """What no number of cores shortens."""
        tasks = 3 * self.shards + self.ranges
        deciding = self.found * self.rate.decide / 1e6
        return (deciding + (tasks * self.rate.task + self.shards * self.rate.shard) / 1e3) / 3600


def comparisons(rate: argparse.Namespace) -> int:
    """Into how many equal parts the corpus must go, so that each is compared within the limits of one driver."""
    parts = 1
    while (one := Comparison(rate, rate.terabytes / parts)).driver_bytes > rate.driver * 1e9 or one.records >= MOST:
        parts += 1
    return parts


def size(count: float) -> str:
    """Bytes as people say them."""
    power = next((power for power in (12, 9, 6) if count >= 10**power), 3)
    return f"{count / 10**power:,.1f} {dict(zip((12, 9, 6, 3), ('TB', 'GB', 'MB', 'kB'), strict=True))[power]}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def told(rate: argparse.Namespace) -> str:
    """The tables, as Markdown."""
    whole, parts = Comparison(rate, rate.terabytes), comparisons(rate)
    part = Comparison(rate, rate.terabytes / parts)
    bands = f"{part.bands} bands of {part.width}"
    rows = [
        ("text", size(whole.text), size(part.text)),
        ("shards of 64 MiB", f"{whole.shards:,}", f"{part.shards:,}"),
        ("records", f"{whole.records / 1e6:,.0f} million", f"{part.records / 1e6:,.0f} million"),
        (f"band keys ({bands})", f"{whole.keys / 1e9:,.1f} billion", f"{part.keys / 1e9:,.1f} billion"),
        ("ranges of keys", f"{whole.ranges:,}", f"{part.ranges:,}"),
        ("times that a part is opened", f"{whole.shards * whole.ranges:,}", f"{part.shards * part.ranges:,}"),
        ("records dropped", f"{whole.dropped / 1e6:,.0f} million", f"{part.dropped / 1e6:,.0f} million"),
        ("memory of the driver", size(whole.driver_bytes), size(part.driver_bytes)),
        (f"within {MOST:,} records", *("yes" if one.records < MOST else "no" for one in (whole, part))),
    ]
    text = table(("", "in one comparison", f"in each of {parts}"), rows)
    work = [(what, f"{parts * n:,.0f}", f"{parts * hours:,.1f}", held) for what, n, hours, held in part.tasks()]
    hours = sum(parts * hours for _, _, hours, _ in part.tasks())
    text += f"\nAll {parts} comparisons together:\n\n"
    text += table(("work", "tasks, or times", "core hours", "memory of one is bounded by"), work)
    text += "\n" + table(("through the shared folder", ""), [(what, size(parts * n)) for what, n in part.moved()])
    driver = parts * part.driver_hours()
    spread = [(f"{cores:,}", f"{hours / cores + driver:,.1f}") for cores in rate.cores]
    text += "\n" + table(("cores", f"hours, {driver:.1f} of them the driver's own"), spread)
    moved = parts * sum(n for _, n in part.moved())
    most = rate.cores[-1]
    text += (
        f"\nOn {most:,} cores the shared folder carries {size(moved / (hours / most * 3600))} a second on average.\n"
    )
    return text + f"Pairs are verified {CHECKED_AT_ONCE:,} at a time.\n"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, meaning in OPTIONS:
        parser.add_argument(f"--{name}", type=float, default=default, help=f"{meaning} ({default:g})")
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--recall", type=float, default=0.99)
    parser.add_argument("--permutations", type=int, default=128)
    parser.add_argument("--cores", type=int, nargs="+", default=[16, 64, 256, 1024])
    return parser.parse_args()


if __name__ == "__main__":
    print(told(arguments()), end="")
