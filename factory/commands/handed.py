"""A training stage as another trainer has to be told of it, and what several of them call its options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ..errors import InputError

TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"
LORA = ("lora", "qlora", "dora")
OPTIMIZERS = {"adamw": "adamw_torch"}  # the others have the names of transformers
NO_DROPOUT = ("dpo", "kto")  # steps that learn without it, because their reference has none
Turns = list[dict[str, str]]
Files = dict[str, str]  # name -> content


@dataclass(frozen=True)
class Handed:
    """What is handed over.

    step      sft, dpo, kto or reward_model
    base      a hub id, or a folder beside the files
    options   of the step by name, with defaults; learning_rate is never None
    steps     in an epoch, and in all; a step is one update of the weights
    targets   names of the modules that adapters change, or `all-linear`
    layers    the numbers of the layers that adapters change; empty: all
    tokenizer  of the stage, for tools that read text instead of turns
    """

    target: str
    recipe: str
    step: str
    base: str
    options: SimpleNamespace
    seed: int
    held: bool
    per_epoch: int
    steps: int
    targets: str | list[str] = "all-linear"
    layers: tuple[int, ...] = ()
    tokenizer: Any = None

    @property
    def warmup_steps(self) -> int:
        return math.ceil(self.steps * float(self.options.warmup))

    @property
    def every(self) -> int:
        """Steps between evaluations."""
        return max(1, round(self.per_epoch / int(self.options.evaluations)))

    @property
    def recomputes(self) -> bool:
        """Whether activations are recomputed, as our trainer decides on a GPU."""
        said = self.options.gradient_checkpointing
        return self.options.method == "qlora" if said is None else bool(said)

    @property
    def optimizer(self) -> str:
        return OPTIMIZERS.get(self.options.optimizer, str(self.options.optimizer))

    @property
    def lora_dropout(self) -> float:
        return 0.0 if self.step in NO_DROPOUT else float(self.options.lora["dropout"])

    @property
    def saves(self) -> int:
        """Steps between checkpoints: of a run that may stop early there is one for every evaluation."""
        return int(self.every if self.options.early_stopping else self.options.checkpoint_every)

    def require(self, tool: str, methods: tuple[str, ...]) -> None:
        """Raise InputError for what the tool cannot be told."""
        if self.options.method not in methods:
            raise InputError(f"{tool} has no method {self.options.method}; it can be told of {', '.join(methods)}")
        if getattr(self.options, "weigh", "token") != "token":
            raise InputError(f"{tool} weighs every token the same; it cannot be told of weigh: {self.options.weigh}")

    def require_plain_pairs(self, tool: str, centring: bool = False) -> None:
        """Raise InputError for what a reward model's loss has and the tool cannot be told."""
        odd = "margin: true" if self.options.margin else f"centring: {self.options.centring:g}"
        if self.options.margin or (self.options.centring and not centring):
            raise InputError(f"{tool} has no word for {odd} of a reward model; take --for trl")

    def whole_alpha(self, tool: str) -> int:
        """lora.alpha for a tool that takes whole numbers."""
        alpha = self.options.lora["alpha"]
        if alpha != int(alpha):
            raise InputError(f"{tool} takes whole numbers for lora.alpha, and it is {alpha}")
        return int(alpha)

    def arguments(self) -> dict[str, Any]:
        """In the words of transformers' TrainingArguments, which TRL and LLaMA-Factory add to."""
        options = self.options
        found = {
            "output_dir": "trained",
            "num_train_epochs": options.epochs,
            "max_steps": options.max_steps or -1,
            "learning_rate": options.learning_rate,
            "lr_scheduler_type": options.schedule,
            "warmup_steps": self.warmup_steps,
            "weight_decay": options.weight_decay,
            "optim": self.optimizer,
            "max_grad_norm": options.max_grad_norm,
            "per_device_train_batch_size": options.batch_size,
            "gradient_accumulation_steps": options.accumulation,
            "neftune_noise_alpha": getattr(options, "neftune", None),
            "seed": self.seed,
            "logging_steps": 1,
            "save_steps": self.saves,
            "report_to": "none",
        }
        if self.held:
            found |= {"eval_strategy": "steps", "eval_steps": self.every}
            found |= {"per_device_eval_batch_size": options.batch_size}
        return {name: value for name, value in found.items() if value is not None}


def answers(turn: dict[str, str]) -> bool:
    return turn["role"] == "assistant"
