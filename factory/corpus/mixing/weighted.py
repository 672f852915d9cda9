"""What stands in `from:`, as sources with weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from factory import Dataset, InputError, Record, Shard
from factory.errors import did_you_mean

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Times = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Weighted:
    """A source and the share of the result that it should have.

    shards  its own, with ids as the stage sees them
    share   of 1; 0 leaves the source out
    """

    name: str
    shards: list[Shard]
    ids: list[str]
    share: float

    def records(self) -> Iterator[Any]:
        for shard in self.shards:
            yield from shard.records()


def weighted(step: str, dataset: Dataset[Record], weights: Mapping[str, float]) -> list[Weighted]:
    """The sources of a dataset in the order of `from:`; all weigh the same when `weights` is empty.

    Raises InputError when a weight names no source, a source has no weight, or one that should be drawn from is empty.
    """
    parts = dataset.parts
    if wrong := next((name for name in weights if name not in parts), None):
        raise InputError(f"{step}: weights: there is no '{wrong}' in `from:`; {did_you_mean(wrong, parts)}")
    if weights and (missing := next((name for name in parts if name not in weights), None)):
        raise InputError(f"{step}: weights: '{missing}' has none; `{missing}: 0` leaves it out")
    if sum(len(part.shards) for part in parts.values()) != len(dataset.shards):
        raise InputError(f"{step}: a source stands twice in `from:`; name it once and give it a higher weight")
    given = dict(weights) or dict.fromkeys(parts, 1.0)
    if not (total := sum(given.values())) > 0:
        raise InputError(f"{step}: weights: at least one must be above 0, found {dict(weights)}")
    found, first = [], 0
    for name, part in parts.items():
        shards = dataset.shards[first : first + len(part.shards)]
        first += len(shards)
        ids = [one for shard in shards for one in shard.ids()]
        if given[name] and not ids:
            raise InputError(f"{step}: there is no record in '{name}'; `{name}: 0` leaves it out")
        found.append(Weighted(name, shards, ids, given[name] / total))
    return found


def check_epochs(step: str, name: str, epochs: float, max_epochs: float) -> None:
    """Raise InputError when a source would be seen more often than is allowed."""
    if epochs > max_epochs * (1 + 1e-9):
        raise InputError(
            f"{step}: '{name}' would be seen {epochs:.2f} times, and max_epochs is {max_epochs:g}; "
            "lower its weight or the size of the whole, or raise max_epochs"
        )


def noted(record: Mapping[str, Any], source: str, epoch: int) -> Any:
    """The record with meta.source and meta.epoch; another source that it named goes to meta.source_before."""
    meta = record.get("meta", {})
    before = {"source_before": meta["source"]} if meta.get("source", source) != source else {}
    return {**record, "meta": {**meta, **before, "source": source, "epoch": epoch}}
