"""Training in several processes, one for each GPU: rank 0 tells and saves, the others compute with it.

The processes are started with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set, as `factory build --processes` and
torchrun do; each runs the same step on the same records, and gradients are averaged over them. Each holds the whole
model (DDP), or with `--sharded` a part of every weight (FSDP, `sharding.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

from factory import Context, StepError

CHECKPOINTS = "FACTORY_CHECKPOINTS"  # the folder of rank 0's checkpoints, where it is not the process's own
SHARDED = "FACTORY_SHARDED"  # set where weights are split over the processes


def size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def first() -> bool:
    return rank() == 0


def sharded() -> bool:
    return size() > 1 and bool(os.environ.get(SHARDED))


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
