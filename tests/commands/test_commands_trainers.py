"""A training stage in the words of other trainers, for every method and mask; nothing is trained here."""

from __future__ import annotations

import ast
import json
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from factory.commands import for_axolotl, for_llamafactory, for_trl
from factory.commands.handed import Handed
from factory.commands.handover import TOOLS
from factory.errors import InputError

PROMPT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
COMPLETION = [{"role": "assistant", "content": "d"}]


def stage(held: bool = True, step: str = "sft", **options: Any) -> Handed:
    defaults: dict[str, Any] = {
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
    }
    if step == "sft":
        defaults |= {"learn": "completion", "packing": False, "weigh": "token", "neftune": None}
    defaults |= {
        "sft": {},
        "dpo": {"beta": 0.2, "loss": "sigmoid", "label_smoothing": 0.0},
        "kto": {"beta": 0.2, "desirable": 1.0, "undesirable": 1.5},
        "reward_model": {"margin": False, "centring": 0.0},
    }[step]
    chosen = SimpleNamespace(**{**defaults, **options})
    return Handed("tutor", "notes", step, "HuggingFaceTB/SmolLM2-135M", chosen, 7, held, per_epoch=10, steps=30)


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
    script = for_trl.files(stage(method="qlora"))["train.py"]
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
    assert called(for_trl.files(stage(method="dora"))["train.py"], "LoraConfig")["use_dora"] is True
    full = for_trl.files(stage(method="full", held=False))["train.py"]
    assert "LoraConfig" not in full
    assert "validation" not in full


@pytest.mark.slow
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
    settings = called(for_trl.files(stage(**options))["train.py"], "SFTConfig")
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
    config = yaml.safe_load(for_axolotl.files(stage(method=method))["config.yaml"])
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
    files = for_llamafactory.files(stage(method=method, held=False))
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
    record = {"prompt": PROMPT, "completion": COMPLETION}
    assert [turn["train"] for turn in for_axolotl.row(record, stage(learn=learn))["messages"]] == marks
    config = yaml.safe_load(for_llamafactory.files(stage(learn=learn))["config.yaml"])
    assert (config["mask_history"], config["train_on_prompt"]) == (learn == "completion", learn == "all")
    columns = set(for_trl.row(record, stage(learn=learn)))
    assert columns == ({"prompt", "completion"} if learn == "completion" else {"messages"})


PAIR = {"prompt": PROMPT, "chosen": COMPLETION, "rejected": [{"role": "assistant", "content": "e"}]}


def test_pairs_for_trl() -> None:
    script = for_trl.files(stage(step="dpo", loss="ipo"))["train.py"]
    settings = called(script, "DPOConfig")
    assert (settings["beta"], settings["loss_type"], settings["label_smoothing"]) == (0.2, ["ipo"], 0.0)
    assert called(script, "LoraConfig")["lora_dropout"] == 0.0
    assert called(script, "DPOTrainer")["model"] == "HuggingFaceTB/SmolLM2-135M"
    assert for_trl.row(PAIR, stage(step="dpo")) == PAIR


@pytest.mark.slow
def test_dpo_config_of_the_installed_trl_takes_the_settings(tmp_path: Any) -> None:
    from trl import DPOConfig

    settings = called(for_trl.files(stage(step="dpo", early_stopping=2))["train.py"], "DPOConfig")
    made = DPOConfig(**{**settings, "bf16": False, "output_dir": str(tmp_path)})
    assert (made.beta, made.loss_type, made.max_length, made.eval_steps) == (0.2, ["sigmoid"], 1024, 5)


def test_pairs_for_axolotl() -> None:
    config = yaml.safe_load(for_axolotl.files(stage(step="dpo", loss="ipo"))["config.yaml"])
    assert (config["rl"], config["rl_beta"], config["lora_dropout"]) == ("ipo", 0.2, 0.0)
    assert "sample_packing" not in config
    assert config["datasets"][0] == {
        "path": "train.jsonl",
        "ds_type": "json",
        "chat_template": "tokenizer_default",
        "field_messages": "messages",
        "type": "chat_template.default",
        "field_chosen": "chosen",
        "field_rejected": "rejected",
    }
    row = for_axolotl.row(PAIR, stage(step="dpo"))
    assert (row["messages"], row["chosen"]["content"], row["rejected"]["content"]) == (PROMPT, "d", "e")
    with pytest.raises(InputError, match="axolotl has the losses sigmoid and ipo, and no label_smoothing"):
        for_axolotl.files(stage(step="dpo", loss="hinge"))


def test_pairs_for_llama_factory() -> None:
    files = for_llamafactory.files(stage(step="dpo", label_smoothing=0.1))
    config, info = yaml.safe_load(files["config.yaml"]), json.loads(files["dataset_info.json"])
    assert (config["stage"], config["pref_beta"], config["pref_loss"]) == ("dpo", 0.2, "sigmoid")
    assert config["dpo_label_smoothing"] == 0.1
    assert "mask_history" not in config
    assert info["tutor"]["ranking"] is True
    assert set(info["tutor"]["columns"]) == {"messages", "chosen", "rejected"}
    assert for_llamafactory.row(PAIR, stage(step="dpo"))["chosen"] == COMPLETION[0]


ANSWER = {"prompt": PROMPT, "completion": COMPLETION, "label": False}


