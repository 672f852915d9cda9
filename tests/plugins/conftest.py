"""A project whose plugins are gone again after the test, and the mail package importable as if it were installed."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from factory.engine.project import enter_project, project_root
from factory.plugins import all_steps, load_plugins, pm

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """An empty project folder. Plugins and modules that a test brings in are taken out again."""
    load_plugins()
    before, plugins, modules = project_root(), set(pm.get_plugins()), set(sys.modules)
    enter_project(tmp_path)
    yield tmp_path
    for plugin in set(pm.get_plugins()) - plugins:
        pm.unregister(plugin)
    for name in set(sys.modules) - modules:
        if name.startswith(("factory_plugins.", "factory_mail", "factory_tensorboard")):
            del sys.modules[name]
    all_steps.cache_clear()
    enter_project(before)


@pytest.fixture
def mail(project: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package of plugins/factory-mail, registered."""
    monkeypatch.syspath_prepend(str(ROOT / "plugins" / "factory-mail"))
    module = importlib.import_module("factory_mail")
    pm.register(module, "mail")
    all_steps.cache_clear()
    return module


@pytest.fixture
def run(project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`factory …` as a command in the project's folder."""

    def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "factory.cli", *arguments],
            cwd=project,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )

    return command


@pytest.fixture
def write(project: Path) -> Callable[[str, str], Path]:
    """A file of the project."""

    def put(name: str, text: str) -> Path:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return put
