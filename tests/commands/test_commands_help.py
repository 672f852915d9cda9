"""The command line itself: help that loads nothing heavy, mistakes in words, exit codes."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from factory import __version__
from factory.cli import COMMANDS

if TYPE_CHECKING:
    from conftest import Lab

HEAVY = {"torch", "transformers", "datasets", "openai", "ray", "pyarrow", "pydantic", "numpy", "rich", "yaml"}
HELP = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
sys.argv = ["factory", "--help"]
from factory.cli import main
main()
"""


def test_help_loads_nothing_heavy_and_is_quick() -> None:
    used = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert HEAVY.isdisjoint(run.stderr.split())
    assert all(name in run.stdout for name in COMMANDS)
    assert min(used) < 0.4, "seconds of CPU; the less of two, since others use this machine"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(lab: Lab, name: str) -> None:
    said = lab(name, "--help")
    assert said.code == 0
    assert name in said.lines[0]
    assert len(said.lines) > 5


def test_version(lab: Lab) -> None:
    assert lab("--version").out == f"factory, version {__version__}\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["biuld", "lab.yaml"], "no command 'biuld'; did you mean 'build'?"),
        (["build"], "Missing argument 'RECIPE'"),
        (["build", "lab.yaml", "--limt", "3"], "--limit"),
        (["build", "lab.yaml", "--limit", "0"], "'--limit'"),
        (["show", "lab.yaml", "pairs", "-n", "many"], "'-n'"),
    ],
)
def test_mistakes_on_the_command_line_are_usage_errors(lab: Lab, args: list[str], said: str) -> None:
    answer = lab(*args)
    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_debug_shows_the_traceback(lab: Lab) -> None:
    from factory import InputError

    with pytest.raises(InputError):
        lab("--debug", "build", "nowhere.yaml")
