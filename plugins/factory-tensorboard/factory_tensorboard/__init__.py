"""What training stages log, as TensorBoard runs under `build/RECIPE/tensorboard`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import factory

if TYPE_CHECKING:
    from .runs import Run

folders: list[Path] = []  # of the build that runs in this process, while there is one
open_runs: dict[str, Run] = {}  # by fingerprint of their stages; open ones


@factory.hookimpl
def before_build(plan: Any) -> None:
    folders[:] = [Path(plan.folder) / "tensorboard"]


@factory.hookimpl
def log_metrics(stage: Any, step: int, metrics: dict[str, float]) -> None:
    from .runs import Run

    for folder in folders:
        if stage.fingerprint not in open_runs:
            open_runs[stage.fingerprint] = Run(folder / stage.target / stage.fingerprint, step)
        open_runs[stage.fingerprint].log(step, metrics)


@factory.hookimpl
def after_stage(stage: Any) -> None:
    if run := open_runs.pop(stage.fingerprint, None):
        run.close()


@factory.hookimpl
def after_build() -> None:
    for run in open_runs.values():
        run.close()
    open_runs.clear()
    folders.clear()
