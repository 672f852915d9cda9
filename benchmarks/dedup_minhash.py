"""Near-duplicates: `dedup_minhash` against datasketch 2 on one corpus, whole job, one process each.

The corpus is cut from the source of the standard library (24 MB unless told), with every tenth piece copied and one
word in fifty of the copy changed. Both use 128 permutations of word 5-grams and a threshold of .8.
"""

from __future__ import annotations

import argparse
import random
import sysconfig
import tempfile
import time
from pathlib import Path

import orjson

from factory.text.words import words

SEED = 7


def corpus(megabytes: float) -> list[str]:
    """Pieces of about 2,000 characters, and near-copies of a tenth of them."""
    drawn = random.Random(SEED)
    pieces: list[str] = []
    size = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore")
        for start in range(0, len(text), 2000):
            piece = text[start : start + 2000]
            if len(piece.split()) >= 50:
                pieces.append(piece)
                size += len(piece)
                if len(pieces) % 10 == 0:
                    pieces.append(" ".join("changed" if drawn.random() < 0.02 else w for w in piece.split()))
        if size > megabytes * 1e6:
            break
    return pieces


def ours(pieces: list[str], folder: Path) -> int:
    """Records kept by a build of a recipe that does nothing else."""
    import factory

    (folder / "corpus.jsonl").write_bytes(b"".join(orjson.dumps({"text": piece}) + b"\n" for piece in pieces))
    recipe = folder / "recipe.yaml"
    recipe.write_text("targets:\n  kept:\n    from: corpus.jsonl\n    steps: [dedup_minhash: {threshold: 0.8}]\n")
    kept = factory.build(recipe)["kept"]
    assert isinstance(kept, factory.Dataset)
    return len(kept)


def datasketch(pieces: list[str]) -> int:
    """Records kept by datasketch's MinHashLSH in the order of the corpus."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=0.8, num_perm=128)
    kept = 0
    for number, piece in enumerate(pieces):
        tokens = words(piece)
        grams = {" ".join(tokens[i : i + 5]).encode() for i in range(max(1, len(tokens) - 4))}
        sketch = MinHash(num_perm=128)
        sketch.update_batch(list(grams))
        if not index.query(sketch):
            index.insert(number, sketch)
            kept += 1
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=24)
    pieces = corpus(parser.parse_args().megabytes)
    size = sum(len(piece.encode()) for piece in pieces) / 1e6
    print(f"{len(pieces):,} records, {size:.1f} MB")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        kept = ours(pieces, Path(folder))
    mine = time.perf_counter() - began
    print(f"dedup_minhash, with reading and storing   {size / mine:5.1f} MB/s   {kept:,} kept")
    began = time.perf_counter()
    kept = datasketch(pieces)
    theirs = time.perf_counter() - began
    print(f"datasketch, in memory                     {size / theirs:5.1f} MB/s   {kept:,} kept")
    print(f"ratio                                     {theirs / mine:5.2f}")


if __name__ == "__main__":
    main()
