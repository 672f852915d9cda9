"""Every method trains what it says, lowers its loss, and what it saves gives the model that was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, InputError, ModelError, Request, user
from factory.train.methods import LEARNING_RATES, VIRTUAL
from factory.train.sft import sft

pytestmark = pytest.mark.model
RATES = {
    "lora": 2e-2, "qlora": 2e-2, "dora": 2e-2, "full": 5e-3, "freeze": 5e-3, "prefix": 1e-1, "prompt": 1e-1,
    "ptuning": 1e-2, "ia3": 1e-1, "adapter": 1e-2, "bitfit": 2e-2, "layernorm": 5e-2,
}  # fmt: skip
SMALL = {"batch_size": 4, "epochs": 20, "evaluations": 1}
VIRTUAL_TOKENS = {"virtual_tokens": 6}
OWN = {"prefix": VIRTUAL_TOKENS, "prompt": VIRTUAL_TOKENS, "ptuning": VIRTUAL_TOKENS} | {
    "adapter": {"bottleneck": 8}, "freeze": {"layers": 1},
}  # fmt: skip


def loss_of(folder: Path, dataset: Any, context: Any) -> float:
    """Mean over the completions' tokens, by the model as anyone loads it, all records read alone."""
    from factory.models.likelihood import Encoded, losses
    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.batches import encode_examples

    made = CausalLM(uri=str(folder), path=folder)
    encoded = [
        Encoded(list(one.ids), list(one.learned))
        for one in encode_examples(dataset, load_tokenizer(made), 256, context)
    ]
    return sum(loss for _, loss in losses(load_causal_lm(made), encoded)) / sum(sum(one.mask) for one in encoded)


@pytest.mark.parametrize("method", LEARNING_RATES)
def test_a_method_lowers_its_loss_and_saves_what_it_learned(
    method: str, tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    context, notebook = make_context(tmp_path)
    before = loss_of(tiny.path, dataset, context)
    options = {**SMALL, **OWN.get(method, {}), "method": method, "learning_rate": RATES[method], "validation": 0.5}
    made = sft.function(dataset, context, tiny, **options)
    losses = [entry["train_loss"] for entry in notebook.logged.values() if "train_loss" in entry]
    # a few virtual tokens say little to a random model
    assert sum(losses[-3:]) < (0.95 if method in VIRTUAL else 0.9) * sum(losses[:3])
    found = {path.name for path in made.path.iterdir()}
    assert ("model.safetensors" in found) == (method in ("full", "freeze"))
    assert ("adapter_model.safetensors" in found) == (method not in ("full", "freeze"))
    assert loss_of(made.path, dataset, context) < before - 0.1


@pytest.mark.parametrize("method", ["prefix", "prompt", "ptuning", "adapter", "bitfit", "layernorm", "ia3", "dora"])
def test_the_model_that_is_loaded_is_the_one_that_was_trained(method: str, tiny: CausalLM, tmp_path: Path) -> None:
    """Logits of the training forward, of the loaded model, and of the loaded model token by token with its cache."""
    import torch
    from transformers import DynamicCache

    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.methods import Tuning, prepare

    tuned = prepare(tiny, Tuning(virtual_tokens=5, bottleneck=8, placement="houlsby").of(method), 3)
    torch.manual_seed(5)
    trained = [weight for weight in tuned.model.parameters() if weight.requires_grad]
    assert trained
    assert all(weight.dtype == torch.float32 for weight in trained)
    for weight in trained:
        weight.data += 0.05 * torch.randn_like(weight)
    ids = torch.arange(40).view(2, 20)
    mask = torch.ones_like(ids)
    mask[1, 15:] = 0
    with torch.no_grad():
        expected = tuned.model.eval()(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, -20:]
        tuned.save(load_tokenizer(tiny), tmp_path / "made")
        made = CausalLM(uri="made", path=tmp_path / "made")
        model = load_causal_lm(made)
        assert not torch.allclose(load_causal_lm(tiny)(input_ids=ids, attention_mask=mask).logits, expected, atol=1e-2)
        assert torch.allclose(model(input_ids=ids, attention_mask=mask).logits[0], expected[0], atol=2e-4)
        assert torch.allclose(model(input_ids=ids, attention_mask=mask).logits[1, :15], expected[1, :15], atol=2e-4)
        cache = DynamicCache(config=model.config)
        model(input_ids=ids[:1, :12], past_key_values=cache, use_cache=True)
        last = model(
            input_ids=ids[:1, 12:13], attention_mask=torch.ones(1, 13, dtype=torch.long),
            position_ids=torch.tensor([[12]]), past_key_values=cache, use_cache=True,
        ).logits  # fmt: skip
        assert torch.allclose(last[0, -1], expected[0, 12], atol=2e-4)


def test_virtual_tokens_are_seen_whatever_the_padding_of_a_prompt(tiny: CausalLM, tmp_path: Path) -> None:
    """A short prompt beside a long one, padded on the left, is answered as it is alone."""
    import torch

    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.models.local import answer_batch
    from factory.train.methods import Tuning, prepare

    tuned = prepare(tiny, Tuning(method="prefix", virtual_tokens=5), 3)
    for weight in tuned.model.parameters():
        if weight.requires_grad:
            weight.data += torch.randn_like(weight)
    tokenizer = load_tokenizer(tiny)
    tuned.save(tokenizer, tmp_path / "made")
    model = load_causal_lm(CausalLM(uri="made", path=tmp_path / "made"))
    short, long = (
        Request(messages=user(text), temperature=0.0, max_tokens=8) for text in ("What is it?", "list " * 40)
    )
    with torch.no_grad():
        together = answer_batch(model, tokenizer, [short, long], ["1", "2"])
        alone = answer_batch(model, tokenizer, [short], ["1"])
        plain = answer_batch(load_causal_lm(tiny), tokenizer, [short], ["1"])
    assert together[0].text == alone[0].text != plain[0].text


def test_what_cannot_be_added_to_an_adapter_says_what_to_do(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    context, _ = make_context(tmp_path / "one")
    made = sft.function(dataset, context, tiny, max_steps=1)
    for method in ("prefix", "adapter", "dora"):
        context, _ = make_context(tmp_path / method)
        with pytest.raises(ModelError, match=rf"what {method} learns cannot be added to one; put the step merge"):
            sft.function(dataset, context, made, method=method)
    with pytest.raises(ModelError, match="prefix cannot recompute activations"):
        sft.function(dataset, context, tiny, method="prefix", gradient_checkpointing=True)


def test_freeze_changes_the_last_layers_only(tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any) -> None:
    import torch
    from safetensors.torch import load_file

    context, notebook = make_context(tmp_path)
    made = sft.function(dataset, context, tiny, method="freeze", layers=1, max_steps=2, learning_rate=1e-2)
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny.path, made.path))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("model.layers.1.") for name in changed)
    assert "| method | freeze |" in notebook.sections["Training"]


