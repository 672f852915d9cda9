"""What ppo saves: the policy on its root, as it was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ppo_models import QUICK, ready, vowels, with_rows

from factory import CausalLM, RewardModel
from factory.train.adapters import LoraOptions
from factory.train.ppo import ppo

pytestmark = pytest.mark.model


@pytest.mark.parametrize("quantize", ["nf4", pytest.param("int8", marks=pytest.mark.slow)])
def test_a_quantised_base_trains_its_adapters(
    quantize: Any, sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    from safetensors.torch import load_file

    from factory.models.merging import noted_quantized

    context, notebook = make_context(tmp_path / "run")
    lora = LoraOptions(r=2)
    result = ppo.function(asked, context, sft, reward=reward, quantize=quantize, lora=lora, **QUICK)
    assert noted_quantized(result.path) == quantize
    assert notebook.logged[1]["kl"] == 0.0
    assert notebook.logged[1]["first_ratio_off"] == 0.0
    weights = load_file(result.path / "adapter_model.safetensors")
    assert weights
    for name, weight in weights.items():
        if "lora_B" in name:
            assert weight[:, 3:].any(), f"{name} never moved"  # behind the 3 columns of the earlier adapter


@pytest.mark.parametrize("tuned", [True, False], ids=["adapter", "full"])
def test_what_is_saved_is_the_policy_on_the_root(
    tuned: bool, tiny: CausalLM, sft: CausalLM, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    from factory.train.loading import save_policy
    from factory.train.ppo_loop import train

    policy = sft if tuned else tiny
    context, _ = make_context(tmp_path / "run")
    run = ready(context, asked, policy, **vowels(tmp_path))
    train(run)
    save_policy(run.one, policy, run.tokenizer, context.output)
    config = json.loads((context.output / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny.path)
    assert config["r"] == (5 if tuned else 2)
    run.one.use("policy")
    ids = torch.arange(30)[None]
    with torch.no_grad():
        ours = run.one.lm(input_ids=ids).logits
        theirs = AutoPeftModelForCausalLM.from_pretrained(context.output)(input_ids=ids).logits
        run.one.use("reference")
        before = run.one.lm(input_ids=ids).logits
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, before, atol=1e-2)
    assert AutoTokenizer.from_pretrained(context.output).chat_template
    assert {path.name for path in context.output.iterdir()} >= {"adapter_model.safetensors", "tokenizer.json"}


@pytest.mark.slow
def test_rows_of_an_extended_vocabulary_are_kept(
    extended: CausalLM, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    """The policy's own adapter may hold rows of embeddings, which are part of its reference and of what is saved."""
    import torch

    from factory.models.loading import load_causal_lm
    from factory.train.loading import save_policy

    policy, new = with_rows(extended, tmp_path / "tuned")
    run = ready(make_context(tmp_path / "run")[0], asked, policy, **vowels(tmp_path))
    ids = torch.tensor([[5, *new, 6, 7]])
    with torch.no_grad():
        run.one.use("reference")
        reference = run.one.lm(input_ids=ids).logits
        expected = load_causal_lm(policy)(input_ids=ids).logits
        for weight in run.one.trained("policy").values():
            weight.normal_(std=0.1, generator=torch.Generator().manual_seed(weight.numel()))
        run.one.use("policy")
        trained = run.one.lm(input_ids=ids).logits
        save_policy(run.one, policy, run.tokenizer, tmp_path / "made")
        loaded = load_causal_lm(CausalLM(uri="made", path=tmp_path / "made"))(input_ids=ids).logits
    assert torch.allclose(reference, expected, atol=1e-4)
    assert torch.allclose(trained, loaded, atol=1e-4)
    assert not torch.allclose(trained, reference, atol=1e-2)
