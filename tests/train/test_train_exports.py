"""Exported files are what other trainers document: `datasets` loads them, TRL's SFTTrainer takes them as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, Dataset, PromptCompletion, assistant, project_root, user
from factory.corpus import save_dataset
from factory.engine.project import enter_project

pytestmark = pytest.mark.model

# What LLaMA-Factory's data/README documents: column -> type, for its formats alpaca and sharegpt.
ALPACA = {"instruction": "string", "input": "string", "output": "string"}
FORMS = ["plain", "alpaca", "sharegpt", "openai", "chatml"]


@pytest.fixture
def exported(tmp_path: Path, write_dataset: Callable[..., Dataset[Any]]) -> Callable[[str, str], Any]:
    """Two pairs, exported in a form and loaded again with `datasets`."""
    import datasets

    before = project_root()
    enter_project(tmp_path)
    kept = {"parents": ["x"], "meta": {"score": 0.5}}
    records = [
        {"id": "a", **kept, "prompt": user("Add.\n\n1 and 2"), "completion": assistant("3")},
        {"id": "b", **kept, "prompt": user("说“你好”。"), "completion": assistant("你好 👋")},
    ]
    dataset = write_dataset(tmp_path / "shard.parquet", records, PromptCompletion)

    def load(form: str, suffix: str) -> Any:
        save_dataset(dataset, f"out{suffix}?form={form}")
        kind = {".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}[suffix]
        return datasets.load_dataset(
            kind, data_files=str(tmp_path / f"out{suffix}"), split="train", cache_dir=str(tmp_path / "cache")
        )

    yield load
    enter_project(before)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
def test_datasets_loads_every_form(exported: Callable[[str, str], Any], form: str, suffix: str) -> None:
    rows = exported(form, suffix)
    assert len(rows) == 2
    text = str(rows[1])
    assert "你好 👋" in text


def test_llama_factory_finds_the_columns_it_documents(exported: Callable[[str, str], Any]) -> None:
    alpaca = exported("alpaca", ".jsonl")
    assert {name: feature.dtype for name, feature in alpaca.features.items()} == ALPACA
    sharegpt = exported("sharegpt", ".jsonl")
    assert [turn["from"] for turn in sharegpt[0]["conversations"]] == ["human", "gpt"]
    assert all(isinstance(turn["value"], str) for row in sharegpt for turn in row["conversations"])
    openai = exported("openai", ".jsonl")  # its formatting sharegpt with the tags role and content
    assert [turn["role"] for turn in openai[0]["messages"]] == ["user", "assistant"]


@pytest.mark.parametrize("form", ["plain", "openai", "chatml"])
def test_trl_trains_on_it_as_it_is(
    exported: Callable[[str, str], Any], tiny: CausalLM, tmp_path: Path, form: str
) -> None:
    from trl import SFTConfig, SFTTrainer

    rows = exported(form, ".jsonl")
    settings = SFTConfig(
        str(tmp_path / "trained"),
        max_steps=1,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
    )
    trainer = SFTTrainer(str(tiny.path), args=settings, train_dataset=rows)
    assert trainer.train().training_loss > 0
