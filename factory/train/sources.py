"""Where a record's loss is counted: by the target it is from, or by a field of its meta."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from factory import Dataset

from .batches import Example

MOST, REST = 40, "other"  # names told apart, and what the rarer ones are called together


def source_of(dataset: Dataset[Any], field: str | None) -> Callable[[Any], str]:
    """record -> name. By a field of meta where one is named, else by the names in `from:`, if there are several."""
    if field is not None:
        return lambda record: _name((record.get("meta") or {}).get(field, ""))
    if len(dataset.parts) < 2:
        return lambda _: ""
    part_of = {record["id"]: name for name, part in dataset.parts.items() for record in part}
    return lambda record: part_of.get(record["id"], REST)


def told_apart(examples: Sequence[Example]) -> tuple[list[str], list[Example]]:
    """(names that losses are told under, commonest first; the examples): no names where all are from one source.

    Of more than MOST names the rarer are told as one, and the examples say so.
    """
    counts = Counter(example.source for example in examples)
    names = [name for name, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    if len(names) <= MOST:
        return names if len(names) > 1 else [], list(examples)
    kept = [name for name in names if name != REST][: MOST - 1]
    renamed = [one if one.source in kept else replace(one, source=REST) for one in examples]
    return [*kept, REST], renamed


def _name(value: Any) -> str:
    return " ".join(str(value).split())[:60] or REST
