"""Perplexity against a computation by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from factory import CausalLM, Context, InputError, assistant, user
from factory.evaluate.perplexity import perplexity


def by_hand(model: CausalLM, records: list[dict[str, Any]]) -> tuple[float, int]:
    """Bits and tokens of all completions, one record at a time, the text cut where the answer begins."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lm, tokenizer = AutoModelForCausalLM.from_pretrained(model.path), AutoTokenizer.from_pretrained(model.path)
    bits, tokens = 0.0, 0
    for record in records:
        asked = f"<|im_start|>user\n{record['prompt'][0]['content']}<|im_end|>\n<|im_start|>assistant\n"
        before = tokenizer(asked, add_special_tokens=False)["input_ids"]
        after = tokenizer(record["completion"][0]["content"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = lm(torch.tensor([before + after])).logits[0]
        for at, token in enumerate(after, start=len(before) - 1):
            bits -= math.log2(torch.softmax(logits[at].double(), 0)[token].item())
        tokens += len(after)
    return bits, tokens


def read(metrics: Any) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for metric in metrics:
        found.setdefault(metric["of"], {})[metric["name"]] = metric["value"]
    return found


@pytest.mark.model
def test_it_equals_the_computation_by_hand(
    make_model: Any, context: Context, records: Any, write_dataset: Any, notebook: Any
) -> None:
    model = make_model()
    metrics = list(perplexity.function(write_dataset(records), context, {"tutor": model}))
    bits, tokens = by_hand(model, records)
    text = "".join(record["completion"][0]["content"] for record in records)
    found = read(metrics)["tutor"]
    assert found["tokens"] == tokens
    assert found["perplexity"] == pytest.approx(2 ** (bits / tokens), rel=1e-5)
    assert found["bits_per_character"] == pytest.approx(bits / len(text), rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(bits / len(text.encode()), rel=1e-5)
    assert all(metric["parents"] == [record["id"] for record in records] for metric in metrics)
    assert len({metric["id"] for metric in metrics}) == 4
    assert notebook.dropped == []
    assert f"| tutor | {found['perplexity']:.3f} |" in notebook.sections["Perplexity"]
    assert notebook.told[-1] == (6, 6)


@pytest.mark.model
def test_nothing_changed_means_nothing_changes(
    make_model: Any, context: Context, records: Any, write_dataset: Any
) -> None:
    models = {"before": make_model(), "after": make_model(), "other": make_model(seed=1)}
    found = read(perplexity.function(write_dataset(records), context, models))
    assert found["before"] == found["after"]
    assert found["before"] != found["other"]


@pytest.mark.model
def test_all_models_are_measured_on_the_same_records(
    make_model: Any, context: Context, records: Any, write_dataset: Any, notebook: Any
) -> None:
    """The long record fits under one tokenizer and not under the other, so neither is measured on it."""
    long = {"id": "long", "prompt": user("Count to three."), "completion": assistant("One, two, three. " * 12)}
    empty = {"id": "none", "prompt": user("Count to three."), "completion": assistant(" ")}
    models = {"fine": make_model(vocabulary=258), "coarse": make_model(vocabulary=330)}
    metrics = list(perplexity.function(write_dataset([long, *records, empty]), context, models, max_length=160))
    assert [(name, reason) for name, reason, _ in notebook.dropped] == [
        ("long", "too long"),
        ("none", "empty completion"),
    ]
    assert notebook.dropped[0][2]["model"] == "fine"
    assert metrics[0]["parents"] == [record["id"] for record in records]
    found = read(metrics)
    assert found["fine"]["tokens"] > found["coarse"]["tokens"]
    alone = read(perplexity.function(write_dataset(records), context, {"coarse": models["coarse"]}))
    assert alone["coarse"] == found["coarse"]


def test_options_name_models(context: Context, write_dataset: Any, records: Any) -> None:
    assert perplexity.references == {"models": CausalLM}
    perplexity.options.model_validate({"models": {"before": "bundled:smollm2", "after": "tutor"}})
    with pytest.raises(ValidationError):
        perplexity.options.model_validate({"models": "tutor"})
    with pytest.raises(InputError, match="models is empty"):
        next(perplexity.function(write_dataset(records), context, {}))
