"""Exported pairs and labelled answers are what TRL documents: its trainers take the files as they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import factory
from factory import InputError, assistant, text_of, user
from factory.cli import main
from factory.corpus import save_dataset
from factory.engine.project import enter_project, project_root

RECIPE = """
name: prefer
threads: 1
targets:
  judged: {from: judged.jsonl, license: CC0-1.0}
  pairs: {from: judged, steps: [pair: {policy: all_pairs}]}
  labelled: {from: judged, steps: [unpaired]}
"""
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, factory.Result]]:
    """Four prompts, one of two turns, three answers each: nine pairs and a tie of each of two prompts."""
    before, root = project_root(), tmp_path_factory.mktemp("prefer")
    rows = []
    for number in range(4):
        prompt = user(f"说“{number}” 👋") if number else [*user("Hi"), *assistant("Hello"), *user("Bye?")]
        row = {"prompt": prompt, "completions": [assistant(f"{word} {number}") for word in ("good", "fair", "bad")]}
        comparisons = [{"by": "anna", "first": 0, "second": 1, "verdict": "first"}] if number == 3 else []
        meta = {"models": ["a", "b", "c"], "comparisons": comparisons, "mixed": [None, 1, {"a": 1}, "x"][number]}
        rows.append({**row, "scores": [3.0, 2.0, 1.0 + number % 2], "meta": meta})
    (root / "judged.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "recipe.yaml").write_text(RECIPE)
    yield root, factory.build(root / "recipe.yaml")
    enter_project(before)


@pytest.fixture
def project(built: tuple[Path, factory.Result]) -> tuple[Path, factory.Result]:
    enter_project(built[0])
    return built


def exported(built: tuple[Path, factory.Result], target: str, form: str, suffix: str) -> Path:
    root, result = built
    assert save_dataset(result[target], f"{target}{suffix}?form={form}")  # type: ignore[arg-type]
    return root / f"{target}{suffix}"


def loaded(path: Path) -> Any:
    import datasets

    kind = {".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}[path.suffix]
    cache = path.parent / "cache" / path.suffix
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(cache))


@pytest.mark.builds
def test_the_form_is_the_columns_and_nothing_else(project: tuple[Path, factory.Result]) -> None:
    rows = [json.loads(line) for line in exported(project, "pairs", "trl", ".jsonl").read_text().splitlines()]
    assert len(rows) == 10
    assert all(list(row) == ["prompt", "chosen", "rejected"] for row in rows)
    assert rows[0]["prompt"] == [*user("Hi"), *assistant("Hello"), *user("Bye?")]
    assert [text_of(row["chosen"]) for row in rows[:3]] == ["good 0", "good 0", "fair 0"]
    rows = [json.loads(line) for line in exported(project, "pairs", "trl_margin", ".jsonl").read_text().splitlines()]
    assert [row["margin"] for row in rows[:3]] == [1.0, 2.0, 1.0]
    rows = [json.loads(line) for line in exported(project, "labelled", "trl", ".jsonl").read_text().splitlines()]
    assert all(list(row) == ["prompt", "completion", "label"] for row in rows)
    assert {row["label"] for row in rows} == {True, False}


@pytest.mark.builds
def test_a_margin_that_nobody_gave_is_missed(project: tuple[Path, factory.Result]) -> None:
    root, _ = project
    row = {"prompt": "a", "chosen": "b", "rejected": "c"}
    (root / "old.jsonl").write_text(json.dumps(row) + "\n")
    (root / "old.yaml").write_text("name: old\ntargets:\n  old: {from: old.jsonl}\n")
    old = factory.build(root / "old.yaml")
    with pytest.raises(InputError, match="has no margin in its meta; the step pair gives one"):
        save_dataset(old["old"], "old-margin.jsonl?form=trl_margin")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the form trl_margin holds Preference, and these records are Unpaired"):
        save_dataset(project[1]["labelled"], "x.jsonl?form=trl_margin")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"the form trl holds .* and these records are Candidates"):
        save_dataset(project[1]["judged"], "x.jsonl?form=trl")  # type: ignore[arg-type]


@pytest.fixture
def hub(
    project: tuple[Path, factory.Result], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    """The pairs as a folder with a card, made by the command."""
    root, _ = project
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["factory", "export", "recipe.yaml", "pairs", "hub", "--form", "trl"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "10 records in" in capsys.readouterr().out
    return root / "hub"


@pytest.mark.builds
def test_the_card_names_the_steps_and_no_person(hub: Path) -> None:
    card = (hub / "README.md").read_text()
    assert "license: cc0-1.0" in card
    assert '`pair` (policy: "all_pairs", margin: 0.0, length_matched: null)' in card
    assert "tie 2" in card
    assert "anna" not in card
    assert '"rejected": [' in card


@pytest.mark.model
def test_datasets_loads_the_folder_by_its_card(hub: Path, tmp_path: Path) -> None:
    import datasets

    rows = datasets.load_dataset(str(hub), split="train", cache_dir=str(tmp_path))
    assert rows.column_names == ["prompt", "chosen", "rejected"]
    assert len(rows) == 10


@pytest.mark.model
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
@pytest.mark.parametrize(
    ("target", "form"), [("pairs", "plain"), ("pairs", "trl"), ("pairs", "trl_margin"), ("labelled", "trl")]
)
def test_datasets_loads_it(project: tuple[Path, factory.Result], target: str, form: str, suffix: str) -> None:
    rows = loaded(exported(project, target, form, suffix))
    assert len(rows) == len(project[1][target])
    assert "👋" in str(rows[-1]["prompt"])
    if target == "labelled":
        assert set(rows["label"]) == {True, False}
    if form == "trl_margin":
        assert set(rows["margin"]) == {1.0, 2.0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Llama of random weights that reads bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    torch.manual_seed(0)
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|im_start|>", "<|im_end|>"]
    raw.train_from_iterator([], trainers.BpeTrainer(special_tokens=special, initial_alphabet=letters))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = CHATML
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=512, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "target", "form"),
    [
        ("Reward", "pairs", "plain"),
        ("Reward", "pairs", "trl"),
        ("Reward", "pairs", "trl_margin"),
        ("DPO", "pairs", "plain"),
        ("DPO", "pairs", "trl"),
        ("DPO", "pairs", "trl_margin"),
        ("KTO", "labelled", "plain"),
        ("KTO", "labelled", "trl"),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_trl_trains_on_it_as_it_is(
    project: tuple[Path, factory.Result], tiny: str, tmp_path: Path, trainer: str, target: str, form: str, suffix: str
) -> None:
    import trl

    rows = loaded(exported(project, target, form, suffix))
    settings = getattr(trl, f"{trainer}Config")(
        str(tmp_path / "trained"), max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        save_strategy="no", bf16=False,
    )  # fmt: skip
    training = getattr(trl, f"{trainer}Trainer")(tiny, args=settings, train_dataset=rows)
    seen: list[Any] = []
    collate = training.data_collator
    training.data_collator = lambda examples: seen.append(batch := collate(examples)) or batch
    assert training.train().training_loss > 0
    assert training.state.global_step == 2
    assert any("margin" in batch for batch in seen) == (trainer == "Reward" and form == "trl_margin")
