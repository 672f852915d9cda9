"""dpo on a tiny model: what is learned and saved, and that the reference is the base, computed once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, Dataset, InputError, ModelError, Preference, StepError, user
from factory.train.adapters import LoraOptions
from factory.train.dpo import dpo
from factory.train.reward_model import reward_model
from factory.train.sft import sft

pytestmark = pytest.mark.model
slow = pytest.mark.slow
FAST = {"epochs": 4, "learning_rate": 1e-2, "batch_size": 4, "validation": 0.3, "evaluations": 1}


@pytest.fixture
def pairs(tmp_path: Path, preferences: Any, write_dataset: Any) -> Dataset[Preference]:
    return write_dataset(tmp_path / "pairs.parquet", preferences(), Preference)  # type: ignore[no-any-return]


def losses(notebook: Any) -> list[float]:
    return [entry["train_loss"] for _, entry in sorted(notebook.logged.items()) if "train_loss" in entry]


@pytest.mark.parametrize("method", ["lora", *(pytest.param(one, marks=slow) for one in ("qlora", "full", "prompt"))])
def test_methods_learn_to_prefer_the_chosen_of_held_out_pairs(
    method: Any, tiny: CausalLM, pairs: Any, tmp_path: Path, make_context: Any
) -> None:
    context, notebook = make_context(tmp_path / "run")
    rate = 3e-3 if method == "full" else 1e-2
    made = dpo.function(pairs, context, tiny, method=method, **{**FAST, "learning_rate": rate})
    assert isinstance(made, CausalLM)
    assert losses(notebook)[-1] < 0.5 * losses(notebook)[0]
    first, last = (notebook.logged[step] for step in (0, max(notebook.logged)))
    if method != "prompt":  # virtual tokens make another model before they are trained; the reference is without them
        assert losses(notebook)[0] == pytest.approx(math.log(2), abs=1e-5)
        assert first["eval_rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert last["eval_rewards/accuracies"] >= 0.8
    assert last["eval_rewards/chosen"] - last["eval_rewards/rejected"] == pytest.approx(
        last["eval_rewards/margins"], abs=1e-3
    )
    assert f"| held-out rewards/accuracies | {first['eval_rewards/accuracies']:.4f} →" in notebook.sections["Training"]


@slow
@pytest.mark.parametrize("loss", ["ipo", "hinge"])
def test_other_losses_learn(loss: Any, tiny: CausalLM, pairs: Any, tmp_path: Path, make_context: Any) -> None:
    context, notebook = make_context(tmp_path / "run")
    dpo.function(pairs, context, tiny, loss=loss, **{**FAST, "validation": 0.0})
    assert losses(notebook)[-1] < 0.5 * losses(notebook)[0]
    assert losses(notebook)[0] == pytest.approx({"ipo": 25.0, "hinge": 1.0}[loss], abs=1e-3)


def test_the_saved_model_gives_the_rewards_that_were_measured(
    tiny: CausalLM, pairs: Any, dataset: Any, tmp_path: Path, preferences: Any, make_context: Any
) -> None:
    """By hand, record by record and from the two folders; the base is itself an adapter, which is the reference."""
    import torch

    from factory.models.chat import encode_turns
    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.batches import split_validation
    from factory.train.comparisons import encode_pairs

    first_run, _ = make_context(tmp_path / "first")
    first = sft.function(dataset, first_run, tiny, lora=LoraOptions(r=4), epochs=3, learning_rate=2e-2, validation=0.0)
    context, notebook = make_context(tmp_path / "run")
    made = dpo.function(pairs, context, first, beta=0.3, lora=LoraOptions(r=2), **FAST)
    tokenizer, policy, reference = load_tokenizer(made), load_causal_lm(made), load_causal_lm(first)
    found = encode_pairs(preferences(), tokenizer, 200, context)
    held = {id(pair) for pair in split_validation(found, 0.3)[1]}

    def logp(model: Any, prompt: Any, answer: Any) -> float:
        ids, mask = encode_turns(tokenizer, prompt, answer)
        with torch.no_grad():
            logs = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), -1)
        return sum(float(logs[at - 1, ids[at]]) for at in range(1, len(ids)) if mask[at])

    margins = []
    for record, pair in zip(preferences(), found, strict=True):
        if id(pair) in held:
            good, bad = (
                logp(policy, record["prompt"], record[side]) - logp(reference, record["prompt"], record[side])
                for side in ("chosen", "rejected")
            )
            margins.append(0.3 * (good - bad))
    measured = notebook.logged[max(notebook.logged)]
    assert sum(margins) / len(margins) == pytest.approx(measured["eval_rewards/margins"], abs=1e-3)
    loss = sum(math.log1p(math.exp(-margin)) for margin in margins) / len(margins)
    assert loss == pytest.approx(measured["eval_loss"], abs=1e-4)


def test_references_are_computed_once_and_read_again(
    tiny: CausalLM, pairs: Any, tmp_path: Path, make_context: Any
) -> None:
    import numpy as np

    context, notebook = make_context(tmp_path / "run")
    dpo.function(pairs, context, tiny, **{**FAST, "max_steps": 2})
    kept = tmp_path / "run" / "work" / "references.npy"
    before = np.load(kept)
    assert before.shape == (48,)
    assert (before < 0).all()
    assert not list(kept.parent.glob("*.partial"))
    np.save(kept, before - np.tile([10.0, 0.0], 24).astype(np.float32))  # as if the base found the chosen less likely
    for checkpoint in kept.parent.glob("checkpoint-*"):
        checkpoint.rename(tmp_path / checkpoint.name)
    again, noted = make_context(tmp_path / "run")
    dpo.function(pairs, again, tiny, **{**FAST, "max_steps": 2})
    assert noted.logged[1]["rewards/margins"] == pytest.approx(notebook.logged[1]["rewards/margins"] + 1, abs=1e-4)


@slow
def test_the_reference_is_the_base_whatever_the_method_puts_before_the_text(
    tiny: CausalLM, pairs: Any, tmp_path: Path, make_context: Any
) -> None:
    import numpy as np

    found = []
    for method in ("full", "prompt"):
        context, _ = make_context(tmp_path / method)
        dpo.function(pairs, context, tiny, method=method, max_steps=1)
        found.append(np.load(tmp_path / method / "work" / "references.npy"))
    assert found[0] == pytest.approx(found[1], abs=1e-4)


@pytest.mark.parametrize("method", ["qlora", pytest.param("lora", marks=slow)])
def test_adapters_move_at_the_default_rate(
    method: Any, tiny: CausalLM, pairs: Any, tmp_path: Path, make_context: Any
) -> None:
    """In bfloat16 an update of 1e-5 is below half a step of most weights of lora_A, and nothing would ever change."""
    import torch
    from safetensors.torch import load_file

    states = []
    for name, rate in (("start", 1e-30), ("end", None)):
        context, _ = make_context(tmp_path / name)
        made = dpo.function(pairs, context, tiny, method=method, max_steps=5, learning_rate=rate, batch_size=2)
        states.append(load_file(made.path / "adapter_model.safetensors"))
    start, end = states
    moved = lost = count = 0
    for name in (name for name in start if ".lora_A." in name):
        assert end[name].dtype == torch.float32
        moved += int((start[name] != end[name]).sum())
        lost += int((start[name].bfloat16() == end[name].bfloat16()).sum())
        count += start[name].numel()
    assert moved / count > 0.99
    assert lost / count > 0.7  # what adapters in bfloat16 would have lost


@slow
def test_dropout_is_off(tiny: CausalLM, pairs: Any, tmp_path: Path, make_context: Any) -> None:
    found = []
    for name, dropout in (("with", 0.5), ("without", 0.0)):
        context, notebook = make_context(tmp_path / name)
        dpo.function(pairs, context, tiny, lora=LoraOptions(r=4, dropout=dropout), **{**FAST, "max_steps": 3})
        found.append(losses(notebook))
    assert found[0] == found[1]


def test_errors_are_sentences(
    tiny: CausalLM, pairs: Any, tmp_path: Path, preferences: Any, make_context: Any, write_dataset: Any
) -> None:
    context, _ = make_context(tmp_path / "run")
    with pytest.raises(InputError, match="early_stopping needs held-out records"):
        dpo.function(pairs, context, tiny, validation=0.0, early_stopping=1)
    with pytest.raises(InputError, match="label_smoothing goes with loss: sigmoid, not ipo"):
        dpo.function(pairs, context, tiny, loss="ipo", label_smoothing=0.1)
    with pytest.raises(StepError, match="of 24 records none is left"):
        dpo.function(pairs, context, tiny, max_length=5)
    alike = [{**one, "prompt": user("Which?")} for one in preferences(4)]
    one_prompt = write_dataset(tmp_path / "alike.parquet", alike, Preference)
    with pytest.raises(StepError, match="the records have only one prompt"):
        dpo.function(one_prompt, context, tiny, early_stopping=1)
    judge, _ = make_context(tmp_path / "judge")
    made = reward_model.function(pairs, judge, tiny, max_steps=1)
    with pytest.raises(ModelError, match="is a reward model; give base a language model"):
        dpo.function(pairs, context, CausalLM(uri="made", path=made.path))
    with pytest.raises(StepError, match="lower learning_rate"):
        dpo.function(pairs, context, tiny, method="full", learning_rate=1e30, epochs=5, max_grad_norm=1e30)
