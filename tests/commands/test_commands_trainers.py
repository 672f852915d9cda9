"""A training stage in the words of other trainers, for every method and mask; nothing is trained here."""

from __future__ import annotations

import ast
import json
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from factory.commands.trainers import TOOLS, Handover, axolotl_files, axolotl_row, llamafactory_files, trl_files
from factory.errors import InputError

PROMPT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
COMPLETION = [{"role": "assistant", "content": "d"}]


def stage(held: bool = True, **options: Any) -> Handover:
    defaults = {
        "method": "lora",
        "lora": {"r": 16, "alpha": 32.0, "dropout": 0.05, "target_modules": "all-linear", "layers": None},
        "layers": 2,
        "epochs": 3.0,
        "max_steps": None,
        "learning_rate": 2e-4,
        "schedule": "cosine",
        "warmup": 0.1,
        "weight_decay": 0.0,
        "optimizer": "adamw",
        "max_grad_norm": 1.0,
        "batch_size": 8,
        "accumulation": 2,
        "evaluations": 2,
        "early_stopping": None,
        "checkpoint_every": 50,
        "gradient_checkpointing": None,
        "max_length": 1024,
        "learn": "completion",
        "packing": False,
        "weigh": "token",
        "neftune": None,
    }
    chosen = SimpleNamespace(**{**defaults, **options})
    return Handover("tutor", "notes", "HuggingFaceTB/SmolLM2-135M", chosen, 7, held, per_epoch=10, steps=30)


def called(script: str, name: str) -> dict[str, Any]:
    """The constant arguments that a script gives to a function."""
    (call,) = [
        node
        for node in ast.walk(ast.parse(script))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]
    found = {}
    for keyword in call.keywords:
        try:
            found[keyword.arg or ""] = ast.literal_eval(keyword.value)
        except ValueError:
            found[keyword.arg or ""] = ast.unparse(keyword.value)
    return found


def test_the_script_for_trl() -> None:
    script = trl_files(stage(method="qlora"))["train.py"]
    assert called(script, "BitsAndBytesConfig") == {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "torch.bfloat16",
    }
    settings = called(script, "SFTConfig")
    expected = {"num_train_epochs": 3.0, "max_steps": -1, "learning_rate": 2e-4, "warmup_steps": 3, "eval_steps": 5}
    expected |= {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "activation_checkpointing": True}
    assert {name: settings[name] for name in expected} == expected
    assert called(script, "LoraConfig")["r"] == 16
    assert called(script, "SFTTrainer")["model"] == "HuggingFaceTB/SmolLM2-135M"
    assert called(trl_files(stage(method="dora"))["train.py"], "LoraConfig")["use_dora"] is True
    full = trl_files(stage(method="full", held=False))["train.py"]
    assert "LoraConfig" not in full
    assert "validation" not in full


@pytest.mark.model
@pytest.mark.parametrize("learn", ["completion", "assistant", "all"])
def test_sft_config_of_the_installed_trl_takes_the_settings(learn: str, tmp_path: Any) -> None:
    from trl import SFTConfig

    options: dict[str, Any] = {
        "learn": learn,
        "early_stopping": 2,
        "neftune": 5.0,
        "packing": True,
        "optimizer": "paged_adamw_8bit",
    }
    settings = called(trl_files(stage(**options))["train.py"], "SFTConfig")
    made = SFTConfig(**{**settings, "bf16": False, "output_dir": str(tmp_path)})
    assert made.completion_only_loss == (learn == "completion")
    assert made.assistant_only_loss == (learn == "assistant")
    assert (made.save_steps, made.eval_steps, made.load_best_model_at_end) == (5, 5, True)


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("full", {"adapter": None, "gradient_checkpointing": False}),
        ("lora", {"adapter": "lora", "load_in_4bit": None, "lora_r": 16, "lora_alpha": 32}),
        ("qlora", {"adapter": "qlora", "load_in_4bit": True, "gradient_checkpointing": True}),
        ("dora", {"adapter": "lora", "peft_use_dora": True}),
    ],
)
def test_the_configuration_for_axolotl(method: str, wanted: dict[str, Any]) -> None:
    config = yaml.safe_load(axolotl_files(stage(method=method))["config.yaml"])
    assert {name: config.get(name) for name in wanted} == wanted
    assert config["learning_rate"] == 2e-4
    assert (config["micro_batch_size"], config["gradient_accumulation_steps"]) == (8, 2)


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("full", {"finetuning_type": "full", "lora_rank": None}),
        ("freeze", {"finetuning_type": "freeze", "freeze_trainable_layers": 2}),
        ("lora", {"finetuning_type": "lora", "lora_rank": 16, "quantization_bit": None}),
        ("qlora", {"finetuning_type": "lora", "quantization_bit": 4, "double_quantization": True}),
        ("dora", {"finetuning_type": "lora", "use_dora": True}),
    ],
)
def test_the_configuration_for_llama_factory(method: str, wanted: dict[str, Any]) -> None:
    files = llamafactory_files(stage(method=method, held=False))
    config = yaml.safe_load(files["config.yaml"])
    assert {name: config.get(name) for name in wanted} == wanted
    assert set(json.loads(files["dataset_info.json"])) == {"tutor"}


@pytest.mark.parametrize(
    ("learn", "marks"),
    [
        ("completion", [False, False, False, True]),
        ("assistant", [False, True, False, True]),
        ("all", [True, True, True, True]),
    ],
)
def test_masks_are_those_of_the_option_learn(learn: str, marks: list[bool]) -> None:
    assert [turn["train"] for turn in axolotl_row(PROMPT, COMPLETION, learn)["messages"]] == marks
    config = yaml.safe_load(llamafactory_files(stage(learn=learn))["config.yaml"])
    assert (config["mask_history"], config["train_on_prompt"]) == (learn == "completion", learn == "all")
    assert set(TOOLS["trl"][0](PROMPT, COMPLETION, learn)) == (
        {"prompt", "completion"} if learn == "completion" else {"messages"}
    )


@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_tool_has_no_word_for_is_said(tool: str) -> None:
    with pytest.raises(InputError, match=r"has no method bitfit; it can be told of full"):
        TOOLS[tool][1](stage(method="bitfit"))
    with pytest.raises(InputError, match=r"weighs every token the same; it cannot be told of weigh: example"):
        TOOLS[tool][1](stage(weigh="example"))
