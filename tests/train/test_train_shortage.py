"""Memory that does not suffice: the remedy is one that the step, its method and its model have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, StepError, Text
from factory.train.methods import Tuning, prepare
from factory.train.options import Training

pytestmark = pytest.mark.model


def said(model: Any, **training: Any) -> str:
    import torch

    from factory.train.shortage import told_plainly

    plan = Training(**training).plan(8, 1e-4, False)
    with pytest.raises(StepError) as error, told_plainly(model, plan):
        torch.empty(10**14)
    return str(error.value).partition("; try ")[2]


@pytest.fixture(scope="module")
def lora(tiny: CausalLM) -> Any:
    return prepare(tiny, Tuning(), 0).model


def test_a_smaller_batch_first_then_recomputing_then_shorter_records(lora: Any) -> None:
    assert said(lora, batch_size=8) == "batch_size: 4 with accumulation: 2"
    assert said(lora, batch_size=3, accumulation=2) == "batch_size: 1 with accumulation: 6"
    assert said(lora, batch_size=1) == "gradient_checkpointing: true"
    assert said(lora, batch_size=1, gradient_checkpointing=True) == "a smaller max_length, or the method qlora"


def test_processes_can_share_what_is_said(lora: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert said(lora, batch_size=5, accumulation=2) == "batch_size: 2 with accumulation: 6"


def test_a_base_in_4_bits_is_not_told_to_be_one(tiny: CausalLM) -> None:
    model = prepare(tiny, Tuning(method="qlora"), 0).model
    assert said(model, batch_size=1, gradient_checkpointing=True) == "a smaller max_length"


def test_a_reward_model_in_4_bits_is_one_too(tiny: CausalLM) -> None:
    from factory.train.reward_model import load

    model = load(tiny, Tuning(method="qlora"), 0).model
    assert said(model, batch_size=1, gradient_checkpointing=True) == "a smaller max_length"


@pytest.mark.parametrize("method", ["prefix", "prompt", "ptuning"])
def test_what_cannot_recompute_is_not_told_to(method: Any, tiny: CausalLM) -> None:
    model = prepare(tiny, Tuning(method=method), 0).model
    assert said(model, batch_size=1) == "a smaller max_length, or the method qlora"


def test_pretrain_has_blocks_of_seq_len(
    tiny: CausalLM, tmp_path: Path, make_context: Any, write_dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from factory.train import objective
    from factory.train.pretrain import pretrain

    monkeypatch.setattr(objective, "token_nll", lambda *_: torch.empty(10**14))
    text = write_dataset(tmp_path / "text.parquet", [{"id": "a", "text": "A list holds items. " * 9}], Text)
    options = {"batch_size": 1, "gradient_checkpointing": True}
    with pytest.raises(StepError, match=r"^out of memory at batch_size 1; try a smaller seq_len, or the method qlora$"):
        pretrain.function(text, make_context(tmp_path)[0], tiny, training=Training(**options), seq_len=32)


def test_other_errors_stay_what_they_are(lora: Any) -> None:
    from factory.train.shortage import told_plainly

    with pytest.raises(RuntimeError, match="another"), told_plainly(lora, Training().plan(8, 1e-4, False)):
        raise RuntimeError("another")
