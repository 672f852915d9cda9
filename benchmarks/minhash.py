"""Near-duplicates: `dedup_minhash` against gaoya, rensa, datasketch and datatrove on one corpus, in one run.

    python benchmarks/corpus.py FOLDER --grow 2000
    python benchmarks/minhash.py FOLDER --peers PYTHON --datatrove PYTHON

The whole job from Parquet to the list of drops, each in a process of its own, on one core; ours once more on two.
Peers get the first 80 MB (datatrove 8), since some would take hours: what counts is MB/s. Recall is the share of the
injected near copies of which not both were kept; precision the share of our drops that really are as near as said.
PYTHON is an interpreter of an environment with the peers; datatrove needs one of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

THRESHOLD = 0.8
PEERS = {"gaoya": 80.0, "rensa": 80.0, "datasketch": 80.0, "datatrove": 8.0}


def ours(path: Path, workers: int) -> dict[str, Any]:
    """Seconds from stored shards to drops, kernels compiled before; drops by id; the peak of a process."""
    import factory
    from factory.engine.build import load_project
    from factory.engine.plan import make_plan
    from factory.engine.recipe import read_recipe
    from factory.engine.runner import Runner
    from factory.plugins import open_uri

    folder = path.parent / "minhash"  # the corpus stays in its store from run to run
    folder.mkdir(exist_ok=True)
    recipe = folder / f"{path.stem}.yaml"
    where = Path("..") / path.name
    recipe.write_text(f"targets:\n  corpus: {{from: {where}}}\n  kept: {{from: corpus, steps: [dedup_minhash]}}\n")
    subprocess.run([sys.executable, "-c", f"import factory; factory.build({str(recipe)!r}, 'corpus')"], check=True)
    compile_kernels()
    plan = make_plan(read_recipe(recipe), load_project(recipe))
    stage = plan.targets["kept"]
    shutil.rmtree(plan.store.root / "memo", ignore_errors=True)  # what an earlier run signed
    plan.store.begin(stage.fingerprint)
    executor = "serial" if workers == 1 else f"local:{workers}"
    with open_uri("executor", executor) as pool:
        runner = Runner(plan, pool, executor)
        if workers > 1:  # processes are started and their kernels loaded before, as for one
            list(pool.map(warm, range(8 * workers)))
        began = time.perf_counter()
        drops = runner.once(stage, {}).drops
        seconds = time.perf_counter() - began
    dataset = stage.store.dataset(stage.inputs[0].fingerprint)
    assert isinstance(dataset, factory.Dataset)
    # ids of the engine's are hashes of places: a.parquet#17 is row 17 of the file
    rows = {row["id"]: int(row["parents"][0].rpartition("#")[2]) - 1 for row in _places(dataset)}
    workers_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 if workers > 1 else 0
    peak = max(peak_of_this_process(), workers_peak)
    found = {rows[name]: [rows[drop.details["of"]], drop.details["jaccard"]] for name, drop in drops.items()}
    return {"seconds": seconds, "peak_mb": peak, "drops": found}


def peak_of_this_process() -> float:
    """Megabytes of memory at the most; what the parent had does not count, as it does in getrusage."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def _places(dataset: Any) -> Any:
    for shard in dataset.shards:
        yield from shard.table(["id", "parents"]).to_pylist()


def warm(_: int) -> None:
    """In a worker: everything loaded, and long enough that the next one gets a turn."""
    compile_kernels()
    time.sleep(0.2)


def compile_kernels() -> None:
    """Run every kernel once on a text of each kind."""
    import numpy as np
    import pyarrow as pa

    from factory.text import near
    from factory.text.segments import buffers

    texts = ["one two three four five six", "一二三四五六七", "一二三四五六七"]
    rows, hashes = near.shingle_hashes(buffers(pa.array(texts)), 5)
    keys = near.band_keys(rows, hashes, 2, 2)
    first, second = near.pairs(np.sort(keys.ravel()), np.arange(keys.size) % 3)
    near.jaccards(*near.distinct(rows, hashes, np.arange(3)), first, second, 0.5)
    near.anchor(first, second, np.ones(len(first)), np.arange(3), np.zeros(4, np.int64))


