"""The public names: one sorted list, loaded when used, each module importable alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import factory

PACKAGE = Path(factory.__file__).parent


def test_the_list_is_sorted_and_every_name_is_there() -> None:
    assert factory.__all__ == sorted(set(factory.__all__))
    assert dir(factory) == factory.__all__
    for name in factory.__all__:
        assert getattr(factory, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Recrd'"):
        factory.Recrd  # noqa: B018


def test_type_checkers_see_what_is_loaded() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {(node.module, alias.name) for node in checked.body for alias in node.names}  # type: ignore[attr-defined]
    assert {name for _, name in imported} == set(factory.__all__)
    assert imported == {(home, name) for name, home in factory._HOME_OF.items()}


ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
ALONE = ["factory.errors", "factory.plugins", "factory.hookspecs", "factory.cli"] + [
    f"factory.{room}" for room in ROOMS
]
ALONE += [f"factory.engine.{path.stem}" for path in sorted((PACKAGE / "engine").glob("[a-z]*.py"))]
IMPORT_EACH = """
import sys, click, numpy, pluggy, pyarrow.compute, pyarrow.parquet, pydantic  # others' imports are not the question
for name in sys.argv[1:]:
    for known in [known for known in sys.modules if known.partition(".")[0] == "factory"]:
        del sys.modules[known]  # as in a fresh process
    try:
        __import__(name)
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
"""


@pytest.mark.builds
def test_each_module_can_be_imported_alone_without_a_warning() -> None:
    command = [sys.executable, "-W", "error", "-c", IMPORT_EACH, *ALONE]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, ""), run.stderr
