"""Weights split over the processes that train together (FSDP2): each holds a part, and gathers a layer to compute it.

transformers splits them as it loads, so no process ever holds the whole model. Adapters are small and stay whole in
each. This module loads torch.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from factory import StepError

from . import ranks

OPTIMIZER, SCHEDULE = "optimizer-{}.pt", "scheduler.pt"  # in a checkpoint: one for each process, one for all


def let_go(model: Any) -> None:
    """Give back what a forward pass gathered and keeps for a backward that never came.

    An optimizer made before that would hold the gathered weights, and its updates would be lost; a tied weight would
    have two names.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def gathered(model: Any, names: Container[str]) -> dict[str, torch.Tensor]:
    """name -> its whole weight on the CPU, in the first process; nothing in the others, which have to call it, too."""
    found = {}
    for name, value in model.state_dict().items():
        if name not in names:
            continue
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if ranks.first():
            found[name] = whole.detach().cpu().contiguous()
    return found


def put(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy whole weights into a model, of which each process takes its part."""
    own = model.state_dict()
    for name, value in weights.items():
        held = own[name]
        if isinstance(held, DTensor):
            # each process has read all of it, so none has to send the others theirs
            value = distribute_tensor(value.to(held.device), held.device_mesh, held.placements, src_data_rank=None)
        held.copy_(value)


def save_state(optimizer: Any, schedule: Any, folder: Path) -> None:
    """Write the moments that this process holds, and in the first the schedule."""
    state = optimizer.state_dict()
    held = {at: {name: _own(value) for name, value in one.items()} for at, one in state["state"].items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({**state, "state": held}, folder / OPTIMIZER.format(ranks.rank()))
    if ranks.first():
        torch.save(schedule.state_dict(), folder / SCHEDULE)


def load_state(optimizer: Any, schedule: Any, folder: Path) -> None:
    """Read them back. Raises StepError where the checkpoint is that of another number of processes."""
    count = len(list(folder.glob(OPTIMIZER.format("*"))))
    if count != ranks.size():
        raise StepError(f"{folder}: {_written(count)}; go on in the same way, or remove that folder")
    state = torch.load(folder / OPTIMIZER.format(ranks.rank()), map_location="cpu", weights_only=True)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for at, one in state["state"].items():
        state["state"][at] = {name: _like(value, weights[at]) for name, value in one.items()}
    optimizer.load_state_dict(state)
    schedule.load_state_dict(torch.load(folder / SCHEDULE, weights_only=True))


def require_whole(folder: Path) -> None:
    """Raise StepError for a checkpoint of a split model, which one that is not split cannot go on from."""
    if count := len(list(folder.glob(OPTIMIZER.format("*")))):
        raise StepError(f"{folder}: {_written(count)}; go on in the same way, or remove that folder")


def _written(count: int) -> str:
    how = f"--sharded --processes {count}" if count else "processes that each held the whole model"
    return f"the checkpoint was written by {how}"


def _own(value: Any) -> Any:
    return value.to_local() if isinstance(value, DTensor) else value


def _like(value: Any, weight: Any) -> Any:
    """A moment that was read, split as its weight is; a step count and the moments of adapters are whole."""
    if not isinstance(weight, DTensor) or value.dim() == 0:
        return value
    local = value.to(weight.device)
    return DTensor.from_local(
        local, weight.device_mesh, weight.placements, run_check=False, shape=weight.shape, stride=weight.stride()
    )
