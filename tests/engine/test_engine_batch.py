"""Batches: what vectorised steps share, what is measured once, what another threshold reads back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from factory import Batch
from factory.cli import cli
from factory.engine.schema import schema_of
from factory.engine.signals import Signals
from factory.text.column import TextColumn

MEASURING = '''
"""Rules over two numbers, which note every text they were measured on."""
import numpy as np
import factory
from factory import Batch, Text

def sizes(texts, unit=1):
    with open("measured.log", "a") as log:
        log.writelines(f"{text}\\n" for text in texts.column.to_pylist())
    return {"chars": texts.chars // unit, "words": np.diff(texts.blank_words.rows)}

@factory.step
def brief(batch: Batch[Text], least: int = 2) -> Batch[Text]:
    """Drop short texts."""
    chars = batch.measure(sizes)["chars"]
    return batch.drop(chars < least, "short", found=chars, least=least)

@factory.step
def sparse(batch: Batch[Text], least: int = 1) -> Batch[Text]:
    """Drop texts of few words."""
    return batch.drop(batch.measure(sizes)["words"] < least, "few words")

@factory.step
def upper(batch: Batch[Text]) -> Batch[Text]:
    """Upper case."""
    return batch.set("text", [text.upper() for text in batch["text"].to_pylist()])

@factory.hookimpl
def register_steps():
    return [brief, sparse, upper]
'''


def measured(project: Any) -> list[str]:
    log = project.root / "measured.log"
    found = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return sorted(found)


def collect_garbage(project: Any) -> None:
    arguments = ["--store", str(project.root / ".factory"), "gc"]
    assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0


def recipe(project: Any, steps: str) -> None:
    project.recipe(f"targets:\n  made: {{from: a.jsonl, steps: [{steps}]}}\n")
    project.build()


@pytest.fixture
def measuring(project: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    project.write("plugins/measuring.py", MEASURING)
    project.lines("a.jsonl", "a", "bb b", "ccc", "dddd d")
    monkeypatch.chdir(project.root)
    return project


def test_rules_of_a_stage_share_what_is_measured(measuring: Any) -> None:
    recipe(measuring, "brief, sparse")
    assert measured(measuring) == ["a", "bb b", "ccc", "dddd d"]


def test_another_threshold_measures_nothing(measuring: Any) -> None:
    recipe(measuring, "brief, sparse")
    measured(measuring)
    recipe(measuring, "brief: {least: 4}, sparse: {least: 2}")
    assert measured(measuring) == []
    assert [row["text"] for row in measuring.records("made")] == ["bb b", "dddd d"]
    assert [(row["reason"], row["details"]) for row in measuring.dropped("made")] == [
        ("short", {"found": 1, "least": 4}),
        ("short", {"found": 3, "least": 4}),
    ]


def test_a_looser_threshold_needs_no_number_of_a_row_that_was_dropped_before(measuring: Any) -> None:
    recipe(measuring, "brief: {least: 5}, sparse")
    measured(measuring)
    recipe(measuring, "brief: {least: 1}, sparse: {least: 2}")
    assert measured(measuring) == []
    assert [row["text"] for row in measuring.records("made")] == ["bb b", "dddd d"]


def test_changed_text_is_measured_again_and_only_it(measuring: Any) -> None:
    recipe(measuring, "brief, upper, sparse")
    assert measured(measuring) == ["BB B", "CCC", "DDDD D", "a", "bb b", "ccc", "dddd d"]
    recipe(measuring, "brief, upper, sparse: {least: 2}")
    assert measured(measuring) == []


def test_changed_code_measures_anew(measuring: Any) -> None:
    recipe(measuring, "brief")
    measured(measuring)
    measuring.write("plugins/measuring.py", MEASURING.replace("texts.chars // unit", "texts.chars // unit + 0"))
    recipe(measuring, "brief: {least: 1}")
    assert measured(measuring) == ["a", "bb b", "ccc", "dddd d"]


def test_gc_keeps_the_numbers_of_what_is_reached_and_removes_the_others(measuring: Any) -> None:
    recipe(measuring, "brief")
    signals = measuring.root / ".factory" / "signals"
    before = set(signals.rglob("*.parquet"))
    assert before
    collect_garbage(measuring)
    assert set(signals.rglob("*.parquet")) == before
    recipe(measuring, "upper")
    collect_garbage(measuring)
    assert not list(signals.rglob("*.parquet"))


def texts_of(batch: Batch[Any]) -> list[str]:
    return list(batch["text"].to_pylist())


def made(*texts: str) -> Batch[Any]:
    import factory

    names = [str(at) for at in range(len(texts))]
    rows = [names, [[] for _ in texts], list(texts), ["{}" for _ in texts]]
    schema = schema_of(factory.Text)
    arrays = [pa.array(row, field.type) for row, field in zip(rows, schema, strict=True)]
    return Batch(pa.Table.from_arrays(arrays, schema=schema))


def lengths(texts: TextColumn) -> dict[str, Any]:
    return {"chars": texts.chars}


def test_numbers_follow_the_rows_through_drops_and_changes() -> None:
    batch = made("a", "bb", "ccc", "dddd").drop([False, True, False, False], "second")
    assert batch.measure(lengths)["chars"].tolist() == [1, 3, 4]
    batch = batch.drop(np.array([True, False, False]), "first").set("text", ["x", "yy"])
    assert batch.measure(lengths)["chars"].tolist() == [1, 2]
    assert texts_of(batch) == ["x", "yy"]
    assert [(table["text"].to_pylist(), reason) for table, reason, _ in batch.dropped] == [
        (["bb"], "second"),
        (["a"], "first"),
    ]


def test_details_are_arrays_or_one_value_and_masks_have_a_row_each() -> None:
    batch = made("a", "bb").drop([True, True], "r", found=np.array([1, 2]), share=np.array([0.123456, 0.5]), least="x")
    assert [details for _, _, rows in batch.dropped for details in rows] == [
        {"found": 1, "share": 0.1235, "least": "x"},
        {"found": 2, "share": 0.5, "least": "x"},
    ]
    with pytest.raises(ValueError, match="the mask of 'r' has shape"):
        made("a", "bb").drop([True], "r")


def test_rows_may_have_a_reason_each_and_details_of_their_own() -> None:
    batch = made("a", "bb", "ccc", "dd").drop([True, True, False, True], ["x", "y", "", "x"], size=[1, None, 3, 2])
    assert texts_of(batch) == ["ccc"]
    assert [(table["text"].to_pylist(), reason, rows) for table, reason, rows in batch.dropped] == [
        (["a", "dd"], "x", [{"size": 1}, {"size": 2}]),
        (["bb"], "y", [{}]),
    ]
    with pytest.raises(ValueError, match="there are 1 reasons, the batch has 2 rows"):
        made("a", "bb").drop([True, False], ["x"])


def test_what_one_build_measured_another_finds(tmp_path: Path) -> None:
    column = TextColumn(pa.array(["a", "bb", "a"]))
    first = Signals(tmp_path, "shard")
    assert first.measure(lengths, {}, column)["chars"].tolist() == [1, 2, 1]
    assert first.measured == 3
    keys = first.save()
    again = Signals(tmp_path, "shard")
    assert again.measure(lengths, {}, TextColumn(pa.array(["bb", "a"])))["chars"].tolist() == [2, 1]
    assert (again.measured, again.save()) == (0, keys)
    other = Signals(tmp_path, "another shard")
    other.measure(lengths, {}, column)
    assert other.measured == 3


def test_a_task_that_reads_much_writes_several_shards(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.engine.flow.SHARD_BYTES", 20_000)
    monkeypatch.setattr("factory.engine.work.BATCH_ROWS", 50)
    project.lines("a.jsonl", *(("x " if "7" in str(n) else "text ") + f"{n} " + "y" * 100 for n in range(1000)))
    project.recipe("""
        targets:
          made: {from: a.jsonl, steps: [no_x]}
          again: {from: made, steps: [dedup_exact]}
    """)
    ran = project.build()
    (stage,) = project.result.plan.of_target("made")
    entries = stage.manifest["shards"]
    assert len(entries) >= 5
    assert len({entry["task"] for entry in entries}) == 1
    kept = [row["text"].split()[1] for row in project.records("made")]
    assert kept == [str(n) for n in range(1000) if "7" not in str(n)]
    assert len(project.dropped("made")) == 1000 - len(kept) == stage.manifest["counts"]["dropped"]
    assert project.records("again") == project.records("made")
    assert ran.tasks["again: dedup_exact"] == len(entries)
