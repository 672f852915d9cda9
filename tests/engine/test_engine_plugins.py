"""Drop-in plugins: three lines in a file are a plugin; what is wrong with one is said with file and line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from factory import PluginError, Text
from factory.engine.build import load_project
from factory.plugins import all_steps, get_step, load_plugins, open_uri, pm, unload_files

if TYPE_CHECKING:
    from conftest import Project

GOOD = """
import factory

@factory.step
def good(record: factory.Text) -> bool:
    return True

@factory.hookimpl
def register_steps():
    return [good]
"""
HOOK, STEP = "import factory\n@factory.hookimpl\n", "import factory\n@factory.step\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import factory\n\ndef broken(:\n", "3: SyntaxError: invalid syntax"),
        ("import factory\n\n\nundefined\n", "4: NameError: name 'undefined' is not defined"),
        ("import factory\ndef f():\n    1 / 0\nf()\n", "3: ZeroDivisionError: division by zero"),
        ("import no_such_module_here\n", "1: ModuleNotFoundError: No module named 'no_such_module_here'"),
        (HOOK + "def open_datset(uri): pass\n", "there is no hook 'open_datset'; did you mean 'open_dataset'?"),
        (HOOK + "def open_dataset(url): pass\n", "PluginValidationError"),
        (STEP + "def f(record: int) -> int: ...\n", "step factory_plugins.odd.f: a step's first parameter"),
        (STEP + "def f(record: factory.Text, n=3) -> bool: ...\n", "option 'n' has no type annotation"),
        (STEP + "def f(record: 'factory.Txt') -> bool: ...\n", "has no attribute 'Txt'"),
        (GOOD.replace("[good]", "[len]"), "register_steps returned <built-in function len>"),
        (GOOD.replace("[good]", "[good, other]") + "@factory.step\ndef other(record: factory.Text) -> bool: ...\n"
         "other = type(good)(**{**vars(other), 'name': 'good'})\n", "two steps named 'good'"),
    ],
)  # fmt: skip
def test_a_plugin_with_a_mistake_is_named_and_may_be_mended(project: Project, text: str, said: str) -> None:
    path = project.write("plugins/odd.py", text)
    project.recipe("targets: {t: {from: a.jsonl, steps: [good]}}")
    project.lines("a.jsonl", "one")
    with pytest.raises(PluginError) as caught:
        project.build()
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    project.write("plugins/odd.py", GOOD)
    assert project.build().stages == ["t: read → good"]


def test_a_file_that_is_removed_takes_its_steps_along(project: Project) -> None:
    path = project.write("plugins/more.py", GOOD)
    load_project(project.root / "r.yaml")
    assert get_step("good").takes is Text
    path.unlink()
    load_project(project.root / "r.yaml")
    with pytest.raises(PluginError, match="no step named 'good'"):
        get_step("good")


def test_the_plugins_of_another_project_are_gone(new_project: Callable[[], Project]) -> None:
    one, other = new_project(), new_project()
    one.write("plugins/more.py", GOOD)
    load_project(one.root / "r.yaml")
    assert "good" in all_steps()
    load_project(other.root / "r.yaml")
    assert "good" not in all_steps()
    assert {"shout", "normalize"} <= set(all_steps())


def test_loading_again_changes_nothing(project: Project) -> None:
    load_project(project.root / "r.yaml")
    before, module = pm.list_name_plugin(), sys.modules["factory_plugins.toy"]
    load_plugins(project.root / "plugins")
    load_project(project.root / "r.yaml")
    assert pm.list_name_plugin() == before
    assert sys.modules["factory_plugins.toy"] is module
    unload_files()
    assert not any(name.startswith("factory_plugins.") for name in sys.modules)
    assert "shout" not in all_steps()


def test_files_that_begin_with_an_underscore_are_no_plugins(project: Project) -> None:
    project.write("plugins/_draft.py", "this is no Python")
    load_project(project.root / "r.yaml")
    assert "shout" in all_steps()


def test_nothing_is_written_beside_a_plugin(project: Project) -> None:
    load_project(project.root / "r.yaml")
    assert [path.name for path in (project.root / "plugins").iterdir()] == ["toy.py"]


def test_what_no_plugin_knows_is_said() -> None:
    load_plugins()
    with pytest.raises(PluginError, match="no plugin opens the executor 'cloud:9'"):
        open_uri("executor", "cloud:9")
    with pytest.raises(PluginError, match="did you mean 'normalize'"):
        get_step("normalise")


def test_one_file_is_one_plugin_whether_its_path_is_relative_or_absolute(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root.parent)
    for recipe in (Path(project.root.name) / "r.yaml", project.root / "r.yaml"):
        load_project(recipe)
        load_plugins(recipe.parent / "plugins")
        names = [name for name, _ in pm.list_name_plugin() if name.endswith("toy.py")]
        assert names == [str(project.root.resolve() / "plugins" / "toy.py")]
    all_steps()
