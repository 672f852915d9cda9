"""`factory doctor`: what it tells of libraries, how checks become lines and an exit code, and the whole of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from factory.commands import doctor as room
from factory.train.selftest import Check

if TYPE_CHECKING:
    from conftest import Lab


def test_libraries_that_are_missing_or_too_old_are_named_with_what_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [
        "click>=8.2",
        "click>=999.1",
        "no-such-thing>=1.0",
        "ray>=2000.1; extra == 'ray'",
        "presidio-analyzer-x[y]>=2; extra == 'names'",
        "not-for-users>=1; extra == 'dev'",
    ]
    monkeypatch.setattr(room, "requires", lambda _: told)
    found = dict(room.missing())
    assert "pip install 'click>=999.1'" in next(value for name, value in found.items() if name.startswith("click "))
    assert next(name for name in found if name.startswith("click ")).endswith("is older than 999.1")
    assert "no-such-thing is missing" in found
    assert found["presidio-analyzer-x is missing"].endswith("pip install 'dataset-factory[names]'")
    assert not any("not-for-users" in name for name in found)
    assert any(name.startswith("ray ") for name in found)
    assert len(found) == 4


def test_versions_are_compared_as_numbers() -> None:
    assert room._numbers("2.13.0+cpu") > room._numbers("2.8")
    assert room._numbers("0.50.2") >= room._numbers("0.50")


@pytest.mark.parametrize(("passed", "word", "code"), [(True, "pass", 0), (False, "FAIL", 1), (None, "skip", 0)])
def test_a_check_is_a_line_and_decides_the_exit_code(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, passed: bool | None, word: str, code: int
) -> None:
    monkeypatch.setattr(room, "machine", lambda: iter([("cores", "2")]))
    monkeypatch.setattr(room, "tested", lambda: iter([Check("packing", passed, "as measured")]))
    said = lab("doctor")
    assert said.code == code
    assert said.lines[-1].split() == [word, "packing", "as", "measured"]


@pytest.mark.slow
def test_this_machine_passes(lab: Lab) -> None:
    said = lab("doctor")
    assert said.code == 0, said.out
    lines = [line for line in said.lines if line.startswith(("pass", "FAIL", "skip"))]
    assert [line[:4] for line in lines] == ["pass"] * 7
    assert any(line.startswith("GPU") for line in said.lines)
