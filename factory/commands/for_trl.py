"""A training stage as a script for TRL 1.16, with the columns that its trainers read."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from .handed import LORA, TRAIN, VALIDATION, Files, Handed

START = "python train.py"
TRAINERS = {"sft": "SFT", "dpo": "DPO", "kto": "KTO", "reward_model": "Reward"}  # step -> of ...Config and ...Trainer


def row(record: dict[str, Any], h: Handed) -> dict[str, Any]:
    """SFTTrainer learns from completions alone where there are two columns."""
    if h.step == "sft" and h.options.learn != "completion":
        return {"messages": record["prompt"] + record["completion"]}
    return record


def files(h: Handed) -> Files:
    """A script that trains as the stage did."""
    h.require("TRL", ("full", *LORA))
    options = h.options
    settings = h.arguments() | {"activation_checkpointing": h.recomputes, "max_length": options.max_length}
    settings |= _objective(h)
    if options.early_stopping:
        settings |= {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss"}
    arguments = [f"{name}={value!r}" for name, value in settings.items()]
    arguments.append("bf16=torch.cuda.is_available()")
    if options.method == "qlora":
        arguments.append('model_init_kwargs={"quantization_config": four_bits}')
    trainer = [f'model="{h.base}"', "args=settings", 'train_dataset=data["train"]']
    trainer += ['eval_dataset=data["validation"]'] if h.held else []
    trainer += ['processing_class=AutoTokenizer.from_pretrained("tokenizer")']
    trainer += ["peft_config=adapter"] if options.method in LORA else []
    trainer += [f"callbacks=[EarlyStoppingCallback({options.early_stopping})]"] if options.early_stopping else []
    return {"train.py": _script(h, arguments, trainer)}


def _objective(h: Handed) -> dict[str, Any]:
    """What the trainers of the steps do not share."""
    options = h.options
    if h.step == "dpo":
        return {"beta": options.beta, "loss_type": [options.loss], "label_smoothing": options.label_smoothing}
    if h.step == "kto":
        if options.batch_size == 1:
            raise InputError("TRL's KTOTrainer needs other answers in a batch; give the step a batch_size of 2 or more")
        weights = {"desirable_weight": options.desirable, "undesirable_weight": options.undesirable}
        return {"beta": options.beta, **weights}
    if h.step == "reward_model":
        return {"center_rewards_coefficient": options.centring or None, "disable_dropout": False}
    found = {"packing": options.packing, "completion_only_loss": options.learn == "completion"}
    return found | {"assistant_only_loss": options.learn == "assistant"}


def _script(h: Handed, arguments: list[str], trainer: list[str]) -> str:
    config, trains = (TRAINERS[h.step] + kind for kind in ("Config", "Trainer"))
    names = ["AutoTokenizer", *(["BitsAndBytesConfig"] if h.options.method == "qlora" else [])]
    names += ["EarlyStoppingCallback"] if h.options.early_stopping else []
    data = {"train": TRAIN, **({"validation": VALIDATION} if h.held else {})}
    lines = [
        f'"""Train `{h.target}` of the recipe `{h.recipe}` with TRL. Written by `factory export --for trl`."""',
        "",
        "import torch",
        "from datasets import load_dataset",
        *(["from peft import LoraConfig"] if h.options.method in LORA else []),
        f"from transformers import {', '.join(names)}",
        f"from trl import {config}, {trains}",
        "",
    ]
    if h.options.method == "qlora":
        double = "bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16"
        lines += [f'four_bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", {double})']
    lines += [_call(f"settings = {config}", arguments)]
    if h.options.method in LORA:
        lines += [f"adapter = LoraConfig({', '.join(f'{name}={value!r}' for name, value in _lora(h).items())})"]
    lines += [f'data = load_dataset("json", data_files={data!r})']
    lines += [_call(f"trainer = {trains}", trainer), "trainer.train()", "trainer.save_model()", ""]
    return "\n".join(lines)


def _lora(h: Handed) -> dict[str, Any]:
    lora = h.options.lora
    found = {"task_type": "CAUSAL_LM", "r": lora["r"], "lora_alpha": lora["alpha"], "lora_dropout": h.lora_dropout}
    if h.step == "reward_model":
        found |= {"task_type": "SEQ_CLS", "modules_to_save": ["score"]}
    found |= {"target_modules": h.targets}
    found |= {"layers_to_transform": list(h.layers)} if h.layers else {}
    return found | ({"use_dora": True} if h.options.method == "dora" else {})


def _call(name: str, arguments: list[str]) -> str:
    return "\n".join([f"{name}(", *(f"    {one}," for one in arguments), ")"])
