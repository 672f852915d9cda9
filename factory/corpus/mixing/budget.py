"""As much of a dataset as fits a number of tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

import factory
from factory import Context, Dataset, Drop, Drops, Model, Record

from .measure import Unit, shard_lengths, unit_name


@factory.step(judges=False)
def token_budget(
    dataset: Dataset[Record],
    tokens: Annotated[int, Field(ge=0)],
    ctx: Context,
    order: Literal["drawn", "given"] = "drawn",
    unit: Unit = "words",
    tokenizer: Model | None = None,
) -> Drops:
    """Keep records until the next one would exceed a number of tokens; the records that stay keep their order.

    tokens     the most that is kept, all columns of a record together
    order      drawn: records are counted in an order drawn at random, so what stays is a fair sample; it follows from
               each record's id and the recipe's seed, and a new record replaces at most the last ones drawn.
               given: in dataset order
    unit       what counts as a token without a `tokenizer`: words (characters where words are not spaced) or characters
    tokenizer  a model whose tokens are counted

    It ends at the first record that does not fit, even if a shorter one behind it would: else short records would be
    preferred.
    """
    ids = [name for shard in dataset.shards for name in shard.ids()]
    sizes = [int(size) for found in ctx.map(shard_lengths, dataset.shards, unit, tokenizer) for size in found]
    rows = list(range(len(ids)))
    if order == "drawn":
        rows.sort(key=lambda row: (ctx.rng(ids[row]).random(), ids[row]))
    used = kept = 0
    for row in rows:
        if used + sizes[row] > tokens:
            break
        used, kept = used + sizes[row], kept + 1
    said = unit_name(unit, tokenizer)
    ctx.report(
        "Token budget", f"{kept:,} of {len(ids):,} records, {used:,} of {tokens:,} {said} ({sum(sizes):,} came)."
    )
    return Drops({ids[row]: Drop("beyond the budget", size=sizes[row], unit=said) for row in rows[kept:]})
