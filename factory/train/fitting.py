"""Batch size, accumulation and gradient checkpointing that fit into a memory, for every step that trains.

The effective batch, which decides what is learned, stays what the recipe says: with fewer records in a batch there are
more batches in a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .memory import (
    MOMENTS,
    Batch,
    Loss,
    Need,
    Tuned,
    activation_bytes,
    cache_bytes,
    flops,
    logit_bytes,
    trained_weights,
    weight_bytes,
)
from .shape import Shape

# step -> (rows of a batch for one of its records, how its loss has its logits). A record of reward_model is a prompt
# with its answers, here two; what kto reads besides goes through without gradients.
STEPS: dict[str, tuple[int, Loss]] = {
    "sft": (1, "chunked"),
    "pretrain": (1, "chunked"),
    "reward_model": (2, "none"),
    "dpo": (2, "chunked"),
    "kto": (1, "chunked"),
    "ppo": (1, "chunked"),
}
# What can be planned with. Not in the plan are, on a GPU, its context (0.3 to 0.6 GB) and what lies between blocks; on
# CPU, blocks that were freed and that glibc keeps: up to 0.45 times the plan (three runs of a 12M model, 4 × 256).
USABLE = {True: 0.92, False: 0.69}  # on a GPU, on CPU
PROMPT = 512  # tokens of a prompt that ppo answers, where nothing says how long prompts are
TOGETHER = {True: 128, False: 32}  # answers that factory.train.rollouts draws at once, on a GPU and on CPU
SHORTEST = 128  # tokens; shorter records teach little
CANNOT_RECOMPUTE = ("prefix", "prompt", "ptuning")


@dataclass(frozen=True)
class Setting:
    """What a recipe says of portions: records in a batch, batches in a step, and whether activations are recomputed."""

    batch_size: int
    accumulation: int = 1
    recompute: bool = False


@dataclass(frozen=True)
class Task:
    """A training stage as its memory depends on it.

    setting   as the recipe has it
    answer    tokens that are drawn for a prompt, `together` answers at once; 0 where nothing is drawn
    beside    bytes of other models that lie in the same memory
    models    that are trained on the one base: 2 where a value model learns beside the policy
    """

    step: str
    shape: Shape
    tuned: Tuned
    length: int
    setting: Setting
    gpu: bool = True
    padded: bool = True
    answer: int = 0
    together: int = 0
    beside: float = 0.0
    models: int = 1

    def batch(self, setting: Setting) -> Batch:
        rows, loss = STEPS[self.step]
        share = self.answer / self.length if self.answer else 1.0
        return Batch(rows * setting.batch_size, self.length, share, self.gpu, self.padded, loss, setting.recompute)

    def need(self, setting: Setting) -> Need:
        """The memory at the peak of a step."""
        batch, trained = self.batch(setting), self.models * trained_weights(self.shape, self.tuned)
        added = 4.0 * trained_weights(self.shape, self.tuned) * (self.models - 1)
        return Need(
            weights=weight_bytes(self.shape, self.tuned, self.gpu) + added + self.beside,
            gradients=4.0 * trained,
            optimizer=MOMENTS[self.tuned.optimizer] * trained,
            activations=activation_bytes(self.shape, self.tuned, batch),
            logits=logit_bytes(self.shape, self.tuned, batch),
            cache=cache_bytes(self.shape, self.together, self.length, self.gpu),
            accumulated=setting.accumulation > 1,
        )

    def flops(self, setting: Setting) -> float:
        """Floating-point operations of a step's updates (of ppo: of one pass over a batch of answers)."""
        return setting.accumulation * flops(self.shape, self.tuned, self.batch(setting))

    def settings(self) -> Iterator[Setting]:
        """All with the effective batch of the recipe, the fastest first: recomputing costs a third of a step or more,
        smaller batches cost little until there is one record left.
        """
        effective = self.setting.batch_size * self.setting.accumulation
        sizes = [size for size in range(effective, 0, -1) if effective % size == 0]
        for recompute in (False,) if self.tuned.method in CANNOT_RECOMPUTE else (False, True):
            for size in sizes:
                # the answers of a step of ppo go through in portions of batch_size, however many there are
                yield Setting(size, 1 if self.step == "ppo" else effective // size, recompute)


def pick(task: Task, room: float) -> Setting | None:
    """The recipe's own setting where it fits into `room` bytes, else the fastest that does; None where none does."""
    if task.need(task.setting).peak <= room:
        return task.setting
    return next((setting for setting in task.settings() if task.need(setting).peak <= room), None)


def smallest(task: Task) -> float:
    """Bytes of the setting that needs the least."""
    return min(task.need(setting).peak for setting in task.settings())


def remedies(task: Task, room: float) -> list[str]:
    """What would make a stage fit that does not, the nearest first; each alone, then both together."""
    found = []
    small = replace(task, tuned=replace(task.tuned, method="qlora", base="nf4"))
    length = "seq_len" if task.step == "pretrain" else "max_new_tokens" if task.step == "ppo" else "max_length"
    quantize = "quantize: nf4" if task.step == "ppo" else "method: qlora"
    if task.tuned.base != "nf4" and pick(small, room) is not None:
        found.append(quantize)
    if shorter := _shorter(task, room):
        found.append(f"{length}: {shorter}")
    if not found and task.tuned.base != "nf4" and (shorter := _shorter(small, room)):
        found.append(f"{quantize} with {length}: {shorter}")
    return found


def _shorter(task: Task, room: float) -> int:
    """The most tokens, in halves of what the recipe says, with which it fits; 0 where none does."""
    length, answer = task.length, task.answer
    while (length := length // 2) >= SHORTEST:
        answer //= 2
        if pick(replace(task, length=length, answer=answer), room) is not None:
            return answer or length
    return 0


def task_of(step: str, options: Mapping[str, Any], shape: Shape, gpu: bool, rows: int = 0, beside: float = 0.0) -> Task:
    """A call of a training step as a task.

    options  as the plan has them, defaults filled in
    rows     of the embedding, that a vocabulary was extended by
    """
    ppo = step == "ppo"
    quantize = options.get("quantize", "none") if ppo else ""
    method = "lora" if ppo else str(options["method"])
    lora = options.get("lora") or {}
    whole = method in ("full", "freeze")
    base = quantize if quantize in ("nf4", "int8") else "nf4" if method == "qlora" else "bf16"
    targets = lora.get("target_modules", "all-linear")
    embeddings = {"new": rows, "all": shape.vocabulary}.get(str(options.get("embeddings")), 0)
    tuned = Tuned(
        method=method,
        base="fp32" if whole else base,
        rank=int(lora.get("r", 16)),
        dropout=0.0 if ppo or step in ("dpo", "kto") else float(lora.get("dropout", 0.0)),
        targets=targets if isinstance(targets, str) else tuple(targets),
        layers=options.get("layers") if method == "freeze" else lora.get("layers") if not whole else None,
        virtual_tokens=int(options.get("virtual_tokens") or 16),
        bottleneck=int(options.get("bottleneck") or 64),
        placements=2 if options.get("placement") == "houlsby" else 1,
        rows=rows if method == "rows" else embeddings,
        optimizer=str(options.get("optimizer", "adamw")),
    )
    recompute = options.get("gradient_checkpointing")
    if recompute is None:
        recompute = gpu and (ppo or base == "nf4")
    answer = int(options["max_new_tokens"]) if ppo else 0
    length = PROMPT + answer if ppo else int(options.get("seq_len") or options["max_length"])
    groups = options.get("samples") or (1 if options.get("algorithm") == "gae" else 4)
    drawn = int(options.get("prompts_per_step") or 32) * groups
    # ppo learns from a step's answers in minibatches, and has no more of them at once than are in one
    portion = math.ceil(drawn / int(options.get("minibatches") or 1)) if ppo else int(options["batch_size"])
    return Task(
        step=step,
        shape=shape,
        tuned=tuned,
        length=min(length, shape.context or length),  # no record is longer than the model reads
        setting=Setting(
            min(int(options["batch_size"]), portion), int(options.get("accumulation") or 1), bool(recompute)
        ),
        gpu=gpu,
        padded=step != "pretrain" and not options.get("packing"),
        answer=answer,
        together=min(TOGETHER[gpu], drawn) if ppo else 0,
        beside=beside,
        models=2 if ppo and options.get("algorithm") == "gae" else 1,
    )
