"""Memory that does not suffice, said in one sentence with the nearest remedy. This module loads torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from factory import StepError


@contextmanager
def told_plainly(batch_size: int, accumulation: int, gradient_checkpointing: bool) -> Iterator[None]:
    """Turn an allocation that failed, a GPU's or the machine's, into a StepError that says what to change."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # of the CPU's allocator there is only the text
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):
            raise
        if batch_size > 1:
            half = batch_size // 2
            remedy = f"batch_size: {half} with accumulation: {-(-accumulation * batch_size // half)}"
        elif not gradient_checkpointing:
            remedy = "gradient_checkpointing: true"
        else:
            remedy = "a smaller max_length, or method: qlora"
        raise StepError(f"out of memory at batch_size {batch_size}; try {remedy}") from error
