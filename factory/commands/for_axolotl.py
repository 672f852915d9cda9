"""A training stage as a configuration for axolotl, by the names of its pydantic schemas of November 2026."""

from __future__ import annotations

from typing import Any

import yaml

from ..errors import InputError
from .handed import LORA, TRAIN, VALIDATION, Files, Handed, answers

START = "axolotl train config.yaml"


def row(record: dict[str, Any], h: Handed) -> dict[str, Any]:
    """Every turn says for itself whether its tokens are learned; of a pair, both answers are.

    Its reward model reads a question and its answers, its KTO text.
    """
    if h.step == "dpo":
        return {"messages": record["prompt"], "chosen": record["chosen"][0], "rejected": record["rejected"][0]}
    if h.step == "reward_model":
        *system, question = (turn["content"] for turn in record["prompt"])
        both = {side: record[side][0]["content"] for side in ("chosen", "rejected")}
        return {"system": "".join(system), "input": question, **both}
    if h.step == "kto":
        from ..models.chat import split_text

        prompt, completion = split_text(h.tokenizer, record["prompt"], record["completion"])
        return {"prompt": prompt, "completion": completion, "label": record["label"]}
    learn = h.options.learn
    told = [{**turn, "train": learn == "all" or (learn == "assistant" and answers(turn))} for turn in record["prompt"]]
    return {"messages": told + [{**turn, "train": learn == "all" or answers(turn)} for turn in record["completion"]]}


def files(h: Handed) -> Files:
    """A configuration for `axolotl train`."""
    h.require("axolotl", ("full", *LORA))
    options = h.options
    config: dict[str, Any] = {
        "base_model": h.base,
        "tokenizer_config": "./tokenizer",
        **OBJECTIVES[h.step](h),
        "datasets": [{"path": TRAIN, **_columns(h)}],
        "test_datasets": [{"path": VALIDATION, "split": "train", **_columns(h)}] if h.held else None,
        "dataset_prepared_path": "prepared",
        "output_dir": "trained",
        "sequence_len": options.max_length,
        "num_epochs": options.epochs,
        "max_steps": options.max_steps,
        "micro_batch_size": options.batch_size,
        "gradient_accumulation_steps": options.accumulation,
        "learning_rate": options.learning_rate,
        "lr_scheduler": options.schedule,
        "warmup_steps": h.warmup_steps,
        "weight_decay": options.weight_decay,
        "optimizer": h.optimizer,
        "max_grad_norm": options.max_grad_norm,
        "gradient_checkpointing": h.recomputes,
        "neftune_noise_alpha": getattr(options, "neftune", None),
        "bf16": "auto",
        "seed": h.seed,
        "logging_steps": 1,
        "save_steps": h.saves,
        "eval_steps": h.every if h.held else None,
        "early_stopping_patience": options.early_stopping,
        "load_best_model_at_end": True if options.early_stopping else None,
        **(_lora(h) if options.method in LORA else {}),
    }
    told = {name: value for name, value in config.items() if value is not None}
    head = f"# Train `{h.target}` of the recipe `{h.recipe}` with axolotl. Written by `factory export --for axolotl`.\n"
    return {"config.yaml": head + yaml.safe_dump(told, sort_keys=False, allow_unicode=True)}


def _columns(h: Handed) -> dict[str, Any]:
    found: dict[str, Any] = {"ds_type": "json", "chat_template": "tokenizer_default", "field_messages": "messages"}
    if h.step == "kto":
        names = {f"field_{name}": name for name in ("prompt", "completion", "label")}
        return {"ds_type": "json", "type": {**names, "prompt_format": "{prompt}", "completion_format": "{completion}"}}
    if h.step == "reward_model":
        return {"ds_type": "json", "chat_template": "tokenizer_default", "type": "bradley_terry.chat_template"}
    if h.step == "dpo":
        return found | {"type": "chat_template.default", "field_chosen": "chosen", "field_rejected": "rejected"}
    # no role is learned as such: each turn says for itself
    found |= {"type": "chat_template", "message_field_training": "train", "roles_to_train": []}
    return found | {"train_on_eos": "turn"}


def _pairs(h: Handed) -> dict[str, Any]:
    if h.options.loss not in ("sigmoid", "ipo") or h.options.label_smoothing:
        raise InputError("axolotl has the losses sigmoid and ipo, and no label_smoothing; take --for trl")
    return {"rl": "dpo" if h.options.loss == "sigmoid" else "ipo", "rl_beta": h.options.beta}


def _singles(h: Handed) -> dict[str, Any]:
    weights = {"kto_desirable_weight": h.options.desirable, "kto_undesirable_weight": h.options.undesirable}
    return {"rl": "kto", "rl_beta": h.options.beta, **weights, "remove_unused_columns": False}


def _rewards(h: Handed) -> dict[str, Any]:
    h.require_plain_pairs("axolotl", centring=True)
    model = {"model_type": "AutoModelForSequenceClassification", "num_labels": 1, "reward_model": True}
    return model | {"center_rewards_coefficient": h.options.centring or None, "remove_unused_columns": False}


OBJECTIVES = {
    "sft": lambda h: {"sample_packing": h.options.packing}, "dpo": _pairs, "kto": _singles, "reward_model": _rewards,
}  # fmt: skip


def _lora(h: Handed) -> dict[str, Any]:
    lora, four_bits = h.options.lora, h.options.method == "qlora"
    return {
        "adapter": "qlora" if four_bits else "lora",
        "load_in_4bit": four_bits or None,
        "lora_r": lora["r"],
        "lora_alpha": h.whole_alpha("axolotl"),
        "lora_dropout": h.lora_dropout,
        "lora_target_linear": True if h.targets == "all-linear" else None,
        "lora_target_modules": None if h.targets == "all-linear" else h.targets,
        "peft_layers_to_transform": list(h.layers) or None,
        "lora_modules_to_save": ["score"] if h.step == "reward_model" else None,
        "peft_use_dora": h.options.method == "dora" or None,
    }
