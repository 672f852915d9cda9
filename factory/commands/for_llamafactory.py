"""A training stage as files for LLaMA-Factory, by the names of its argument classes of November 2026."""

from __future__ import annotations

import json
from typing import Any

import yaml

from ..errors import InputError
from .handed import LORA, TRAIN, VALIDATION, Files, Handed, Turns

START = "llamafactory-cli train config.yaml"


def row(record: dict[str, Turns], h: Handed) -> dict[str, Any]:
    """Its form sharegpt, with the tags of OpenAI's messages; what is masked stands in the configuration."""
    if h.step == "dpo":
        return {"messages": record["prompt"], "chosen": record["chosen"][0], "rejected": record["rejected"][0]}
    return {"messages": record["prompt"] + record["completion"]}


def files(h: Handed) -> Files:
    """A configuration for `llamafactory-cli train`, and what the columns are called.

    The template is left out: it is then read from the tokenizer's chat template.
    """
    h.require("LLaMA-Factory", ("full", "freeze", *LORA))
    options = h.options
    config: dict[str, Any] = {
        "model_name_or_path": h.base,
        "stage": h.step,
        "do_train": True,
        "finetuning_type": "lora" if options.method in LORA else options.method,
        "dataset": h.target,
        "eval_dataset": f"{h.target}_validation" if h.held else None,
        "dataset_dir": ".",
        "cutoff_len": options.max_length,
        **(_pairs(h) if h.step == "dpo" else _masks(h)),
        **h.arguments(),
        "disable_gradient_checkpointing": not h.recomputes,
        "bf16": True,
        "early_stopping_steps": options.early_stopping,
        **(_lora(h) if options.method in LORA else {}),
        "freeze_trainable_layers": options.layers if options.method == "freeze" else None,
    }
    told = {name: value for name, value in config.items() if value is not None}
    head = f"# Train `{h.target}` of the recipe `{h.recipe}` with LLaMA-Factory. Written by `factory export`.\n"
    text = head + yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    return {"config.yaml": text, "dataset_info.json": json.dumps(_columns(h), indent=2) + "\n"}


def _columns(h: Handed) -> dict[str, Any]:
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    entry: dict[str, Any] = {"formatting": "sharegpt", "tags": {**tags, "system_tag": "system"}}
    columns = ("messages", "chosen", "rejected") if h.step == "dpo" else ("messages",)
    entry |= {"columns": {name: name for name in columns}, **({"ranking": True} if h.step == "dpo" else {})}
    found = {h.target: {"file_name": TRAIN, **entry}}
    return found | ({f"{h.target}_validation": {"file_name": VALIDATION, **entry}} if h.held else {})


def _masks(h: Handed) -> dict[str, Any]:
    learn = h.options.learn
    return {
        "mask_history": learn == "completion",
        "train_on_prompt": learn == "all",
        "neat_packing": h.options.packing,
    }


def _pairs(h: Handed) -> dict[str, Any]:
    options = h.options
    return {
        "pref_beta": options.beta,
        "pref_loss": options.loss,
        "dpo_label_smoothing": options.label_smoothing or None,
    }


def _lora(h: Handed) -> dict[str, Any]:
    if h.layers:
        raise InputError("LLaMA-Factory has no option for adapters in some layers only; leave lora.layers out")
    lora, four_bits = h.options.lora, h.options.method == "qlora"
    return {
        "lora_rank": lora["r"],
        "lora_alpha": h.whole_alpha("LLaMA-Factory"),
        "lora_dropout": 0.0 if h.step == "dpo" else lora["dropout"],
        "lora_target": "all" if h.targets == "all-linear" else ",".join(h.targets),
        "use_dora": h.options.method == "dora" or None,
        "quantization_bit": 4 if four_bits else None,
        "quantization_method": "bnb" if four_bits else None,
        "double_quantization": True if four_bits else None,
    }
