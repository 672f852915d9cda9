"""The room as a plugin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from factory import Drop, InputError, Text
from factory.corpus import open_dataset, register_steps


def test_steps_and_their_signatures() -> None:
    signatures = {step.name: step.signature for step in register_steps()}
    assert signatures == {
        "as_pairs": "Record → PromptCompletion",
        "as_text": "Record → Text",
        "bad_words": "Batch[Text] → Batch[Text]",
        "c4": "Batch[Text] → Batch[Text]",
        "c4_documents": "Batch[Text] → Batch[Text]",
        "classifier": "Record → Record",
        "coverage": "Dataset[Record] → Iterator[Metric]",
        "cut": "Text → Iterator[Text]",
        "data_juicer": "Batch[Text] → Batch[Text]",
        "decontaminate": "Dataset[Record] → Drops",
        "dedup_exact": "Dataset[Record] → Drops",
        "dedup_lines": "Dataset[Text] → Iterator[Record]",
        "dedup_minhash": "Dataset[Record] → Drops",
        "dedup_substrings": "Dataset[Text] → Iterator[Record]",
        "drop_boilerplate_lines": "Text → Text",
        "extract_html": "Text → Text",
        "filter_perplexity": "Iterator[Record] → Iterator[Record]",
        "filter_urls": "Record → bool",
        "fineweb": "Batch[Text] → Batch[Text]",
        "fineweb2": "Batch[Text] → Batch[Text]",
        "fix_text": "Batch[Record] → Batch[Record]",
        "gopher_quality": "Batch[Text] → Batch[Text]",
        "gopher_repetition": "Batch[Text] → Batch[Text]",
        "interleave": "Dataset[Record] → Iterator[Record]",
        "language": "Batch[Record] → Batch[Record]",
        "language_paragraphs": "Text → Text",
        "length": "Record → bool",
        "mask_names": "Record → Record",
        "mask_pii": "Batch[Record] → Batch[Record]",
        "minhash_index": "Dataset[Record] → Index",
        "mix": "Dataset[Record] → Iterator[Record]",
        "normalize": "Batch[Record] → Batch[Record]",
        "refinedweb_lines": "Batch[Text] → Batch[Text]",
        "shuffle": "Dataset[Record] → Iterator[Record]",
        "split": "Record → bool",
        "split_paragraphs": "Text → Iterator[Text]",
        "subsample": "Dataset[Record] → Drops",
        "take": "Dataset[Record] → Drops",
        "token_budget": "Dataset[Record] → Drops",
        "train_classifier": "Dataset[Record] → Classifier",
        "words_removed": "Text → bool",
    }


def test_every_option_is_explained() -> None:
    for step in register_steps():
        for name in step.options.model_fields:
            assert name in step.doc, f"{step.name}: {name}"


def test_registering_loads_nothing_heavy() -> None:
    code = (
        "import sys, factory.corpus as room; room.register_steps(); "
        "print({'torch', 'datasets', 'trafilatura', 'fasttext', 'zstandard', 'datasketch'} & set(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded == "set()\n"


@pytest.mark.slow
def test_a_local_folder_through_datasets(project: Path, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(project / "cache"))
    (project / "set").mkdir()
    (project / "set/train.jsonl").write_text('{"body": "one", "n": 1}\n{"body": "two", "n": null}\n')
    source = open_dataset("hf:./set?column=body")
    assert source is not None
    assert source.kind is Text
    assert read(source) == [("hf:set/train#1", {"text": "one", "n": 1}), ("hf:set/train#2", {"text": "two", "n": None})]
    assert [piece.key for piece in source.pieces()] == [
        piece.key for piece in open_dataset("hf:./set?column=body").pieces()
    ]  # type: ignore[union-attr]
    with pytest.raises(InputError, match="did you mean 'body'"):
        open_dataset("hf:./set?column=bdy").kind  # type: ignore[union-attr]  # noqa: B018
    with pytest.raises(InputError, match="cannot be loaded"):
        open_dataset("hf:./set?split=nothing").kind  # type: ignore[union-attr]  # noqa: B018
    assert not [row for _, row in read(source) if isinstance(row, Drop)]


def test_hub_addresses_are_checked_before_anything_is_loaded(project: Path) -> None:
    for uri in ("hf:", "hf:a/b?splt=train", "hf:./nowhere"):
        with pytest.raises(InputError, match=uri[:3]):
            open_dataset(uri)
    source = open_dataset("hf:owner/name@v1.0/config?split=test")
    assert vars(source) | {"uri": ""} == {
        "uri": "", "split": "test", "column": None, "local": None, "name": "owner/name",
        "revision": "v1.0", "config": "config",
    }  # fmt: skip
