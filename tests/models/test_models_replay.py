"""Recorded answers: by what was asked alone, and a sentence where nothing was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factory import Answer, InputError, ModelError, Request, user
from factory.models import open_model

ROWS = [
    (Request(user("What is it?"), temperature=0.7), Answer("A list.", "stop", "", 7, 3)),
    (Request(user("What is it?"), 1, temperature=0.7, stop=("x",)), Answer("A dict \ud83d", "length", "", 7, 3)),
    (Request(user("As JSON?"), schema={"type": "object"}), Answer("{}", "stop", "", 7, 3)),
]


def write(folder: Path, *rows: tuple[Request, Answer]) -> Any:
    file = folder / "said.jsonl"
    file.write_text("".join(json.dumps({**q.said(), **a.stored()}) + "\n" for q, a in rows))
    return open_model(uri=f"replay:{file}")


def test_recorded_answers_come_back(tmp_path: Path) -> None:
    session = write(tmp_path, *ROWS).open()
    for request, answer in ROWS:
        assert session.submit([request]).result() == [answer]


def test_another_recording_is_another_model(tmp_path: Path) -> None:
    assert write(tmp_path, *ROWS).identity != write(tmp_path, *ROWS[:2]).identity


@pytest.mark.parametrize("other", [{"index": 2}, {"temperature": 0.8}, {"messages": user("What else is it?")}])
def test_what_was_not_recorded_is_told(tmp_path: Path, other: dict[str, Any]) -> None:
    request = Request(**{"messages": user("What is it?"), "temperature": 0.7, **other})
    future = write(tmp_path, *ROWS).open().submit([request])
    with pytest.raises(ModelError, match=r"no answer to 'What .*it\?' \(.*temperature=0\..*`factory answers"):
        future.result()


def test_a_line_that_is_no_answer_is_told(tmp_path: Path) -> None:
    (tmp_path / "said.jsonl").write_text('{"messages": [], "text": "x"}\n{"messages": []}\n')
    with pytest.raises(ModelError, match=r"said.jsonl:2: no answer"):
        open_model(uri=f"replay:{tmp_path}/said.jsonl").open()
    again = write(tmp_path, ROWS[0], (ROWS[0][0], Answer("Another.")))
    with pytest.raises(ModelError, match=r"said.jsonl:2: answers a request that an earlier line answers differently"):
        again.open()
    with pytest.raises(InputError, match=r"there is no file 'none.jsonl'"):
        open_model(uri=f"replay:{tmp_path}/none.jsonl")
