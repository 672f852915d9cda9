"""The recipe web_en as a whole, from compressed JSON lines to Parquet, on one core.

    python benchmarks/corpus.py FOLDER --grow 2000
    python benchmarks/web_en.py FOLDER

Language, the rules of Gopher, C4 and FineWeb, e-mail and internet addresses, near-duplicates: `factory build` in a
process of its own, start-up included. The rate is UTF-8 of the texts by wall-clock time.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import zstandard

PART = 250_000  # documents in a file


def write_documents(corpus: Path, folder: Path) -> float:
    """The corpus as .jsonl.zst files; its text in megabytes."""
    size = 0
    file = None
    for number, batch in enumerate(pq.ParquetFile(corpus).iter_batches(1000, columns=["id", "text"])):
        if number % (PART // 1000) == 0:
            if file is not None:
                file.close()
            path = folder / f"part-{number * 1000 // PART:03d}.jsonl.zst"
            file = zstandard.ZstdCompressor().stream_writer(path.open("wb"))
        assert file is not None
        for row in batch.to_pylist():
            size += len(row["text"].encode())
            file.write(orjson.dumps({"name": row["id"], "text": row["text"]}) + b"\n")
    if file is not None:
        file.close()
    return size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--input", default="grown.parquet")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        folder = Path(place)
        (folder / "documents").mkdir()
        megabytes = write_documents(given.folder / given.input, folder / "documents")
        shutil.copy(Path(__file__).parents[1] / "recipes" / "web_en.yaml", folder)
        tiny = [sys.executable, "-m", "factory.cli", "build", str(folder / "web_en.yaml")]
        subprocess.run([*tiny, "--limit", "2000"], check=True, capture_output=True)  # kernels compiled before
        began = time.perf_counter()
        done = subprocess.run(tiny, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - began
    print("\n".join(line for line in done.stdout.splitlines() if line.startswith(("target", "corpus", " "))))
    print(f"\n{megabytes:,.0f} MB in {seconds:.1f} s: {megabytes / seconds:.1f} MB/s on one core")


if __name__ == "__main__":
    main()
