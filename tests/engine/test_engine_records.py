"""Records, the bad ones above all: what cannot be encoded is dropped with a reason, and nothing crashes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from factory import Candidates, Drop, Piece, Prompt, PromptCompletion, Record, Source, Text, Unpaired, derive, digest
from factory.engine.records import columns, satisfies
from factory.engine.schema import encode, fault, schema_of, shape_record
from factory.engine.source import enter

if TYPE_CHECKING:
    from conftest import Project

SPOILS = """
import factory
from factory import Choice, Drop, Piece, Source, Text, user

BAD = {
    "surrogate": {"text": "\\ud800"},
    "none": {"text": None},
    "number": {"text": 7},
    "missing": {},
    "meta": {"text": "fine", "size": 2**70},
    "object": {"text": "fine", "thing": object()},
}

@factory.step
def spoil(record: Text) -> Text:
    kept = {key: value for key, value in record.items() if key != "text"}
    return kept | BAD.get(record["text"], {"text": record["text"]})

@factory.step
def choose(record: Text) -> factory.Choice:
    answer = {"big": 2**63, "none": None, "text": "x"}.get(record["text"], 1)
    return {"prompt": user("?"), "choices": ["a", "b"], "answer": answer}

@factory.step
def forgetful(record: Text) -> Text:
    if record["text"] != "none":
        return record

@factory.step
def parts(record: Text) -> factory.Iterator[Text]:
    yield {"text": record["text"]} if record["text"] != "none" else None

@factory.step
def plain(record: Text) -> bool:
    return record["text"] != "none"

class Rows(Source):
    kind = Text
    def pieces(self):
        return [Piece("rows", ("rows",))]
    def rows(self, piece):
        for number, (name, fields) in enumerate(BAD.items(), 1):
            yield f"rows#{number}", {"name": name, **fields}
        yield "rows#7", {"text": "good"}
        yield "rows#8", Drop("torn", byte="\\ud800", thing=object())

@factory.hookimpl
def open_dataset(uri):
    return Rows(uri) if uri == "rows:" else None

@factory.hookimpl
def register_steps():
    return [spoil, choose, forgetful, parts, plain]
"""


@pytest.fixture
def spoiled(project: Project) -> Project:
    project.write("plugins/spoils.py", SPOILS.replace("factory.Iterator", "Iterator").replace(
        "import factory\n", "from collections.abc import Iterator\nimport factory\n", 1))  # fmt: skip
    return project


@pytest.mark.parametrize(
    "steps", ["spoil", "spoil, trimmed", "spoil, no_x, plain", "spoil, echo", "spoil, one_of_each"]
)
def test_records_that_cannot_be_encoded_are_dropped(spoiled: Project, steps: str) -> None:
    spoiled.lines("a.jsonl", "good", "surrogate", "none", "number", "missing", "meta", "object", "better")
    spoiled.recipe(f"targets: {{texts: {{from: a.jsonl, steps: [{steps}]}}}}")
    spoiled.build()
    dropped = spoiled.dropped("texts")
    assert {row["reason"] for row in dropped} == {"cannot be encoded"}
    assert sorted(row["parents"] for row in dropped) == [[f"a.jsonl#{n}"] for n in range(2, 8)]
    assert all(row["details"]["error"] for row in dropped)
    assert len(spoiled.records("texts")) == (4 if "echo" in steps else 2)


def test_integers_that_do_not_fit_are_dropped(spoiled: Project) -> None:
    spoiled.lines("a.jsonl", "good", "big", "none", "text")
    spoiled.recipe("targets: {choices: {from: a.jsonl, steps: [choose]}}")
    spoiled.build()
    assert [record["answer"] for record in spoiled.records("choices")] == [1]
    assert [row["reason"] for row in spoiled.dropped("choices")] == ["cannot be encoded"] * 3


def test_rows_of_a_source_that_cannot_be_encoded_are_dropped(spoiled: Project) -> None:
    spoiled.recipe("targets: {texts: {from: 'rows:', steps: [shout]}}")
    spoiled.build()
    assert [record["text"] for record in spoiled.records("texts")] == ["GOOD"]
    reasons = {row["parents"][0]: row["reason"] for row in spoiled.dropped("texts")}
    assert reasons == {
        "rows#1": "cannot be encoded",
        "rows#2": "missing column",
        "rows#3": "cannot be encoded",
        "rows#4": "missing column",
        "rows#5": "cannot be encoded",
        "rows#6": "cannot be encoded",
        "rows#8": "torn",
    }


@pytest.mark.parametrize(("step", "said"), [("forgetful", "forgetful"), ("parts", "parts"), ("shout", "shout")])
def test_a_step_that_goes_wrong_is_named_with_the_record_and_its_place(spoiled: Project, step: str, said: str) -> None:
    from factory import StepError

    spoiled.write("a.jsonl", "\n".join(json.dumps({"text": text}) for text in ("one", "none", "two")))
    if step == "shout":
        spoiled.edit("plugins/toy.py", 'record["text"].upper()', '{"ONE": 1, "TWO": 2}[record["text"].upper()]')
    spoiled.recipe(f"targets: {{texts: {{from: a.jsonl, steps: [{step}]}}}}")
    with pytest.raises(StepError, match=rf"^{said} failed on record [0-9a-f]{{16}} from a.jsonl#2: \w+Error: "):
        spoiled.build()


def test_a_vectorised_step_sees_the_columns_of_what_comes_in(project: Project) -> None:
    project.lines("a.jsonl", "one", "two")
    project.recipe("""
        targets:
          made: {from: a.jsonl, steps: [paired, no_x]}
          again: {from: made, steps: [no_x, prompted]}
    """)
    project.write("plugins/more.py", PROMPTED)
    project.build()
    for target in ("made", "again"):
        assert [record["completion"][0]["content"] for record in project.records(target)] == ["one", "two"]
        assert not project.dropped(target)


PROMPTED = """
import factory
from factory import Batch, Prompt, Record

