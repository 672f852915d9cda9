"""Memory that does not suffice, said in one sentence with the nearest remedy. This module loads torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from factory import StepError

from . import ranks

if TYPE_CHECKING:
    from .loop import Plan


@contextmanager
def told_plainly(model: Any, plan: Plan) -> Iterator[None]:
    """Turn an allocation that failed, a GPU's or the machine's, into a StepError that says what to change."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # of the CPU's allocator there is only the text
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):
            raise
        raise StepError(f"out of memory at batch_size {plan.batch_size}; try {_remedy(model, plan)}") from error


def _remedy(model: Any, plan: Plan) -> str:
    if plan.batch_size > 1:
        half, among = plan.batch_size // 2, ranks.size()
        accumulation = -(-plan.accumulation * plan.batch_size // (half * among)) * among
        return f"batch_size: {half} with accumulation: {accumulation}"
    if not plan.gradient_checkpointing and _recomputes(model):
        return "gradient_checkpointing: true"
    four_bits = getattr(model, "is_loaded_in_4bit", False)
    return f"a smaller {plan.length}" + ("" if four_bits else ", or the method qlora")


def _recomputes(model: Any) -> bool:
    """Whether the model can recompute activations: some cannot, and none can behind virtual tokens."""
    adapters = getattr(model, "peft_config", {}).values()
    return bool(model.supports_gradient_checkpointing) and not any(one.is_prompt_learning for one in adapters)
