"""Keep what means something that nothing before it means: novelty by an embedding model."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

import factory
from factory import CausalLM, Context, Dataset, Drop, Drops, Record, Shard

from .novelty import Compared, compared, listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 512  # records compared at once
PORTION = 4096  # texts embedded at once


@factory.step
def novel_by_meaning(
    dataset: Dataset[Record],
    ctx: Context,
    model: CausalLM,
    threshold: Annotated[float, Field(ge=-1, le=1)] = 0.9,
    against: Dataset[Record] | list[Dataset[Record]] | None = None,
    compare: Compared = "prompt",
) -> Drops:
    """Drop records whose prompt means nearly what an earlier kept one means, in other words perhaps.

    model      what makes vectors of texts: `openai:NAME` whose server has an embeddings endpoint, or a transformer (a
               folder, `owner/name`), whose last hidden states are averaged; sentence-transformers' models of that kind
               are meant for it, a language model does worse
    threshold  cosine above which two prompts are alike. Models differ: look at some pairs first. Spelled-out copies
               are cheaper to find with `novel`
    against    a dataset, or several, whose prompts are known already
    compare    what of a record is compared: prompt, instruction or all, as in `novel`

    Vectors are kept, so a changed threshold or new records ask for no others. Every record is compared with every
    kept one: 20,000 with 384 numbers take seconds.
    """
    import numpy as np

    names: list[str] = []
    known: list[NDArray[Any]] = []
    for one in listed(against):
        for shard, vectors in zip(
            one.shards, ctx.map(embed_shard, one.shards, model, compare, ctx.threads), strict=True
        ):
            names += shard.ids()
            known.append(np.asarray(vectors))
    drops = Drops()
    for shard, made in zip(
        dataset.shards, ctx.map(embed_shard, dataset.shards, model, compare, ctx.threads), strict=True
    ):
        ids, vectors = shard.ids(), np.asarray(made)
        for start in range(0, len(ids), BLOCK):
            block = vectors[start : start + BLOCK]
            best, of = nearest(block, known)
            kept: list[int] = []
            inside = block @ block.T
            for row in range(len(block)):
                score, name = float(best[row]), names[of[row]] if of[row] >= 0 else ""
                if kept and inside[row, kept].max() > score:
                    at = kept[int(inside[row, kept].argmax())]
                    score, name = float(inside[row, at]), ids[start + at]
                if score > threshold and name:
                    drops[ids[start + row]] = Drop("not novel in meaning", of=name, cosine=round(score, 4))
                else:
                    kept.append(row)
            names += [ids[start + row] for row in kept]
            known.append(block[kept])
    return drops


def nearest(block: NDArray[Any], known: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """For each row of the block the greatest cosine with any known vector, and its number through all of them."""
    import numpy as np

    best, of = np.full(len(block), -2.0, np.float32), np.full(len(block), -1, np.int64)
    before = 0
    for vectors in known:
        if len(vectors):
            scores = block @ vectors.T
            found = scores.argmax(1)
            top = scores[np.arange(len(block)), found]
            better = top > best
            best[better], of[better] = top[better], found[better] + before
        before += len(vectors)
    return best, of


def embed_shard(shard: Shard, model: CausalLM, compare: Compared, threads: int) -> NDArray[Any]:
    """Unit vectors of a shard's records: float32 (records, dimensions)."""
    import numpy as np

    from factory.models.embedding import embed

    records = shard.records()
    parts = []
    while texts := [compared(record, compare) for record in islice(records, PORTION)]:
        parts.append(embed(model, texts, threads))
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
