"""Checkpoints of a PPO run: what is trained, both optimizers, and what the run has learned of its rewards."""

from __future__ import annotations

import json
from dataclasses import asdict

import torch

from . import checkpoints, ranks
from .ppo_prompts import show
from .ppo_run import Run, Shown
from .scoring import Running

WEIGHTS, REST = "weights.pt", checkpoints.STATE


def save(run: Run) -> None:
    """Write a checkpoint of the steps done, in the first process; older ones go when it is whole.

    No state of a generator is in it: all draws of a step are seeded by its number, the order of prompts too.
    """
    if not ranks.first():
        return
    folder = checkpoints.folder_of(run.ctx.workdir, run.done)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        reader: {
            "parameters": {name: weight.detach().cpu() for name, weight in run.one.trained(reader).items()},
            "optimizer": optimizer.state_dict(),
        }
        for reader, optimizer in run.optimizers.items()
    }
    torch.save(weights, folder / WEIGHTS)
    rest = {
        "global_step": run.done,
        "log_history": run.history,
        "coefficient": run.coefficient,
        "seen": asdict(run.seen),
        "shown": [asdict(one) for one in run.shown],
        "shift": run.one.shift,
    }
    # JSON writes a float so that it reads back to the bit
    (folder / REST).write_text(json.dumps(rest), encoding="utf-8")
    checkpoints.seal(folder)
    checkpoints.clear(run.ctx.workdir, {run.done})


def restore(run: Run) -> None:
    """Go on where the newest whole checkpoint ends; without one nothing changes."""
    workdir = ranks.checkpoint_folder(run.ctx)
    if ranks.first():
        checkpoints.latest(workdir)  # what a kill left half-written goes
    ranks.meet()
    folder = checkpoints.latest(workdir)
    if folder is None:
        return
    weights = torch.load(folder / WEIGHTS, map_location=run.one.lm.device, weights_only=True)
    with torch.no_grad():
        for reader, optimizer in run.optimizers.items():
            for name, weight in run.one.trained(reader).items():
                weight.copy_(weights[reader]["parameters"][name])
            optimizer.load_state_dict(weights[reader]["optimizer"])
    rest = json.loads((folder / REST).read_text(encoding="utf-8"))
    run.done, run.history = rest["global_step"], rest["log_history"]
    run.coefficient, run.seen, run.one.shift = rest["coefficient"], Running(**rest["seen"]), rest["shift"]
    run.shown = [Shown(**one) for one in rest["shown"]]
    for one in run.shown:
        show(run, one)  # what a killed process told is lost
