"""What changed is made again, and nothing else: files, comments, options, seed tasks, and where tasks run."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.model  # no model is trained, but there are some thirty processes: too many for `make check`

QUICK = ("corpus", "tasks")  # targets whose making needs no torch and few processes


def noted(log: Path, word: str) -> list[str]:
    """What the toys noted under a word."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.partition(" ")[2] for line in lines if line.startswith(word + " ")]


def tasks_of(project: Any) -> set[str]:
    return {path.stem for path in project.store.glob("tasks/*/*.json")}


def test_one_process_and_two_give_equal_bytes(every_kind: Any, server: Any, checks: Any) -> None:
    one, two = every_kind("one", files=4), every_kind("two", files=4)
    one.build(*QUICK, "--executor", "serial")
    two.build(*QUICK, "--executor", "local:2")
    checks.same(two, checks.artifacts(one))
    checks.accounts(two)


def test_one_file_more_than_a_hundred_costs_one_task_a_stage(every_kind: Any, tmp_path: Path) -> None:
    project, log = every_kind("hundred", files=100, rows=2), tmp_path / "log"
    project.build("corpus", TOYS_LOG=str(log))
    assert len(noted(log, "count_letters")) > 150
    before, log = tasks_of(project), tmp_path / "second"
    rows = [{"text": f"A text that is new, number {number}, and like no other."} for number in range(3)]
    (project.root / "documents/new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    project.build("corpus", TOYS_LOG=str(log))
    read = {place.partition("#")[0] for place in noted(log, "count_letters")}
    assert "documents/new.jsonl" in read
    assert len(read) <= 8, "the bucket that the file fell into, and no other"
    assert len(noted(log, "byte_sums")) == 1
    per_shard = 3  # reading to no_long_rows; behind dedup_minhash; behind one_a_length
    assert len(tasks_of(project) - before) == per_shard
    assert {row["text"] for row in rows} <= {row["text"] for row in project.rows("corpus")}


def test_a_comment_reruns_nothing_and_an_option_what_depends_on_it(
    every_kind: Any, server: Any, tmp_path: Path
) -> None:
    project, log = every_kind("edited", files=2), tmp_path / "log"
    project.build(*QUICK)
    before = project.states()
    made = ["corpus", "corpus", "corpus", "seeds.jsonl", "grown", "asked", "tasks"]
    assert sorted(stage.split(":")[0] for stage in before["stored"]) == sorted(made)
    plugin = project.root / "plugins/toys.py"
    edited = plugin.read_text().replace("\n    note(f", "\n\n    # a remark\n    note(f")
    plugin.write_text("# another one\n" + edited.replace('"""A map: note', '"""A map that notes'))
    assert project.states() == before

    option = ("--set", "corpus.split_paragraphs.max_chars=120")
    kept = [stage for stage in before["stored"] if stage.split(":")[0] in ("seeds.jsonl", "grown") or "read" in stage]
    assert project.states(*option)["stored"] == kept
    mark = len(server.since())
    project.build(*QUICK, *option, TOYS_LOG=str(log))
    assert not noted(log, "count_letters"), "what comes before is not made again"
    assert noted(log, "byte_sums")
    assert not [call for call in server.since(mark) if "Draw" in call.prompt]
    assert project.states()["stored"] == before["stored"], "what was made before is still there"


def test_a_step_edited_reruns_it_and_an_edit_back_nothing(every_kind: Any) -> None:
    project = every_kind("code", files=2)
    project.build("corpus")
    plugin = project.root / "plugins/toys.py"
    text = plugin.read_text()
    plugin.write_text(text.replace("if words < least:", "if words <= least:"))
    assert not [row for row in project.states().get("stored", []) if row.startswith("corpus")]
    plugin.write_text(text)
    assert len([row for row in project.states()["stored"] if row.startswith("corpus")]) == 3


RECIPE = """
name: seeded
seed: 3
threads: 1
targets:
  instructions:
    from: seeds.jsonl
    steps:
      - self_instruct:
          model: "openai:test-model?base_url=http://127.0.0.1:PORT/v1&concurrency=4"
          count: 30
          lookahead: 8
"""


@pytest.fixture
def seeded(project: Any, server: Any) -> Any:
    (project.root / "recipe.yaml").write_text(RECIPE.replace("PORT", str(server.port)))
    rng = random.Random(1)
    write(project, [seed(rng) for _ in range(20)])
    return project


def seed(rng: random.Random) -> dict[str, str]:
    topic = " ".join(rng.choices(["rivers", "stamps", "tides", "bread", "kites", "maps", "clocks", "wool"], k=5))
    return {"instruction": f"Explain {topic} to a child.", "input": "", "output": f"It is about {topic[::-1]}."}


def write(project: Any, seeds: list[dict[str, str]]) -> None:
    (project.root / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in seeds))


def test_a_higher_count_asks_only_for_more(
    seeded: Any, server: Any, checks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "latency", (0.3, 0.4))  # so that requests are under way when the count is reached
    mark = len(server.since())
    seeded.build()
    first = {call.body for call in server.since(mark)}
    few = {row["id"]: row for row in seeded.rows("instructions")}
    assert len(few) == 30
    recipe = seeded.root / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("count: 30", "count: 45"))
    between = len(server.since())
    seeded.build()
    more = {row["id"]: row for row in seeded.rows("instructions")}
    assert len(more) == 45
    assert few.items() <= more.items(), "the first thirty are the same"
    assert not {call.body for call in server.since(between)} & first
    assert 15 <= len(server.since(between)) <= 15 + 20
    assert max(Counter(call.body for call in server.since(mark)).values()) == 1
    checks.accounts(seeded)


def test_one_seed_task_more_asks_where_it_is_shown(seeded: Any, server: Any) -> None:
    mark = len(server.since())
    seeded.build()
    first = {call.body for call in server.since(mark)}
    seeds = (seeded.root / "seeds.jsonl").read_text().splitlines()
    fresh = {"instruction": "Name three uses of a paper clip.", "input": "", "output": "Binding, picking, resetting."}
    (seeded.root / "seeds.jsonl").write_text("\n".join([*seeds, json.dumps(fresh)]) + "\n")
    between = len(server.since())
    seeded.build()
    second = server.since(between)
    assert not {call.body for call in second} & first
    shown = [call for call in second if "paper clip" in call.prompt]
    assert shown
    assert len(second) - len(shown) <= 4, "a few draws at the end, in place of those that gave less"
    assert len(second) < len(first) / 2