def test_a_folder_of_ours_says_what_it_stands_on(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    context, _ = make_context(tmp_path)
    made = sft.function(dataset, context, tiny, method="adapter", bottleneck=4, placement="houlsby", max_steps=1)
    config = json.loads((made.path / "adapter_config.json").read_text())
    assert config == {
        "peft_type": "BOTTLENECK", "size": 4, "placement": "houlsby", "base_model_name_or_path": str(tiny.path),
    }  # fmt: skip


@pytest.mark.parametrize("optimizer", ["adamw_8bit", "paged_adamw_8bit", "adafactor"])
def test_other_optimizers_learn(
    optimizer: str, tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    context, notebook = make_context(tmp_path)
    options = {"epochs": 4, "batch_size": 4, "learning_rate": 1e-2, "validation": 0.0, "warmup": 0.0}
    sft.function(dataset, context, tiny, optimizer=optimizer, method="full", **options)
    losses = [entry["train_loss"] for entry in notebook.logged.values() if "train_loss" in entry]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_all_weights_are_trained_of_a_base_that_is_an_adapter(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    """peft freezes what it is put on, and what it was merged into stays frozen."""
    from factory.train.methods import Tuning, prepare

    made = sft.function(dataset, make_context(tmp_path / "one")[0], tiny, max_steps=1)
    weights = list(prepare(made, Tuning(method="full"), 0).model.parameters())
    assert all(weight.requires_grad for weight in weights)


def test_what_stands_beside_weights_is_not_trained_on_and_says_what_is(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    from factory.train.methods import Tuning, prepare

    made = sft.function(dataset, make_context(tmp_path / "one")[0], tiny, max_steps=1, method="bitfit")
    for method in ("full", "freeze", "lora"):
        with pytest.raises(
            ModelError, match=r"kind BITFIT, which no weights can hold.*; train on .*, which it stands on"
        ):
            prepare(made, Tuning(method=method), 0)


def test_an_option_of_another_method_is_refused(tiny: CausalLM) -> None:
    from factory.train.methods import Tuning, prepare

    with pytest.raises(InputError, match="layers is read by freeze, but method is lora"):
        prepare(tiny, Tuning(layers=3), 0)
    assert Tuning(layers=3, bottleneck=8).of("adapter") == Tuning(method="adapter", bottleneck=8)
