"""The same from Python: `factory.build` and what it gives back."""

from __future__ import annotations

import json

import pytest

import factory


def test_a_target_is_a_dataset_that_says_what_it_is(project) -> None:
    project.lines("a.jsonl", "one", "two")
    project.recipe("name: r\ntargets:\n  corpus:\n    from: a.jsonl\n    steps: [normalize]\n")
    result = factory.build(project.root / "r.yaml")
    corpus = result["corpus"]
    assert list(result) == ["corpus"]
    assert [record["text"] for record in corpus] == ["one", "two"]
    assert len(corpus) == 2
    assert repr(corpus) == "Dataset[Text] of 2 records in 1 shards"
    with pytest.raises(factory.InputError, match="no target 'corpsu'"):
        result["corpsu"]


@pytest.mark.model  # loads `datasets`
def test_a_target_becomes_a_hugging_face_dataset(project) -> None:
    project.lines("a.jsonl", "one", "two")
    project.lines("empty.jsonl")
    project.recipe(
        """
        name: r
        targets:
          corpus: {from: a.jsonl, steps: [normalize]}
          nothing: {from: a.jsonl, steps: [length: {min_chars: 100}]}
        """
    )
    result = factory.build(project.root / "r.yaml")
    table = result["corpus"].to_hf()
    assert table.column_names == ["id", "parents", "text", "meta"]
    assert table["text"] == ["one", "two"]
    assert table["parents"] == [["a.jsonl#1"], ["a.jsonl#2"]]
    assert json.loads(table[0]["meta"]) == {}
    assert result["nothing"].to_hf().num_rows == 0