def measured(name: str, command: list[str], size: float) -> dict[str, Any]:
    """A line of the table, from the JSON that a command prints."""
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    found: dict[str, Any] = json.loads(said)
    found["rate"] = found.get("megabytes", size) / found["seconds"]
    print(
        f"{name:22} {found['rate']:8.2f} MB/s {found['peak_mb']:8,.0f} MB peak {len(found['drops']):9,} dropped",
        flush=True,
    )
    return found


def memory(folder: Path, peers: list[str]) -> None:
    """Ours and datasketch on one and the same input, all of the corpus: what a library loads weighs less there."""
    corpus = str(folder / "corpus.parquet")
    again = [sys.executable, __file__, str(folder), "--input", "corpus.parquet", "--ours", "1"]
    one = json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    other = measured("datasketch, the corpus", [*peers, "datasketch", corpus, "1000000"], 0)
    share = one["peak_mb"] / other["peak_mb"]
    print(f"factory, the corpus: {one['peak_mb']:,.0f} MB peak, {share:.2f} of datasketch's")


def judge(folder: Path, drops: dict[int, Any], ids: list[str], texts: Any) -> None:
    """Recall on the injected copies and precision on our own drops, by the shingles of `factory.text`."""
    from factory.text.words import shingles

    gone = {ids[at] for at in drops}
    truth = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    for unspaced in (False, True):
        near = [row for row in truth if row["unspaced"] is unspaced and row["jaccard"] >= THRESHOLD]
        found = sum(row["copy"] in gone or row["original"] in gone for row in near)
        kind = "characters" if unspaced else "words"
        print(f"recall at {THRESHOLD} and over, {kind:10}: {found / len(near):.4f} of {len(near):,} copies")
    wrong = 0
    for at, (of, jaccard) in drops.items():
        one, other = shingles(texts[at].as_py()), shingles(texts[of].as_py())
        exact = len(one & other) / len(one | other)
        wrong += exact < THRESHOLD or abs(exact - jaccard) > 0.002 or of in drops
    print(f"precision: {1 - wrong / max(1, len(drops)):.4f} of {len(drops):,} drops")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", help="a Python with gaoya, rensa, datasketch and pyarrow")
    parser.add_argument("--datatrove", help="a Python with datatrove[processing]")
    parser.add_argument("--input", default="grown.parquet", help="file of the folder that ours deduplicates")
    parser.add_argument("--ours", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    path = given.folder / given.input
    if given.ours:
        print(json.dumps(ours(path, given.ours)))
        return
    file = pq.ParquetFile(path)
    size = sum(batch.column(0).nbytes for batch in file.iter_batches(columns=["text"])) / 1e6
    print(f"{path.name}: {file.metadata.num_rows:,} texts, {size:,.0f} MB")
    again = [sys.executable, __file__, str(given.folder), "--input", given.input, "--ours"]
    one = measured("factory, one core", [*again, "1"], size)
    two = measured("factory, two workers", [*again, "2"], size)
    print(f"two workers: {two['rate'] / one['rate']:.2f} times one")
    peers = Path(__file__).with_name("minhash_peers.py")
    for name, megabytes in PEERS.items():
        if python := given.datatrove if name == "datatrove" else given.peers:
            found = measured(
                name, [python, str(peers), name, str(given.folder / "corpus.parquet"), str(megabytes)], megabytes
            )
            print(f"{'':22} ours is {one['rate'] / found['rate']:.1f} times as fast")
    if given.peers:
        memory(given.folder, [given.peers, str(peers)])
    table = file.read(columns=["id", "text"])
    drops = {int(at): row for at, row in one["drops"].items()}
    judge(given.folder, drops, table["id"].to_pylist(), table["text"])


if __name__ == "__main__":
    main()
