"""Checkpoints that are whole or not there: a mark is written last and removed first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

COMPLETE = "complete"
STATE = "trainer_state.json"


def folder_of(workdir: Path, step: int) -> Path:
    return workdir / f"checkpoint-{step}"


def seal(folder: Path) -> None:
    """Say that everything in the folder is written."""
    (folder / COMPLETE).touch()


def steps_saved(workdir: Path) -> list[int]:
    """The training steps of all whole checkpoints, ascending."""
    return sorted(int(mark.parent.name.split("-")[1]) for mark in workdir.glob(f"checkpoint-*/{COMPLETE}"))


def clear(workdir: Path, keep: Iterable[int]) -> None:
    """Remove every checkpoint but those of the steps in `keep`. Half-written ones go too."""
    kept = {folder_of(workdir, step) for step in keep}
    for folder in sorted(workdir.glob("checkpoint-*")):
        if folder not in kept:
            # A kill between these two lines leaves a folder without its mark, which the next run removes.
            (folder / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(folder)


def latest(workdir: Path) -> Path | None:
    """The newest whole checkpoint; whatever a kill left half-written is removed."""
    saved = steps_saved(workdir)
    clear(workdir, saved)
    return folder_of(workdir, saved[-1]) if saved else None


def history(folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """(training steps done, everything logged until then) as a checkpoint has it."""
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    return int(state["global_step"]), list(state["log_history"])
