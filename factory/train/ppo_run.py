"""What a run of reinforcement learning is made with, and what changes in it. This module loads torch."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from factory import Context

from .one_base import OneBase
from .ppo_options import Algorithm, Practice
from .rollouts import Batch, Rollout, batch_of
from .scoring import Running, Scoring
from .served import Served


@dataclass(frozen=True)
class Asked:
    """A prompt: its record, its token ids."""

    record: Any
    ids: list[int]


@dataclass
class Shown:
    """An evaluation: the likeliest answers to the held-out prompts after a step, and their rewards."""

    step: int
    answers: list[str]
    rewards: list[float]


@dataclass
class Run:
    """All that a run is made with, and below the line what changes in it and is kept in checkpoints besides weights."""

    ctx: Context
    one: OneBase
    tokenizer: Any
    scoring: Scoring
    practice: Practice
    algorithm: Algorithm
    group: int
    asked: Sequence[Asked]
    held: Sequence[Asked]
    ends: frozenset[int]
    served: Served | None = None  # where answers are drawn; None: here
    # ----
    done: int = 0  # steps
    coefficient: float = 0.0  # of the divergence
    seen: Running = field(default_factory=Running)  # scores so far
    history: list[dict[str, float]] = field(default_factory=list)  # metrics of every step
    shown: list[Shown] = field(default_factory=list)  # of every evaluation
    optimizers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # not kept: drawing, scoring, learning

    def __post_init__(self) -> None:
        self.coefficient = self.practice.kl
        rates = {"policy": self.practice.learning_rate, "value": self.practice.value_learning_rate}
        for reader in (name for name in rates if name in self.one.readers):
            weights = self.one.trained(reader).values()
            self.optimizers[reader] = torch.optim.AdamW(weights, lr=rates[reader], weight_decay=0.0)

    def batch(self, rollouts: Sequence[Rollout], rows: Sequence[int]) -> Batch:
        some = [rollouts[row] for row in rows]
        return batch_of(some, self.tokenizer.pad_token_id or 0, self.one.lm.device)

    def rng(self, *key: Any) -> random.Random:
        return self.ctx.rng("ppo", *key)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started

    def shares(self) -> str:
        """What the time of this process went to so far, in words."""
        whole = sum(self.seconds.values())
        return ", ".join(f"{part} {seconds / whole:.0%}" for part, seconds in self.seconds.items())

    @property
    def total(self) -> int:
        return self.practice.steps(len(self.asked))
