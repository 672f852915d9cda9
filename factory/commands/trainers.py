"""What a training stage is called elsewhere: its records and options in the words of TRL, axolotl and LLaMA-Factory.

Names were taken from TRL 1.16 (`SFTConfig`), axolotl's pydantic schemas and LLaMA-Factory's argument classes, November
2026. What a tool has no word for is an InputError, never left out silently.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import yaml

from ..errors import InputError

OPTIMIZERS = {"adamw": "adamw_torch"}  # the others have the names of transformers
LORA = ("lora", "qlora", "dora")
VALIDATION = "validation.jsonl"
TRAIN = "train.jsonl"


@dataclass(frozen=True)
class Handover:
    """A training stage as others have to be told of it.

    base      a hub id, or a folder beside the files
    options   of the step by name, with defaults; learning_rate is never None
    steps     in an epoch, and in all; a step is one update of the weights
    targets   names of the modules that adapters change, or `all-linear`
    layers    the numbers of the layers that adapters change; empty: all
    """

    target: str
    recipe: str
    base: str
    options: SimpleNamespace
    seed: int
    held: bool
    per_epoch: int
    steps: int
    targets: str | list[str] = "all-linear"
    layers: tuple[int, ...] = ()

    @property
    def warmup_steps(self) -> int:
        return math.ceil(self.steps * float(self.options.warmup))

    @property
    def every(self) -> int:
        """Steps between evaluations."""
        return max(1, round(self.per_epoch / int(self.options.evaluations)))

    @property
    def recomputes(self) -> bool:
        """Whether activations are recomputed, as our trainer decides on a GPU."""
        said = self.options.gradient_checkpointing
        return self.options.method == "qlora" if said is None else bool(said)


Turns = list[dict[str, str]]
Files = dict[str, str]  # name -> content


def trl_row(prompt: Turns, completion: Turns, learn: str) -> dict[str, Any]:
    """SFTTrainer learns from completions alone where there are two columns."""
    return {"prompt": prompt, "completion": completion} if learn == "completion" else {"messages": prompt + completion}


def trl_files(h: Handover) -> Files:
    """A script that trains as the stage did."""
    _known(h, "TRL", ("full", *LORA))
    settings: dict[str, Any] = {
        "output_dir": "trained",
        "num_train_epochs": h.options.epochs,
        "max_steps": h.options.max_steps or -1,
        "learning_rate": h.options.learning_rate,
        "lr_scheduler_type": h.options.schedule,
        "warmup_steps": h.warmup_steps,
        "weight_decay": h.options.weight_decay,
        "optim": OPTIMIZERS.get(h.options.optimizer, h.options.optimizer),
        "max_grad_norm": h.options.max_grad_norm,
        "per_device_train_batch_size": h.options.batch_size,
        "gradient_accumulation_steps": h.options.accumulation,
        "activation_checkpointing": h.recomputes,
        "max_length": h.options.max_length,
        "packing": h.options.packing,
        "neftune_noise_alpha": h.options.neftune,
        "completion_only_loss": h.options.learn == "completion",
        "assistant_only_loss": h.options.learn == "assistant",
        "seed": h.seed,
        "save_steps": h.options.checkpoint_every,
        "logging_steps": 1,
        "report_to": "none",
    }
    if h.held:
        settings |= {
            "eval_strategy": "steps",
            "eval_steps": h.every,
            "per_device_eval_batch_size": h.options.batch_size,
        }
    if h.options.early_stopping:
        settings |= {"save_steps": h.every, "load_best_model_at_end": True, "metric_for_best_model": "eval_loss"}
    arguments = [f"{name}={value!r}" for name, value in settings.items() if value is not None]
    arguments.append("bf16=torch.cuda.is_available()")
    if h.options.method == "qlora":
        arguments.append('model_init_kwargs={"quantization_config": four_bits}')
    trainer = [f'model="{h.base}"', "args=settings", 'train_dataset=data["train"]']
    trainer += ['eval_dataset=data["validation"]'] if h.held else []
    trainer += ['processing_class=AutoTokenizer.from_pretrained("tokenizer")']
    trainer += ["peft_config=adapter"] if h.options.method in LORA else []
    trainer += [f"callbacks=[EarlyStoppingCallback({h.options.early_stopping})]"] if h.options.early_stopping else []
    return {"train.py": _script(h, arguments, trainer)}


def _script(h: Handover, arguments: list[str], trainer: list[str]) -> str:
    names = ["AutoTokenizer", *(["BitsAndBytesConfig"] if h.options.method == "qlora" else [])]
    names += ["EarlyStoppingCallback"] if h.options.early_stopping else []
    files = {"train": TRAIN, **({"validation": VALIDATION} if h.held else {})}
    lines = [
        f'"""Train `{h.target}` of the recipe `{h.recipe}` with TRL. Written by `factory export --for trl`."""',
        "",
        "import torch",
        "from datasets import load_dataset",
        *(["from peft import LoraConfig"] if h.options.method in LORA else []),
        f"from transformers import {', '.join(names)}",
        "from trl import SFTConfig, SFTTrainer",
        "",
    ]
    if h.options.method == "qlora":
        double = "bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16"
        lines += [f'four_bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", {double})']
    lines += [_call("settings = SFTConfig", arguments)]
    if h.options.method in LORA:
        lora = h.options.lora
        own = {"task_type": "CAUSAL_LM", "r": lora["r"], "lora_alpha": lora["alpha"], "lora_dropout": lora["dropout"]}
        own |= {"target_modules": h.targets}
        own |= {"layers_to_transform": list(h.layers)} if h.layers else {}
        own |= {"use_dora": True} if h.options.method == "dora" else {}
        lines += [f"adapter = LoraConfig({', '.join(f'{name}={value!r}' for name, value in own.items())})"]
    lines += [f'data = load_dataset("json", data_files={files!r})']
    lines += [_call("trainer = SFTTrainer", trainer), "trainer.train()", "trainer.save_model()", ""]
    return "\n".join(lines)


def _call(name: str, arguments: list[str]) -> str:
    return "\n".join([f"{name}(", *(f"    {one}," for one in arguments), ")"])


def axolotl_row(prompt: Turns, completion: Turns, learn: str) -> dict[str, Any]:
    """Every turn says for itself whether its tokens are learned."""
    told = [{**turn, "train": learn == "all" or (learn == "assistant" and _answers(turn))} for turn in prompt]
    return {"messages": told + [{**turn, "train": learn == "all" or _answers(turn)} for turn in completion]}


def axolotl_files(h: Handover) -> Files:
    """A configuration for `axolotl train`."""
    _known(h, "axolotl", ("full", *LORA))
    rows: dict[str, Any] = {"ds_type": "json", "type": "chat_template", "chat_template": "tokenizer_default"}
    rows |= {"field_messages": "messages", "message_field_training": "train", "train_on_eos": "turn"}
    rows |= {"roles_to_train": []}  # each turn says for itself
    config: dict[str, Any] = {
        "base_model": h.base,
        "tokenizer_config": "./tokenizer",
        "datasets": [{"path": TRAIN, **rows}],
        "test_datasets": [{"path": VALIDATION, "split": "train", **rows}] if h.held else None,
        "dataset_prepared_path": "prepared",
        "output_dir": "trained",
        "sequence_len": h.options.max_length,
        "sample_packing": h.options.packing,
        "num_epochs": h.options.epochs,
        "max_steps": h.options.max_steps,
        "micro_batch_size": h.options.batch_size,
        "gradient_accumulation_steps": h.options.accumulation,
        "learning_rate": h.options.learning_rate,
        "lr_scheduler": h.options.schedule,
        "warmup_steps": h.warmup_steps,
        "weight_decay": h.options.weight_decay,
        "optimizer": OPTIMIZERS.get(h.options.optimizer, h.options.optimizer),
        "max_grad_norm": h.options.max_grad_norm,
        "gradient_checkpointing": h.recomputes,
        "neftune_noise_alpha": h.options.neftune,
        "bf16": "auto",
        "seed": h.seed,
        "logging_steps": 1,
        "save_steps": h.every if h.options.early_stopping else h.options.checkpoint_every,
        "eval_steps": h.every if h.held else None,
        "early_stopping_patience": h.options.early_stopping,
        "load_best_model_at_end": True if h.options.early_stopping else None,
    }
    if h.options.method in LORA:
        config |= {
            "adapter": "qlora" if h.options.method == "qlora" else "lora",
            "load_in_4bit": h.options.method == "qlora" or None,
        }
        config |= {
            "lora_r": h.options.lora["r"],
            "lora_alpha": _whole(h, "axolotl"),
            "lora_dropout": h.options.lora["dropout"],
        }
        all_linear = h.targets == "all-linear"
        config |= {"lora_target_linear": True} if all_linear else {"lora_target_modules": h.targets}
        config |= {
            "peft_layers_to_transform": list(h.layers) or None,
            "peft_use_dora": h.options.method == "dora" or None,
        }
    return {"config.yaml": _yaml(h, "axolotl", config)}


def llamafactory_row(prompt: Turns, completion: Turns, learn: str) -> dict[str, Any]:
    return {"messages": prompt + completion}


def llamafactory_files(h: Handover) -> Files:
    """A configuration for `llamafactory-cli train`, and what its columns are called."""
    _known(h, "LLaMA-Factory", ("full", "freeze", *LORA))
    if h.layers:
        raise InputError("LLaMA-Factory has no option for adapters in some layers only; leave lora.layers out")
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    entry = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": {**tags, "system_tag": "system"}}
    info = {h.target: {"file_name": TRAIN, **entry}}
    info |= {f"{h.target}_validation": {"file_name": VALIDATION, **entry}} if h.held else {}
    config: dict[str, Any] = {
        "model_name_or_path": h.base,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora" if h.options.method in LORA else h.options.method,
        "dataset": h.target,
        "eval_dataset": f"{h.target}_validation" if h.held else None,
        "dataset_dir": ".",
        "cutoff_len": h.options.max_length,
        "mask_history": h.options.learn == "completion",
        "train_on_prompt": h.options.learn == "all",
        "neat_packing": h.options.packing,
        "output_dir": "trained",
        "num_train_epochs": h.options.epochs,
        "max_steps": h.options.max_steps,
        "per_device_train_batch_size": h.options.batch_size,
        "gradient_accumulation_steps": h.options.accumulation,
        "learning_rate": h.options.learning_rate,
        "lr_scheduler_type": h.options.schedule,
        "warmup_steps": h.warmup_steps,
        "weight_decay": h.options.weight_decay,
        "optim": OPTIMIZERS.get(h.options.optimizer, h.options.optimizer),
        "max_grad_norm": h.options.max_grad_norm,
        "disable_gradient_checkpointing": not h.recomputes,
        "neftune_noise_alpha": h.options.neftune,
        "bf16": True,
        "seed": h.seed,
        "logging_steps": 1,
        "save_steps": h.every if h.options.early_stopping else h.options.checkpoint_every,
        "eval_strategy": "steps" if h.held else None,
        "eval_steps": h.every if h.held else None,
        "per_device_eval_batch_size": h.options.batch_size if h.held else None,
        "early_stopping_steps": h.options.early_stopping,
        "report_to": "none",
    }
    if h.options.method in LORA:
        names = "all" if h.targets == "all-linear" else ",".join(h.targets)
        config |= {"lora_rank": h.options.lora["r"], "lora_alpha": _whole(h, "LLaMA-Factory"), "lora_target": names}
        config |= {"lora_dropout": h.options.lora["dropout"], "use_dora": h.options.method == "dora" or None}
    if h.options.method == "qlora":
        config |= {"quantization_bit": 4, "quantization_method": "bnb", "double_quantization": True}
    if h.options.method == "freeze":
        config["freeze_trainable_layers"] = h.options.layers
    return {"config.yaml": _yaml(h, "LLaMA-Factory", config), "dataset_info.json": json.dumps(info, indent=2) + "\n"}


# tool -> (a record in its words, its other files, how it is started)
TOOLS: dict[str, tuple[Callable[[Turns, Turns, str], dict[str, Any]], Callable[[Handover], Files], str]] = {
    "trl": (trl_row, trl_files, "python train.py"),
    "axolotl": (axolotl_row, axolotl_files, "axolotl train config.yaml"),
    "llamafactory": (llamafactory_row, llamafactory_files, "llamafactory-cli train config.yaml"),
}


def _answers(turn: dict[str, str]) -> bool:
    return turn["role"] == "assistant"


def _known(h: Handover, tool: str, methods: tuple[str, ...]) -> None:
    if h.options.method not in methods:
        raise InputError(f"{tool} has no method {h.options.method}; it can be told of {', '.join(methods)}")
    if h.options.weigh != "token":
        raise InputError(f"{tool} weighs every token the same; it cannot be told of weigh: {h.options.weigh}")


def _whole(h: Handover, tool: str) -> int:
    alpha = h.options.lora["alpha"]
    if alpha != int(alpha):
        raise InputError(f"{tool} takes whole numbers for lora.alpha, and it is {alpha}")
    return int(alpha)


def _yaml(h: Handover, tool: str, config: dict[str, Any]) -> str:
    told = {name: value for name, value in config.items() if value is not None}
    head = f"# Train `{h.target}` of the recipe `{h.recipe}` with {tool}. Written by `factory export`.\n"
    return head + yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
