"""Answers as a file, replayed by a recipe that asks nobody; and what a build says of its requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.builds


@pytest.fixture
def asked(lab: Any) -> Any:
    lab("build", "lab.yaml")
    return lab


def test_the_answers_of_a_target_are_replayed(asked: Any) -> None:
    said = asked("answers", "lab.yaml", "pairs")
    rows = [json.loads(line) for line in said.lines]
    assert said.code == 0
    assert rows
    assert said.err == f"{len(rows)} answers\n"
    assert {row["model"] for row in rows} == {"toy:a"}
    before = (asked.root / "asked.txt").read_text()
    pairs = [row["text"] for row in rows]
    (asked.root / "said.jsonl").write_text(said.out)
    recipe = (asked.root / "lab.yaml").read_text()
    (asked.root / "replayed.yaml").write_text(
        recipe.replace("toy:a", "replay:said.jsonl").replace("name: lab", "name: replayed")
    )
    built = asked("build", "replayed.yaml", "pairs")
    assert built.code == 0, built.err
    shown = asked("show", "replayed.yaml", "pairs", "-n", "100", "--json").json["sample"]
    assert [record["completion"][0]["content"] for record in shown] == pairs
    assert (asked.root / "asked.txt").read_text() == before, "neither command asked the model"


def test_what_asks_nobody_has_no_answers(asked: Any) -> None:
    said = asked("answers", "lab.yaml", "once")
    assert (said.code, said.err) == (2, "'once' asks no model\n")


def test_what_is_trained_says_that_its_answers_are_not_listed(lab: Any) -> None:
    (lab.root / "plugins").mkdir(exist_ok=True)
    (lab.root / "plugins" / "graded.py").write_text(
        "import factory\nfrom factory import CausalLM, Context, Dataset, Record\n\n\n"
        "@factory.step(requests=lambda records, **_: records)\n"
        "def graded(dataset: Dataset[Record], ctx: Context, judge: CausalLM) -> CausalLM:\n"
        "    ctx.output.mkdir()\n    (ctx.output / 'config.json').write_text('{}')\n"
        "    return CausalLM(uri='x', path=ctx.output)\n\n\n"
        "@factory.hookimpl\ndef register_steps():\n    return [graded]\n"
    )
    (lab.root / "g.yaml").write_text("targets: {x: {from: data/*.jsonl, steps: [graded: {judge: 'toy:a'}]}}\n")
    built = lab("build", "g.yaml")
    assert built.code == 0, built.err
    said = lab("answers", "g.yaml", "x")
    assert said.code == 2
    assert "'x' is trained: what is asked meanwhile depends on its weights and cannot be listed" in said.err


def test_a_build_tells_what_it_asked(asked: Any) -> None:
    lines = asked("build", "lab.yaml").lines
    at = next(number for number, line in enumerate(lines) if "tokens out" in line)
    assert lines[at].split() == ["target", "answers", "tokens", "in", "tokens", "out", "USD"]
    assert lines[at + 1].split()[0] == "pairs"
    report = (asked.root / "build" / "lab" / "report.html").read_text()
    assert "Model requests" in report
    requests = asked("build", "lab.yaml", "--json").json["targets"]["pairs"]["requests"]
    assert requests["answers"] > 0
    assert requests["failed"] == {}


def test_failed_requests_are_told_at_the_end(asked: Any) -> None:
    (asked.root / "a.jsonl").write_text('{"text": "unanswerable"}\n{"text": "b"}\n')
    (asked.root / "f.yaml").write_text("targets: {p: {from: a.jsonl, steps: [ask_toy: {model: 'toy:a'}]}}\n")
    out = asked("build", "f.yaml").out
    assert "failed: p: 1 requests: no idea 1; building again asks 1 of them again, and nothing else" in out
    assert "retries" in asked("plan", "f.yaml").out
    said = asked("answers", "f.yaml", "p")
    assert (len(said.lines), said.err) == (1, "1 answers; 1 failed requests have no answer\n")
