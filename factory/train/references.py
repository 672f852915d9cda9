"""Training against a frozen reference: the base's own log-probabilities of all answers, computed once and kept.

This module loads torch; only a training step that runs imports it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch

from factory import Context

from . import ranks
from .adapters import without_dropout
from .batches import IGNORED, Example, collate
from .cross_entropy import token_logps
from .loop import Held, Material, Plan, Run, train
from .methods import Tuned
from .objective import Batch, Objective

FILE = "references.npy"


class TwoAnswers(Protocol):
    """What is learned from: two answers, each with the prompt before it."""

    @property
    def answers(self) -> tuple[Example, Example]: ...

    def __len__(self) -> int: ...


Two = TypeVar("Two", bound=TwoAnswers)


@dataclass(frozen=True, slots=True)
class Referred(Generic[Two]):
    """Two answers, and their log-probabilities before training, in nats."""

    two: Two
    reference: tuple[float, float]

    def __len__(self) -> int:
        return len(self.two)


def train_against_base(
    tuned: Tuned,
    learned: Sequence[Two],
    held: Sequence[Two],
    tokenizer: Any,
    plan: Plan,
    ctx: Context,
    collate: Callable[..., Batch],
    objective: Callable[[Any], Objective],
) -> Run:
    """Train on what is learned, held against what the model says before training, and measure what is held out.

    collate    (list of Referred, pad_id) -> batch
    objective  (the model's head) -> what is made small

    Dropout is off, because the reference has none.
    """
    model, pad_id = without_dropout(tuned.model), tokenizer.pad_token_id or 0
    answers = [answer for two in (*learned, *held) for answer in two.answers]
    logps = reference_logps(model, answers, 2 * plan.batch_size, pad_id, ctx).reshape(-1, 2).tolist()
    referred = [Referred(two, (one, other)) for two, (one, other) in zip((*learned, *held), logps, strict=True)]
    learning, measured = referred[: len(learned)], referred[len(learned) :]
    material = Material(
        examples=learning,
        lengths=[len(one) for one in learning],
        collate=partial(collate, pad_id=pad_id),
        held=[Held("eval_loss", sorted(measured, key=len), len(measured))] if measured else [],
        objective=objective(model.get_output_embeddings()),
    )
    return train(model, material, plan, ctx)


def sequence_logps(model: Any, head: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Σ log π(token | what stands before it) over the labelled tokens of each row, in nats: (rows)."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    labels = batch["labels"][:, 1:]
    rows = torch.arange(len(labels), device=labels.device).unsqueeze(1).expand_as(labels)[labels != IGNORED]
    return torch.zeros(len(labels), device=labels.device).index_add(0, rows, token_logps(model, head, inputs))


def reference_logps(model: Any, examples: Sequence[Example], batch_size: int, pad_id: int, ctx: Context) -> Any:
    """`sequence_logps` of each example by the model before training, its adapter off: float32 of shape (examples).

    They are written beside the checkpoints under another name and renamed, so a resumed run, whose model is loaded anew
    before its checkpoint is, reads what the first run saw. Of several processes the first writes; none may read where
    another computes, which takes all of them where weights are split. Equal sequences are read once.
    """
    path = ranks.checkpoint_folder(ctx) / FILE
    if path.is_file():
        found = np.load(path)
    else:
        found = _computed(model, examples, batch_size, pad_id, lambda done: ctx.progress(done, len(examples)))
        if ranks.first():
            _write(path, found)
    assert len(found) == len(examples), "the references are those of other records"
    return found


def _computed(
    model: Any, examples: Sequence[Example], batch_size: int, pad_id: int, tell: Callable[[int], None]
) -> np.ndarray[Any, Any]:
    places: dict[tuple[bytes, bytes], list[int]] = {}
    for at, example in enumerate(examples):
        places.setdefault((example.ids.tobytes(), example.learned), []).append(at)
    order = sorted(places.values(), key=lambda same: -len(examples[same[0]]))
    found, done = np.zeros(len(examples), np.float32), 0
    training = model.training
    model.eval()
    gpu = torch.cuda.is_available()  # training there computes in bfloat16, and so does what it is held against
    base = model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()
    with base, torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=gpu):
        for start in range(0, len(order), batch_size):
            some = order[start : start + batch_size]
            batch = collate([examples[same[0]] for same in some], pad_id)
            batch = {name: value.to(model.device) for name, value in batch.items()}
            logps = sequence_logps(model, model.get_output_embeddings(), batch).tolist()
            for same, value in zip(some, logps, strict=True):
                found[same] = value
                done += len(same)
            tell(done)
    model.train(training)
    return found


def _write(path: Path, found: np.ndarray[Any, Any]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, found)
    os.replace(partial, path)
