"""Epochs in which every process has as many batches: where records do not suffice, some batches count nothing.

Processes compute in step, so none may run out early; and a record seen twice would weigh double.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from . import ranks
from .batches import LengthGrouped

NOTHING = -1  # in the order of an epoch: no example
COUNTS = "counts"  # in a batch of nothing: 0


class EvenOrder:
    """An order of examples, with as many of NOTHING behind it as fill the batches of all processes."""

    def __init__(self, order: LengthGrouped) -> None:
        self.order = order

    def set_epoch(self, epoch: int) -> None:
        self.order.set_epoch(epoch)

    def __len__(self) -> int:
        among = self.order.batch_size * ranks.size() if ranks.size() > 1 else 1
        return -(-len(self.order) // among) * among

    def __iter__(self) -> Iterator[int]:
        yield from self.order
        yield from [NOTHING] * (len(self) - len(self.order))


class Examples:
    """Examples by their number; None for NOTHING."""

    def __init__(self, examples: Sequence[Any]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, at: int) -> Any:
        return None if at == NOTHING else self.examples[at]


def collate_some(
    collate: Callable[[Sequence[Any]], dict[str, torch.Tensor]], stand_in: Any, rows: Sequence[Any]
) -> dict[str, torch.Tensor]:
    """A batch of the rows that are not None; where all are, one of the stand-in, which counts nothing."""
    some = [row for row in rows if row is not None]
    return collate(some) if some else {**collate([stand_in]), COUNTS: torch.zeros((), dtype=torch.long)}
