"""A ppo run that is killed and begun again has the losses of an undisturbed one and ends with its bytes."""

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
from ppo_models import adapter, prompts, reward_adapter

from factory import CausalLM, Prompt

pytestmark = [pytest.mark.model, pytest.mark.slow]
SCRIPT = Path(__file__).with_name("ppo_tiny.py")
GAE = {
    "max_steps": 14, "prompts_per_step": 6, "max_new_tokens": 8, "batch_size": 4, "learning_rate": 1e-2,
    "value_learning_rate": 1e-2, "checkpoint_every": 3, "kl_target": 1.0, "evaluations": 3, "validation": 0.2,
    "rewards": {"short": {"length": [1, 8]}},
}  # fmt: skip
GRPO = {**GAE, "algorithm": "grpo", "samples": 3, "quantize": "nf4", "gradient_checkpointing": True}
RANDOM = 10  # moments at which a run is killed


class Killed:
    """Runs of one policy, each in its own folder."""

    def __init__(self, tiny: CausalLM, folder: Path, write_dataset: Any, options: dict[str, Any]) -> None:
        self.folder, self.options = folder, options
        self.policy = adapter(tiny, folder / "sft", 1)
        self.reward = reward_adapter(tiny, folder / "reward", 2)
        self.records = folder / "prompts.parquet"
        write_dataset(self.records, prompts(), Prompt)

    def run(self, name: str, moment: str = "") -> Any:
        """(files of the saved model, what was logged, sections, alarms, digests of the weights).

        None when it died at its moment.
        """
        run = self.folder / name
        run.mkdir(exist_ok=True)
        parts = [self.policy.path, self.reward.path, self.records, run, json.dumps(self.options)]
        command = [sys.executable, str(SCRIPT), *map(str, parts)] + ([moment] if moment else [])
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
        if moment and not (moment.startswith("after") and done.returncode == 0):
            assert done.returncode == -signal.SIGKILL, f"the run outlived '{moment}': {done.stderr}"
            return None
        assert done.returncode == 0, done.stderr
        files = {path.name: path.read_bytes() for path in sorted((run / "model").iterdir())}
        return files, *json.loads(done.stdout.splitlines()[-1])


def same(undisturbed: Any, resumed: Any) -> None:
    files, logged, *told = undisturbed
    files_again, logged_again, *told_again = resumed
    assert all(logged[step] == entry for step, entry in logged_again.items())
    assert files_again == files
    assert told_again == told


@pytest.mark.parametrize("options", [GAE, GRPO], ids=["gae", "grpo in 4 bits"])
def test_killed_where_it_hurts_and_resumed_ends_the_same(
    options: dict[str, Any], tiny: CausalLM, tmp_path: Path, write_dataset: Any
) -> None:
    runs = Killed(tiny, tmp_path, write_dataset, options)
    undisturbed = runs.run("whole")
    # before any checkpoint, in one half-written, between two, while an old one goes, while the model is saved
    for moment in (
        "step 2", "open checkpoint-3/trainer_state.json", "step 5", "open checkpoint-6/complete",
        "shutil.rmtree checkpoint-6", "step 13", "open model/adapter_config.json",
    ):  # fmt: skip
        runs.run("killed", moment)
    resumed = runs.run("killed")
    assert len(resumed[1]) < len(undisturbed[1])  # it went on and did not begin again
    same(undisturbed, resumed)


def test_killed_while_a_server_draws_and_begun_again_it_takes_back_what_it_left(
    tiny: CausalLM, tmp_path: Path, write_dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm_like import VllmLike

    monkeypatch.setenv("NO_PROXY", "*")
    assert tiny.path is not None
    server = VllmLike(tiny.path)
    try:
        runs = Killed(tiny, tmp_path, write_dataset, {**GAE, "server": {"url": server.url}})
        runs.run("killed", "step 5")
        (left,) = server.folders.values()
        assert (left / "adapter_model.safetensors").is_file()
        _, logged, *_ = runs.run("killed")
        assert set(logged) == {str(step) for step in range(4, 15)}, "it went on at its checkpoint"
        assert not server.folders
        assert not left.exists()
    finally:
        server.stop()


def test_killed_at_random_moments_and_resumed_ends_the_same(tiny: CausalLM, tmp_path: Path, write_dataset: Any) -> None:
    import time

    runs = Killed(tiny, tmp_path, write_dataset, {**GAE, "max_steps": 60, "checkpoint_every": 2})
    started = time.perf_counter()
    undisturbed = runs.run("whole")
    lasted = time.perf_counter() - started
    killed = 0
    for _ in range(4 * RANDOM):
        killed += runs.run("killed", f"after {random.uniform(0, lasted / RANDOM):.3f}") is None
        if killed == RANDOM:
            break
    assert killed > 0
    same(undisturbed, runs.run("killed"))
