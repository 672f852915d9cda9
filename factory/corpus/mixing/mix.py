"""Sources mixed by weight, as training sets of language models are: a small good source is seen more than once.

Brown et al. 2020, "Language Models are Few-Shot Learners", section 2.2 and table 2.2: each source has a weight in the
mix that does not follow from its size, records are drawn without replacement, and how many epochs of each source that
makes is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

import factory
from factory import Context, Dataset, InputError, Model, Record
from factory.errors import did_you_mean

from .arrange import arranged
from .measure import Unit, shard_lengths, unit_name
from .weighted import Times, Weight, Weighted, check_epochs, noted, weighted

if TYPE_CHECKING:
    import numpy as np

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Draws:
    """What is drawn of one source, in the order in which it is drawn: epoch after epoch, at random within each.

    rows      [n] rows of the source
    epochs    [n] from 1
    position  [n] where in the mix, of 1: the source is spread evenly over it
    """

    rows: np.ndarray[Any, Any]
    epochs: np.ndarray[Any, Any]
    position: np.ndarray[Any, Any]


@factory.step
def mix(
    dataset: Dataset[Record],
    weights: dict[str, Weight],
    ctx: Context,
    records: Count | None = None,
    tokens: Count | None = None,
    epochs: Times | None = None,
    of: str | None = None,
    max_epochs: Times = 4.0,
    unit: Unit = "words",
    tokenizer: Model | None = None,
) -> Iterator[Record]:
    """Draw from the sources in `from:` by weight, shuffled together; a source may be drawn in part or repeatedly.

    weights     name in `from:` → weight, relative to their sum; 0 leaves a source out. A weight is the source's share
                of the tokens in the mix, or of its records when the size is given in records
    records, tokens, epochs  the size of the mix, one of the three: so many records, so many tokens, or `epochs` times
                the source `of`, whatever the others then come to. Nothing given means one epoch
    of          the source that `epochs` counts; the largest when not given
    max_epochs  no source may be seen more often; 4 is as often as repeating text is nearly as good as new text
                (Muennighoff et al. 2023, "Scaling Data-Constrained Language Models")
    unit        what counts as a token without a `tokenizer`: words (characters where words are not spaced), which are
                some three quarters of a tokenizer's tokens in English, or characters
    tokenizer   a model whose tokens are counted

    Every source has its share to within half a record. It is drawn without replacement: all of it in random order,
    then all of it in another, and of the last epoch a part. What is drawn follows from the recipe's seed and the
    records' ids, so a new record in one source replaces at most the last ones drawn of that source and leaves the
    order of the others among themselves. A record drawn again has an id of its own, whose parent is the record;
    meta.source and meta.epoch tell where it was drawn and which time. What is not drawn is dropped as "not drawn".
    """
    _one_size(records=records, tokens=tokens, epochs=epochs, of=of)
    sources = weighted("mix", dataset, weights)
    sizes = [_sizes(source, ctx, unit, tokenizer) for source in sources]
    ones = [_ones(one) for one in sizes]
    by = ones if records else sizes
    wanted = (
        _apportioned(records, [source.share for source in sources])
        if records
        else _amounts(sources, [int(size.sum()) for size in sizes], tokens, epochs or 1.0, of)
    )
    draws = []
    for source, size, amount in zip(sources, by, wanted, strict=True):
        if amount and not size.sum():
            raise InputError(f"mix: there are no {unit_name(unit, tokenizer)} in '{source.name}'")
        check_epochs("mix", source.name, amount / max(1, int(size.sum())), max_epochs)
        draws.append(_drawn(source, size, amount, ctx))
    table = _table(sources, sizes, by, draws)
    ctx.report("Mix", _markdown(table, unit_name(unit, tokenizer), bool(records)))
    _drop_rest(sources, draws, ctx)
    yield from _mixed(dataset, sources, draws, ctx)


def _one_size(**given: Any) -> None:
    of = given.pop("of")
    sizes = [name for name, value in given.items() if value is not None]
    if len(sizes) > 1:
        raise InputError(f"mix: {' and '.join(sizes)} both say how large the mix is; give one of them")
    if of is not None and sizes not in ([], ["epochs"]):
        raise InputError(f"mix: `of` goes with `epochs`, not with {sizes[0]}")


def _sizes(source: Weighted, ctx: Context, unit: Unit, tokenizer: Model | None) -> np.ndarray[Any, Any]:
    """[records] length of each."""
    import numpy as np

    found = list(ctx.map(shard_lengths, source.shards, unit, tokenizer))
    return np.concatenate([np.zeros(0, np.int64), *found])


def _ones(sizes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.ones(len(sizes), np.int64)


def _apportioned(total: int, shares: Sequence[float]) -> list[float]:
    """Whole numbers that sum to `total`, each within one of its share: the largest remainders are rounded up."""
    exact = [total * share for share in shares]
    found = [int(value) for value in exact]
    short = total - sum(found)
    for at in sorted(range(len(exact)), key=lambda at: (found[at] - exact[at], at))[:short]:
        found[at] += 1
    return [float(value) for value in found]


def _amounts(
    sources: Sequence[Weighted], totals: Sequence[int], tokens: int | None, epochs: float, of: str | None
) -> list[float]:
    """Tokens wanted of each source."""
    if tokens is None:
        drawn = {source.name: at for at, source in enumerate(sources) if source.share}
        if of is not None and of not in drawn:
            raise InputError(f"mix: of: '{of}' is no source with a weight; {did_you_mean(of, drawn)}")
        at = drawn[of] if of is not None else max(drawn.values(), key=lambda at: (totals[at], -at))
        return [epochs * totals[at] * (source.share / sources[at].share) for source in sources]
    return [tokens * source.share for source in sources]


def _drawn(source: Weighted, sizes: np.ndarray[Any, Any], amount: float, ctx: Context) -> Draws:
    """Whole epochs, then records in random order up to the number of them that comes nearest to `amount`."""
    import numpy as np

    total = int(sizes.sum())
    seen = amount / total if total else 0.0
    rows, epochs, position = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for epoch in range(1, int(seen) + 2 if amount else 1):
        keys = np.array([ctx.rng(one, epoch).random() for one in source.ids])
        order = np.argsort(keys, kind="stable")
        left = amount - (epoch - 1) * total
        if left < total - 1e-9 * amount:  # a rounding error is no record
            order = order[: _nearest(np.cumsum(sizes[order]), left)]
        rows.append(order)
        epochs.append(np.full(len(order), epoch))
        position.append((epoch - 1 + keys[order]) / seen)
    return Draws(np.concatenate(rows), np.concatenate(epochs), np.concatenate(position))


def _nearest(reached: np.ndarray[Any, Any], wanted: float) -> int:
    """How many records come nearest to `wanted`, when the first k of them reach reached[k - 1]."""
    at = int(reached.searchsorted(wanted))
    below = int(reached[at - 1]) if at else 0
    return at + 1 if at < len(reached) and int(reached[at]) - wanted < wanted - below else at


def _drop_rest(sources: Sequence[Weighted], draws: Sequence[Draws], ctx: Context) -> None:
    for source, drawn in zip(sources, draws, strict=True):
        chosen = set(drawn.rows.tolist())
        if len(chosen) < len(source.ids):
            for row, record in enumerate(source.records()):
                if row not in chosen:
                    ctx.drop(record, "not drawn", source=source.name)


def _mixed(
    dataset: Dataset[Record], sources: Sequence[Weighted], draws: Sequence[Draws], ctx: Context
) -> Iterator[Record]:
    """All draws by their position in the mix."""
    import numpy as np

    starts = np.cumsum([0, *(len(source.ids) for source in sources)])
    order = np.argsort(np.concatenate([drawn.position for drawn in draws]), kind="stable")
    rows = np.concatenate([drawn.rows + start for drawn, start in zip(draws, starts, strict=False)])[order]
    epochs = np.concatenate([drawn.epochs for drawn in draws])[order].tolist()
    names = np.repeat(np.arange(len(sources)), [len(drawn.rows) for drawn in draws])[order].tolist()
    for done, record in enumerate(arranged(dataset.shards, rows, ctx.workdir / "mix")):
        if done % 1000 == 0:
            ctx.progress(done, len(rows), "records")
        yield noted(record, sources[names[done]].name, epochs[done])


@dataclass(frozen=True)
class Line:
    """One source in the report's table; `got` and `epochs` count what the weights are shares of."""

    name: str
    asked: float
    got: float
    records: int
    tokens: int
    of_records: int
    of_tokens: int
    epochs: float


