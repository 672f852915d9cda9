"""A training stage as files for LLaMA-Factory, by the names of its argument classes of November 2026."""

from __future__ import annotations

import json
from typing import Any

import yaml

from ..errors import InputError
from .handed import LORA, TRAIN, VALIDATION, Files, Handed

STAGES = {"sft": "sft", "dpo": "dpo", "kto": "kto", "reward_model": "rm"}
PAIRS = ("dpo", "reward_model")
START = "llamafactory-cli train config.yaml"


def row(record: dict[str, Any], h: Handed) -> dict[str, Any]:
    """Its form sharegpt, with the tags of OpenAI's messages; what is masked stands in the configuration."""
    if h.step in PAIRS:
        return {"messages": record["prompt"], "chosen": record["chosen"][0], "rejected": record["rejected"][0]}
    label = {"label": record["label"]} if h.step == "kto" else {}
    return {"messages": record["prompt"] + record["completion"], **label}


def files(h: Handed) -> Files:
    """A configuration for `llamafactory-cli train`, and what the columns are called.

    The template is left out: it is then read from the tokenizer's chat template.
    """
    h.require("LLaMA-Factory", ("full", "freeze", *LORA))
    options = h.options
    config: dict[str, Any] = {
        "model_name_or_path": h.base,
        "stage": STAGES[h.step],
        "do_train": True,
        "finetuning_type": "lora" if options.method in LORA else options.method,
        "dataset": h.target,
        "eval_dataset": f"{h.target}_validation" if h.held else None,
        "dataset_dir": ".",
        "cutoff_len": options.max_length,
        **OBJECTIVES[h.step](h),
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
    columns = {"messages": "messages"}
    if h.step in PAIRS:
        columns |= {"chosen": "chosen", "rejected": "rejected"}
        entry |= {"ranking": True}
    if h.step == "kto":
        columns |= {"kto_tag": "label"}
    entry |= {"columns": columns}
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


def _singles(h: Handed) -> dict[str, Any]:
    weights = {"kto_chosen_weight": h.options.desirable, "kto_rejected_weight": h.options.undesirable}
    return {"pref_beta": h.options.beta, **weights}


def _rewards(h: Handed) -> dict[str, Any]:
    h.require_plain_pairs("LLaMA-Factory")
    return {}


OBJECTIVES = {"sft": _masks, "dpo": _pairs, "kto": _singles, "reward_model": _rewards}


def _lora(h: Handed) -> dict[str, Any]:
    if h.layers:
        raise InputError("LLaMA-Factory has no option for adapters in some layers only; leave lora.layers out")
    lora, four_bits = h.options.lora, h.options.method == "qlora"
    return {
        "lora_rank": lora["r"],
        "lora_alpha": h.whole_alpha("LLaMA-Factory"),
        "lora_dropout": h.lora_dropout,
        "lora_target": "all" if h.targets == "all-linear" else ",".join(h.targets),
        "use_dora": h.options.method == "dora" or None,
        "quantization_bit": 4 if four_bits else None,
        "quantization_method": "bnb" if four_bits else None,
        "double_quantization": True if four_bits else None,
    }
