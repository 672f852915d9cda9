"""Projects that the engine's tests build in: the toy plugin, small files, and what ran."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import factory
from factory.engine.build import Result, load_project
from factory.engine.plan import make_plan
from factory.engine.project import enter_project, project_root
from factory.engine.recipe import read_recipe
from factory.engine.stage import Plan
from factory.plugins import load_plugins, pm, unload_files

TOY = Path(__file__).parent / "toy"


@dataclass(eq=False)
class Ran:
    """A plugin that notes what a build runs."""

    stages: list[str] = field(default_factory=list)  # `target: label` of each stage that was not stored
    stored: list[str] = field(default_factory=list)  # and of each that was
    tasks: Counter[str] = field(default_factory=Counter)  # per-shard tasks by stage
    asked: dict[str, tuple[int, int]] = field(default_factory=dict)  # stage -> model calls (asked, replayed)

    @factory.hookimpl
    def after_task(self, stage: Any, done: int, total: int, counts: dict[str, int]) -> None:
        if "asked" in counts:
            self.asked[stage.target] = counts["asked"], counts["replayed"]
        elif "in" in counts:
            self.tasks[f"{stage.target}: {stage.label}"] += 1

    @factory.hookimpl
    def after_stage(self, stage: Any, manifest: dict[str, Any], cached: bool) -> None:
        (self.stored if cached else self.stages).append(f"{stage.target}: {stage.label}")


@dataclass(eq=False)
class Project:
    """A folder with the toy plugin in it."""

    root: Path
    result: Result | None = None

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def lines(self, name: str, *texts: str) -> Path:
        """A jsonl file of Text rows."""
        import orjson

        return self.write(name, b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts))

    def recipe(self, text: str, name: str = "r.yaml") -> Path:
        return self.write(name, dedent(text))

    def build(self, recipe: str | Path = "r.yaml", *targets: str, **more: Any) -> Ran:
        """Build and say what ran; the result is in `self.result`."""
        ran = Ran()
        pm.register(ran)
        try:
            self.result = factory.build(self.root / recipe, targets, **more)
        finally:
            pm.unregister(ran)
        return ran

    def read(self, name: str) -> list[str]:
        return (self.root / name).read_text().splitlines()

    def plan(self, recipe: str | Path = "r.yaml", *targets: str, limit: int | None = None) -> Plan:
        path = self.root / recipe
        store = load_project(path)
        return make_plan(read_recipe(path), store, targets, limit)

    def records(self, target: str) -> list[dict[str, Any]]:
        assert self.result is not None
        return list(self.result[target])  # type: ignore[arg-type]

    def dropped(self, target: str) -> list[dict[str, Any]]:
        assert self.result is not None
        stages = self.result.plan.of_target(target)
        return [row for stage in stages for row in stage.store.dropped(stage.fingerprint)]

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def artifacts(self) -> dict[str, bytes]:
        """Every file of every artifact."""
        folder = self.root / ".factory" / "artifacts"
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    def written(self) -> dict[str, int]:
        """When each file of the store was written (ns)."""
        folder = self.root / ".factory"
        return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Project]]:
    """Makes projects; the process is left as it was found."""
    before = project_root()

    def make() -> Project:
        root = tmp_path_factory.mktemp("project")
        shutil.copytree(TOY, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        return Project(root)

    load_plugins()
    yield make
    unload_files()
    enter_project(before)


@pytest.fixture
def project(new_project: Callable[[], Project]) -> Project:
    """A project of a test's own."""
    return new_project()
