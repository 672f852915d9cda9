"""ppo on a tiny model: a run as a whole, what is told of it, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ppo_models import QUICK, adapter, vowels

from factory import CausalLM, InputError, ModelError, Prompt, RewardModel, StepError, user
from factory.train.adapters import LoraOptions
from factory.train.ppo import ppo
from factory.train.ppo_options import Practice
from factory.train.rewards import Term

pytestmark = pytest.mark.model


def test_terms_are_weighed_and_logged_apart(tiny: CausalLM, asked: Any, tmp_path: Path, make_context: Any) -> None:
    context, notebook = make_context(tmp_path / "run")
    terms = {
        "short": Term(length=(1, 4), weight=2),
        "letters": Term(regex="[a-z]", weight=-0.5),
        "measured": Term(regex=".", weight=0),
    }
    ppo.function(asked, context, tiny, rewards=terms, algorithm="rloo", samples=2, **QUICK)
    for step in (1, 2):
        told = notebook.logged[step]
        whole = 2 * told["reward/short"] - 0.5 * told["reward/letters"]
        assert told["reward"] == pytest.approx(whole, abs=1e-6)
        assert told["reward/measured"] > 0
    assert notebook.logged[0].keys() >= {"eval_reward", "eval_reward/short"}
    assert notebook.sections["Samples after step 2"].count("\n| What is") == 3  # held out of ten
    assert "| reward/short |" in notebook.sections["Training"]


def test_a_run_that_died_goes_on_as_one_that_did_not(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    options = {**QUICK, "max_steps": 4, "checkpoint_every": 2, "kl_target": 1.0, "evaluations": 2}

    def files(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    context, whole = make_context(tmp_path / "whole")
    ppo.function(asked, context, sft, reward=reward, **options)
    broken, notebook = make_context(tmp_path / "broken")

    def die(step: int, metrics: dict[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    notebook.log = die
    with pytest.raises(KeyboardInterrupt):
        ppo.function(asked, broken, sft, reward=reward, **options)
    resumed, again = make_context(tmp_path / "broken")
    ppo.function(asked, resumed, sft, reward=reward, **options)
    assert sorted(again.logged) == [3, 4]
    assert all(again.logged[step] == whole.logged[step] for step in again.logged)
    assert again.sections == whole.sections
    assert files(resumed.output) == files(context.output)


def test_what_cannot_be_is_one_sentence(
    tiny: CausalLM,
    sft: CausalLM,
    reward: RewardModel,
    asked: Any,
    tmp_path: Path,
    make_context: Any,
    write_dataset: Any,
) -> None:
    context, notebook = make_context(tmp_path / "run")
    checks = vowels(tmp_path)
    with pytest.raises(InputError, match="nothing rewards the answers"):
        ppo.function(asked, context, tiny)
    with pytest.raises(InputError, match=r"grpo compares .* samples is 1, expected 2 or more"):
        ppo.function(asked, context, tiny, algorithm="grpo", samples=1, **checks)
    with pytest.raises(InputError, match="too few for 4 minibatches"):
        ppo.function(asked, context, tiny, prompts_per_step=2, minibatches=4, **checks)
    with pytest.raises(ModelError, match="is a reward model; give it as `reward`"):
        ppo.function(asked, context, CausalLM(uri=reward.uri, path=reward.path), **checks)
    dora = adapter(tiny, tmp_path / "dora", 3, use_dora=True)
    with pytest.raises(ModelError, match="an adapter that no other can be added to"):
        ppo.function(asked, context, dora, **checks)
    with pytest.raises(ModelError, match="target_modules"):
        ppo.function(asked, context, tiny, lora=LoraOptions(target_modules=["nothing_proj"]), **checks)
    with pytest.raises(StepError, match="of 10 prompts none is left to answer; a prompt and 250 new tokens must fit"):
        ppo.function(asked, context, tiny, max_new_tokens=250, **checks)
    assert [reason for _, reason in notebook.dropped] == ["too long"] * 10
    wild = {**QUICK, "learning_rate": 1e30, "max_steps": 4, "max_grad_norm": 1e30}
    with pytest.raises(StepError, match=r"loss is (nan|inf) at step .*lower learning rate"):
        ppo.function(asked, context, tiny, **checks, **wild)
    other = tmp_path / "other"
    shutil.copytree(reward.path, other)  # type: ignore[arg-type]
    grown = json.loads((other / "tokenizer.json").read_text())
    vocabulary = grown["model"]["vocab"]
    first, second = (next(name for name, at in vocabulary.items() if at == place) for place in (40, 41))
    vocabulary[first], vocabulary[second] = 41, 40
    (other / "tokenizer.json").write_text(json.dumps(grown))
    with pytest.raises(ModelError, match="another vocabulary than its tokenizer"):
        ppo.function(asked, context, sft, reward=RewardModel(uri=str(other), path=other), **QUICK)
    one_long = write_dataset(
        tmp_path / "long.parquet",
        [{"id": "a", "prompt": user("word " * 300)}, {"id": "b", "prompt": user("Hi.")}],
        Prompt,
    )
    fresh, notebook = make_context(tmp_path / "fresh")
    ppo.function(one_long, fresh, tiny, **{**QUICK, "max_steps": 1}, **checks)
    assert notebook.dropped == [("a", "too long")]


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"batch_size": 8}, "at batch_size 8; try batch_size: 4"),
        ({"batch_size": 1}, "gradient_checkpointing: true"),
        ({"batch_size": 1, "gradient_checkpointing": True}, "fewer max_new_tokens, or quantize: nf4"),
    ],
)
def test_memory_that_does_not_suffice_is_said_with_a_remedy(options: dict[str, Any], remedy: str) -> None:
    import torch

    from factory.train.ppo_loop import told_plainly

    with pytest.raises(StepError, match=remedy), told_plainly(Practice(**options)):
        torch.empty(1 << 60, dtype=torch.int8)
    with pytest.raises(RuntimeError, match="shapes"), told_plainly(Practice(**options)):
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_equal_rewards_are_told(tiny: CausalLM, asked: Any, tmp_path: Path, make_context: Any) -> None:
    context, notebook = make_context(tmp_path / "run")
    options = {**QUICK, "algorithm": "grpo", "samples": 2, "missing_eos_penalty": 0.0}
    ppo.function(asked, context, tiny, rewards={"same": Term(regex="")}, **options)
    assert any("in 100% of the groups all answers have one reward" in says for says in notebook.alarms)
    assert "in 100% of the groups" in notebook.sections["Training"]
    assert notebook.logged[2]["kl"] == 0.0  # nothing moved
