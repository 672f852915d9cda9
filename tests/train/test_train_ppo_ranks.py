"""Two processes take the steps of one: they share its drawing, scoring and learning, and hold the same weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from launching import launch
from ppo_models import QUICK, prompts

import factory
from factory import CausalLM, Dataset, ModelError, Prompt, RewardModel, user
from factory.train.ppo import ppo
from factory.train.rewards import Term

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from serving import Server, completion

STEPS = {**QUICK, "max_steps": 4, "max_new_tokens": 8, "batch_size": 2, "checkpoint_every": 2}
# It keeps what it is given, in the order of time, and so tells how often it was asked, too.
NOTING = """
import json
from pathlib import Path

def vowels(answer, record):
    with Path(__file__).with_suffix(".jsonl").open("a") as notes:
        notes.write(json.dumps([record["id"], answer]) + "\\n")
    return sum(letter in "aeiou" for letter in answer) / max(1, len(answer))
"""


class Runs:
    """Runs of one policy, each in a folder of its own, with a check that notes the answers."""

    def __init__(self, folder: Path, policy: CausalLM, reward: RewardModel | None, prompts: Path) -> None:
        self.folder, self.prompts = folder, prompts
        self.models = policy.path, "none" if reward is None else reward.path

    def run(self, name: str, options: dict[str, Any], count: int, moment: str = "") -> list[Any]:
        """What each process told: logged, sections, alarms, digests of the weights."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "check.py").write_text(NOTING)
        options = {**options, "code": str(folder / "check.py"), "rewards": {"vowels": {"function": "vowels"}}}
        return launch("ppo_tiny.py", [*self.models, self.prompts, folder, json.dumps(options)], moment, count)

    def answers(self, name: str) -> list[list[str]]:
        """Record and answer, in the order they were checked."""
        return [json.loads(line) for line in (self.folder / name / "check.jsonl").read_text().splitlines()]

    def weights(self, name: str) -> dict[str, Any]:
        from safetensors.torch import load_file

        return load_file(self.folder / name / "model" / "adapter_model.safetensors")


def near(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether weights differ by rounding; AdamW makes much of a gradient that is hardly more than that."""
    return all((one[name] - other[name]).norm() < 1e-3 * one[name].norm() for name in one)


@pytest.fixture(params=["gae", "rloo"])
def runs(request: Any, tmp_path: Path, sft: CausalLM, reward: RewardModel, asked: Dataset[Prompt]) -> tuple[Runs, Any]:
    """gae with a reward model on the policy's base, rloo with a check alone."""
    options = {**STEPS, "algorithm": request.param}
    options |= {"samples": 2, "prompts_per_step": 3} if request.param == "rloo" else {"minibatches": 3}
    given = None if request.param == "rloo" else reward
    return Runs(tmp_path, sft, given, Path(asked.shards[0].path)), options


@pytest.mark.slow
@pytest.mark.model
def test_two_processes_take_the_steps_of_one(runs: tuple[Runs, Any]) -> None:
    make, options = runs
    (alone,) = make.run("alone", options, 1)
    both, follower = make.run("both", options, 2)
    assert both[0].keys() == alone[0].keys()
    for step, entry in alone[0].items():
        assert both[0][step] == pytest.approx(entry, rel=1e-3, abs=1e-6), step

    assert follower[3] == both[3]
    assert len(both[3]) > 10
    assert all(both[0][str(step)]["first_ratio_off"] == 0 for step in range(1, 5))
    assert make.answers("both") == make.answers("alone")
    weights = make.weights("alone"), make.weights("both")
    assert near(*weights)
    assert not (make.folder / "both" / "rank1" / "model").exists()
    make.run("killed", options, 2, "step 3")
    resumed = make.run("killed", options, 2)
    assert resumed[0][0].keys() == {"3", "4"}
    assert all(both[0][step] == entry for step, entry in resumed[0][0].items())
    assert [one[3] for one in resumed] == [both[3], both[3]]
    assert resumed[0][1] == both[1]


def test_ppo_is_not_split(tiny: CausalLM, tmp_path: Path, make_context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("FACTORY_SHARDED", "1")
    context, _ = make_context(tmp_path)
    with pytest.raises(ModelError, match="ppo cannot be trained with --sharded; build it without"):
        ppo.function(Dataset([], Prompt), context, tiny, rewards={"a": Term(regex="a")})


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.builds
def test_a_build_asks_judge_and_server_once(tiny: CausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process alone asks; what it hears is what both learn from."""
    from safetensors.torch import load_file
    from vllm_like import VllmLike

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    async def grade(request: Any, body: dict[str, Any], nth: int) -> Any:
        return completion("7" if len(body["messages"][0]["content"]) % 2 else "2")

    assert tiny.path is not None
    asked: list[tuple[int, int]] = []
    weights, curves = [], []
    for processes in (1, 2):
        folder = tmp_path / f"project{processes}"
        folder.mkdir()
        rows = [{"prompt": row["prompt"]} for row in prompts()] + [{"prompt": user("word " * 400)}]
        (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
        draws, grades = VllmLike(tiny.path), Server(grade)
        judge = f"openai:judge?base_url={grades.url}"
        options = {"policy": str(tiny.path), "judge": judge, "server": {"url": draws.url}, "algorithm": "rloo"}
        options |= {**QUICK, "samples": 2, "prompts_per_step": 3, "batch_size": 2}
        recipe = {"name": "both", "targets": {"it": {"from": "prompts.jsonl", "steps": [{"ppo": options}]}}}
        (folder / "recipe.yaml").write_text(json.dumps(recipe))
        try:
            result = factory.build(folder / "recipe.yaml", processes=processes, store=folder / "store")
        finally:
            draws.stop()
            grades.stop()
        asked.append((len(draws.bodies), len(grades.bodies)))
        manifest = result.plan.targets["it"].manifest
        assert manifest is not None
        assert manifest["funnel"][-1]["reasons"] == {"too long": 1}
        assert manifest["exact"] == (processes == 1)
        weights.append(load_file(result.plan.targets["it"].folder / "model" / "adapter_model.safetensors"))
        lines = (folder / "build" / "both" / "metrics.jsonl").read_text().splitlines()
        curves.append([json.loads(line)["metrics"] for line in lines])
    assert asked[0] == asked[1]
    assert len(curves[0]) == 3
    for alone, both in zip(*curves, strict=True):
        assert both == pytest.approx(alone, rel=1e-3, abs=1e-6)
    assert near(*weights)
