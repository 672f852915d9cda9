"""Training on preferences killed with SIGKILL and started again ends with the bytes of a run that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, Preference, Unpaired

pytestmark = [pytest.mark.model, pytest.mark.slow]
SCRIPT = Path(__file__).with_name("train_tiny.py")
LORA = {"epochs": 4, "batch_size": 2, "accumulation": 2, "checkpoint_every": 4, "lora": {"r": 4, "dropout": 0.2}}
FULL = {name: value for name, value in LORA.items() if name != "lora"} | {"method": "full", "learning_rate": 1e-3}
STOPPING = {**LORA, "epochs": 40, "learning_rate": 0.01, "validation": 0.3, "early_stopping": 2, "checkpoint_every": 7}


@pytest.fixture
def run(tiny: CausalLM, tmp_path: Path, preferences: Any, labelled: Any, write_dataset: Any) -> Callable[..., Any]:
    """run(step, name, options, moment) -> (files of the saved model, what was logged, the report), or None when the
    run died at its moment. `after SECONDS` may come when all is done.
    """
    write_dataset(tmp_path / "pairs.parquet", preferences(), Preference)
    write_dataset(tmp_path / "answers.parquet", labelled(), Unpaired)

    def start(step: str, name: str, options: dict[str, Any], moment: str = "") -> Any:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        data = tmp_path / ("answers.parquet" if step == "kto" else "pairs.parquet")
        command = [sys.executable, str(SCRIPT), step, str(tiny.path), str(data), str(folder), json.dumps(options)]
        command += [moment] if moment else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
        if moment.startswith("after") and done.returncode == 0:
            return None
        if moment:
            assert done.returncode == -signal.SIGKILL, f"the run outlived '{moment}': {done.stderr}"
            return None
        assert done.returncode == 0, done.stderr
        files = {path.name: path.read_bytes() for path in sorted((folder / "model").iterdir())}
        return files, *json.loads(done.stdout.splitlines()[-1])

    return start


def assert_ends_the_same(run: Any, step: str, options: dict[str, Any], moments: Iterable[str]) -> None:
    undisturbed, logged, sections = run(step, "whole", options)
    for moment in moments:
        run(step, "killed", options, moment)
    resumed, logged_again, sections_again = run(step, "killed", options)
    assert resumed == undisturbed
    assert sections_again == sections
    assert all(logged[at] == entry for at, entry in logged_again.items())


@pytest.mark.parametrize(
    ("step", "options", "moments"),
    [
        (
            "reward_model",
            {**LORA, "margin": True, "centring": 0.01},
            ["step 3", "open checkpoint-4/trainer_state.json", "step 7", "shutil.rmtree checkpoint-4", "step 20"],
        ),
        ("reward_model", {**LORA, "method": "qlora"}, ["step 6", "step 13"]),
        ("reward_model", FULL, ["step 6", "open checkpoint-12/complete", "open model/config.json"]),
        ("reward_model", STOPPING, ["step 5", "step 15", "open model/adapter_config.json"]),
        # while the references are written and before they have their name, then in training
        ("dpo", LORA, ["open references.partial", "os.rename references.partial", "step 3", "step 14"]),
        ("dpo", FULL, ["step 6", "open checkpoint-12/complete"]),
        ("kto", LORA, ["os.rename references.partial", "step 6", "step 17"]),
    ],
)
def test_killed_at_chosen_moments(run: Any, step: str, options: dict[str, Any], moments: list[str]) -> None:
    assert_ends_the_same(run, step, options, moments)


@pytest.mark.parametrize("options", [LORA, FULL], ids=["lora", "full"])
def test_a_reward_model_killed_at_ten_random_moments(run: Any, options: dict[str, Any]) -> None:
    begun = time.monotonic()

    def moments() -> Iterator[str]:
        lasted = time.monotonic() - begun  # of the undisturbed run: the moments lie all over it
        yield from (f"after {random.uniform(0.1, 1) * lasted:.2f}" for _ in range(10))

    assert_ends_the_same(run, "reward_model", {**options, "checkpoint_every": 2}, moments())
