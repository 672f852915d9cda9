"""sft on a tiny model: what is learned, what is saved, and what the loss is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, Dataset, InputError, ModelError, StepError, assistant, user
from factory.train.adapters import LoraOptions
from factory.train.sft import sft

pytestmark = pytest.mark.model
FAST = {"epochs": 12, "learning_rate": 2e-2, "batch_size": 4, "validation": 0.0}


def nll_by_hand(model: Any, tokenizer: Any, records: list[dict[str, Any]]) -> tuple[float, int]:
    """Sum over completion tokens, record by record, without padding: text after the prompt up to <|im_end|>."""
    import torch

    total, count = 0.0, 0
    for record in records:
        prompt = tokenizer.apply_chat_template(record["prompt"], tokenize=False, add_generation_prompt=True)
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        answer = record["completion"][0]["content"] + "<|im_end|>"
        after = tokenizer(answer, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([before + after])).logits[0].double()
        logs = torch.log_softmax(logits, -1)
        for at, token in enumerate(after):
            total -= float(logs[len(before) + at - 1, token])
        count += len(after)
    return total, count


def loaded(folder: Path) -> Any:
    from factory.models.loading import load_causal_lm

    return load_causal_lm(CausalLM(uri=str(folder), path=folder))


def logits_of(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=torch.arange(40).view(2, 20)).logits


def test_the_loss_is_on_the_completion_alone_to_the_token(
    tiny: CausalLM, tmp_path: Path, facts: Any, make_context: Any
) -> None:
    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.batches import IGNORED, collate, encode_examples
    from factory.train.cross_entropy import token_nll

    context, _ = make_context(tmp_path)
    tokenizer, model = load_tokenizer(tiny), load_causal_lm(tiny)
    records = facts()
    examples = encode_examples(records, tokenizer, 200, context)  # type: ignore[arg-type]
    batch = collate(examples, tokenizer.pad_token_id)
    for record, labels in zip(records, batch["labels"], strict=True):
        learned = tokenizer.decode(labels[labels != IGNORED])
        assert learned == record["completion"][0]["content"] + "<|im_end|>"
    by_hand, tokens = nll_by_hand(model, tokenizer, records)
    assert int((batch["labels"] != IGNORED).sum()) == tokens
    ours = token_nll(model, model.get_output_embeddings(), batch)[0].item()
    assert ours == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_every_method_learns_by_heart(
    method: Any, tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    context, notebook = make_context(tmp_path / "run")
    rate = 5e-3 if method == "full" else 2e-2
    sft.function(dataset, context, tiny, method=method, **{**FAST, "learning_rate": rate})
    losses = [entry["train_loss"] for _, entry in sorted(notebook.logged.items())]
    assert len(losses) == 36
    assert losses[-1] < 0.5 * losses[0]
    assert f"| method | {method} |" in notebook.sections["Training"]
    assert notebook.told[-1] == (36, 36)


def test_an_adapter_loads_with_peft_and_gives_what_was_trained(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    context, _ = make_context(tmp_path / "run")
    made = sft.function(dataset, context, tiny, lora=LoraOptions(r=4), **FAST)
    files = {path.name for path in made.path.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"} <= files
    assert not files & {"training_args.bin", "README.md", "trainer_state.json", "optimizer.pt"}
    ours = logits_of(loaded(made.path))
    assert torch.allclose(logits_of(AutoPeftModelForCausalLM.from_pretrained(made.path)), ours, atol=1e-4)
    assert torch.allclose(logits_of(AutoModelForCausalLM.from_pretrained(made.path)), ours, atol=1e-4)
    assert not torch.allclose(logits_of(loaded(tiny.path)), ours, atol=1e-2)  # type: ignore[arg-type]
    assert AutoTokenizer.from_pretrained(made.path).chat_template


def test_full_fine_tuning_saves_a_model_that_answers(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    context, _ = make_context(tmp_path / "run")
    made = sft.function(dataset, context, tiny, method="full", **{**FAST, "epochs": 60, "learning_rate": 5e-3})
    model, tokenizer = AutoModelForCausalLM.from_pretrained(made.path), AutoTokenizer.from_pretrained(made.path)
    assert model.config.use_cache
    prompt = tokenizer.apply_chat_template(user("What is a set?"), tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        out = model.generate(**ids, max_new_tokens=40, do_sample=False, eos_token_id=tokenizer.eos_token_id)
    assert tokenizer.decode(out[0][ids["input_ids"].shape[1] :]) == "A set holds each item once.<|im_end|>"


def test_a_lora_on_a_lora_is_saved_as_the_sum_of_both(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM

    first_run, _ = make_context(tmp_path / "first")
    attention = LoraOptions(r=4, target_modules=["q_proj", "v_proj"])
    first = sft.function(dataset, first_run, tiny, lora=attention, **FAST)
    second_run, notebook = make_context(tmp_path / "second")
    second = sft.function(dataset, second_run, first, lora=LoraOptions(r=2, alpha=8), **{**FAST, "validation": 0.2})
    config = json.loads((second.path / "adapter_config.json").read_text())
    assert config["r"] == 6
    assert config["base_model_name_or_path"] == str(tiny.path)
    ours = logits_of(loaded(second.path))
    assert torch.allclose(logits_of(AutoPeftModelForCausalLM.from_pretrained(second.path)), ours, atol=1e-4)
    assert not torch.allclose(logits_of(loaded(first.path)), ours, atol=1e-2)
    # what is saved measures as what was trained: the last held-out loss, from the folder
    from factory.models.loading import load_tokenizer
    from factory.train.batches import collate, encode_examples, split_validation
    from factory.train.cross_entropy import token_nll

    tokenizer, model = load_tokenizer(second), loaded(second.path)
    held = split_validation(encode_examples(dataset, tokenizer, 1024, second_run), 0.2)[1]
    batch = collate(held, 0)
    loss = token_nll(model, model.get_output_embeddings(), batch)[0].item() / int((batch["labels"] >= 0).sum())
    assert loss == pytest.approx(notebook.logged[max(notebook.logged)]["eval_loss"], rel=1e-4)


def test_only_the_last_layers_when_asked(tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any) -> None:
    from safetensors.torch import load_file

    context, _ = make_context(tmp_path / "run")
    made = sft.function(dataset, context, tiny, lora=LoraOptions(r=2, layers=1), max_steps=1)
    names = list(load_file(made.path / "adapter_model.safetensors"))
    assert len(names) == 14
    assert all(".layers.1." in name for name in names)


def test_accumulated_batches_weigh_tokens_as_one_batch_would(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch
    from safetensors.torch import load_file

    options = {"method": "full", "validation": 0.0, "max_steps": 1, "warmup": 0.0, "learning_rate": 1e-3}
    found = []
    for name, size, parts in (("one", 10, 1), ("parts", 3, 4)):
        context, notebook = make_context(tmp_path / name)
        made = sft.function(dataset, context, tiny, batch_size=size, accumulation=parts, **options)
        found.append((notebook.logged[1]["train_loss"], load_file(made.path / "model.safetensors")))
    (one, weights), (parts_loss, others) = found
    assert parts_loss == pytest.approx(one, rel=1e-5)
    # AdamW's first step is the sign of the gradient times the rate, so equal gradients give equal weights
    near = [torch.isclose(weights[name], others[name], atol=1e-5).float().mean() for name in weights]
    assert min(near) > 0.99


def test_what_cannot_be_learned_is_dropped_with_a_reason(
    tiny: CausalLM, tmp_path: Path, facts: Any, make_context: Any, write_dataset: Any
) -> None:
    records = facts()
    records[1]["completion"] = assistant("  ")
    records[2]["completion"] = assistant("word " * 300)
    records[3]["completion"] = user("A question instead.")
    dataset = write_dataset(tmp_path / "odd.parquet", records)
    context, notebook = make_context(tmp_path / "run")
    sft.function(dataset, context, tiny, max_length=120, max_steps=1)
    assert notebook.dropped == [
        ("0001", "empty completion"),
        ("0002", "too long"),
        ("0003", "no turn of the assistant"),
    ]
    assert "| dropped | 3 |" in notebook.sections["Training"]


def test_early_stopping_takes_the_best_weights(tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any) -> None:
    """Ten facts learned by heart make other facts less likely soon."""
    from factory.models.loading import load_tokenizer
    from factory.train.batches import collate, encode_examples, split_validation
    from factory.train.cross_entropy import token_nll

    context, notebook = make_context(tmp_path / "run")
    options = {**FAST, "epochs": 40, "validation": 0.3, "evaluations": 1, "early_stopping": 3}
    made = sft.function(dataset, context, tiny, **options)
    losses = {step: entry["eval_loss"] for step, entry in notebook.logged.items() if "eval_loss" in entry}
    best = min((loss, step) for step, loss in losses.items() if step)[1]
    assert max(losses) < 80
    assert [step for step in losses if step > best] == sorted(losses)[-3:]
    assert f"weights of step {best}" in notebook.sections["Training"]
    tokenizer, model = load_tokenizer(made), loaded(made.path)
    held = split_validation(encode_examples(dataset, tokenizer, 1024, context), 0.3)[1]
    batch = collate(held, 0)
    loss = token_nll(model, model.get_output_embeddings(), batch)[0].item() / int((batch["labels"] >= 0).sum())
    assert loss == pytest.approx(losses[best], rel=1e-4)


def test_equal_runs_save_equal_bytes_and_another_seed_does_not(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        context, _ = make_context(tmp_path / name, seed)
        made = sft.function(dataset, context, tiny, epochs=1)
        contents.append({path.name: path.read_bytes() for path in made.path.iterdir()})
    assert contents[0] == contents[1]
    assert contents[0]["adapter_model.safetensors"] != contents[2]["adapter_model.safetensors"]


def test_errors_are_sentences(
    tiny: CausalLM, dataset: Dataset[Any], tmp_path: Path, facts: Any, make_context: Any, write_dataset: Any
) -> None:
    context, _ = make_context(tmp_path / "run")
    with pytest.raises(InputError, match="early_stopping needs held-out records"):
        sft.function(dataset, context, tiny, validation=0.0, early_stopping=1)
    with pytest.raises(ModelError, match="target_modules"):
        sft.function(dataset, context, tiny, lora=LoraOptions(target_modules=["nothing_proj"]))
    empty = write_dataset(tmp_path / "none.parquet", [{**facts()[0], "completion": assistant("")}])
    with pytest.raises(StepError, match="of 1 records none is left"):
        sft.function(empty, context, tiny)
    with pytest.raises(StepError, match="lower learning_rate"):
        sft.function(dataset, context, tiny, method="full", learning_rate=1e30, epochs=5, max_grad_norm=1e30)