def test_single_answers_for_trl() -> None:
    script = for_trl.files(stage(step="kto"))["train.py"]
    settings = called(script, "KTOConfig")
    assert (settings["beta"], settings["desirable_weight"], settings["undesirable_weight"]) == (0.2, 1.0, 1.5)
    assert called(script, "LoraConfig")["lora_dropout"] == 0.0
    assert called(script, "KTOTrainer")["model"] == "HuggingFaceTB/SmolLM2-135M"
    assert for_trl.row(ANSWER, stage(step="kto")) == ANSWER
    with pytest.raises(InputError, match=r"TRL's KTOTrainer needs .*; give the step a batch_size of 2 or more"):
        for_trl.files(stage(step="kto", batch_size=1))


def test_a_reward_model_for_trl() -> None:
    script = for_trl.files(stage(step="reward_model", centring=0.01, method="qlora"))["train.py"]
    settings = called(script, "RewardConfig")
    assert (settings["center_rewards_coefficient"], settings["disable_dropout"]) == (0.01, False)
    adapter = called(script, "LoraConfig")
    expected = {"task_type": "SEQ_CLS", "modules_to_save": ["score"], "lora_dropout": 0.05}
    assert {name: adapter[name] for name in expected} == expected
    assert called(script, "RewardTrainer")["model"] == "HuggingFaceTB/SmolLM2-135M"
    assert for_trl.row(PAIR | {"margin": 1.5}, stage(step="reward_model", margin=True))["margin"] == 1.5


@pytest.mark.slow
@pytest.mark.parametrize(("step", "name"), [("kto", "KTOConfig"), ("reward_model", "RewardConfig")])
def test_other_configs_of_the_installed_trl_take_the_settings(step: str, name: str, tmp_path: Any) -> None:
    import trl

    settings = called(for_trl.files(stage(step=step, early_stopping=2))["train.py"], name)
    made = getattr(trl, name)(**{**settings, "bf16": False, "output_dir": str(tmp_path)})
    assert (made.max_length, made.eval_steps, made.load_best_model_at_end) == (1024, 5, True)


def test_single_answers_for_axolotl() -> None:
    config = yaml.safe_load(for_axolotl.files(stage(step="kto"))["config.yaml"])
    expected = {"rl": "kto", "rl_beta": 0.2, "kto_desirable_weight": 1.0, "kto_undesirable_weight": 1.5}
    expected |= {"remove_unused_columns": False, "lora_dropout": 0.0}
    assert {name: config[name] for name in expected} == expected
    assert config["datasets"][0] == {
        "path": "train.jsonl",
        "ds_type": "json",
        "type": {
            "field_prompt": "prompt",
            "field_completion": "completion",
            "field_label": "label",
            "prompt_format": "{prompt}",
            "completion_format": "{completion}",
        },
    }


def test_a_reward_model_for_axolotl() -> None:
    config = yaml.safe_load(for_axolotl.files(stage(step="reward_model", centring=0.01))["config.yaml"])
    expected = {"reward_model": True, "num_labels": 1, "model_type": "AutoModelForSequenceClassification"}
    expected |= {"center_rewards_coefficient": 0.01, "lora_modules_to_save": ["score"], "lora_dropout": 0.05}
    assert {name: config[name] for name in expected} == expected
    assert "rl" not in config
    assert config["datasets"][0]["type"] == "bradley_terry.chat_template"
    asked = {**PAIR, "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]}
    wanted = {"system": "s", "input": "q", "chosen": "d", "rejected": "e"}
    assert for_axolotl.row(asked, stage(step="reward_model")) == wanted
    with pytest.raises(InputError, match="axolotl has no word for margin: true of a reward model; take --for trl"):
        for_axolotl.files(stage(step="reward_model", margin=True))


def test_single_answers_for_llama_factory() -> None:
    files = for_llamafactory.files(stage(step="kto"))
    config, info = yaml.safe_load(files["config.yaml"]), json.loads(files["dataset_info.json"])
    expected = {"stage": "kto", "pref_beta": 0.2, "kto_chosen_weight": 1.0, "kto_rejected_weight": 1.5}
    assert {name: config[name] for name in expected} == expected
    assert info["tutor"]["columns"] == {"messages": "messages", "kto_tag": "label"}
    assert "ranking" not in info["tutor"]
    row = for_llamafactory.row(ANSWER, stage(step="kto"))
    assert row == {"messages": PROMPT + COMPLETION, "label": False}


def test_a_reward_model_for_llama_factory() -> None:
    files = for_llamafactory.files(stage(step="reward_model"))
    config, info = yaml.safe_load(files["config.yaml"]), json.loads(files["dataset_info.json"])
    assert (config["stage"], config["lora_dropout"]) == ("rm", 0.05)
    assert "pref_beta" not in config
    assert info["tutor"]["ranking"] is True
    assert for_llamafactory.row(PAIR, stage(step="reward_model"))["rejected"] == PAIR["rejected"][0]
    with pytest.raises(InputError, match=r"LLaMA-Factory has no word for centring: 0\.01 of a reward model"):
        for_llamafactory.files(stage(step="reward_model", centring=0.01))


@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_tool_has_no_word_for_is_said(tool: str) -> None:
    with pytest.raises(InputError, match=r"has no method bitfit; it can be told of full"):
        TOOLS[tool].files(stage(method="bitfit"))
    with pytest.raises(InputError, match=r"weighs every token the same; it cannot be told of weigh: example"):
        TOOLS[tool].files(stage(weigh="example"))
