"""The steps that measure, in one recipe: what they make is stored, and the page shows it with its intervals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from factory import build

pytestmark = [pytest.mark.model, pytest.mark.builds]
RECIPE = """
name: exam
threads: 1
evaluation: [exam, dev]
targets:
  exam: {from: exam.jsonl}
  dev: {from: dev.jsonl}
  tasks: {from: tasks.jsonl, steps: [check_overlap]}
  picked:
    from: exam
    steps:
      - choices: {models: {shown: ./tiny, not: ./tiny}, form: letter, permute: 2, shots: {shown: 1}, examples: dev}
  matched:
    from: tasks
    steps:
      - answer_match: {models: {tiny: ./tiny}, max_tokens: 4}
"""


def written(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_recipe_measures(make_model: Any, tmp_path: Path) -> None:
    shutil.copytree(make_model().path, tmp_path / "tiny")
    questions = [
        {"prompt": f"What is {at} and one?", "choices": [str(at + n) for n in range(3)], "answer": 1, "subject": "sums"}
        for at in range(12)
    ]
    written(tmp_path / "exam.jsonl", [*questions[:10], {**questions[0], "prompt": "No choice?", "choices": ["1", "2"]}])
    written(tmp_path / "dev.jsonl", questions[10:])
    written(tmp_path / "tasks.jsonl", [{"prompt": f"Name town {at}.", "completion": "Ulm"} for at in range(3)])
    (tmp_path / "exam.yaml").write_text(RECIPE)
    built = build(tmp_path / "exam.yaml")
    picked = {(one["of"], one["name"]): one for one in built["picked"]}
    assert {name for name, _ in picked} == {"shown", "not"}
    assert [picked[name, "acc"]["meta"]["shots"] for name in ("shown", "not")] == [1, 0]
    assert picked["not", "consistency"]["meta"]["records"] == 11
    assert len(picked["not", "acc"]["parents"]) == 11
    assert {one["name"]: one["value"] for one in built["matched"]}["exact_match"] == 0
    page = (built.folder / "report.html").read_text()
    assert "letters chosen" in page
    assert "records overlap" in page
    assert "Answers against references" in page
    assert "0.00 (0.00 to 0.56)" in page.replace("&nbsp;", " ")
