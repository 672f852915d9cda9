"""A part of a dataset by number: the first ones, or ones drawn at random."""

from __future__ import annotations

import heapq
from typing import Annotated

from pydantic import Field

import factory
from factory import Context, Dataset, Drop, Drops, Record

Number = Annotated[int, Field(ge=0)]


@factory.step(judges=False)
def take(dataset: Dataset[Record], n: Number) -> Drops:
    """Keep the first n records in dataset order.

    A dataset read from files is not in alphabetical order: small files are packed into buckets by a hash of their
    names, and the buckets follow each other; within a bucket files are sorted. Big .jsonl files, which are cut instead,
    come behind them. Rows of a file keep their order. `subsample` takes n from everywhere.

    n  how many
    """
    ids = [name for shard in dataset.shards for name in shard.ids()]
    return Drops({name: Drop("beyond the first n", n=n) for name in ids[n:]})


@factory.step(judges=False)
def subsample(dataset: Dataset[Record], n: Number, ctx: Context) -> Drops:
    """Keep n records drawn at random.

    Every record has a number drawn from its id and the recipe's seed, and the n lowest stay: adding records replaces
    some of the drawn ones and moves no other.

    n  how many
    """
    ids = [name for shard in dataset.shards for name in shard.ids()]
    drawn = set(heapq.nsmallest(n, ids, key=lambda name: (ctx.rng(name).random(), name)))
    return Drops({name: Drop("not drawn", n=n) for name in ids if name not in drawn})
