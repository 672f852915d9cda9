"""Tokenising and packing of `pretrain` against `encode_batch` of the library tokenizers, on one input in one run.

    python benchmarks/packing.py TEXTS [--model bundled:smollm2] [--seq-len 1024] [--megabytes 32] [--rounds 5]

TEXTS is a Parquet, .jsonl or .jsonl.zst file with a column `text`, of which the first --megabytes are taken, in memory
before the clock starts. A round measures the library's `encode_batch` and `encode_batch_fast` with 1,000 texts a call,
and ours, from the same texts to token files on disk and blocks of --seq-len; the order changes from round to round.
Printed are tokens a second of wall time (median of the rounds), the ratios within the rounds, and the share of padding.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import zstandard

from factory.models import open_model
from factory.models.loading import load_tokenizer
from factory.train.packing import Blocks
from factory.train.tokens import IDS, NOTE, OFFSETS, Tokens, batches_of, write_tokens

PER_CALL = 1000  # texts, the batch of datasets.map


def read(path: Path) -> Iterator[str]:
    if path.suffix == ".parquet":
        for batch in pq.ParquetFile(path).iter_batches(1024, columns=["text"]):
            yield from batch.column(0).to_pylist()
        return
    with path.open("rb") as raw:
        lines = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        for line in io.TextIOWrapper(lines, encoding="utf-8"):  # type: ignore[arg-type]
            yield json.loads(line)["text"]


def first(texts: Iterator[str], megabytes: float) -> list[str]:
    """So many megabytes of texts, those without text left out."""
    found, size = [], 0
    for text in texts:
        if text.strip():
            found.append(text)
            size += len(text.encode("utf-8", "surrogatepass"))
        if size > megabytes * 1e6:
            break
    return found


def library(encode: Callable[..., Sequence[Any]], texts: list[str]) -> int:
    """The tokens of the texts, counted and thrown away."""
    calls = (encode(texts[at : at + PER_CALL], add_special_tokens=False) for at in range(0, len(texts), PER_CALL))
    return sum(len(one) for call in calls for one in call)


def ours(tokenizer: Any, texts: list[str], seq_len: int, shares: list[float]) -> int:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_tokens(batches_of(texts), tokenizer, folder, [], [tokenizer.eos_token_id])
        offsets = np.load(folder / OFFSETS)
        ids = np.memmap(folder / IDS, json.loads((folder / NOTE).read_bytes())["dtype"], "r")
        blocks = Blocks(Tokens(ids, offsets, 0, 0), seq_len)
        shares.append(blocks.padding(seq_len))
        return int(offsets[-1]) - len(texts)  # without the ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--model", default="bundled:smollm2")
    parser.add_argument("--seq-len", type=int, default=1024)
    parser.add_argument("--megabytes", type=float, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    model = open_model(uri=given.model)
    if model is None:
        raise SystemExit(f"'{given.model}' is no model; name a folder, a hub id or bundled:smollm2")
    tokenizer = load_tokenizer(model)
    texts = first(read(given.texts), given.megabytes)
    backend: Any = tokenizer.backend_tokenizer
    shares: list[float] = []
    ways: dict[str, Callable[[], int]] = {
        "encode_batch": lambda: library(backend.encode_batch, texts),
        "encode_batch_fast": lambda: library(backend.encode_batch_fast, texts),
        "ours": lambda: ours(tokenizer, texts, given.seq_len, shares),
    }
    ours(tokenizer, texts[:100], given.seq_len, [])  # kernels are compiled
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(given.rounds):
        for name in sorted(ways, reverse=bool(number % 2)):
            began = time.perf_counter()
            tokens = ways[name]()
            rates[name].append(tokens / (time.perf_counter() - began))
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    print(f"{len(texts):,} texts, {size / 1e6:.0f} MB, {given.rounds} rounds")
    for name, found in rates.items():
        ratios = sorted(ours / one for ours, one in zip(rates["ours"], found, strict=True))
        spread = f"   ours is {statistics.median(ratios):.2f} times it ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"{name:18}{statistics.median(found):12,.0f} tokens/s{spread if name != 'ours' else ''}")
    print(f"padding at seq_len {given.seq_len}: {shares[-1]:.3%}")


if __name__ == "__main__":
    main()
