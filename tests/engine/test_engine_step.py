"""A step's signature is its declaration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import factory
from factory import (
    Batch,
    CausalLM,
    Context,
    Dataset,
    Drops,
    Metric,
    Model,
    PluginError,
    Preference,
    Prompt,
    RecipeError,
    Record,
    Text,
    Tokenizer,
)
from factory.engine.step import Kind

if TYPE_CHECKING:
    from conftest import Project


def a_filter(record: Text) -> bool: ...
def a_map(record: Prompt) -> Preference: ...
def a_flat_map(record: Text) -> Iterator[Record]: ...
def vectorised(batch: Batch[Text]) -> Batch[Text]: ...
def a_stream(records: Iterator[Text]) -> Iterator[Prompt]: ...
def a_global_filter(dataset: Dataset[Record]) -> Drops: ...
def a_generator(dataset: Dataset[Text]) -> Iterator[Metric]: ...
def a_training(dataset: Dataset[Preference]) -> CausalLM: ...
def a_transform(model: CausalLM) -> CausalLM: ...
def bare(dataset: Dataset) -> Drops: ...  # type: ignore[type-arg]


@pytest.mark.parametrize(
    ("function", "kind", "signature"),
    [
        (a_filter, Kind.FILTER, "Text → bool"),
        (a_map, Kind.MAP, "Prompt → Preference"),
        (a_flat_map, Kind.FLAT_MAP, "Text → Iterator[Record]"),
        (vectorised, Kind.VECTORISED, "Batch[Text] → Batch[Text]"),
        (a_stream, Kind.STREAM, "Iterator[Text] → Iterator[Prompt]"),
        (a_global_filter, Kind.GLOBAL_FILTER, "Dataset[Record] → Drops"),
        (a_generator, Kind.GENERATE, "Dataset[Text] → Iterator[Metric]"),
        (a_training, Kind.TRAIN, "Dataset[Preference] → CausalLM"),
        (a_transform, Kind.TRANSFORM, "CausalLM → CausalLM"),
        (bare, Kind.GLOBAL_FILTER, "Dataset[Record] → Drops"),
    ],
)
def test_the_kind_is_read_from_the_signature(function: Any, kind: Kind, signature: str) -> None:
    step = factory.step(function)
    assert (step.kind, step.signature, step.name) == (kind, signature, function.__name__)
    assert step.function is function


def no_parameter() -> bool: ...
def no_annotation(record) -> bool: ...  # type: ignore[no-untyped-def]
def no_return(record: Text): ...  # type: ignore[no-untyped-def]
def not_a_record(record: dict[str, Any]) -> bool: ...
def a_list(records: list[Text]) -> Iterator[Text]: ...
def a_batch_to_bool(batch: Batch[Text]) -> bool: ...
def a_model_to_records(model: Model) -> Iterator[Text]: ...
def a_stream_of_numbers(records: Iterator[Text]) -> Iterator[int]: ...


@pytest.mark.parametrize(
    "function",
    [
        no_parameter, no_annotation, no_return, not_a_record, a_list, a_batch_to_bool, a_model_to_records,
        a_stream_of_numbers,
    ],
)  # fmt: skip
def test_other_signatures_are_refused_with_those_there_are(function: Any) -> None:
    with pytest.raises(PluginError, match=rf"step .*{function.__name__}: a step's first parameter and return"):
        factory.step(function)


def test_options_references_paths_and_context() -> None:
    def act(
        record: Text, ctx: Context, n: int, model: CausalLM, many: dict[str, Model] | None = None,
        against: list[Dataset[Text]] = [], words: Path | None = None, ratio: float = 0.5,
    ) -> bool: ...  # fmt: skip

    act.__annotations__ = {
        "record": Text, "ctx": Context, "n": int, "model": CausalLM, "many": dict[str, Model] | None,
        "against": list[Dataset[Text]], "words": Path | None, "ratio": float, "return": bool,
    }  # fmt: skip
    step = factory.step(act)
    assert step.context == "ctx"
    assert step.references == {"model": CausalLM, "many": Model, "against": Dataset}
    assert step.paths == ("words",)
    options = step.options.model_validate({"n": "3", "model": "tutor", "many": {"a": "b"}, "against": ["c"]})
    assert options.model_dump() == {
        "n": 3, "model": "tutor", "many": {"a": "b"}, "against": ["c"], "words": None, "ratio": 0.5,
    }  # fmt: skip


def test_a_name_that_python_has_already_ends_with_an_underscore() -> None:
    def filter_(record: Text) -> bool: ...

    filter_.__annotations__ = {"record": Text, "return": bool}
    assert factory.step(version=3)(filter_).name == "filter"
    assert factory.step(version=3)(filter_).version == 3


ALIKE = """
import factory
from typing import TypeVar
from factory import CausalLM, Context, Dataset, Model, Text, Tokenizer

