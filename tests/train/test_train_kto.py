"""kto on a tiny model: what is learned, and beside which answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, Dataset, InputError, StepError, Unpaired, assistant, user
from factory.train.kto import encode_labelled, kto, mismatched

pytestmark = pytest.mark.model
FAST = {"epochs": 4, "learning_rate": 1e-2, "batch_size": 4, "validation": 0.3, "evaluations": 1}


@pytest.fixture
def answers(tmp_path: Path, labelled: Any, write_dataset: Any) -> Dataset[Unpaired]:
    return write_dataset(tmp_path / "answers.parquet", labelled(), Unpaired)  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", ["lora", *(pytest.param(one, marks=pytest.mark.slow) for one in ("qlora", "full"))])
def test_every_method_learns_to_prefer_good_held_out_answers(
    method: Any, tiny: CausalLM, answers: Any, tmp_path: Path, make_context: Any
) -> None:
    context, notebook = make_context(tmp_path / "run")
    rate = 3e-3 if method == "full" else 1e-2
    made = kto.function(answers, context, tiny, method=method, **{**FAST, "learning_rate": rate})
    assert isinstance(made, CausalLM)
    entries = [entry for _, entry in sorted(notebook.logged.items())]
    losses = [entry["train_loss"] for entry in entries if "train_loss" in entry]
    assert losses[0] == pytest.approx(0.5, abs=1e-4)  # the policy is its reference
    assert losses[-1] < 0.6 * losses[0]
    assert entries[-1]["eval_rewards/chosen"] > entries[-1]["eval_rewards/rejected"] + 0.5
    assert entries[0]["eval_kl"] == pytest.approx(0, abs=1e-4)
    assert all(entry["kl"] >= 0 for entry in entries if "kl" in entry)
    assert "| good answers learned |" in notebook.sections["Training"]


def test_each_answer_stands_beside_one_to_another_prompt(
    tiny: CausalLM, tmp_path: Path, labelled: Any, make_context: Any
) -> None:
    from factory.models.loading import load_tokenizer

    context, notebook = make_context(tmp_path)
    tokenizer = load_tokenizer(tiny)
    found = mismatched(encode_labelled(labelled(8), tokenizer, 200, context), 200, context)
    assert [one.label for one in found] == [record["label"] for record in labelled(8)]
    for one in found:
        begin = one.answer.learned.index(1)
        assert one.other.ids[:begin] == one.answer.ids[:begin]
        assert one.other.ids != one.answer.ids
    texts = {tokenizer.decode(one.answer.ids[one.answer.learned.index(1) :]): one.group for one in found}
    for one in found:
        assert texts[tokenizer.decode(one.other.ids[one.other.learned.index(1) :])] != one.group
    again = mismatched(encode_labelled(labelled(8), tokenizer, 200, context), 200, context)
    assert again == found
    assert notebook.dropped == []


def test_an_answer_beside_which_no_other_fits_is_dropped(tiny: CausalLM, tmp_path: Path, make_context: Any) -> None:
    from factory.models.loading import load_tokenizer

    context, notebook = make_context(tmp_path)
    records: Any = [
        {"id": "a", "prompt": user("word " * 30), "completion": assistant("Yes."), "label": True},
        {"id": "b", "prompt": user("Why?"), "completion": assistant("Because " * 10), "label": False},
        {"id": "c", "prompt": user("Why?"), "completion": assistant(""), "label": False},
        {"id": "d", "prompt": user("Why?"), "completion": assistant("word " * 300), "label": False},
    ]
    tokenizer = load_tokenizer(tiny)
    encoded = encode_labelled(records, tokenizer, 250, context)
    room = max(len(answer) for _, answer in encoded)
    assert len(mismatched(encoded, room, context)) == 1
    assert notebook.dropped == [("c", "empty answer"), ("d", "too long"), ("a", "no other answer fits")]


def test_errors_are_sentences(
    tiny: CausalLM, answers: Any, tmp_path: Path, labelled: Any, make_context: Any, write_dataset: Any
) -> None:
    context, _ = make_context(tmp_path / "run")
    with pytest.raises(InputError, match="early_stopping needs held-out records"):
        kto.function(answers, context, tiny, validation=0.0, early_stopping=1)
    with pytest.raises(StepError, match="of 48 records none is left"):
        kto.function(answers, context, tiny, max_length=5)
    alike = [{**one, "prompt": user("Which?")} for one in labelled(4)]
    with pytest.raises(StepError, match="all records have one prompt"):
        kto.function(write_dataset(tmp_path / "alike.parquet", alike, Unpaired), context, tiny)
