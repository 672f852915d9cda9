"""What goes out comes in again."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory import Conversation, Dataset, InputError, Preference, PromptCompletion, Text, Unpaired, assistant, user
from factory.corpus import open_dataset, save_dataset

Store = Callable[..., Dataset[Any]]
PLAIN = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv", ".parquet"]


def pairs(texts: Sequence[tuple[str, str]], **meta: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"r{n}", "parents": ["x"], "prompt": user(asked), "completion": assistant(said), "meta": dict(meta)}
        for n, (asked, said) in enumerate(texts)
    ]


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(words, words), min_size=1, max_size=6), st.sampled_from(PLAIN))
def test_plain_comes_back_as_it_went(entered: Any, store: Store, texts: list[tuple[str, str]], suffix: str) -> None:
    sent = pairs(texts, score=0.5, tags=["a"])
    with tempfile.TemporaryDirectory() as folder:
        assert save_dataset(store(sent, PromptCompletion), f"{folder}/out{suffix}") is True
        source = open_dataset(f"{folder}/out{suffix}")
        assert source is not None
        assert source.kind is PromptCompletion
        back = entered(source)
    for one, other in zip(sent, back, strict=True):
        assert (one["prompt"], one["completion"]) == (other["prompt"], other["completion"])
        assert other["meta"] == {**one["meta"], "id": one["id"]}


@pytest.mark.parametrize("suffix", PLAIN)
def test_every_kind_comes_back(project: Path, entered: Any, store: Store, suffix: str) -> None:
    kept = {"id": "1", "parents": ["p"], "meta": {}}
    talk = [*user("q"), *assistant("a"), *user("again")]
    for kind, columns in (
        (Text, {"text": "hello\nworld"}),
        (Conversation, {"messages": talk}),
        (Preference, {"prompt": talk, "chosen": assistant("good"), "rejected": assistant("bad")}),
        (Unpaired, {"prompt": user("q"), "completion": assistant("[1]"), "label": False}),
    ):
        save_dataset(store([{**kept, **columns}], kind), f"out/x{suffix}")
        source = open_dataset(f"out/x{suffix}")
        assert source is not None
        assert source.kind is kind
        (record,) = entered(source)
        assert {name: record[name] for name in columns} == columns


@pytest.mark.parametrize(
    ("form", "kind"), [("alpaca", PromptCompletion), ("sharegpt", Conversation), ("openai", Conversation)]
)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
def test_forms_are_read_back(project: Path, entered: Any, store: Store, form: str, kind: Any, suffix: str) -> None:
    sent = pairs([("Question?", "Answer."), ("Another", "One")])
    assert save_dataset(store(sent, PromptCompletion), f"x{suffix}?form={form}")
    source = open_dataset(f"x{suffix}")
    assert source is not None
    assert source.kind is kind
    for one, other in zip(sent, entered(source), strict=True):
        turns = other["prompt"] + other["completion"] if form == "alpaca" else other["messages"]
        assert turns == one["prompt"] + one["completion"]


def test_forms_to_the_letter(project: Path, store: Store) -> None:
    record = pairs([("Add\n\n1 2", "3")], instruction="Add", input="1 2")

    def written(form: str) -> Any:
        save_dataset(store(record, PromptCompletion), f"x.jsonl?form={form}")
        return orjson.loads((project / "x.jsonl").read_bytes())

    assert written("alpaca") == {"instruction": "Add", "input": "1 2", "output": "3"}
    assert written("sharegpt") == {
        "conversations": [{"from": "human", "value": "Add\n\n1 2"}, {"from": "gpt", "value": "3"}]
    }
    assert written("chatml") == {"messages": [*user("Add\n\n1 2"), *assistant("3")]}
    assert written("plain")["meta"] == {"instruction": "Add", "input": "1 2"}
    record[0]["prompt"] = user("Changed since")
    assert written("alpaca") == {"instruction": "Changed since", "input": "", "output": "3"}


def test_what_does_not_fit_is_said_and_leaves_no_file(project: Path, store: Store) -> None:
    texts = store([{"id": "1", "parents": [], "text": "x", "meta": {}}], Text)
    with pytest.raises(InputError, match="the form alpaca holds PromptCompletion, and these records are Text"):
        save_dataset(texts, "x.jsonl?form=alpaca")
    with pytest.raises(InputError, match="did you mean 'sharegpt'"):
        save_dataset(texts, "x.jsonl?form=sharegtp")
    with pytest.raises(InputError, match="only jsonl is written compressed"):
        save_dataset(texts, "x.csv.gz")
    several = [
        {
            "id": "r9",
            "parents": [],
            "prompt": [*user("a"), *assistant("b"), *user("c")],
            "completion": assistant("d"),
            "meta": {},
        }
    ]
    with pytest.raises(InputError, match=r"y\.jsonl: record r9 has several turns"):
        save_dataset(store(several, PromptCompletion), "y.jsonl?form=alpaca")
    assert list(project.iterdir()) == []
    assert save_dataset(texts, "x.xlsx") is None


def test_equal_records_give_equal_bytes(project: Path, store: Store) -> None:
    data = store(pairs([("a", "b")] * 5), PromptCompletion)
    for suffix in (".jsonl.gz", ".jsonl.zst", ".parquet"):
        save_dataset(data, f"a{suffix}")
        save_dataset(data, f"b{suffix}")
        assert (project / f"a{suffix}").read_bytes() == (project / f"b{suffix}").read_bytes()
    assert gzip.decompress((project / "a.jsonl.gz").read_bytes()).count(b"\n") == 5


@pytest.mark.parametrize("suffix", PLAIN)
def test_an_empty_dataset_is_a_file_too(project: Path, store: Store, suffix: str) -> None:
    assert save_dataset(store([], PromptCompletion), f"x{suffix}")
    if suffix == ".parquet":
        assert pq.read_table(project / "x.parquet").column_names == ["id", "prompt", "completion", "meta"]
    if suffix == ".csv":
        assert (project / "x.csv").read_text() == "id,prompt,completion,meta\n"  # \r\n in the file, as RFC 4180 has it
