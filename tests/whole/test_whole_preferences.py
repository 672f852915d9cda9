"""The recipe of preferences on the embedded model: pairs by a judge, then by the votes of two people."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from factory.preference.labelling.store import Labels

ROOT = Path(__file__).parents[2]
RECIPE = "recipes/preferences.yaml"
PENDING = 3  # exit code


def run_factory(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "factory.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def records(project: Path, target: str) -> list[dict[str, Any]]:
    shown = run_factory(project, "show", RECIPE, target, "-n", "1000", "--json")
    rows: list[dict[str, Any]] = json.loads(shown.stdout)["sample"]
    return rows


def vote_on_everything(labels: Labels, who: str) -> int:
    """The longer answer is better, if it is by far; how many votes that made."""
    cast = 0
    while (view := labels.next(who)) is not None:
        left, right = (len(view.item.completions[place][-1]["content"]) for place in view.shown)
        labels.vote(who, view.view, "1" if left > 1.2 * right else "5" if right > 1.2 * left else "3", seconds=2.0)
        cast += 1
    return cast


@pytest.mark.slow
def test_a_judge_and_then_two_people_make_pairs(tmp_path: Path) -> None:
    for folder in ("recipes", "seeds"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "factory.toml").touch()
    built = run_factory(tmp_path, "build", RECIPE)
    assert built.returncode == PENDING, built.stderr
    assert "60 of 60 votes missing: run `factory label RECIPE answers`" in built.stdout + built.stderr
    assert [len(row["completions"]) for row in records(tmp_path, "answers")] == [4] * 10
    pairs = records(tmp_path, "pairs")
    assert pairs
    assert all(row["chosen"] != row["rejected"] and row["meta"]["margin"] > 0 for row in pairs)

    exported = run_factory(tmp_path, "export", RECIPE, "pairs", "pairs.jsonl", "--form", "trl")
    assert exported.returncode == 0, exported.stderr
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert [set(row) for row in rows] == [{"prompt", "chosen", "rejected"}] * len(pairs)

    label = run_factory(tmp_path, "label", RECIPE, "answers", "--export", "votes.csv")
    assert label.returncode == 0, label.stderr
    with Labels.open(tmp_path / "labels" / "answers") as labels:
        labels.configure(overlap=2, repeat_share=0)
        for who in ("Ada", "Grace"):
            labels.invite(who)
            assert vote_on_everything(labels, who) == 60
    again = run_factory(tmp_path, "build", RECIPE)
    assert again.returncode == 0, again.stderr
    assert "model calls" not in again.stdout.partition("results")[0].replace("no model calls", "")
    assert {row["meta"]["margin"] > 0 for row in records(tmp_path, "human")} == {True}
    measured = {(row["name"], row["of"]): row["value"] for row in records(tmp_path, "agreement")}
    assert {value for (name, _), value in measured.items() if name == "raw"} == {1.0}
