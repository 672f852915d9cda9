"""What a build tells a person to look at."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from factory.cli import cli

RULES = '''
import factory
from factory import Dataset, Drop, Drops, Record, Text

@factory.step
def never(record: Text) -> bool:
    """A rule with a misspelt threshold."""
    return True

@factory.step
def no_digits(record: Text) -> bool:
    """Drop texts with digits."""
    return not any(map(str.isdigit, record["text"]))

@factory.step(judges=False)
def fewer(record: Text) -> bool:
    """Keep a third."""
    return len(record["text"]) % 3 == 0

@factory.step
def same_word(dataset: Dataset[Record]) -> Drops:
    """Drop texts with the first word of an earlier one."""
    first, drops = {}, Drops()
    for record in dataset:
        kept = first.setdefault(record["text"].split()[0], record["id"])
        if kept != record["id"]:
            drops[record["id"]] = Drop("same", of=kept)
    return drops

@factory.hookimpl
def register_steps():
    return [never, no_digits, fewer, same_word]
'''


@pytest.fixture
def ruled(project: Any) -> Any:
    project.write("plugins/rules.py", RULES)
    letters = "abcdefghij"
    project.lines(
        "data/words.jsonl",
        *(f"w{letters[n % 10]}{letters[n // 10 % 10]}{'x' * (n // 100)} and more" for n in range(1000)),
    )
    project.lines("data/numbers.jsonl", *(f"n{n} is a number" for n in range(40)))
    return project


def told(project: Any, steps: str) -> list[str]:
    project.recipe(f"targets:\n  made: {{from: data/*.jsonl, steps: [{steps}]}}\n")
    ran = CliRunner().invoke(cli, ["build", str(project.root / "r.yaml")], catch_exceptions=False)
    return [line for line in ran.output.splitlines() if line.startswith("look at")]


def test_a_rule_that_never_fires_is_told_of(ruled: Any) -> None:
    assert told(ruled, "never") == ["look at made: never dropped none of 1,040 records"]


def test_a_rule_that_empties_a_source_is_told_of_with_examples(ruled: Any) -> None:
    line = "look at made: no_digits dropped 40 of the 40 records of data/numbers.jsonl"
    assert told(ruled, "no_digits") == [line]
    ran = CliRunner().invoke(cli, ["build", str(ruled.root / "r.yaml")], catch_exceptions=False)
    after = ran.output.splitlines()[ran.output.splitlines().index(line) + 1 :][:3]  # also when nothing was to do
    assert [row.split("  ")[-1] for row in after] == [f"n{n} is a number" for n in range(3)]


def test_shares_are_of_what_came_to_the_step(ruled: Any) -> None:
    """Of 40 numbers 30 come to no_digits, which drops them all; sampling is no alarm."""
    assert told(ruled, "fewer, no_digits") == [
        "look at made: no_digits dropped 30 of the 30 records of data/numbers.jsonl"
    ]


def test_a_record_that_stands_for_many_is_told_of(ruled: Any) -> None:
    ruled.lines("data/words.jsonl", *("same text" for _ in range(30)), *(f"other{n} text" for n in range(900)))
    (line,) = [line for line in told(ruled, "same_word") if "for one that stays" in line]
    assert line.startswith("look at made: same_word dropped 29 of 970 records for one that stays, ")
