"""The self-test passes here, and each of its checks fails when what it looks after is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM
from factory.train import selftest
from factory.train.batches import IGNORED, collate

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return selftest.tiny_model(tmp_path_factory.mktemp("selftest"))


def seen_by_all(*args: Any, **options: Any) -> dict[str, Any]:
    """Rows with an attention mask, by which transformers lets packed examples see each other."""
    import torch

    batch = collate(*args, **options)
    return {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}


def all_learned(*args: Any, **options: Any) -> dict[str, Any]:
    batch = collate(*args, **options)
    return {**batch, "labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)}


def pads_unlearned_by_id(examples: Any, pad_id: int) -> dict[str, Any]:
    """What comes of masking by the token instead of by lengths."""
    batch = collate(examples, pad_id)
    return {**batch, "labels": batch["labels"].masked_fill(batch["input_ids"] == pad_id, IGNORED)}


@pytest.mark.parametrize(
    ("check", "faulty"),
    [("packing", seen_by_all), ("masks", all_learned), ("end_of_turn", pads_unlearned_by_id)],
)
def test_faulty_batches_are_noticed(
    base: CausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str, faulty: Callable[..., Any]
) -> None:
    run = getattr(selftest, check)
    passed, measured = run(base, tmp_path / "sound")
    assert passed, measured
    monkeypatch.setattr(selftest, "collate", faulty)
    passed, measured = run(base, tmp_path / "faulty")
    assert not passed, measured


def test_an_adapter_in_bfloat16_is_noticed(base: CausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory.train.adapters import add_lora

    passed, measured = selftest.adapter_type(base, tmp_path)
    assert passed, measured
    sound = add_lora

    def rounded(*args: Any, **options: Any) -> Any:
        import torch

        model = sound(*args, **options)
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.to(torch.bfloat16)
        return model

    monkeypatch.setattr("factory.train.methods.add_lora", rounded)
    passed, measured = selftest.adapter_type(base, tmp_path)
    assert not passed
    assert "bfloat16" in measured


@pytest.mark.slow
def test_a_mean_of_means_is_noticed(base: CausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory.train.loop import TokenTrainer

    passed, measured = selftest.accumulation(base, tmp_path / "sound")
    assert passed, measured
    sound = TokenTrainer.compute_loss

    def alone(self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        return sound(
            self, model, inputs, return_outputs, self.objective.items(inputs) * self.args.gradient_accumulation_steps
        )

    monkeypatch.setattr(TokenTrainer, "compute_loss", alone)
    passed, measured = selftest.accumulation(base, tmp_path / "faulty")
    assert not passed, measured


@pytest.mark.slow
def test_a_resumed_run_without_its_generators_is_noticed(
    base: CausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from factory.train.loop import TokenTrainer

    passed, measured = selftest.resume(base, tmp_path / "sound")
    assert passed, measured
    monkeypatch.setattr(TokenTrainer, "_load_rng_state", lambda *_: None)
    passed, measured = selftest.resume(base, tmp_path / "faulty")
    assert not passed
    assert "off by up to" in measured


@pytest.mark.slow
def test_a_policy_that_is_not_its_reference_is_noticed(
    base: CausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from factory.train import ppo_loop

    passed, measured = selftest.first_ratio(base, tmp_path / "sound")
    assert passed, measured
    sound = ppo_loop.measured

    def apart(run: Any, reader: str, *args: Any) -> Any:
        logs, entropy, mask = sound(run, reader, *args)
        return (logs - 0.1 * mask if reader == "reference" else logs), entropy, mask

    monkeypatch.setattr(ppo_loop, "measured", apart)
    passed, measured = selftest.first_ratio(base, tmp_path / "faulty")
    assert not passed, measured


@pytest.mark.slow
def test_every_check_passes_and_one_that_breaks_off_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(base: CausalLM, folder: Path) -> tuple[bool, str]:
        raise ValueError("no such thing\nand more")

    def lacks(base: CausalLM, folder: Path) -> tuple[bool, str]:
        raise ImportError("no bitsandbytes")

    monkeypatch.setattr(selftest, "CHECKS", {**selftest.CHECKS, "breaks": breaks, "lacks": lacks})
    *sound, broken, lacking = selftest.self_test(tmp_path)
    assert [check.passed for check in sound] == [True] * 7
    assert (broken.passed, broken.measured) == (False, "ValueError: no such thing")
    assert (lacking.passed, lacking.measured) == (None, "not checked: no bitsandbytes")