def _table(
    sources: Sequence[Weighted],
    sizes: Sequence[np.ndarray[Any, Any]],
    by: Sequence[np.ndarray[Any, Any]],
    draws: Sequence[Draws],
) -> list[Line]:
    measured = [int(size[drawn.rows].sum()) for size, drawn in zip(by, draws, strict=True)]
    whole = max(1, sum(measured))
    return [
        Line(
            source.name, source.share, got / whole, len(drawn.rows), int(size[drawn.rows].sum()),
            len(source.ids), int(size.sum()), got / max(1, int(one.sum())),
        )
        for source, size, one, drawn, got in zip(sources, sizes, by, draws, measured, strict=True)
    ]  # fmt: skip


def _markdown(table: Sequence[Line], unit: str, by_records: bool) -> str:
    """Brown et al.'s table 2.2: quantity, weight in the mix, epochs; and what was drawn."""
    lines = [
        f"| source | records there | {unit} there | weight asked | share got | records | {unit} | epochs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in table:
        there = f"{one.of_records:,} | {one.of_tokens:,}"
        shares = f"{one.asked:.2%} | {one.got:.2%}"
        lines.append(f"| {one.name} | {there} | {shares} | {one.records:,} | {one.tokens:,} | {one.epochs:.2f} |")
    records, tokens = sum(one.records for one in table), sum(one.tokens for one in table)
    there = f"{sum(one.of_records for one in table):,} | {sum(one.of_tokens for one in table):,}"
    lines.append(f"| all | {there} | 100.00% | 100.00% | {records:,} | {tokens:,} | |")
    said = "records" if by_records else unit
    return "\n".join([*lines, "", f"Weights are shares of the {said} in the mix (Brown et al. 2020, table 2.2)."])
