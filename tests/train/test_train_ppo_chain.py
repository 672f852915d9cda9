"""The whole hand-off in a recipe: SFT, reward model and PPO of one base in 4 bits, each an adapter on its folder."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, assistant, build, user

pytestmark = [pytest.mark.model, pytest.mark.builds, pytest.mark.slow]

RECIPE = """
name: chain
seed: 7
threads: 1
targets:
  lessons: {from: lessons.jsonl}
  pairs: {from: pairs.jsonl}
  prompts: {from: prompts.jsonl}
  tutor:
    from: lessons
    steps:
      - sft: {base: ./tiny, method: qlora, epochs: 20, learning_rate: 1e-2, validation: 0, lora: {r: 4, dropout: 0}}
  reward:
    from: pairs
    steps:
      - reward_model: {base: tutor, method: qlora, epochs: 12, learning_rate: 1e-2, batch_size: 4, lora: {r: 2}}
  tuned:
    from: prompts
    steps:
      - ppo:
          policy: tutor
          reward: reward
          quantize: nf4
          max_steps: 20
          prompts_per_step: 32
          max_new_tokens: 12
          learning_rate: 5e-3
          value_learning_rate: 5e-3
          lora: {r: 4}
          rewards: {zeds: {regex: z, weight: 0}}
"""
THINGS = ("list", "set", "dict", "tuple", "string", "function", "class", "module", "generator", "loop")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def chain(tiny: CausalLM, tmp_path: Path) -> Path:
    """People like short answers better than long ones; the tutor writes both."""
    shutil.copytree(tiny.path, tmp_path / "tiny")  # type: ignore[arg-type]
    asked = [f"What is a {thing}?" for thing in THINGS]
    short, long = "It is.", "It is what it is and is."
    write(
        tmp_path / "lessons.jsonl",
        [{"prompt": user(one), "completion": assistant(said)} for one in asked for said in (short, long)],
    )
    write(
        tmp_path / "pairs.jsonl",
        [{"prompt": user(one), "chosen": assistant(short), "rejected": assistant(long)} for one in asked],
    )
    write(tmp_path / "prompts.jsonl", [{"prompt": user(one)} for one in asked])
    (tmp_path / "chain.yaml").write_text(RECIPE)
    return tmp_path


def test_sft_reward_and_ppo_of_one_base_in_4_bits(chain: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    built = build(chain / "chain.yaml")
    tuned = built["tuned"].path  # the model in its artifact
    configs = {
        name: json.loads((built[name].path / "adapter_config.json").read_text())
        for name in ("tutor", "reward", "tuned")
    }
    roots = {config["base_model_name_or_path"] for config in configs.values()}
    assert len(roots) == 1
    assert [configs[name]["r"] for name in ("tutor", "reward", "tuned")] == [4, 6, 8]
    lines = [json.loads(line) for line in (tuned.parent / "metrics.jsonl").read_text().splitlines()]
    told: dict[int, dict[str, float]] = {}
    for line in lines:
        told.setdefault(int(line["step"]), {}).update(line)
    first = statistics.fmean(told[step]["reward/model"] for step in (1, 2, 3))
    last = statistics.fmean(told[step]["reward/model"] for step in (18, 19, 20))
    assert told[1]["kl"] == 0.0
    assert told[1]["first_ratio_off"] == 0.0
    assert last > first + 0.5
    assert told[20]["answer_tokens"] < told[1]["answer_tokens"]
    AutoPeftModelForCausalLM.from_pretrained(tuned)
