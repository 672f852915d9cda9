"""What every trainer lets a recipe say: how long, how fast, in what portions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from factory import StepError

if TYPE_CHECKING:
    from .loop import Plan

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Optimizer = Literal["adamw", "adamw_8bit", "paged_adamw_8bit", "adafactor"]


class Training(BaseModel):
    """How long, how fast and in what portions to train.

    epochs, max_steps  how long; max_steps, where given, decides. A step is one update of the weights
    learning_rate    by default what the method asks for: 2e-4 where little is trained, 2e-5 where all is
    schedule         how the learning rate falls after the warmup
    warmup           share of the steps over which the learning rate rises from 0
    weight_decay     AdamW's (Loshchilov and Hutter 2019)
    optimizer        adamw; adamw_8bit: moments in 8 bits (Dettmers et al. 2022, arXiv:2110.02861); paged_adamw_8bit:
                     moved to the CPU's memory when a GPU's is full; adafactor: no first moment, the second factored
    max_grad_norm    gradients of a step are scaled down to this norm
    batch_size, accumulation  records in a batch, batches in a step; every item of a step weighs the same
    evaluations      of what is held out in each epoch; besides, before the first and after the last step
    early_stopping   stop after so many evaluations without a lower loss, and take the best weights
    checkpoint_every steps between checkpoints; a killed run resumes at the last, and on CPU ends with equal weights
    gradient_checkpointing  recompute activations to save memory; by default for qlora on a GPU
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Positive = 1
    max_steps: Count | None = None
    learning_rate: Positive | None = None
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: Share = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    optimizer: Optimizer = "adamw"
    max_grad_norm: Positive = 1.0
    batch_size: Count = 8
    accumulation: Count = 1
    evaluations: Count = 2
    early_stopping: Count | None = None
    checkpoint_every: Count = 50
    gradient_checkpointing: bool | None = None

    def plan(self, examples: int, learning_rate: float, quantized: bool, **more: Any) -> Plan:
        """The plan for so many examples.

        learning_rate  where the recipe gives none
        quantized      the base is in 4 bits: then activations are recomputed on a GPU where the recipe says nothing
        more           further fields of the plan
        """
        import torch

        from .loop import Plan, steps_of

        per_epoch, total = steps_of(examples, self.batch_size, self.accumulation, self.epochs, self.max_steps)
        recompute = self.gradient_checkpointing
        return Plan(
            total=total,
            learning_rate=self.learning_rate or learning_rate,
            schedule=self.schedule,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            optimizer=self.optimizer,
            max_grad_norm=self.max_grad_norm,
            batch_size=self.batch_size,
            accumulation=self.accumulation,
            evaluate_every=max(1, round(per_epoch / self.evaluations)),
            checkpoint_every=self.checkpoint_every,
            patience=self.early_stopping,
            gradient_checkpointing=quantized and torch.cuda.is_available() if recompute is None else recompute,
            **more,
        )


def require_material(step: str, records: int, learned: int, held: int, early_stopping: int | None) -> None:
    """Raise StepError where there is nothing to learn from, or nothing to stop by."""
    if not learned:
        raise StepError(f"{step}: of {records} records none is left to learn from ({held} are held out)")
    if early_stopping is not None and not held:
        raise StepError(f"{step}: early_stopping needs held-out records, but the records have only one prompt")
