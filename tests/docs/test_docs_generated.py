"""The generated pages say what the code does, and `--check` notices when they do not."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from factory import hookspecs
from factory.cli import COMMANDS
from factory.plugins import DEFAULT_PLUGINS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(generate: ModuleType) -> dict[str, str]:
    return dict(generate.pages())


def hooks() -> list[str]:
    return [name for name, value in vars(hookspecs).items() if hasattr(value, "factory_spec")]


@pytest.mark.parametrize("name", hooks())
def test_every_hook_is_documented_with_its_exact_signature(pages: dict[str, str], name: str) -> None:
    section = pages["hooks.md"].split(f"\n## {name}\n")[1].split("\n## ")[0]
    spec = getattr(hookspecs, name)
    signature = inspect.signature(spec)
    arguments = ", ".join(f"{one.name}: {one.annotation}" for one in signature.parameters.values())
    assert f"def {name}({arguments}) -> {signature.return_annotation}\n" in section
    assert (inspect.getdoc(spec) or "?") in section
    assert ("*First result.*" in section) == bool(spec.factory_spec["firstresult"])


@pytest.mark.parametrize("name", hooks())
def test_every_hook_has_a_user_in_the_tree(pages: dict[str, str], name: str) -> None:
    section = pages["hooks.md"].split(f"\n## {name}\n")[1].split("\n## ")[0]
    user = ROOT / section.split("Used by `")[1].split("`")[0]
    assert f"def {name}(" in user.read_text(encoding="utf-8")


def test_every_built_in_step_is_documented_with_every_option(pages: dict[str, str]) -> None:
    for module in DEFAULT_PLUGINS:
        loaded = importlib.import_module(module)
        for step in loaded.register_steps() if hasattr(loaded, "register_steps") else []:
            section = pages["steps.md"].split(f"\n### {step.name}\n")[1].split("\n### ")[0].split("\n## ")[0]
            assert f"`{step.signature}` · {step.kind.value}" in section
            assert step.doc in section
            for option in step.options.model_fields:
                assert f"\n| `{option}` | " in section


def test_every_command_is_documented(pages: dict[str, str]) -> None:
    for name in COMMANDS:
        assert f"\n## factory {name}\n\n```text\nUsage: factory {name} " in pages["cli.md"]


@pytest.mark.builds
def test_pages_do_not_depend_on_the_terminal_or_on_plugins(pages: dict[str, str], tmp_path: Path) -> None:
    """Another width, a folder with drop-in plugins, an installed plugin: the same bytes."""
    info = tmp_path / "factory_mail-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: factory-mail\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[factory]\nmail = factory_mail\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "plugins" / "factory-mail"), str(ROOT / "docs")])
    ran = subprocess.run(
        [sys.executable, "-c", "import generate, json; print(json.dumps(generate.pages()))"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "30", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ran.stdout) == pages


def test_a_stale_page_fails_the_check(
    generate: ModuleType,
    pages: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(generate, "DOCS", tmp_path)
    assert generate.main([]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == pages
    assert generate.main(["--check"]) == 0
    (tmp_path / "cli.md").write_text("old", encoding="utf-8")
    capsys.readouterr()
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "stale, since the code has changed: docs/cli.md; run `make docs`\n"
    assert (tmp_path / "cli.md").read_text(encoding="utf-8") == "old"
