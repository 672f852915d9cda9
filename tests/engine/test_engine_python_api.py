"""The same from Python: `factory.build` and what it gives back."""

from __future__ import annotations

import json
import subprocess
import sys

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


def test_one_target_may_be_given_as_a_word_and_limit_is_checked(project) -> None:
    project.lines("a.jsonl", "one", "two")
    recipe = project.recipe("targets:\n  a: {from: a.jsonl}\n  b: {from: a.jsonl, steps: [normalize]}\n")
    assert list(factory.build(recipe, "a")) == ["a"]
    with pytest.raises(factory.InputError, match="limit is 'x'; expected a whole number from 1"):
        factory.build(recipe, limit="x")


@pytest.mark.parametrize("name", ["../x", "..", ".", "''", "/tmp/x", "a/b"])
def test_results_stay_in_their_folder(project, name: str) -> None:
    project.lines("a.jsonl", "one")
    recipe = project.recipe(f"name: {name}\ntargets:\n  a: {{from: a.jsonl}}\n")
    with pytest.raises(factory.RecipeError, match=r":1: .* cannot name the folder of the results"):
        factory.build(recipe)


@pytest.mark.builds
def test_a_script_without_a_main_guard_is_told_instead_of_waiting_for_itself(project) -> None:
    project.lines("a.jsonl", "one")
    project.recipe("targets:\n  a: {from: a.jsonl, steps: [normalize]}\n")
    script = project.write("script.py", 'import factory\nfactory.build("r.yaml", executor="local:2")\n')
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert 'put the call under `if __name__ == "__main__":`' in done.stderr