Same = TypeVar("Same", bound=Model)

@factory.step
def grow(dataset: Dataset[Text], ctx: Context, base: Same) -> Same:
    ...

@factory.step
def need_tokenizer(dataset: Dataset[Text], ctx: Context, tokenizer: Tokenizer) -> Tokenizer:
    ...

@factory.hookimpl
def register_steps():
    return [grow, need_tokenizer]

class Local(CausalLM):
    ...

@factory.hookimpl
def open_model(uri):
    return {"lm:": Local(uri, "1"), "words:": Tokenizer(uri, "2")}.get(uri)
"""


def test_what_comes_out_is_of_the_kind_of_an_option(project: Project) -> None:
    project.write("plugins/alike.py", ALIKE)
    project.lines("a.jsonl", "one")
    project.recipe("""
        targets:
          words: {from: a.jsonl, steps: [grow: {base: "words:"}]}
          lm: {from: a.jsonl, steps: [grow: {base: "lm:"}]}
          again: {from: a.jsonl, steps: [grow: {base: words}]}
          good: {from: a.jsonl, steps: [need_tokenizer: {tokenizer: again}]}
        """)
    kinds = {stage.target: stage.gives for stage in project.plan().stages}
    assert [kinds[name] for name in ("words", "lm", "again")] == [Tokenizer, CausalLM, Tokenizer]
    project.recipe("""
        targets:
          lm: {from: a.jsonl, steps: [grow: {base: "lm:"}]}
          bad: {from: a.jsonl, steps: [need_tokenizer: {tokenizer: lm}]}
        """)
    with pytest.raises(RecipeError, match="need_tokenizer needs a Tokenizer, but 'lm' is a CausalLM"):
        project.plan()


OWN_TYPE = """
import factory
from factory import Piece, Source, Text

class Scored(Text):
    score: float

@factory.step
def score(record: Text) -> Scored:
    return {**record, "score": float(len(record["text"]))}

@factory.step
def good(record: Scored, least: float = 4) -> bool:
    return record["score"] >= least

@factory.hookimpl
def register_steps():
    return [score, good]

class Scores(Source):
    kind = Scored
    def pieces(self):
        return [Piece("scores")]
    def rows(self, piece):
        yield "scores#1", {"text": "one", "score": 1.0}
        yield "scores#2", {"text": "five", "score": 5.0}

@factory.hookimpl
def open_dataset(uri):
    return Scores(uri) if uri == "scores:" else None
"""


def test_a_record_type_of_a_plugin_keeps_its_columns(project: Project) -> None:
    project.write("plugins/scores.py", OWN_TYPE)
    project.lines("a.jsonl", "one", "three")
    project.recipe("""
        targets:
          scored: {from: a.jsonl, steps: [score]}
          best: {from: scored, steps: [good, one_of_each]}
          read: {from: 'scores:', steps: [good]}
    """)
    project.build()
    assert [(record["text"], record["score"], record["meta"]) for record in project.records("best")] == [
        ("three", 5.0, {})
    ]
    assert [(record["text"], record["score"], record["meta"]) for record in project.records("read")] == [
        ("five", 5.0, {})
    ]
    project.write("plugins/other.py", OWN_TYPE.split("@factory.hookimpl")[0].replace("def ", "def other_"))
    with pytest.raises(PluginError, match="two record types named 'Scored'"):
        project.build()
