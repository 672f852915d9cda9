"""After `make install` no kernel of a built-in step is left to compile, and an edit costs the kernels it touches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from factory import warm
from factory.text import compiled

FORGOTTEN = """
from pathlib import Path
import importlib
from factory import warm
from factory.text import compiled

for steps in warm.groups():
    warm.compile_group(steps)
warm.call()
for path in sorted(compiled.PACKAGE.rglob("*.py")):
    if b"@njit" in path.read_bytes():
        importlib.import_module(".".join(path.relative_to(compiled.PACKAGE.parent).with_suffix("").parts))
met = [kernel for kernel in compiled.KERNELS if kernel.signatures]
seen = {id(kernel) for kernel in met}
while met:  # what a kernel calls was compiled with it, even if it is here from the cache
    inside = met.pop().py_func
    for called in map(inside.__globals__.get, inside.__code__.co_names):
        if hasattr(called, "py_func") and id(called) not in seen:
            seen.add(id(called))
            met.append(called)
print(len(compiled.KERNELS), *(one.py_func.__qualname__ for one in compiled.KERNELS if id(one) not in seen))
"""


@pytest.mark.builds
def test_no_kernel_is_forgotten() -> None:
    done = subprocess.run([sys.executable, "-c", FORGOTTEN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kernels, *forgotten = done.stdout.split()
    assert int(kernels) > 50
    assert forgotten == []


def test_every_reading_is_built() -> None:
    steps = [step for group in warm.groups() for step in group]
    assert sum(step.startswith("gopher_repetition: ") for step in steps) == 6
    assert len(steps) == len(set(steps)) > 20


def test_the_hash_is_over_a_module_and_what_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("one", "two", "three", "apart")
    one, two, three, apart = (tmp_path / "room" / f"{name}.py" for name in names)
    (tmp_path / "room" / "inner").mkdir(parents=True)
    one.write_text("from .inner import (\n    two,\n)\nimport numpy\n")
    two = two.parent / "inner" / two.name
    two.write_text("from factory.room.three import SIZE\nif SIZE:\n    from ..apart import more\n")
    three.write_text("from . import one\nSIZE = 1\n")
    apart.write_text("more = 1\n")
    monkeypatch.setattr(compiled, "PACKAGE", tmp_path)

    def found() -> list[str]:
        compiled.source_hash.cache_clear()
        compiled._imports.cache_clear()
        return [compiled.source_hash(path) for path in (one, apart)]

    first = found()
    three.write_text("from . import one\nSIZE = 2\n")
    second = found()
    assert first[0] != second[0]
    assert first[1] == second[1]
    apart.write_text("more = 2\n")
    third = found()
    assert second[0] == third[0]
    assert second[1] != third[1]
    compiled.source_hash.cache_clear()
    compiled._imports.cache_clear()


@compiled.njit(nogil=True)
def _behind(numbers: np.ndarray, at: int) -> int:
    return at + numbers[at]


@compiled.njit(nogil=True)
def _walk(numbers: np.ndarray) -> int:
    at = 0
    while at < len(numbers):
        at = _behind(numbers, at)
    return at


def test_a_variable_that_begins_as_a_number_does_not_compile_a_kernel_twice() -> None:
    assert _walk(np.array([1, 2, 1, 4])) == 7
    assert len(_behind.signatures) == 1  # type: ignore[attr-defined]
