"""What a step logs lies with its stage: once a step, whatever was killed and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import factory

PLUGIN = """
import factory
from factory import Context, Dataset, Text
from collections.abc import Iterator

@factory.step
def resumes(dataset: Dataset[Text], ctx: Context) -> Iterator[Text]:
    saved = ctx.workdir / "saved"
    done = int(saved.read_text()) if saved.exists() else 0
    attempt = 2 if done else 1
    ctx.report("Samples", f"of attempt {attempt}")
    for step in range(done + 1, 7):
        ctx.log(step, loss=10 * attempt + step)
        if step % 2 == 0:
            ctx.log(step, **{"loss/wiki": attempt})
        if step == 4:
            saved.write_text("4")
        if attempt == 1 and step == 5:
            with open(ctx.workdir / "metrics.jsonl", "a") as file:
                file.write('\\n{"step": 6, "lo')  # as a kill leaves it
            raise ValueError("killed")
    yield from dataset

@factory.hookimpl
def register_steps():
    return [resumes]
"""


def test_a_resumed_stage_has_every_step_once(project: Any) -> None:
    project.write("plugins/resuming.py", PLUGIN)
    project.lines("a.jsonl", "one")
    project.recipe("targets: {made: {from: a.jsonl, steps: [resumes]}}")
    with pytest.raises(factory.StepError, match="killed"):
        project.build()
    (work,) = (project.root / ".factory" / "work").iterdir()
    assert json.loads((work / "sections.json").read_text()) == [{"title": "Samples", "body": "of attempt 1"}]
    project.build()
    folder: Path = project.result.plan.targets["made"].folder
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    before = [{"step": n, "loss": 10.0 + n, **({"loss/wiki": 1.0} if n % 2 == 0 else {})} for n in range(1, 5)]
    assert logged == [*before, {"step": 5, "loss": 25.0}, {"step": 6, "loss": 26.0, "loss/wiki": 2.0}]
    assert json.loads((folder / "sections.json").read_text())[0]["body"] == "of attempt 2"
    assert not project.result.plan.targets["made"].work.exists()