@factory.step
def prompted(batch: Batch[Prompt]) -> Batch[Record]:
    return batch.drop([False] * len(batch), "never")

@factory.hookimpl
def register_steps():
    return [prompted]
"""


def test_columns_come_in_declared_order_of_base_and_subtype() -> None:
    assert columns(Record) == []
    assert columns(PromptCompletion) == ["prompt", "completion"]
    assert columns(Unpaired) == ["prompt", "completion", "label"]
    assert columns(Candidates) == ["prompt", "completions", "scores"]
    assert satisfies(Unpaired, Prompt)
    assert not satisfies(Prompt, Unpaired)
    assert not satisfies(Text, Prompt)


def test_a_record_is_shaped_to_its_columns_and_an_existing_meta_key_wins() -> None:
    record = {"id": "i", "text": "t", "a": 1, "b": 2, "meta": {"a": "kept"}}
    assert shape_record(record, ["text"]) == {"id": "i", "parents": [], "text": "t", "meta": {"a": "kept", "b": 2}}


@pytest.mark.parametrize("value", ["\ud800", None, 5, ["x"], b"\xff"])
def test_fault_says_why_a_record_cannot_be_encoded(value: Any) -> None:
    schema = schema_of(Text)
    record = shape_record({"id": "i", "text": value}, ["text"])
    assert fault(record, schema)
    assert fault({**record, "text": "fine"}, schema) is None


def test_encoding_keeps_every_column_of_every_row() -> None:
    rows: list[dict[str, Any]] = [{"id": "1", "text": "a"}, {"id": "2", "text": "b", "late": [1]}]
    table = encode([shape_record(row, ["text"]) for row in rows], schema_of(Text))
    assert table.column("meta").to_pylist() == ["{}", '{"late":[1]}']
    assert table.schema.field("text").type == pa.string()


@pytest.mark.parametrize("value", [{"a": "\ud800"}, [2**70], {"x": {1: object}}, b"\xff", {"a": float("nan")}])
def test_anything_has_a_digest(value: Any) -> None:
    assert digest(value) == digest(value)
    assert len(digest(value, 16)) == 32
    assert derive({"id": "p"}, text=value)["parents"] == ["p"]


def test_equal_things_have_one_digest_and_others_another() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(["ab"]) != digest(["a", "b"])
    assert digest(["\ud800"]) != digest(["\ud801"])


def test_derived_records_know_their_parents_once() -> None:
    parent = {"id": "p", "meta": {"score": 1}}
    record = derive(parent, parent, {"id": "q"}, meta={"new": 1}, text="x")
    assert (record["parents"], record["meta"], record["text"]) == (["p", "q"], {"new": 1}, "x")
    assert record["id"] != derive(parent, text="x")["id"]


class Rows(Source):
    kind = Text

    def rows(self, piece: Piece) -> Any:
        return iter(piece.detail)


def test_entering_puts_fields_that_are_no_columns_into_meta() -> None:
    rows = [
        ("a#1", {"text": "x", "id": 3, "meta": {"kept": 1}, "other": 2}),
        ("a#2", {"other": 2}),
        ("a#3", Drop("torn", line=3)),
        ("a#4", {"text": "x", "meta": "no mapping"}),
    ]
    one, two, three, four = enter(Rows("a"), Rows("a").rows(Piece("k", ("a",), rows)))
    assert one[0] | {"id": ""} == {"id": "", "parents": ["a#1"], "text": "x", "meta": {"kept": 1, "id": 3, "other": 2}}
    assert [problem and (problem.reason, problem.details) for _, problem in (one, two, three, four)] == [
        None,
        ("missing column", {"columns": ["text"]}),
        ("torn", {"line": 3}),
        None,
    ]
    assert len({record["id"] for record, _ in (one, two, three, four)}) == 4


def test_drops_travel_between_processes() -> None:
    import pickle

    drop = Drop("too long", words=7)
    assert pickle.loads(pickle.dumps(drop)) == drop
    assert drop != Drop("too long", words=8)
