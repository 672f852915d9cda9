"""The quickstart as the README promises it, on the embedded model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run_factory(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "factory.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def records(project: Path, target: str) -> list[dict[str, Any]]:
    shown = run_factory(project, "show", "recipes/quickstart.yaml", target, "-n", "1000", "--json")
    return json.loads(shown.stdout)["sample"]


@pytest.mark.slow
def test_quickstart_makes_a_better_model_and_runs_nothing_twice(tmp_path: Path) -> None:
    for folder in ("recipes", "seeds"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "factory.toml").touch()
    done = run_factory(tmp_path, "build", "recipes/quickstart.yaml")
    assert done.returncode == 0, done.stderr
    for said in ("self_instruct", "not supported by its passage", "perplexity per token", "results   ", "report    "):
        assert said in done.stdout

    measured = {(row["name"], row["of"]): row["value"] for row in records(tmp_path, "quality")}
    assert measured["perplexity", "after"] < measured["perplexity", "before"]
    assert measured["tokens", "after"] == measured["tokens", "before"] > 0
    told = records(tmp_path, "answers")
    assert sorted(row["meta"]["model"] for row in told) == ["after"] * 3 + ["before"] * 3
    assert len(records(tmp_path, "instructions")) == 24

    held_out = records(tmp_path, "held_out")
    prompts = [json.dumps(row["prompt"]) for row in records(tmp_path, "train")]
    assert held_out
    assert not {json.dumps(row["prompt"]) for row in held_out} & set(prompts)
    traced = run_factory(tmp_path, "trace", "recipes/quickstart.yaml", "held_out", held_out[0]["id"])
    assert "python:stdlib/" in traced.stdout or "seeds/python.jsonl#" in traced.stdout

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / ".factory/artifacts").rglob("*") if path.is_file()}
    again = run_factory(tmp_path, "build", "recipes/quickstart.yaml")
    assert again.returncode == 0
    assert "built " not in again.stderr
    assert before == {
        path: path.stat().st_mtime_ns for path in (tmp_path / ".factory/artifacts").rglob("*") if path.is_file()
    }
