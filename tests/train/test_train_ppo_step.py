"""What a step of ppo learns from, and the gradients it learns with."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ppo_models import QUICK, made, ready, vowels

from factory import CausalLM, RewardModel
from factory.train.ppo import ppo

pytestmark = pytest.mark.model


def test_a_minibatch_has_one_gradient_however_it_is_cut(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch

    from factory.train.ppo_loop import policy_gradient, value_gradient

    run = ready(make_context(tmp_path)[0], asked, sft, reward)
    experience, _ = made(run)
    rows = sorted(row for part in experience.portions[0] for row in part)
    lengths = [len(one.answer) for one in experience.rollouts]
    assert len(rows) == 3
    lengths_differ = len({lengths[row] for row in rows}) > 1
    assert lengths_differ  # else every mean is the same
    experience.advantages += 0.3  # as if some answers were much better
    found: list[dict[str, Any]] = []
    for cut in ([rows], [rows[:1], rows[1:]], [[row] for row in rows]):
        for reader, gradient in (("policy", policy_gradient), ("value", value_gradient)):
            run.optimizers[reader].zero_grad(set_to_none=True)
            gradient(run, experience, cut)
        trained = {**run.one.trained("policy"), **run.one.trained("value")}
        found.append({name: weight.grad.clone() for name, weight in trained.items() if weight.grad is not None})
    for other in found[1:]:
        for name, gradient in found[0].items():
            assert torch.allclose(other[name], gradient, atol=1e-7, rtol=1e-4), name


def test_what_a_step_learns_from_is_as_a_reader_without_padding_has_it(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    """Old log-probabilities at the temperature, values before each token, and rewards, answer by answer."""
    import torch

    from factory.train import advantages as adv

    temperature = 1.3
    run = ready(
        make_context(tmp_path)[0],
        asked,
        sft,
        reward,
        temperature=temperature,
        normalize=False,
        missing_eos_penalty=5.0,
        max_new_tokens=3,
    )
    experience, metrics = made(run)
    texts = [run.tokenizer.decode(one.said, skip_special_tokens=True) for one in experience.rollouts]
    earned = []
    for row, one in enumerate(experience.rollouts):
        ids, start = torch.tensor([one.ids]), len(one.prompt) - 1
        with torch.no_grad():
            run.one.use("reference")
            logs = torch.log_softmax(run.one.lm(input_ids=ids).logits[0, start:-1] / temperature, -1)
            run.one.use("value")
            values = run.one.heads["value"](run.one.lm.model(input_ids=ids).last_hidden_state)[0, start:-1, 0]
        tokens = torch.tensor(one.answer)
        count = len(one.answer)
        assert torch.allclose(experience.old[row, :count], logs[range(count), tokens], atol=1e-5)
        assert torch.allclose(experience.values[row, :count], values, atol=1e-5)
        assert experience.mask[row].sum() == count
        earned.append(metrics_of(run, one, texts[row]))
    scores = torch.tensor(
        [score - 5.0 * (not one.ended) for score, one in zip(earned, experience.rollouts, strict=True)]
    )
    none = torch.zeros_like(experience.old)
    table, returns = adv.gae(
        adv.token_rewards(scores, none, experience.mask, 0.05), experience.values, experience.mask, 1.0, 0.95
    )
    assert torch.allclose(experience.returns, returns, atol=1e-4)
    assert torch.allclose(experience.advantages, adv.whiten(table, experience.mask), atol=1e-4)
    assert metrics["reward"] == pytest.approx(sum(earned) / len(earned), abs=1e-5)
    assert 0 < metrics["ended"] < 1


def metrics_of(run: Any, rollout: Any, text: str) -> float:
    """The reward of one answer, by the record whose prompt it answers."""
    record = next(one.record for one in run.asked if one.ids == rollout.prompt)
    return float(run.scoring.of([text], [record])[1][0])


def test_gradients_come_through_4_bits_as_through_what_these_mean(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    """bitsandbytes repacks weights that are measured first, and then passes no gradient to what lies below them."""
    import torch
    from bitsandbytes.functional import dequantize_4bit

    from factory.train.ppo_loop import policy_gradient

    run = ready(make_context(tmp_path)[0], asked, sft, reward, quantize="nf4")
    experience, _ = made(run)
    for weight in run.one.trained("policy").values():
        weight.data.normal_(std=0.1, generator=torch.Generator().manual_seed(weight.numel()))

    def gradients() -> dict[str, Any]:
        run.optimizers["policy"].zero_grad(set_to_none=True)
        policy_gradient(run, experience, experience.portions[0])
        return {name: weight.grad for name, weight in run.one.trained("policy").items()}

    found = gradients()
    for module in run.one.lm.modules():
        if hasattr(getattr(module, "base_layer", None), "quant_state"):
            packed = module.base_layer
            plain = torch.nn.Linear(packed.in_features, packed.out_features, bias=False)
            plain.weight = torch.nn.Parameter(
                dequantize_4bit(packed.weight.data, packed.weight.quant_state).float(), requires_grad=False
            )
            module.base_layer = plain
    for name, gradient in gradients().items():
        assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())), name


def test_the_coefficient_is_steered_and_a_pass_is_stopped(
    tiny: CausalLM, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    from factory.train.advantages import adapted

    context, notebook = make_context(tmp_path / "run")
    options = {**QUICK, "max_steps": 4, "kl_target": 0.01, "kl_stop": 1e-3, "ppo_epochs": 4}
    ppo.function(asked, context, tiny, **vowels(tmp_path), **options)
    told = [notebook.logged[step] for step in range(1, 5)]
    for one, following in pairwise(told):
        assert following["kl_coefficient"] == adapted(one["kl_coefficient"], one["kl"], 0.01)
    assert told[0]["kl_coefficient"] == 0.05
    assert told[3]["kl_coefficient"] != told[1]["kl_coefficient"]
    for one in told:
        assert 1 <= one["updates"] < 8
        assert one["step_kl"] > 1e-3
