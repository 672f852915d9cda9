"""ppo makes a random model write what is rewarded, by every algorithm; and no more of it where rewards are shuffled."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from ppo_models import VOWELS, prompts, vowels

from factory import CausalLM, Prompt
from factory.train.adapters import LoraOptions
from factory.train.ppo import ppo
from factory.train.rewards import Term

pytestmark = [pytest.mark.model, pytest.mark.slow]
# A reward that belongs to another answer: as good on average, and no reason to prefer this one.
SHUFFLED = f"""{VOWELS}
import collections
import random

seen, draw = collections.deque(maxlen=64), random.Random(0)

def shuffled(answer, record):
    seen.append(vowels(answer, record))
    return draw.choice(seen)
"""
LEARNING: dict[str, Any] = {
    "max_steps": 30,
    "prompts_per_step": 16,
    "samples": 4,
    "max_new_tokens": 10,
    "batch_size": 64,
    "learning_rate": 1e-2,
    "value_learning_rate": 1e-2,
    "missing_eos_penalty": 0.0,
    "lora": LoraOptions(r=8),
}
ALGORITHMS = ["gae", "grpo", "rloo"]


def learned(tiny: CausalLM, tmp_path: Path, make_context: Any, write_dataset: Any, **options: Any) -> Any:
    dataset = write_dataset(tmp_path / "prompts.parquet", prompts(), Prompt)
    context, notebook = make_context(tmp_path / "run")
    ppo.function(dataset, context, tiny, **{**LEARNING, **options})
    told = [notebook.logged[step] for step in range(1, LEARNING["max_steps"] + 1)]
    ends = [statistics.fmean(one["reward/vowels"] for one in part) for part in (told[:2], told[-3:])]
    return notebook, told, ends


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_reward_that_can_be_checked_doubles(
    algorithm: str, tiny: CausalLM, tmp_path: Path, make_context: Any, write_dataset: Any
) -> None:
    options = {**vowels(tmp_path), "algorithm": algorithm}
    notebook, told, (first, last) = learned(tiny, tmp_path, make_context, write_dataset, **options)
    assert last > 2 * first
    assert told[0]["kl"] == 0.0
    assert 0 < told[-1]["kl"] < float("inf")
    assert notebook.logged[30]["eval_reward"] > notebook.logged[0]["eval_reward"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_shuffled_reward_improves_nothing(
    algorithm: str, tiny: CausalLM, tmp_path: Path, make_context: Any, write_dataset: Any
) -> None:
    code = tmp_path / "shuffled.py"
    code.write_text(SHUFFLED)
    rewards = {"shuffled": Term(function="shuffled"), "vowels": Term(function="vowels", weight=0)}
    options = {"rewards": rewards, "code": code, "algorithm": algorithm}
    _, _, (first, last) = learned(tiny, tmp_path, make_context, write_dataset, **options)
    assert last < 1.25 * first
