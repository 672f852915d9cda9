"""What a training run makes small, and what is told beside it. This module loads torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch

from .batches import IGNORED
from .cross_entropy import token_nll

Batch: TypeAlias = dict[str, torch.Tensor]
Sum: TypeAlias = torch.Tensor | tuple[torch.Tensor, torch.Tensor | float]


@dataclass(frozen=True)
class Objective:
    """What is made small: a sum over items (tokens, pairs), divided by the items of all batches of a step.

    sums   (model, batch) -> name: sum over the batch's items. `loss` is what is learned; other names are told beside
           it, divided by the items, or by a number of their own where the value is a pair
    items  how many a batch has
    """

    sums: Callable[[Any, Batch], Mapping[str, Sum]]
    items: Callable[[Batch], int | torch.Tensor]


def likelihood(head: Any, sources: Sequence[str] = ()) -> Objective:
    """The negative log-likelihood in nats of the labelled tokens, each weighing what `weights` of a batch says, or 1.

    sources  names that `source` of a batch counts in: the loss of each is told as `loss/NAME`, a mean over its tokens
    """
    return Objective(partial(_nll, head, sources), _items)


def _items(batch: Batch) -> torch.Tensor:
    wanted = batch["labels"][:, 1:] != IGNORED
    return batch["weights"][:, 1:][wanted].sum() if "weights" in batch else wanted.sum()


def _nll(head: Any, sources: Sequence[str], model: Any, batch: Batch) -> dict[str, Sum]:
    wanted = batch["labels"][:, 1:] != IGNORED
    inputs = {name: value for name, value in batch.items() if name not in ("source", "weights")}
    weights = batch["weights"][:, 1:][wanted] if "weights" in batch else None
    total, each = token_nll(model, head, inputs, weights)
    sums: dict[str, Sum] = {"loss": total}
    if sources:
        source = batch["source"][:, 1:][wanted]
        count = torch.bincount(source, minlength=len(sources))
        of_each = torch.zeros(len(sources), device=each.device).index_add_(0, source, each)
        sums |= {f"loss/{name}": (of_each[at], count[at]) for at, name in enumerate(sources)}
    return sums


class Tally:
    """Sums over batches, and what they are divided by."""

    def __init__(self) -> None:
        self._sums: dict[str, list[tuple[torch.Tensor, torch.Tensor | float]]] = {}

    def add(self, sums: Mapping[str, Sum], items: torch.Tensor | float) -> None:
        for name, value in sums.items():
            total, count = value if isinstance(value, tuple) else (value, items)
            self._sums.setdefault(name, []).append((total.detach(), count))

    def total(self, name: str) -> float:
        return float(sum(float(total) for total, _ in self._sums.get(name, [])))

    def means(self) -> dict[str, float]:
        """Each sum over what it is divided by; a name that nothing was counted under is left out."""
        counts = {name: sum(float(count) for _, count in parts) for name, parts in self._sums.items()}
        return {name: self.total(name) / count for name, count in counts.items() if count}
