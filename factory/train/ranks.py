"""Training in several processes, one for each GPU: rank 0 tells and saves, the others compute with it.

The processes are started with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set, as `factory build --processes` and
torchrun do; each runs the same step on the same records, and gradients are gathered over them. Each holds the whole
model (DDP), or with `--sharded` a part of every weight (FSDP, `sharding.py`). What has no trainer, as `ppo`, shares
lists of work: `shared`, `of_first`, `add_up`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from factory import Context, StepError

T = TypeVar("T")
Made = TypeVar("Made")

CHECKPOINTS = "FACTORY_CHECKPOINTS"  # the folder of rank 0's checkpoints, where it is not the process's own
SHARDED = "FACTORY_SHARDED"  # set where weights are split over the processes
PATIENCE = timedelta(days=30)  # for the others: a judge may take hours; who dies is noticed by the engine


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

        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # what a GPU was told to send is sent
        torch.distributed.barrier()


def join() -> None:
    """Connect the processes, each with a GPU of its own where there are any."""
    import torch

    if size() == 1 or torch.distributed.is_initialized():
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)


def shared(items: Sequence[T], work: Callable[[T], Made]) -> list[Made]:
    """work(item) of every item, in order and in every process; item k is done by process k mod size.

    What is made travels pickled, so it holds no tensor on a GPU.
    """
    own = [work(item) for item in items[rank() :: size()]]
    if size() == 1:
        return own
    import torch.distributed

    made: list[Any] = [None] * size()
    torch.distributed.all_gather_object(made, own)
    return [made[at % size()][at // size()] for at in range(len(items))]


def evenly(count: int, most: int) -> int:
    """How many items make a portion of at most `most`, so that the portions of `count` are as many for each process."""
    each = max(1, -(-count // (most * size())))
    return max(1, -(-count // (each * size())))


def of_first(work: Callable[[], Made]) -> Made:
    """What the first process makes, in every process. Where it fails the others wait, until the engine ends them."""
    if size() == 1:
        return work()
    import torch.distributed

    made = [work() if first() else None]
    torch.distributed.broadcast_object_list(made, src=0)
    return cast(Made, made[0])


def add_up(weights: Iterable[Any]) -> None:
    """Replace the gradients of parameters by their sums over the processes; one that has none adds zeros."""
    if size() == 1:
        return
    import torch

    some = list(weights)
    parts = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in some]
    flat = torch.cat([part.flatten() for part in parts])
    torch.distributed.all_reduce(flat)
    for weight, part in zip(some, flat.split([weight.numel() for weight in some]), strict=True):
        weight.grad = part.view_as(weight)
