"""What sft can be asked for besides: which turns are learned, packing, weights, losses apart, and plain refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, Dataset, InputError, StepError, assistant, user
from factory.train.sft import sft

pytestmark = pytest.mark.model
FAST = {"epochs": 2, "learning_rate": 1e-2, "batch_size": 4, "validation": 0.0, "lora": {"dropout": 0.0}}
TEMPLATES = {
    "chatml": (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        "{}<|im_end|>",
    ),
    "llama2": (
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
        "{% else %}{{ ' ' + m['content'] + ' <|im_end|>' }}{% endif %}{% endfor %}",
        " {} <|im_end|>",
    ),
    "llama3": (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '>>\n\n' + m['content'] | trim + '<|im_end|>' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant>>\n\n' }}{% endif %}",
        "{}<|im_end|>",
    ),
    "zephyr": (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
        "{}<|im_end|>",
    ),
    "vicuna": (
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ 'USER: ' + m['content'] + ' ' }}"
        "{% else %}{{ 'ASSISTANT: ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
        " {}<|im_end|>",
    ),
}
TURNS = [
    *user("What is a list?"), *assistant("A list holds items."), *user("And a set?"), *assistant("Each item once."),
]  # fmt: skip


def learned_text(tokenizer: Any, example: Any) -> str:
    return str(tokenizer.decode([one for one, mask in zip(example.ids, example.learned, strict=True) if mask]))


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("learn", ["completion", "assistant", "all"])
def test_masks_are_the_spans_of_the_rendered_text(
    name: str, learn: Any, tiny: CausalLM, make_context: Any, write_dataset: Any, tmp_path: Path
) -> None:
    from factory.models.loading import load_tokenizer
    from factory.train.batches import encode_examples

    template, answer = TEMPLATES[name]
    tokenizer = load_tokenizer(tiny)
    tokenizer.chat_template = template
    records = write_dataset(tmp_path / "turns.parquet", [{"id": "a", "prompt": TURNS[:3], "completion": TURNS[3:]}])
    (example,) = encode_examples(records, tokenizer, 256, make_context(tmp_path)[0], learn)
    first, last = (answer.format(turn["content"]) for turn in (TURNS[1], TURNS[3]))
    rendered = tokenizer.apply_chat_template(TURNS, tokenize=False)
    end = rendered.rindex("<|im_end|>") + len("<|im_end|>")
    assert tokenizer.decode(example.ids) == rendered[:end]
    expected = {"completion": last, "assistant": first + last, "all": rendered[:end]}[learn]
    found = learned_text(tokenizer, example)
    if learn == "all":
        expected = expected[len(tokenizer.decode(example.ids[:1])) :]  # nothing foresees the first token
    assert found == expected


@pytest.mark.parametrize("weigh", ["token", "example"])
def test_packed_rows_give_the_loss_and_gradients_of_padded_ones(
    weigh: str, tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch

    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.batches import collate, encode_examples
    from factory.train.objective import likelihood
    from factory.train.packing import packed_rows

    tokenizer, model = load_tokenizer(tiny), load_causal_lm(tiny)
    examples = encode_examples(dataset, tokenizer, 256, make_context(tmp_path)[0])
    rows = packed_rows(examples, 128)
    assert 1 < len(rows) < len(examples)
    assert sorted(map(id, (one for row in rows for one in row))) == sorted(map(id, examples))
    objective = likelihood(model.get_output_embeddings())
    found = []
    for some in (examples, rows):
        batch = collate(some, 0, by_example=weigh == "example")
        model.zero_grad()
        loss = objective.sums(model, batch)["loss"] / objective.items(batch)
        loss.backward()
        found.append((loss.item(), model.model.layers[0].mlp.up_proj.weight.grad.clone(), objective.items(batch)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)
    assert float(found[0][2]) == pytest.approx(float(found[1][2]))
    if weigh == "example":
        assert float(found[0][2]) == pytest.approx(len(examples))


def test_the_loss_of_examples_is_the_mean_of_their_means(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    from factory.models.likelihood import Encoded, losses
    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.batches import collate, encode_examples
    from factory.train.objective import likelihood

    tokenizer, model = load_tokenizer(tiny), load_causal_lm(tiny)
    examples = encode_examples(dataset, tokenizer, 256, make_context(tmp_path)[0])
    objective, batch = likelihood(model.get_output_embeddings()), collate(examples, 0, by_example=True)
    each = [loss / sum(examples[at].learned) for at, loss in losses(
        model, [Encoded(list(one.ids), list(one.learned)) for one in examples]
    )]  # fmt: skip
    found = float(objective.sums(model, batch)["loss"]) / float(objective.items(batch))
    assert found == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_packing_and_noise_learn(tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any) -> None:
    context, notebook = make_context(tmp_path / "packed")
    sft.function(dataset, context, tiny, **{**FAST, "epochs": 20, "batch_size": 1}, packing=True, max_length=128)
    losses = [entry["train_loss"] for entry in notebook.logged.values()]
    assert losses[-1] < 0.7 * losses[0]
    assert "rows of 128 tokens" in notebook.sections["Training"]
    noisy, told = make_context(tmp_path / "noisy")
    sft.function(dataset, noisy, tiny, **FAST, neftune=10)
    plain, plainly = make_context(tmp_path / "plain")
    sft.function(dataset, plain, tiny, **FAST)
    assert told.logged[1]["train_loss"] != plainly.logged[1]["train_loss"]
    with pytest.raises(InputError, match="packing would put virtual tokens before a row's first record only"):
        sft.function(dataset, make_context(tmp_path / "no")[0], tiny, method="prompt", packing=True)


def test_losses_are_told_by_part_and_by_a_field(
    tiny: CausalLM, tmp_path: Path, facts: Any, make_context: Any, write_dataset: Any
) -> None:
    records = facts()
    for at, record in enumerate(records):
        record["meta"] = {"seed": f"task {at % 3}"}
    one, two = (write_dataset(tmp_path / f"{name}.parquet", some) for name, some in (
        ("one", records[:4]), ("two", records[4:]),
    ))  # fmt: skip
    both = Dataset([*one.shards, *two.shards], one.kind, {"one": one, "two": two})
    context, notebook = make_context(tmp_path / "parts")
    options = {**FAST, "epochs": 1, "batch_size": 10}
    sft.function(both, context, tiny, **options)
    told = notebook.logged[1]
    assert {name for name in told if "/" in name} == {"loss/one", "loss/two"}
    assert min(told["loss/one"], told["loss/two"]) < told["train_loss"] < max(told["loss/one"], told["loss/two"])
    context, notebook = make_context(tmp_path / "fields")
    sft.function(both, context, tiny, **{**options, "validation": 0.5, "epochs": 3}, losses_by="seed")
    names = {name for entry in notebook.logged.values() for name in entry if "/" in name}
    assert len({name for name in names if name.startswith("loss/task")}) > 1
    assert any(name.startswith("eval_loss/task") for name in names)
    assert "held-out loss, task" in notebook.sections["Training"]


def test_a_loss_that_is_no_number_stops_at_once(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    context, notebook = make_context(tmp_path)
    with pytest.raises(StepError, match=r"the training loss is nan at step [2-9]; try a lower learning_rate"):
        sft.function(
            dataset,
            context,
            tiny,
            method="full",
            learning_rate=1e30,
            validation=0.0,
            warmup=0.0,
            epochs=20,
            batch_size=4,
        )
    assert len(notebook.logged) < 10


def test_memory_that_does_not_suffice_says_what_to_change(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from factory.train import objective

    monkeypatch.setattr(objective, "token_nll", lambda *_: torch.empty(10**14))
    with pytest.raises(StepError, match=r"^out of memory at batch_size 8; try batch_size: 4 with accumulation: 2$"):
        sft.function(dataset, make_context(tmp_path)[0], tiny, validation=0.0)


def test_a_template_that_drops_the_answer_leaves_nothing_to_learn(
    tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny.path)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}"
    )
    tokenizer.save_pretrained(tmp_path / "base")
    AutoModelForCausalLM.from_pretrained(tiny.path).save_pretrained(tmp_path / "base")
    context, _ = make_context(tmp_path / "run")
    with pytest.raises(StepError, match="chat template leaves the answer out"):
        sft.function(dataset, context, CausalLM(uri="base", path=tmp_path / "base"))
