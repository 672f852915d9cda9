"""A dataset in an order drawn at random."""

from __future__ import annotations

from collections.abc import Iterator

import factory
from factory import Context, Dataset, Record

from .arrange import arranged


@factory.step
def shuffle(dataset: Dataset[Record], ctx: Context) -> Iterator[Record]:
    """Put the records in an order drawn at random; all stay, with their ids.

    Every record has a number drawn from its id and the recipe's seed, and the records are sorted by it: one record
    more or less moves no other, and the order they came in does not matter. In memory are ids, numbers and some 64 MB
    of records; on disk, while it runs, the dataset once more.
    """
    import numpy as np

    keys = np.array([ctx.rng(name).random() for shard in dataset.shards for name in shard.ids()])
    order = np.argsort(keys, kind="stable")
    for done, record in enumerate(arranged(dataset.shards, order, ctx.workdir / "shuffle")):
        if done % 1000 == 0:
            ctx.progress(done, len(order), "records")
        yield record
