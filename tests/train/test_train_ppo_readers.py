"""Who reads the base of a ppo run: policy, reference, reward and value model, and what each of them trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ppo_models import QUICK, made, ready

from factory import CausalLM, RewardModel, user
from factory.train.ppo import ppo

pytestmark = pytest.mark.model
END = 1


@pytest.mark.parametrize("algorithm", ["gae", "grpo", "rloo"])
def test_the_policy_begins_as_its_reference_to_the_bit(
    algorithm: Any, sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    """KL is 0 at the first step and the ratio 1 at a step's first minibatch, whatever a model drops in training."""
    dropping = tmp_path / "dropping"
    shutil.copytree(sft.path, dropping)  # type: ignore[arg-type]
    config = json.loads((dropping / "adapter_config.json").read_text())
    base = tmp_path / "base"
    shutil.copytree(config["base_model_name_or_path"], base)
    inner = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**inner, "attention_dropout": 0.5}))
    (dropping / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))
    policy = CausalLM(uri=str(dropping), path=dropping)
    context, notebook = make_context(tmp_path / "run")
    options = {**QUICK, "samples": 2, "gradient_checkpointing": True, "temperature": 1.3}
    ppo.function(asked, context, policy, reward=reward, algorithm=algorithm, **options)
    assert notebook.logged[1]["kl"] == 0.0
    assert notebook.logged[2]["kl"] > 0.0
    assert [notebook.logged[step]["first_ratio_off"] for step in (1, 2)] == [0.0, 0.0]
    assert notebook.logged[1]["clip_fraction"] < 1


def test_the_reference_is_the_policys_own_adapter_and_not_the_bare_base(
    tiny: CausalLM, sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch

    from factory.models.loading import load_causal_lm

    run = ready(make_context(tmp_path)[0], asked, sft, reward)
    ids = torch.arange(30)[None]
    with torch.no_grad():
        expected, bare = (load_causal_lm(one)(input_ids=ids).logits for one in (sft, tiny))
        found = {}
        for reader in ("policy", "reward", "reference", "value"):
            run.one.use(reader)
            found[reader] = run.one.lm(input_ids=ids).logits
    assert torch.equal(found["policy"], found["reference"])
    assert torch.allclose(found["reference"], expected, atol=1e-4)
    assert not torch.allclose(found["reference"], bare, atol=1e-2)
    assert torch.equal(found["value"], found["reward"])
    assert not torch.allclose(found["reward"], expected, atol=1e-2)


def test_a_reward_adapter_gives_what_the_whole_reward_model_gives(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    from factory.models.rewards import load_reward_model, rewards
    from factory.train.batches import encode_examples
    from factory.train.scoring import read_as

    run = ready(make_context(tmp_path / "run")[0], asked, sft, reward)
    assert run.scoring.apart is None
    records = list(asked)
    texts = [f"A {'very ' * at}long answer." for at in range(len(records))]
    # the text form of training: up to the end-of-turn token, without the newline that the template writes after it
    pairs = [
        {**record, "completion": [{"role": "assistant", "content": text}]}
        for record, text in zip(records, texts, strict=True)
    ]
    learned = encode_examples(pairs, run.tokenizer, 500, make_context(tmp_path / "other")[0])  # type: ignore[arg-type]
    encoded = [read_as(run.tokenizer, record, text) for record, text in zip(records, texts, strict=True)]
    assert encoded == [list(example.ids) for example in learned]
    assert all(ids[-1] == END for ids in encoded)
    terms, totals, _ = run.scoring.of(texts, records)
    assert terms["model"] == totals == pytest.approx(rewards(load_reward_model(reward), encoded, END), abs=1e-5)
    assert len(set(totals)) == len(totals)


def test_a_prompt_that_begins_the_answer_is_read_as_one_turn(sft: CausalLM) -> None:
    from factory.models.loading import load_tokenizer
    from factory.train.scoring import read_as

    tokenizer = load_tokenizer(sft)
    whole = {"id": "a", "prompt": user("What is a set?")}
    begun = {"id": "b", "prompt": [*user("What is a set?"), {"role": "assistant", "content": "A set "}]}
    assert read_as(tokenizer, begun, "holds items.") == read_as(tokenizer, whole, "A set holds items.")


def test_only_what_a_reader_trains_takes_gradients(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    from factory.train.ppo_loop import policy_gradient, value_gradient

    run = ready(make_context(tmp_path)[0], asked, sft, reward)
    experience, _ = made(run)
    before = {name: weight.clone() for name, weight in run.one.lm.named_parameters()}
    for reader, gradient in (("policy", policy_gradient), ("value", value_gradient)):
        for minibatch in experience.portions:  # two, since A has no gradient while B is zero
            gradient(run, experience, minibatch)
            run.one.assert_trains(reader)
            run.optimizers[reader].step()
            run.optimizers[reader].zero_grad()
    moved = {name for name, weight in run.one.lm.named_parameters() if not weight.equal(before[name])}
    assert moved == {name for name in before if ".policy." in name or ".value." in name}
    assert not run.one.heads["value"].weight.equal(run.one.heads["reward"].weight)
    # what peft does by itself when adapters are switched: the frozen one would be trained, too
    run.one.peft.base_model.set_adapter(["sft", "policy"])
    with pytest.raises(AssertionError, match="take gradients"):
        run.one.assert_trains("policy")


def test_the_value_model_begins_as_the_reward_model_in_the_scores_own_scale(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch

    run = ready(make_context(tmp_path)[0], asked, sft, reward, reward_weight=2.0)
    assert run.one.heads["value"].weight.equal(run.one.heads["reward"].weight)
    experience, _ = made(run)
    batch = run.batch(experience.rollouts, range(len(experience.rollouts)))
    with torch.no_grad():
        run.one.use("reward")
        raw = run.one.heads["reward"](run.one.hidden(batch.ids, batch.attention))[batch.before].squeeze(-1)
    expected = (2 * raw - run.seen.mean) / run.seen.deviation
    assert torch.allclose(experience.values[experience.mask], expected, atol=1e-4)


def test_a_reward_model_on_another_base_is_loaded_apart(
    tiny: CausalLM, sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    from factory.models.rewards import load_reward_model

    whole = tmp_path / "whole"
    load_reward_model(reward).save_pretrained(whole)
    shutil.copy(reward.path / "tokenizer.json", whole)  # type: ignore[operator]
    shutil.copy(reward.path / "tokenizer_config.json", whole)  # type: ignore[operator]
    shutil.copy(reward.path / "chat_template.jinja", whole)  # type: ignore[operator]
    on_base = ready(make_context(tmp_path / "a")[0], asked, sft, reward)
    apart = ready(make_context(tmp_path / "b")[0], asked, sft, RewardModel(uri=str(whole), path=whole))
    assert apart.scoring.apart is not None
    assert "reward" not in apart.one.readers
    assert not apart.one.heads["value"].weight.any()
    records = list(asked)
    texts = ["Yes."] * len(records)
    assert apart.scoring.of(texts, records)[1] == pytest.approx(on_base.scoring.of(texts, records)[1], abs=1e-5)
