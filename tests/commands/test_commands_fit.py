"""`factory fit`: a table and a line for the recipe, from configs alone; two steps here take what was planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import InputError
from factory.commands.fit import UNITS, memory_of, rate_of

RECIPE = """\
name: tune
targets:
  tasks: {from: data/*.jsonl, steps: [{length: {min_chars: 1}}]}
  tutor: {from: tasks, steps: [sft: {base: ./base, method: METHOD, max_length: 64, OPTIONS}]}
  again: {from: tasks, steps: [sft: {base: tutor, method: lora, max_length: 64, max_steps: 30}]}
"""


@given(st.integers(1, 999), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_sizes_are_read(number: int, unit: str, blank: str) -> None:
    assert memory_of(f"{number}{blank}{unit}") == number * UNITS[unit]
    assert memory_of(f"{number}.5{unit}") == (number + 0.5) * UNITS[unit]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("24Gb", "has the unit 'Gb'; did you mean '24GB'?"),
        ("24gib", "did you mean '24GiB'?"),
        ("lots", "'lots' is no size; expected a number with a unit, as 24GB or 80GiB"),
        ("24", "has no unit; as 24GB"),
        ("0GB", "is no size"),
        ("-3GB", "is no size"),
        ("", "is no size"),
        ("24 apples", "has the unit 'apples'"),
    ],
)
def test_what_is_no_size_is_said(text: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        memory_of(text)
    assert said in str(raised.value)
    assert str(raised.value).startswith("--memory: ")
    assert "\n" not in str(raised.value)


def test_rates_are_read() -> None:
    assert rate_of("60T") == rate_of("6e13") == 60e12
    with pytest.raises(InputError, match="--flops: 'fast' is no rate; expected operations a second, as 60T"):
        rate_of("fast")


@pytest.mark.builds
def test_a_recipe_that_trains_nothing_is_said(lab: Any) -> None:
    lab.write(
        "plain.yaml", "name: plain\ntargets: {texts: {from: 'data/*.jsonl', steps: [{length: {min_chars: 1}}]}}\n"
    )
    said = lab("fit", "plain.yaml", "--memory", "24GB")
    assert said.code == 2
    assert "plain.yaml: no stage trains a model; a training step is one of dpo, kto, ppo, pretrain" in said.err
    assert said.out == ""


def save(folder: Path, vocabulary: int = 0, **sizes: int) -> Path:
    """A random Llama with a tokenizer of words, small enough to train in a moment."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = ["<eos>", "<unk>", *(chr(97 + n) for n in range(26)), *"0123456789"]
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<eos>", unk_token="<unk>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'][0] + ' ' + m['content'] + ' <eos> ' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'a ' }}{% endif %}"
    )
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2} | sizes
    config = LlamaConfig(
        vocab_size=max(len(words), vocabulary), num_key_value_heads=2, max_position_embeddings=512, bos_token_id=0,
        eos_token_id=0, tie_word_embeddings=True, **small,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write(lab: Any, method: str = "lora", **options: Any) -> None:
    lab.write("data/tasks.jsonl", "".join(json.dumps({"prompt": f"a {n}", "completion": "b"}) + "\n" for n in range(9)))
    for path in (lab.root / "data").glob("*.jsonl"):
        if path.name != "tasks.jsonl":
            path.unlink()
    said = ", ".join(f"{name}: {json.dumps(value)}" for name, value in options.items())
    lab.write("tune.yaml", RECIPE.replace("METHOD", method).replace("OPTIONS", said))


@pytest.mark.model
def test_the_table_and_the_line_for_the_recipe(lab: Any) -> None:
    save(lab.root / "base")
    write(lab, "full", batch_size=8, accumulation=1)
    said = lab("fit", "tune.yaml", "--memory", "1GB", "--flops", "1T")
    assert said.code == 0, said.err
    assert said.lines[0] == "1 GB on a GPU, of which 920 MB can be planned with"
    assert said.lines[2].split()[:3] == ["target", "step", "method"]
    assert said.lines[3].split()[:4] == ["tutor", "sft", "full,", "fp32"]
    assert said.lines[4].split()[:3] == ["again", "sft", "lora"]
    assert "tutor: fits as the recipe has it" in said.lines
    assert "again: fits as the recipe has it   # its base is not built yet; sized as ./base" in said.lines
    (tutor, again) = lab("fit", "tune.yaml", "--memory", "1GB", "--json", "--flops", "1T").json
    assert tutor["steps"] is None, "its records are not counted before they are built"
    assert (again["steps"], again["like"]) == (30, "./base")
    assert again["seconds"] == pytest.approx(30 * again["flops"] / 1e12)
    assert tutor["need"]["weights"] > 4 * tutor["parameters"]
    whole = tutor["need"]["peak"]
    less = lab("fit", "tune.yaml", "tutor", "--memory", f"{0.97 * whole / 0.92 / 1e6:.6f}MB")
    assert "tutor: sft: {batch_size: 4, accumulation: 2, gradient_checkpointing: false}" in less.lines
    none = lab("fit", "tune.yaml", "tutor", "--memory", "0.5MB")
    assert none.code == 2
    assert "tutor: sft does not fit into 460 kB: the least it takes is" in none.err
    assert "no shorter record and no 4 bits help: take a smaller base" in none.err


@pytest.mark.model
def test_two_steps_take_what_was_planned(lab: Any) -> None:
    """Within a sixth; the least that a process takes, 15 MB, is part of it."""
    save(lab.root / "base", vocabulary=4096, hidden_size=256, intermediate_size=768, num_hidden_layers=4)
    write(lab, "full", batch_size=4, accumulation=1)
    lab.write("tune.yaml", (lab.root / "tune.yaml").read_text().replace("max_length: 64", "max_length: 256", 1))
    (found,) = lab("fit", "tune.yaml", "tutor", "--memory", "8GB", "--cpu", "--check", "--json").json
    check = found["check"]
    assert not check["gpu"]
    assert check["planned"] == found["need"]["peak"]
    assert check["planned"] > 1.5e8
    assert 5 / 6 < check["planned"] / check["measured"] < 7 / 6
    assert check["seconds"] > 0


@pytest.mark.slow
def test_what_cannot_be_tried_is_said_and_the_rest_goes_on(lab: Any) -> None:
    save(lab.root / "base")
    (lab.root / "base" / "model.safetensors").write_bytes(b"cut off")
    write(lab, "lora", batch_size=2)
    said = lab("fit", "tune.yaml", "tutor", "--memory", "8GB", "--cpu", "--check")
    assert said.code == 0, said.err
    assert said.lines[-1].startswith("tutor: two steps could not be trained here: ./base: its weights cannot be loaded")


EVERY = """\
name: every
targets:
  text: {from: data/text.jsonl, steps: [pretrain: {base: ./base, batch_size: 2, accumulation: 2, seq_len: 256}]}
  rewards: {from: data/pairs.jsonl, steps: [reward_model: {base: ./base, batch_size: 2, max_length: 256}]}
  pairs: {from: data/pairs.jsonl, steps: [dpo: {base: ./base, batch_size: 2, max_length: 256}]}
  marks: {from: data/marks.jsonl, steps: [kto: {base: ./base, method: freeze, batch_size: 4, max_length: 256}]}
  policy:
    from: data/prompts.jsonl
    steps: [ppo: {policy: ./base, reward: rewards, prompts_per_step: 4, max_new_tokens: 8}]
"""


@pytest.mark.slow
def test_two_steps_of_every_trainer_take_about_what_was_planned(lab: Any) -> None:
    """From 0.6 of it, where reading text brings a compiler into memory, to 1.2."""
    save(lab.root / "base", vocabulary=4096, hidden_size=256, intermediate_size=768, num_hidden_layers=4)
    kinds = {"text": {"text": "a b"}, "pairs": {"prompt": "a", "chosen": "b", "rejected": "c"},
             "marks": {"prompt": "a", "completion": "b", "label": True}, "prompts": {"prompt": "a"}}  # fmt: skip
    for name, record in kinds.items():
        lab.write(f"data/{name}.jsonl", json.dumps(record) + "\n")
    lab.write("every.yaml", EVERY)
    found = lab("fit", "every.yaml", "--memory", "8GB", "--cpu", "--check", "--json").json
    assert [one["step"] for one in found] == ["pretrain", "reward_model", "dpo", "kto", "ppo"]
    for one in found:
        assert "error" not in one["check"], one
        assert 0.6 < one["check"]["planned"] / one["check"]["measured"] < 1.2, one
