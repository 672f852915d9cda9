"""Four rule sets in one fused stage (Gopher quality, Gopher repetition, C4, FineWeb) against datatrove's four filters.

    python benchmarks/quality.py CORPUS.parquet [--datatrove /path/to/its/python]

Both read the column `text` of one Parquet file, on one core, and decide each text; what one rule drops the next does
not see. Ours takes the whole file, in batches of 1,024 rows, and then, for the ratio, the part that datatrove takes:
every k-th row, about --peer-megabytes. Kernels and models are loaded before the clock starts; times are CPU seconds.
Install `datatrove[processing]` and spacy in an environment of their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory import Batch
from factory.corpus.rules.c4 import c4
from factory.corpus.rules.fineweb import fineweb
from factory.corpus.rules.gopher import gopher_quality
from factory.corpus.rules.repetition import gopher_repetition

ROWS = 1024
STEPS = {"gopher_quality": gopher_quality, "gopher_repetition": gopher_repetition, "c4": c4, "fineweb": fineweb}
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])

PEER = """
import json, sys, time
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline import filters as their
filters = [
    their.GopherQualityFilter(), their.GopherRepetitionFilter(), their.C4QualityFilter(), their.FineWebQualityFilter()
]
def kept(text, key):
    document = Document(text=text, id=key)
    for rule in filters:
        verdict = rule.filter(document)
        if verdict is not True:
            return False
    return True
warm = "The cat that sat with the dog is to be seen on the mat. It was a fine day, and all of them slept. " * 9
for rule in filters:
    rule.filter(Document(text=warm, id="warm"))
began, found, crashed = time.process_time(), 0, 0
for batch in pq.ParquetFile(sys.argv[1]).iter_batches(1024, columns=["text"]):
    for text in batch.column("text").to_pylist():
        try:
            found += kept(text, "x")
        except Exception:
            crashed += 1
print(json.dumps({"seconds": time.process_time() - began, "kept": found, "crashed": crashed}))
"""


def batches(path: Path) -> Any:
    """Record batches as the engine hands them to a vectorised step, without parents and meta."""
    at = 0
    for found in pq.ParquetFile(path).iter_batches(ROWS, columns=["text"]):
        ids = pa.array([str(number) for number in range(at, at + len(found))])
        at += len(found)
        yield pa.Table.from_arrays([ids, found.column(0).cast(pa.string())], schema=SCHEMA)


def ours(path: Path) -> dict[str, Any]:
    """CPU seconds in all and in each rule, and what each dropped."""
    seconds: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    rows = kept = 0
    began = time.process_time()
    for table in batches(path):
        batch: Batch[Any] = Batch(table)
        rows += len(batch)
        for name, step in STEPS.items():
            start, before = time.process_time(), len(batch)
            batch = step.function(batch)
            seconds[name] += time.process_time() - start
            dropped[name] += before - len(batch)
        kept += len(batch)
    total = time.process_time() - began
    return {"seconds": total, "rows": rows, "kept": kept, "each": seconds, "dropped": dropped}


def size_of(path: Path) -> float:
    """MB of text."""
    texts = pq.ParquetFile(path).iter_batches(ROWS, columns=["text"])
    return sum(found.column(0).nbytes - 4 * len(found) for found in texts) / 1e6


def part(path: Path, megabytes: float, size: float, to: Path) -> Path:
    """Every k-th row of the corpus, about so many MB."""
    every = max(1, round(size / megabytes))
    table = pq.read_table(path, columns=["text"])
    pq.write_table(table.take(pa.array(range(0, len(table), every))), to)
    return to


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--datatrove", type=Path, help="the python of an environment with datatrove in it")
    parser.add_argument("--peer-megabytes", type=float, default=4)
    options = parser.parse_args()
    for step in STEPS.values():  # compiles the kernels, or loads them from their cache
        step.function(Batch(next(batches(options.corpus)).slice(0, 64)))
    size, found = size_of(options.corpus), ours(options.corpus)
    rate = size / found["seconds"]
    print(f"{size:.0f} MB, {found['rows']:,} texts, {found['kept']:,} kept")
    for name, seconds in found["each"].items():
        print(f"  {name:18} {1000 * seconds / size:6.2f} ns/byte   {found['dropped'][name]:>8,} dropped")
    print(f"ours, four rules in one pass   {rate:8.2f} MB/s per core")
    if options.datatrove is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        less = part(options.corpus, options.peer_megabytes, size, Path(folder) / "part.parquet")
        mine, small = ours(less), size_of(less)
        answer = subprocess.run(
            [str(options.datatrove), "-c", PEER, str(less)], stdout=subprocess.PIPE, check=True, text=True
        )
        theirs = json.loads(answer.stdout.splitlines()[-1])
    print(f"on {small:.1f} MB of it, {mine['rows']:,} texts: ours keeps {mine['kept']:,}, datatrove {theirs['kept']:,}")
    print(f"ours                           {small / mine['seconds']:8.2f} MB/s per core")
    print(f"datatrove                      {small / theirs['seconds']:8.2f} MB/s per core, {theirs['crashed']} crashes")
    print(f"ratio                          {theirs['seconds'] / mine['seconds']:8.0f}")


if __name__ == "__main__":
    main()
