"""The recipe for a folder of one's own, copied out and planned the way its user does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from factory.cli import cli
from factory.engine.project import enter_project, project_root
from factory.errors import RecipeError
from factory.plugins import load_plugins

ROOT = Path(__file__).parents[2]
PAGE = """# Travel

Book trains through the portal. Ask your team lead first when a trip costs more than 300 euros, and keep every receipt.

Refunds are paid with the next salary. Questions go to travel@firm.test.org or to the front desk on the second floor.
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """`factory …` in an empty folder; a FactoryError is raised as it is, else what was printed is returned."""
    load_plugins()
    before = project_root()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nothing")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    yield lambda *arguments: CliRunner().invoke(cli, arguments, catch_exceptions=False).stdout
    enter_project(before)


@pytest.mark.builds
def test_the_handbook_recipe_plans_and_cleans_a_folder(tmp_path: Path, run: Callable[..., str]) -> None:
    assert re.search(r"^handbook +An assistant for your own handbook", run("new"), re.MULTILINE)
    run("new", "handbook")
    with pytest.raises(RecipeError, match="no file matches documents/") as caught:
        run("plan", "handbook.yaml")
    assert len(caught.value.problems) == 1
    (tmp_path / "documents" / "deep").mkdir(parents=True)
    for name in ("travel.md", "deep/copy.txt"):
        (tmp_path / "documents" / name).write_text(PAGE, encoding="utf-8")
    rows = json.loads(run("plan", "handbook.yaml", "--json"))
    assert {row["state"] for row in rows} == {"runs"}
    assert [row["label"] for row in rows if row["target"] in ("assistant", "quality")] == ["sft", "perplexity"]
    assert not (tmp_path / ".factory").exists()
    built = json.loads(run("build", "handbook.yaml", "passages", "--json"))
    assert built["targets"]["passages"]["records"] == 1  # the copy is gone
    (text,) = pq.read_table(tmp_path / "build" / "handbook" / "passages" / "shard-00000.parquet")["text"].to_pylist()
    assert "Questions go to <EMAIL> or to the front desk" in text


def test_the_seeds_have_the_form_of_seed_tasks() -> None:
    lines = (ROOT / "seeds" / "handbook.jsonl").read_text(encoding="utf-8").splitlines()
    tasks = [json.loads(line) for line in lines]
    assert len(tasks) == 12
    assert len({task["id"] for task in tasks}) == len({task["name"] for task in tasks}) == 12
    for task in tasks:
        assert list(task) == ["id", "name", "instruction", "instances", "is_classification"]
        assert all(one["output"] and isinstance(one["input"], str) for one in task["instances"])
