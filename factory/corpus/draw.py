"""A part of a dataset by number: the first ones, or ones drawn at random."""

from __future__ import annotations

import heapq

import factory
from factory import Context, Dataset, Drop, Drops, InputError, Record


@factory.step
def take(dataset: Dataset[Record], n: int) -> Drops:
    """Keep the first n records.

    n  how many
    """
    _not_negative("take", n)
    ids = [name for shard in dataset.shards for name in shard.ids()]
    return Drops({name: Drop("beyond the first n", n=n) for name in ids[n:]})


@factory.step
def subsample(dataset: Dataset[Record], n: int, ctx: Context) -> Drops:
    """Keep n records drawn at random.

    Every record has a number drawn from its id and the recipe's seed, and the n lowest stay: adding records replaces
    some of the drawn ones and moves no other.

    n  how many
    """
    _not_negative("subsample", n)
    ids = [name for shard in dataset.shards for name in shard.ids()]
    drawn = set(heapq.nsmallest(n, ids, key=lambda name: (ctx.rng(name).random(), name)))
    return Drops({name: Drop("not drawn", n=n) for name in ids if name not in drawn})


def _not_negative(step: str, n: int) -> None:
    if n < 0:
        raise InputError(f"{step}: n must not be negative, found {n}")
