"""What PPO's tests need: random adapters of the tiny model as SFT and reward training leave them, prompts, a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factory import CausalLM, RewardModel, user
from factory.train.adapters import LoraOptions
from factory.train.ppo import prepare
from factory.train.ppo_options import Practice
from factory.train.rewards import Rewarding, Term

THINGS = ("list", "set", "dict", "tuple", "string", "function", "class", "module", "generator", "loop")
VOWELS = """
def vowels(answer, record):
    return sum(letter in "aeiou" for letter in answer) / max(1, len(answer))
"""
# Quick steps of few short answers.
QUICK: dict[str, Any] = {
    "max_steps": 2,
    "prompts_per_step": 6,
    "max_new_tokens": 6,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "value_learning_rate": 1e-2,
    "validation": 0.2,
}


def prompts(times: int = 1) -> list[dict[str, Any]]:
    asked = [f"What is a {thing}?" for _ in range(times) for thing in THINGS]
    return [{"id": f"{at:03x}", "prompt": user(question)} for at, question in enumerate(asked)]


def vowels(folder: Path) -> dict[str, Any]:
    """Options under which vowels are rewarded."""
    code = folder / "checks.py"
    code.write_text(VOWELS)
    return {"rewards": {"vowels": Term(function="vowels")}, "code": code}


def adapter(base: CausalLM, folder: Path, seed: int, r: int = 3, **config: Any) -> CausalLM:
    """A LoRA of random products, as one that was trained, with the base's tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    options = {"r": r, "lora_alpha": 2 * r, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **config}
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base.path), LoraConfig(**options))
    randomise(model)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base.path).save_pretrained(folder)
    return CausalLM(uri=str(folder), path=folder)


def reward_adapter(base: CausalLM, folder: Path, seed: int, r: int = 2) -> RewardModel:
    """A sequence classifier with one label as a LoRA and a head, as peft saves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base.path, num_labels=1, pad_token_id=1)
    config = LoraConfig(
        r=r, lora_alpha=r, target_modules=["q_proj", "down_proj"], task_type="SEQ_CLS", modules_to_save=["score"]
    )
    adapted = get_peft_model(model, config)
    randomise(adapted)
    adapted.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base.path).save_pretrained(folder)
    return RewardModel(uri=str(folder), path=folder)


def with_rows(extended: CausalLM, folder: Path) -> tuple[CausalLM, list[int]]:
    """(a random LoRA with rows of embeddings, their tokens)."""
    import torch

    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.adapters import add_lora, save_adapter

    tokenizer = load_tokenizer(extended)
    new = [len(tokenizer) - 2, len(tokenizer) - 1]
    tuned = add_lora(load_causal_lm(extended), LoraOptions(r=2), 0, rows=new)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if weight.requires_grad:
                weight.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    folder.mkdir()
    save_adapter(tuned, folder, str(extended.path), None)
    tokenizer.save_pretrained(folder)
    return CausalLM(uri=str(folder), path=folder), new


def randomise(model: Any) -> None:
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                weight.normal_(std=0.1)


def ready(context: Any, asked: Any, policy: CausalLM, reward: Any = None, **given: Any) -> Any:
    """A run before its first step. Every fourth token ends an answer, so that answers differ in length."""
    named = {"reward_weight": 1.0, "judge": None, "judge_weight": 1.0, "budget": None, "rewards": {}, "code": None}
    rewarding = Rewarding(reward, *(given.pop(name, default) for name, default in named.items()))
    options = {"algorithm": "gae", "quantize": "none", "lora": LoraOptions(r=2)}
    practice = Practice(**{**QUICK, **{name: given.pop(name) for name in list(given) if name not in options}})
    run = prepare(asked, context, policy, practice, rewarding, **{**options, **given})
    run.ends |= set(range(1, 330, 4))
    return run


def made(run: Any, number: int = 1) -> Any:
    """(what a step learns from, what is told of it)."""
    from factory.train.ppo_loop import collect

    return collect(run, number)
