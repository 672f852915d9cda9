"""Every hook is called when it should be, with what it was promised."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from factory import Dataset, StepError, hookspecs
from factory.cli import cli
from factory.engine.stage import Plan, Stage
from factory.plugins import all_steps, load_plugins, open_uri, pm

if TYPE_CHECKING:
    from conftest import Project

LISTENER = """
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import click
import factory
from factory import CausalLM, Drop, Piece, Source, Text

calls = []

@factory.step
def heard(record: Text) -> bool:
    if record["text"] == "stop":
        raise RuntimeError("stopped")
    return True

@factory.hookimpl
def register_steps():
    return [heard]

@factory.hookimpl
def register_commands(cli):
    @cli.command()
    def listen():
        '''Hear what is said.'''
        click.echo("heard")

class Words(Source):
    kind = Text
    def pieces(self):
        return [Piece(self.uri)]
    def rows(self, piece):
        for n, word in enumerate(self.uri[6:].split(), 1):
            yield f"{self.uri}#{n}", {"text": word}

@factory.hookimpl
def open_dataset(uri):
    return Words(uri) if uri.startswith("words:") else None

@factory.hookimpl
def save_dataset(dataset, uri):
    if uri.startswith("calls:"):
        calls.append(("save_dataset", uri, [record["text"] for record in dataset]))
        return True

@factory.hookimpl
def save_model(model, uri):
    return f"{model.uri} in {uri}" if uri.startswith("calls:") else None

@factory.hookimpl
def open_model(uri):
    return CausalLM(uri, identity="heard") if uri == "ear:" else None

@factory.hookimpl
def open_executor(uri):
    return ThreadPoolExecutor(1) if uri == "thread" else None

@factory.hookimpl
def before_build(plan):
    calls.append(("before_build", plan))

@factory.hookimpl
def after_task(stage, done, total, counts):
    calls.append(("after_task", stage, done, total, counts))

@factory.hookimpl
def after_stage(stage, manifest, cached):
    calls.append(("after_stage", stage, manifest, cached))

@factory.hookimpl
def log_metrics(stage, step, metrics):
    calls.append(("log_metrics", stage, step, metrics))

@factory.hookimpl
def after_build(plan, error):
    calls.append(("after_build", plan, error))
"""


@pytest.fixture
def heard(project: Project) -> Callable[[str], list[tuple[Any, ...]]]:
    """Calls of a hook during the builds of `project`, where a plugin listens."""
    project.write("plugins/listener.py", LISTENER)
    project.recipe("targets: {t: {from: 'words:one two', steps: [heard]}, n: {from: t, steps: [how_many]}}")

    def calls(hook: str) -> list[tuple[Any, ...]]:
        listener = pm.get_plugin(str((project.root / "plugins" / "listener.py").resolve()))
        return [call[1:] for call in listener.calls if call[0] == hook]  # type: ignore[union-attr]

    project.plan()
    return calls


Heard = Callable[[str], list[tuple[Any, ...]]]


def test_every_hook_has_a_test_named_after_it() -> None:
    hooks = [name for name, value in vars(hookspecs).items() if hasattr(value, "factory_spec")]
    assert len(hooks) == 12
    tested = re.findall(r"^def test_hook_(\w+)", Path(__file__).read_text(), re.MULTILINE)
    assert sorted(tested) == sorted(hooks)


def test_hook_register_steps(heard: Heard) -> None:
    assert all_steps()["heard"].signature == "Text → bool"


def test_hook_register_commands(heard: Heard, capsys: pytest.CaptureFixture[str]) -> None:
    group = click.Group("group")
    pm.hook.register_commands(cli=group)
    group.main(["listen"], standalone_mode=False)
    assert capsys.readouterr().out == "heard\n"
    assert "listen" not in cli.commands


def test_hook_open_dataset(heard: Heard, project: Project) -> None:
    assert open_uri("dataset", "words:a b").pieces()[0].key == "words:a b"
    project.build()
    assert [record["parents"] for record in project.records("t")] == [["words:one two#1"], ["words:one two#2"]]


def test_hook_save_dataset(heard: Heard, project: Project) -> None:
    project.build()
    assert project.result
    dataset = project.result["t"]
    assert isinstance(dataset, Dataset)
    assert pm.hook.save_dataset(dataset=dataset, uri="calls:x") is True
    assert heard("save_dataset") == [("calls:x", ["one", "two"])]
    assert not pm.hook.save_dataset(dataset=dataset, uri="elsewhere:x")


def test_hook_save_model(heard: Heard) -> None:
    model = open_uri("model", "ear:")
    assert pm.hook.save_model(model=model, uri="calls:x") == "ear: in calls:x"
    assert pm.hook.save_model(model=model, uri="elsewhere:x") is None


def test_hook_open_model(heard: Heard) -> None:
    assert open_uri("model", "ear:").identity == "heard"
    assert open_uri("model", "toy:x").identity == "toy:x", "each plugin is asked until one knows"


def test_hook_open_executor(heard: Heard, project: Project) -> None:
    assert len(project.build(executor="thread").stages) == 2
    threaded = project.artifacts()
    for path in (project.root / ".factory").glob("artifacts/*/manifest.json"):
        path.unlink()
    project.build()
    assert project.artifacts() == threaded


def test_hook_before_build(heard: Heard, project: Project) -> None:
    project.build()
    ((plan,),) = heard("before_build")
    assert isinstance(plan, Plan)
    assert list(plan.targets) == ["t", "n"]


def test_hook_after_task(heard: Heard, project: Project) -> None:
    project.build()
    ((stage, done, total, counts),) = heard("after_task")
    assert isinstance(stage, Stage)
    assert (stage.target, done, total, counts) == ("t", 1, 1, {"in": 2, "out": 2, "dropped": 0})


def test_hook_after_stage(heard: Heard, project: Project) -> None:
    project.build()
    project.build()
    told = heard("after_stage")
    assert [(stage.target, cached) for stage, _, cached in told] == [("t", 0), ("n", 0), ("t", 1), ("n", 1)]
    for stage, manifest, _ in told:
        assert manifest == stage.manifest


def test_hook_log_metrics(heard: Heard, project: Project) -> None:
    project.build()
    ((stage, step, metrics),) = heard("log_metrics")
    assert (stage.target, step, metrics) == ("n", 1, {"records": 2.0})


def test_hook_after_build(heard: Heard, project: Project) -> None:
    project.build()
    project.recipe("targets: {t: {from: 'words:one stop', steps: [heard]}}")
    with pytest.raises(StepError):
        project.build()
    (_, fine), (plan, error) = heard("after_build")
    assert fine is None
    assert isinstance(error, StepError)
    assert plan.targets["t"].manifest is None


def test_hooks_are_called_in_order(heard: Heard, project: Project) -> None:
    project.build()
    listener = pm.get_plugin(str((project.root / "plugins" / "listener.py").resolve()))
    names = [call[0] for call in listener.calls]  # type: ignore[union-attr]
    middle = ["after_task", "after_stage", "log_metrics", "after_stage"]
    assert names == ["before_build", *middle, "after_build"]


def test_built_in_plugins_come_through_the_same_door() -> None:
    load_plugins()
    assert {name.rpartition(".")[2] for name, plugin in pm.list_name_plugin() if name.startswith("factory.")} == {
        *("corpus", "models", "instruct", "preference", "vocabulary", "train", "evaluate", "backends", "report")
    }
