"""A project that has been built once, copies of it to spoil, and the command line in this process."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from factory.cli import main
from factory.engine.project import enter_project, project_root
from factory.plugins import load_plugins, unload_files

TOY = Path(__file__).parent.parent / "engine" / "toy"

RECIPE = """\
name: lab
targets:
  texts:
    from: data/*.jsonl
    steps: [halves, shout, short: {n: 4}, halves]
  once: {from: texts, steps: [one_of_each]}
  pairs: {from: once, steps: [ask_toy: {model: 'toy:a'}]}
  counted: {from: pairs, steps: [how_many]}
  model: {from: pairs, steps: [toy_train]}
"""


@dataclass
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Lab:
    """A project folder and the commands that are given in it."""

    root: Path
    run: Callable[..., Said]

    def __call__(self, *args: str) -> Said:
        return self.run(self.root, *args)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def files(self) -> set[str]:
        """Everything in the project but the plugin."""
        return {str(p.relative_to(self.root)) for p in self.root.rglob("*") if "plugins" not in p.parts and p.is_file()}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every target of the recipe is built. Only copies of it are used."""
    import factory

    before = project_root()
    root = tmp_path_factory.mktemp("built") / "lab"
    shutil.copytree(TOY, root, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "lab.yaml").write_text(RECIPE)
    (root / "data").mkdir()
    for number, texts in enumerate([("abcdefgh", "long enough to drop"), ("abcdwxyz",)]):
        rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (root / "data" / f"{number}.jsonl").write_text(rows)
    load_plugins()
    factory.build(root / "lab.yaml")
    unload_files()
    enter_project(before)
    return root


@pytest.fixture
def lab(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Lab]:
    """A copy of the project, everything in it built."""

    def run(folder: Path, *args: str) -> Said:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["factory", *args])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Said(ended.value.code, out, err)  # type: ignore[arg-type]

    before = project_root()
    yield Lab(shutil.copytree(built, tmp_path / "lab", symlinks=True), run)
    unload_files()
    enter_project(before)
