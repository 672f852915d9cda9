"""Near-duplicates by gaoya, rensa, datasketch and datatrove, each as its documentation has it; run by `minhash.py`.

    python minhash_peers.py NAME corpus.parquet MEGABYTES

Runs in an environment that has the peer and pyarrow. The whole job, from Parquet to the list of what would be dropped,
on one core: word 5-grams, 128 permutations in 16 bands of 8, the first of a group stays. Prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "ARROW_IO_THREADS"):
    os.environ[name] = "1"

WORD = re.compile(r"\w+")


def texts(path: str, megabytes: float) -> Iterator[str]:
    """The first texts of a Parquet file, up to so many megabytes of UTF-8."""
    import pyarrow.parquet as pq

    left = megabytes * 1e6
    for batch in pq.ParquetFile(path).iter_batches(1024, columns=["text"]):
        for text in batch.column(0).to_pylist():
            left -= len(text.encode())
            if left < 0:
                return
            yield text


def gaoya(path: str, megabytes: float) -> list[int]:
    """Its own shingles and tokens; a document is dropped when an earlier one is found."""
    from gaoya.minhash import MinHashStringIndex

    index = MinHashStringIndex(32, 0.8, 16, 8, 128, "word", True, (5, 5))
    drops = []
    for number, text in enumerate(texts(path, megabytes)):
        if index.query(text):
            drops.append(number)
        else:
            index.insert_document(number, text)
    return drops


def shingles(text: str) -> list[str]:
    words = WORD.findall(text.lower())
    return [" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))]


def rensa(path: str, megabytes: float) -> list[int]:
    """Shingled in Python, signed in bulk, matched at once."""
    from rensa import RMinHash, RMinHashLSH

    matrix = RMinHash.digest_matrix_from_token_sets(
        [shingles(text) for text in texts(path, megabytes)], num_perm=128, seed=1
    )
    lsh = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16)
    flags = lsh.insert_matrix_and_query_duplicate_flags(matrix)
    return [number for number, flag in enumerate(flags) if flag]


def datasketch(path: str, megabytes: float) -> list[int]:
    """MinHash.bulk in portions, MinHashLSH with the same bands."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=128, params=(16, 8))
    drops: list[int] = []
    portion: list[list[bytes]] = []
    number = 0

    def place() -> None:
        nonlocal number
        for sketch in MinHash.generator(portion, num_perm=128):
            if index.query(sketch):
                drops.append(number)
            else:
                index.insert(number, sketch)
            number += 1
        portion.clear()

    for text in texts(path, megabytes):
        portion.append([shingle.encode() for shingle in shingles(text)])
        if len(portion) == 1024:
            place()
    place()
    return drops


def datatrove(path: str, megabytes: float) -> list[int]:
    """Its three stages to the list of what is removed, one task each but for the buckets."""
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    config = MinhashConfig(n_grams=5, num_buckets=16, hashes_per_bucket=8)
    documents = [Document(text=text, id=str(at)) for at, text in enumerate(texts(path, megabytes))]
    with tempfile.TemporaryDirectory() as folder:
        stages = [
            (1, [documents, MinhashDedupSignature(f"{folder}/signatures", config=config)]),
            (16, [MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)]),
            (1, [MinhashDedupCluster(f"{folder}/buckets", f"{folder}/removed", config=config)]),
        ]
        for tasks, pipeline in stages:
            LocalPipelineExecutor(
                pipeline, tasks=tasks, workers=1, logging_dir=f"{folder}/logs-{tasks}-{id(pipeline)}"
            ).run()
        data = b"".join(file.read_bytes() for file in sorted(Path(folder, "removed").glob("*.remove")))
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def main() -> None:
    name, path, megabytes = sys.argv[1], sys.argv[2], float(sys.argv[3])
    output = os.dup(1)
    os.dup2(2, 1)  # peers print what they like
    began = time.perf_counter()
    drops = globals()[name](path, megabytes)
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text()  # getrusage counts what the parent had
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    size = sum(len(text.encode()) for text in texts(path, megabytes)) / 1e6
    found = {"seconds": seconds, "megabytes": size, "peak_mb": peak, "drops": drops}
    os.write(output, json.dumps(found).encode() + b"\n")


if __name__ == "__main__":
    main()
