"""Order, split and checkpoints: what must hold without a model."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from factory.train import checkpoints
from factory.train.batches import Example, LengthGrouped, split_validation
from factory.train.sft import sft


def example(group: str, length: int = 3) -> Example:
    return Example(array("i", range(length)), bytes(length), group)


groups = st.lists(st.integers(0, 2**64 - 1).map(lambda n: f"{n:016x}"), min_size=1, max_size=60)


@given(groups, st.floats(0, 0.9))
def test_the_split_keeps_everything_and_equal_prompts_together(hashes: list[str], share: float) -> None:
    examples = [example(group) for group in hashes]
    learned, held = split_validation(examples, share)
    assert len(learned) + len(held) == len(examples)
    assert not {one.group for one in learned} & {one.group for one in held}
    if share > 0 and len(set(hashes)) > 1:
        assert held
    if share == 0:
        assert not held


@given(groups, groups, st.floats(0.2, 0.8))
def test_no_record_moves_when_others_are_added(first: list[str], more: list[str], share: float) -> None:
    below = {group for group in first if int(group, 16) < share * 2**64}
    _, held = split_validation([example(group) for group in first + more], share)
    if below:
        assert below == {one.group for one in held} & set(first)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=400), st.integers(1, 16), st.integers(0, 5))
def test_an_epoch_has_every_record_once_and_repeats_itself(lengths: list[int], size: int, epoch: int) -> None:
    order = LengthGrouped(lengths, size, seed=3)
    order.set_epoch(epoch)
    seen = list(order)
    assert sorted(seen) == list(range(len(lengths)))
    again = LengthGrouped(lengths, size, seed=3)
    again.set_epoch(epoch)
    assert list(again) == seen


def test_batches_are_of_like_length_and_epochs_differ() -> None:
    lengths = [10 + 37 * at % 490 for at in range(800)]
    order = LengthGrouped(lengths, 8, seed=0)
    seen = list(order)
    padded = sum(8 * max(lengths[at] for at in seen[start : start + 8]) for start in range(0, 800, 8))
    assert sum(lengths) / padded > 0.95
    order.set_epoch(1)
    assert list(order) != seen


def test_a_half_written_checkpoint_is_no_checkpoint(tmp_path: Path) -> None:
    for step, whole in ((10, True), (20, True), (30, False)):
        folder = checkpoints.folder_of(tmp_path, step)
        folder.mkdir()
        (folder / "adapter_model.safetensors").touch()
        if whole:
            checkpoints.seal(folder)
    assert checkpoints.latest(tmp_path) == checkpoints.folder_of(tmp_path, 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-20"]
    checkpoints.clear(tmp_path, {20})
    assert checkpoints.steps_saved(tmp_path) == [20]


def test_options_are_those_of_a_recipe() -> None:
    read = sft.options.model_validate({"base": "bundled:smollm2", "lora": {"r": 8}, "epochs": 1})
    assert (read.lora.r, read.lora.alpha, read.lora.dropout, read.lora.target_modules) == (8, 32, 0.05, "all-linear")
    for wrong in (
        {"lora": {"rank": 8}},
        {"lora": {"r": 0}},
        {"method": "doora"},
        {"epoch": 1},
        {"epochs": 0},
        {"validation": 1},
    ):
        with pytest.raises(ValidationError):
            sft.options.model_validate({"base": "bundled:smollm2", **wrong})
    assert sft.signature == "Dataset[PromptCompletion] → CausalLM"
