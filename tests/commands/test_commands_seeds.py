"""`factory seeds check`: a table, remarks, mistakes on stderr, and an exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Lab

OURS = Path(__file__).parents[2] / "seeds"


def row(**changes: Any) -> str:
    task = {"id": "chat-01", "name": "hello", "instruction": "Greet the new neighbour.", "is_classification": False}
    return json.dumps({**task, "instances": [{"input": "", "output": "Welcome to the house!"}], **changes}) + "\n"


@pytest.mark.parametrize("name", ["english", "chinese", "handbook", "law", "medicine", "python", "support"])
def test_our_seeds_pass(lab: Lab, name: str) -> None:
    said = lab("seeds", "check", str(OURS / f"{name}.jsonl"))
    assert (said.code, said.err) == (0, "")
    assert said.lines[0].split()[:3] == ["type", "tasks", "instances"]
    assert said.lines[-1].startswith("0 mistakes, ")


def test_mistakes_go_to_stderr_with_their_lines(lab: Lab) -> None:
    lab.write("mine.jsonl", row() + row(id="chta-02", name="other", instruction="Say goodbye kindly to a guest."))
    said = lab("seeds", "check", "mine.jsonl")
    assert (said.code, said.err) == (2, "mine.jsonl:2: 'chta' is no type of task; did you mean 'chat'?\n")
    assert said.lines[-1] == "1 mistake, 1 remark"  # the outputs are equal
    assert "mine.jsonl:2: its output is like that of chat-01 at mine.jsonl:1 (ROUGE-L 1.00)" in said.lines


def test_json_holds_the_same(lab: Lab) -> None:
    lab.write("mine.jsonl", row() + "nothing\n")
    said = lab("seeds", "check", "mine.jsonl", "--json")
    assert said.code == 2
    (finding,) = said.json["findings"]
    assert (finding["line"], finding["mistake"]) == (2, True)
    assert [(one["type"], one["tasks"]) for one in said.json["coverage"]] == [("chat", 1), ("all", 1)]
    assert said.json["languages"] == {"en": 1}


def test_only_the_first_remarks_are_printed(lab: Lab) -> None:
    rows = [row(id=f"chat-{n}", name=f"n{n}", instruction=f"Greet neighbour {n}, who is new here.") for n in range(30)]
    lab.write("mine.jsonl", "".join(rows))
    said = lab("seeds", "check", "mine.jsonl")
    assert said.code == 0
    assert "and 38 more; --all prints them" in said.lines  # an instruction and an output of 29 tasks, 20 of 58 printed
    assert sum("is like that of" in line for line in lab("seeds", "check", "--all", "mine.jsonl").lines) == 58


def test_a_file_that_is_not_there(lab: Lab) -> None:
    lab.write("mine.jsonl", row())
    said = lab("seeds", "check", "mien.jsonl")
    assert (said.code, said.err) == (2, "no file 'mien.jsonl'; did you mean 'mine.jsonl'?\n")
    assert lab("seeds", "chek", "mine.jsonl").code == 2
