"""Sources by turns, in proportion to their weights."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Literal

import factory
from factory import Context, Dataset, Record

from .weighted import Times, Weight, Weighted, check_epochs, noted, weighted

Stop = Literal["first_exhausted", "all_exhausted", "all_exhausted_without_replacement"]


@factory.step
def interleave(
    dataset: Dataset[Record],
    ctx: Context,
    weights: dict[str, Weight] = {},
    stop: Stop = "first_exhausted",
    max_epochs: Times = 4.0,
) -> Iterator[Record]:
    """Take the sources in `from:` by turns, each in its own order; nothing is drawn at random.

    weights     name in `from:` → how many turns, relative to the others; all alike when empty, 0 leaves a source out
    stop        as Hugging Face datasets names it. first_exhausted: when a source has no more; what is left of the
                others is dropped as "not drawn". all_exhausted: when every source was seen once, shorter ones begin
                again meanwhile. all_exhausted_without_replacement: shorter ones end early, everything is seen once
    max_epochs  no source may be seen more often

    Turn k of a source (from 0) stands at (k + 1/2) / weight, and the sources are merged by that: stride scheduling
    (Waldspurger and Weihl 1995). So in any beginning of the result each source is within one record of its share. A
    record that is seen again has an id of its own; meta.source and meta.epoch tell where it is from and which time.
    """
    sources = weighted("interleave", dataset, weights)
    ends = [len(source.ids) / source.share for source in sources if source.share]
    end = min(ends) if stop == "first_exhausted" else max(ends)
    again = stop == "all_exhausted"
    for source in sources if again else ():
        check_epochs("interleave", source.name, end * source.share / max(1, len(source.ids)), max_epochs)
    running = [source.records() for source in sources]
    taken = [0] * len(sources)
    for at in _turns(sources, end, again):
        epoch, row = divmod(taken[at], len(sources[at].ids))
        if row == 0 and epoch:
            running[at] = sources[at].records()
        taken[at] += 1
        yield noted(next(running[at]), sources[at].name, epoch + 1)
    ctx.report("Interleave", _markdown(sources, taken))
    for source, rest, count in zip(sources, running, taken, strict=True):
        for record in rest if count < len(source.ids) else ():
            ctx.drop(record, "not drawn", source=source.name)


def _turns(sources: Sequence[Weighted], end: float, again: bool) -> Iterator[int]:
    """Whose turn it is, until `end`; a source that may not begin again ends with its last record."""
    queue = [(0.5 / source.share, at, 0) for at, source in enumerate(sources) if source.share]
    heapq.heapify(queue)
    while queue and queue[0][0] < end:
        _, at, turn = heapq.heappop(queue)
        yield at
        if again or turn + 1 < len(sources[at].ids):
            heapq.heappush(queue, ((turn + 1.5) / sources[at].share, at, turn + 1))


def _markdown(sources: Sequence[Weighted], taken: Sequence[int]) -> str:
    lines = ["| source | records there | weight asked | share got | records | epochs |", "|---|---|---|---|---|---|"]
    whole = max(1, sum(taken))
    for source, count in zip(sources, taken, strict=True):
        epochs = count / max(1, len(source.ids))
        shares = f"{source.share:.2%} | {count / whole:.2%}"
        lines.append(f"| {source.name} | {len(source.ids):,} | {shares} | {count:,} | {epochs:.2f} |")
    return "\n".join(lines)
