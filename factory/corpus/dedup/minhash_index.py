"""A stored index of near-duplicate sketches: new data is deduplicated against old without reading the old again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

import factory
from factory import Context, Dataset, Index, Record

from .minhash import load_part, sign_shard


@factory.step
def minhash_index(
    dataset: Dataset[Record],
    ctx: Context,
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8,
    recall: Annotated[float, Field(gt=0, lt=1)] = 0.99,
    permutations: Annotated[int, Field(ge=1, le=4096)] = 128,
    ngram: Annotated[int, Field(ge=1, le=100)] = 5,
) -> Index:
    """Store what `dedup_minhash: {index: …}` compares new records with: sketches, shingles and ids, no text.

    About .8 bytes a byte of text.

    threshold     the lowest that will be searched with
    recall, permutations, ngram  as in dedup_minhash
    """
    import numpy as np
    import orjson
    import pyarrow as pa
    import pyarrow.parquet as pq

    from factory.text.near import choose_bands

    bands, width = choose_bands(threshold, recall, permutations)
    parts = [load_part(memo) for memo in ctx.memos(sign_shard, dataset.shards, ngram, bands, width, None)]
    ctx.output.mkdir(parents=True, exist_ok=True)
    starts = np.cumsum([0, *(part["records"] for part in parts)])
    keys = np.concatenate([np.zeros(0, np.uint64), *(part["keys"] for part in parts)])
    owners = np.concatenate(
        [np.zeros(0, np.uint32), *(part["owners"] + np.uint32(at) for part, at in zip(parts, starts, strict=False))]
    )
    order = np.argsort(keys, kind="stable")
    ends = np.cumsum([0, *(len(part["shingles"]) for part in parts)])
    rows = [part["rows"][1:] + at for part, at in zip(parts, ends, strict=False)]
    np.save(ctx.output / "keys.npy", keys[order])
    np.save(ctx.output / "owners.npy", owners[order])
    np.save(ctx.output / "rows.npy", np.concatenate([np.zeros(1, np.int64), *rows]))
    shingles = np.lib.format.open_memmap(ctx.output / "shingles.npy", "w+", np.uint32, (int(ends[-1]),))
    for part, at in zip(parts, ends, strict=False):
        shingles[at : at + len(part["shingles"])] = part["shingles"]
    shingles.flush()
    ids = [name for shard in dataset.shards for name in shard.ids()]
    pq.write_table(pa.table({"id": ids}), ctx.output / "ids.parquet", compression="zstd")
    made: dict[str, Any] = {"bands": bands, "width": width, "ngram": ngram, "records": int(starts[-1])}
    (ctx.output / "minhash.json").write_bytes(orjson.dumps(made, option=orjson.OPT_SORT_KEYS))
    return Index(str(ctx.output), path=ctx.output)
