"""A training run killed with SIGKILL and started again ends with the bytes of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM

pytestmark = [pytest.mark.model, pytest.mark.slow]
SCRIPT = Path(__file__).with_name("train_tiny.py")
LORA = {"epochs": 6, "batch_size": 2, "accumulation": 2, "checkpoint_every": 4, "lora": {"r": 4, "dropout": 0.2}}
STOPPING = {**LORA, "epochs": 40, "learning_rate": 0.02, "validation": 0.3, "early_stopping": 2, "checkpoint_every": 7}
FULL = {**LORA, "method": "full", "learning_rate": 1e-3}


def start(model: Path, dataset: Path, run: Path, options: dict[str, Any]) -> subprocess.Popen[str]:
    run.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(model), str(dataset), str(run), json.dumps(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(*given: Any) -> tuple[dict[str, bytes], Any]:
    child = start(*given)
    out, err = child.communicate(timeout=240)
    assert child.returncode == 0, err
    model = given[2] / "model"
    return {path.name: path.read_bytes() for path in sorted(model.iterdir())}, json.loads(out)


def events(folder: Path, child: subprocess.Popen[str]) -> Iterator[set[str]]:
    """The names below a folder, again and again, while the child lives."""
    while child.poll() is None:
        yield {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def kill_when(child: subprocess.Popen[str], folder: Path, name: str) -> bool:
    """Kill the child as soon as there is a file of this name; whether it was still at work."""
    for names in events(folder, child):
        if name in names:
            child.send_signal(signal.SIGKILL)
            child.wait()
            return True
    return False


@pytest.mark.parametrize(
    ("options", "moments"),
    [
        # in the middle of writing a checkpoint (no mark yet), after one, and once more in the run that resumed
        (LORA, ["checkpoint-4/optimizer.pt", "checkpoint-4/complete", "checkpoint-12/adapter_model.safetensors"]),
        (FULL, ["checkpoint-8/complete", "checkpoint-12/optimizer.pt"]),
        (STOPPING, ["checkpoint-3/complete", "checkpoint-7/rng_state.pth"]),
    ],
    ids=["lora", "full", "early stopping"],
)
def test_killed_and_resumed_ends_the_same(
    options: dict[str, Any], moments: list[str], tiny: CausalLM, tmp_path: Path, facts: Any, write_dataset: Any
) -> None:
    dataset = tmp_path / "facts.parquet"
    write_dataset(dataset, facts(2))
    assert tiny.path is not None
    undisturbed, (logged, sections) = finish(tiny.path, dataset, tmp_path / "whole", options)
    run = tmp_path / "killed"
    for moment in moments:
        child = start(tiny.path, dataset, run, options)
        assert kill_when(child, run / "work", moment), f"the run ended before {moment}: {child.communicate()[1]}"
    resumed, (logged_again, sections_again) = finish(tiny.path, dataset, run, options)
    assert resumed == undisturbed
    assert sections_again == sections
    assert len(logged_again) < len(logged)  # it did go on, not begin again
    assert all(logged[step] == entry for step, entry in logged_again.items())


def test_killed_while_the_model_is_saved(tiny: CausalLM, tmp_path: Path, facts: Any, write_dataset: Any) -> None:
    """Early stopping is over, its best weights lie in a checkpoint: nothing is trained again, the same is saved."""
    dataset = tmp_path / "facts.parquet"
    write_dataset(dataset, facts(2))
    assert tiny.path is not None
    undisturbed, _ = finish(tiny.path, dataset, tmp_path / "whole", STOPPING)
    run = tmp_path / "killed"
    child = start(tiny.path, dataset, run, STOPPING)
    assert kill_when(child, run, "model/adapter_config.json") or child.returncode == 0
    resumed, (logged, _) = finish(tiny.path, dataset, run, STOPPING)
    assert resumed == undisturbed
    assert not any("train_loss" in entry for entry in logged.values())
