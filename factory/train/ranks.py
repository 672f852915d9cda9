"""Training in several processes, one for each GPU: rank 0 tells and saves, the others compute with it.

The processes are started with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set, as `factory build --processes` and
torchrun do; each runs the same step on the same records, and gradients are averaged over them (DDP).
Where the batches of an epoch are no multiple of the processes, its last step sees a batch twice, as accelerate does.
"""

from __future__ import annotations

import os
from pathlib import Path

from factory import Context, StepError

CHECKPOINTS = "FACTORY_CHECKPOINTS"  # the folder of rank 0's checkpoints, where it is not the process's own


def size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def share_of(accumulation: int) -> int:
    """Batches that one process adds up in a step: so a step has the same records however many processes there are."""
    if accumulation % size():
        raise StepError(
            f"accumulation is {accumulation}, which {size()} processes cannot share evenly; "
            f"try accumulation: {-(-accumulation // size()) * size()}"
        )
    return accumulation // size()


def checkpoint_folder(ctx: Context) -> Path:
    return Path(os.environ.get(CHECKPOINTS, str(ctx.workdir)))


def meet() -> None:
    """Wait until every process has come here."""
    if size() > 1:
        import torch.distributed

        torch.distributed.barrier()
