"""A build that logs, is stopped and goes on, read back by TensorBoard's own reader."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import factory
from factory.plugins import pm

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "plugins" / "factory-tensorboard"
STEPS = """
import factory
from collections.abc import Iterator
from factory import Context, Dataset, Text

@factory.step
def learns(dataset: Dataset[Text], ctx: Context) -> Iterator[Text]:
    saved = ctx.workdir / "saved"
    done = 3 if saved.exists() else 0
    for step in range(done + 1, 9):
        ctx.log(step, train_loss=step + 10 * done, **{"reward/length": 0.25})
        if step == 6 and not done:
            saved.touch()
            raise ValueError("killed")
    ctx.log(8, kl=float("nan"))
    yield from dataset

@factory.hookimpl
def register_steps():
    return [learns]
"""


@pytest.fixture
def plugin(project: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PACKAGE))
    module = importlib.import_module("factory_tensorboard")
    pm.register(module, "tensorboard")
    return module


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.builds
def test_a_killed_stage_goes_on_in_its_run(
    project: Path, plugin: ModuleType, write: Callable[[str, str], Path]
) -> None:
    write("plugins/learning.py", STEPS)
    write("a.jsonl", '{"text": "one"}\n')
    recipe = write("recipe.yaml", "name: small\ntargets: {made: {from: a.jsonl, steps: [learns]}}\n")
    threads = threading.active_count()
    with pytest.raises(factory.StepError, match="killed"):
        factory.build(recipe)
    result = factory.build(recipe)
    run = project / "build" / "small" / "tensorboard" / "made" / result.plan.targets["made"].fingerprint
    found = scalars(run)
    assert found["train_loss"] == [(1, 1), (2, 2), (3, 3), *((step, step + 30) for step in range(4, 9))]
    assert found["reward/length"] == [(step, 0.25) for step in range(1, 9)]
    assert [step for step, _ in found["kl"]] == [8]
    assert threading.active_count() == threads, "every writer is closed"
    files = sorted(run.iterdir())
    factory.build(recipe)
    assert sorted(run.iterdir()) == files, "what is stored is not written again"


def test_what_is_logged_outside_a_build_goes_nowhere(project: Path, plugin: ModuleType) -> None:
    plugin.after_build()
    plugin.log_metrics(stage=SimpleNamespace(target="x", fingerprint="0"), step=1, metrics={"loss": 1.0})
    assert not list(project.iterdir())
    assert plugin.open_runs == {}


def test_the_core_does_not_need_it() -> None:
    core = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = core[core.index("\ndependencies = [") : core.index("\ndev = [")]
    assert "tensorboard" not in needed
