"""A training run killed with SIGKILL and started again ends with the bytes of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM

pytestmark = [pytest.mark.model, pytest.mark.slow]
SCRIPT = Path(__file__).with_name("train_tiny.py")
PLAIN = {"epochs": 6, "batch_size": 2, "accumulation": 2, "checkpoint_every": 4}
LORA = {**PLAIN, "lora": {"r": 4, "dropout": 0.2}}
FULL = {**PLAIN, "epochs": 3, "method": "full", "learning_rate": 1e-3}
PACKED = {"packing": True, "max_length": 96, "epochs": 12, "neftune": 5.0, "optimizer": "adamw_8bit"}
OURS = {**PLAIN, **PACKED, "method": "adapter", "bottleneck": 8, "accumulation": 1}
VIRTUAL = {**PLAIN, "method": "ptuning", "virtual_tokens": 4}
STOPPING = {**LORA, "epochs": 40, "learning_rate": 0.005, "validation": 0.3, "early_stopping": 2, "checkpoint_every": 7}


def train(model: Path, dataset: Path, run: Path, options: dict[str, Any], moment: str = "", step: str = "sft") -> Any:
    """(files of the saved model, what was logged, the report), or None when the run died at its moment.

    `after SECONDS` may come when all is done.
    """
    run.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(SCRIPT), step, str(model), str(dataset), str(run), json.dumps(options)]
    command += [moment] if moment else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
    if moment.startswith("after") and done.returncode == 0:
        return None
    if moment:
        assert done.returncode == -signal.SIGKILL, f"the run outlived '{moment}': {done.stderr}"
        return None
    assert done.returncode == 0, done.stderr
    files = {path.name: path.read_bytes() for path in sorted((run / "model").iterdir())}
    return files, *json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("options", "moments"),
    [
        # before any checkpoint, in one half-written, between two, while an old one is removed, in a second epoch
        (LORA, ["step 3", "open checkpoint-4/trainer_state.json", "step 7", "shutil.rmtree checkpoint-4", "step 22"]),
        (FULL, ["step 6", "open checkpoint-12/complete"]),
        (OURS, ["step 5", "open checkpoint-8/trainer_state.json"]),
        (VIRTUAL, ["step 9"]),
        # after the best checkpoint or near it, then while the model is saved
        (STOPPING, ["step 5", "step 15", "open model/adapter_config.json"]),
    ],
    ids=["lora", "full", "adapter, 8 bits, packed, noise", "ptuning", "early stopping"],
)
def test_killed_and_resumed_ends_the_same(
    options: dict[str, Any], moments: list[str], tiny: CausalLM, tmp_path: Path, facts: Any, write_dataset: Any
) -> None:
    dataset = tmp_path / "facts.parquet"
    write_dataset(dataset, facts(2))
    assert tiny.path is not None
    undisturbed, logged, sections = train(tiny.path, dataset, tmp_path / "whole", options)
    for moment in moments:
        train(tiny.path, dataset, tmp_path / "killed", options, moment)
    resumed, logged_again, sections_again = train(tiny.path, dataset, tmp_path / "killed", options)
    assert resumed == undisturbed
    assert sections_again == sections
    assert len(logged_again) < len(logged)  # it went on and did not begin again
    assert all(logged[step] == entry for step, entry in logged_again.items())


def test_killed_at_ten_random_moments_ends_the_same(
    tiny: CausalLM, tmp_path: Path, facts: Any, write_dataset: Any
) -> None:
    """Wherever they fall: in imports, while the base is loaded, in steps, in checkpoints, while the model is saved."""
    dataset = tmp_path / "facts.parquet"
    write_dataset(dataset, facts(4))
    assert tiny.path is not None
    options = {**LORA, "epochs": 20, "checkpoint_every": 5}
    undisturbed, logged, _ = train(tiny.path, dataset, tmp_path / "whole", options)
    draw = random.Random(11)
    for _ in range(10):
        train(tiny.path, dataset, tmp_path / "killed", options, f"after {draw.uniform(0.5, 5):.2f}")
    resumed, logged_again, _ = train(tiny.path, dataset, tmp_path / "killed", options)
    assert resumed == undisturbed
    assert all(logged[step] == entry for step, entry in logged_again.items())


TEXT = {"epochs": 4, "seq_len": 32, "batch_size": 2, "accumulation": 2, "checkpoint_every": 3, "evaluations": 1}


@pytest.mark.parametrize(
    ("options", "moments"),
    [
        # while tokens are written and before their folder has its name, then in training and while results are saved
        (
            {"method": "rows", "learning_rate": 3e-2},
            ["open tokens.partial/note.json", "step 2", "step 7", "open model/tokenizer_config.json"],
        ),
        (
            {"embeddings": "new", "lora": {"r": 4, "dropout": 0.2}},
            [
                "os.rename held_out-0.partial",
                "open checkpoint-3/trainer_state.json",
                "step 5",
                "shutil.rmtree checkpoint-3",
            ],
        ),
        ({"method": "full", "learning_rate": 1e-3}, ["step 4", "open checkpoint-6/complete", "step 8"]),
    ],
    ids=["rows", "lora and rows", "full"],
)
def test_pretrain_killed_and_resumed_ends_the_same(
    options: dict[str, Any], moments: list[str], extended: CausalLM, text: Any, tmp_path: Path
) -> None:
    dataset, held = (Path(one.shards[0].path) for one in (text("new", 60), text("old", 8, 100)))
    options = {**TEXT, **options, "held_out": {"old": str(held)}}
    assert extended.path is not None

    def run(name: str, moment: str = "") -> Any:
        return train(extended.path, dataset, tmp_path / name, options, moment, "pretrain")

    undisturbed, logged, sections = run("whole")
    for moment in (*moments, f"after {random.uniform(0.2, 3):.2f}"):
        run("killed", moment)
    resumed, logged_again, sections_again = run("killed")
    assert resumed == undisturbed
    assert sections_again == sections
    assert len(logged_again) < len(logged)
    assert all(logged[step] == entry for step, entry in logged_again.items())
