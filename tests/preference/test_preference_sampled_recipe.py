"""Sampling as a stage of a recipe: two models side by side, forecast, replayed, and its answers made into pairs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import factory
from factory import text_of
from factory.engine.forecast import forecast
from factory.engine.plan import make_plan
from factory.engine.project import enter_project, project_root
from factory.engine.recipe import read_recipe
from factory.plugins import pm, unload_files

pytestmark = pytest.mark.builds

RECIPE = """
name: sampled
threads: 1
targets:
  prompts: {{from: prompts.jsonl}}
  answers: {{from: prompts, steps: [sample: {{model: {model}, n: {n}, max_tokens: 6, keep_cut: true}}]}}
  judged: {{from: answers, steps: [longest]}}
  pairs: {{from: judged, steps: [pair: {{policy: all_pairs}}]}}
  labelled: {{from: judged, steps: [unpaired]}}
"""
PLUGIN = '''
"""Two models that answer at once, and a judge that likes the longest."""

from concurrent.futures import Future
from dataclasses import dataclass

import factory
from factory import Answer, Candidates, CausalLM, text_of


@dataclass(frozen=True)
class Fast(CausalLM):
    batch = 1

    def open(self, threads=2):
        return self

    def submit(self, requests):
        future = Future()
        future.set_result([self.answer(request) for request in requests])
        return future

    def answer(self, request):
        size = 1 + int(request.key(self), 16) % 7
        return Answer(f"{self.uri[-1]}{'y' * size}", "length" if size == 7 else "stop")

    def close(self):
        pass


@factory.step
def longest(record: Candidates) -> Candidates:
    """Score each answer by its length."""
    return {**record, "scores": [float(len(text_of(one))) for one in record["completions"]]}


@factory.hookimpl
def register_steps():
    return [longest]


@factory.hookimpl
def open_model(uri):
    return Fast(uri, uri) if uri.startswith("fast:") else None
'''


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    before = project_root()
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "fast.py").write_text(PLUGIN)
    rows = [{"prompt": f"Question {number}?", "completion": "Known.", "topic": number % 2} for number in range(30)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    yield tmp_path
    unload_files()
    enter_project(before)


def build(project: Path, model: str, n: int, **how: Any) -> factory.Result:
    (project / "recipe.yaml").write_text(RECIPE.format(model=model, n=n))
    return factory.build(project / "recipe.yaml", **how)


class Watch:
    """Notes how many answers a stage paid for, and how many were replayed."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[int, int]] = {}

    @factory.hookimpl
    def after_task(self, stage: Any, counts: dict[str, int]) -> None:
        if "asked" in counts:
            self.asked[stage.target] = counts["asked"], counts["replayed"]


@pytest.fixture
def watch() -> Iterator[Watch]:
    watching = Watch()
    pm.register(watching)
    yield watching
    pm.unregister(watching)


def test_two_models_of_a_list_answer_one_prompt(project: Path, watch: Watch) -> None:
    models = '["fast:a", "fast:b"]'
    store = build(project, models, 4, targets="prompts").plan.store
    plan = make_plan(read_recipe(project / "recipe.yaml"), store)
    assert {row.target: row.calls for row in forecast(plan)}["answers"] == 120
    result = build(project, models, 4)
    answers: Any = list(result["answers"])  # type: ignore[arg-type]
    assert len(answers) == 30
    for one in answers:
        assert {text_of(answer)[0] for answer in one["completions"]} == {"a", "b"}
        assert [name[-1] for name in one["meta"]["models"]] == [text_of(answer)[0] for answer in one["completions"]]
        assert one["meta"]["reference"] == "Known."
        assert one["meta"]["topic"] in (0, 1)
    assert watch.asked["answers"] == (120, 0)
    pairs: Any = list(result["pairs"])  # type: ignore[arg-type]
    assert all(len(text_of(one["chosen"])) > len(text_of(one["rejected"])) for one in pairs)
    assert {one["meta"]["group"] for one in pairs} <= {one["id"] for one in answers}
    possible = sum(len(one["completions"]) * (len(one["completions"]) - 1) // 2 for one in answers)
    funnel = result.plan.targets["pairs"].manifest["funnel"]  # type: ignore[index]
    assert len(pairs) + sum(funnel[-1]["reasons"].values()) == possible
    sections = json.loads((result.plan.targets["answers"].folder / "sections.json").read_text())
    assert "candidates of 120 answers" in sections[0]["body"]
    build(project, models, 6)
    assert watch.asked["answers"] == (60, 120)


def test_serial_and_pooled_builds_give_the_same_pairs(project: Path) -> None:
    first = build(project, '["fast:a", "fast:b"]', 3)
    other = build(project, '["fast:a", "fast:b"]', 3, store=project / "other", executor="local:2")
    for target in ("pairs", "labelled"):
        assert list(first[target]) == list(other[target])  # type: ignore[arg-type]
        assert len(list(first[target])) > 30  # type: ignore[arg-type]


@pytest.mark.model
@pytest.mark.slow
def test_a_model_of_this_process_beside_another_and_nothing_is_asked_again(project: Path, watch: Watch) -> None:
    models = '["bundled:smollm2", "fast:a"]'
    first = build(project, models, 4, limit=3, targets="answers")
    assert watch.asked["answers"] == (12, 0)
    answers: Any = list(first["answers"])  # type: ignore[arg-type]
    for one in answers:
        assert set(one["meta"]["models"]) == {"bundled:smollm2", "fast:a"}
        assert sum(one["meta"]["draws"]) <= 4
    shutil.rmtree(first.plan.targets["answers"].folder)
    again = build(project, models, 4, limit=3, targets="answers")
    assert watch.asked["answers"] == (0, 12)
    assert list(again["answers"]) == answers  # type: ignore[arg-type]
