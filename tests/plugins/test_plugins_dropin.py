"""A file in `plugins/` is a plugin, without any other change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import factory
from factory import Dataset
from factory.plugins import get_step

ROOT = Path(__file__).parents[2]
Write = Callable[[str, str], Path]

# The plugin of the design page, letter for letter.
TWELVE_LINES = '''"""Drop completions in which the model declines."""
import factory
from factory import Drop, PromptCompletion, text_of

@factory.step
def no_refusals(record: PromptCompletion, phrases: list[str] = ["I cannot", "As an AI"]) -> bool:
    """Keep completions that contain none of the phrases."""
    answer = text_of(record["completion"])            # messages → plain text
    if found := next((p for p in phrases if p in answer), None):
        raise Drop("refusal", phrase=found)
    return True

@factory.hookimpl
def register_steps():
    return [no_refusals]
'''
PAIRS = [
    {"prompt": "What is a list?", "completion": "An ordered, changeable sequence."},
    {"prompt": "What shall I eat?", "completion": "As an AI I have no taste."},
    {"prompt": "Open the door.", "completion": "I'm sorry, but I cannot do that."},
    {"prompt": "What is a set?", "completion": "Distinct values without an order."},
]
RECIPE = """
name: tasks
targets:
  answers:
    from: pairs.jsonl
    steps:
      - no_refusals
"""


def build(write: Write, recipe: str = RECIPE, **options: Any) -> tuple[list[Any], list[dict[str, Any]]]:
    """(kept, dropped) records of a build over PAIRS."""
    write("pairs.jsonl", "".join(json.dumps(row) + "\n" for row in PAIRS))
    result = factory.build(write("recipe.yaml", recipe), **options)
    stage = result.plan.targets["answers"]
    kept = result["answers"]
    assert isinstance(kept, Dataset)
    return list(kept), list(stage.store.dropped(stage.fingerprint))


@pytest.mark.parametrize("text", [TWELVE_LINES, (ROOT / "plugins/no_refusals.py").read_text(encoding="utf-8")])
def test_a_file_dropped_into_plugins_works_in_a_recipe(project: Path, write: Write, text: str) -> None:
    write("plugins/no_refusals.py", text)
    kept, dropped = build(write)
    assert [record["parents"] for record in kept] == [["pairs.jsonl#1"], ["pairs.jsonl#4"]]
    assert [(row["parents"], row["step"], row["reason"], row["details"]) for row in dropped] == [
        (["pairs.jsonl#2"], "no_refusals", "refusal", {"phrase": "As an AI"}),
        (["pairs.jsonl#3"], "no_refusals", "refusal", {"phrase": "I cannot"}),
    ]


def test_its_option_is_an_option_of_the_recipe(project: Path, write: Write) -> None:
    shutil.copytree(ROOT / "plugins", project / "plugins", ignore=shutil.ignore_patterns("factory-mail"))
    kept, dropped = build(write, RECIPE.replace("no_refusals", "no_refusals: {phrases: [taste]}"))
    assert len(kept) == 3
    assert [row["details"] for row in dropped] == [{"phrase": "taste"}]


def test_its_step_is_a_plain_function_in_tests(project: Path, write: Write) -> None:
    from factory.plugins import load_file

    load_file(write("plugins/no_refusals.py", TWELVE_LINES))
    function = get_step("no_refusals").function
    record = {"completion": factory.assistant("I cannot say.")}
    with pytest.raises(factory.Drop, match="refusal"):
        function(record)
    assert function(record, phrases=[]) is True


@pytest.mark.builds
def test_a_worker_process_loads_it_itself(project: Path, write: Write) -> None:
    write("plugins/no_refusals.py", TWELVE_LINES)
    kept, dropped = build(write, executor="local:1")
    assert (len(kept), len(dropped)) == (2, 2)
