"""Docstrings from source files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from factory import Drop, InputError
from factory.corpus.sources.python_docs import docstrings, open_python

SOURCE = '''"""The module.

    Indented on.
"""
import nothing_that_exists

def plain(a, *, b: int = 1) -> str:
    """Plain."""
    def inner():
        """Inner."""

class Thing(Base):
    """A thing."""

    def __init__(self, size, /, *rest): pass

    async def method(self, x=None):
        """Method."""

    @classmethod
    def make(cls):
        """Make."""

    @staticmethod
    def free(self_like):
        """Free."""

    def silent(self): pass

try:
    pass
except ImportError:
    def fallback():
        """   """
else:
    def found(): r"""Raw \\d."""
'''


def test_docstrings_with_signatures_and_lines(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/__init__.py").write_text(SOURCE)
    rows: dict[int, Any] = dict(docstrings(tmp_path / "pkg/__init__.py", "pkg/__init__.py"))
    assert {line: row["text"] for line, row in rows.items()} == {
        1: "pkg\n\nThe module.\n\nIndented on.",
        7: "pkg.plain(a, *, b: int=1) -> str\n\nPlain.",
        9: "pkg.plain.inner()\n\nInner.",
        12: "pkg.Thing(size, /, *rest)\n\nA thing.",
        17: "pkg.Thing.method(x=None)\n\nMethod.",
        21: "pkg.Thing.make()\n\nMake.",
        25: "pkg.Thing.free(self_like)\n\nFree.",
        36: "pkg.found()\n\nRaw \\d.",
    }
    meta = {"name": "pkg.Thing", "kind": "class", "path": "pkg/__init__.py", "line": 12}
    assert {key: rows[12][key] for key in meta} == meta


def test_source_that_does_not_parse_is_a_drop(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def (:\n")
    ((line, row),) = docstrings(tmp_path / "bad.py", "bad.py")
    assert isinstance(row, Drop)
    assert (line, row.reason) == (1, "malformed python")


def test_the_standard_library_is_read_without_importing_it() -> None:
    source = open_python("python:stdlib")
    assert source is not None
    pieces = source.pieces()
    places = [place for piece in pieces for place in piece.files]
    assert len(places) == len(set(places)) > 400
    assert not [place for place in places if "/test/" in place or "/idlelib/" in place or "site-packages" in place]
    piece = next(piece for piece in pieces if "python:stdlib/json/__init__.py" in piece.files)
    before = set(sys.modules)
    rows = {row["name"]: (place, row) for place, row in source.rows(piece) if not isinstance(row, Drop)}
    assert set(sys.modules) - before <= {"__future__"}
    place, row = rows["json.dumps"]
    assert place == f"python:stdlib/json/__init__.py#{row['line']}"
    assert row["text"].startswith("json.dumps(obj, *, skipkeys=False")
    assert [piece.key for piece in source.pieces()] == [piece.key for piece in pieces]


def test_any_package_and_its_modules() -> None:
    source = open_python("python:pluggy")
    assert source is not None
    rows = [(place, row) for piece in source.pieces() for place, row in source.rows(piece)]
    assert any(row["name"] == "pluggy._manager.PluginManager" for _, row in rows)  # type: ignore[index]
    assert all(place.startswith("python:pluggy/") for place, _ in rows)
    module = open_python("python:pluggy._manager")
    assert module is not None
    assert [piece.files for piece in module.pieces()] == [("python:pluggy._manager/.",)] or len(module.pieces()) == 1
    inner = [row for piece in module.pieces() for _, row in module.rows(piece)]
    assert all(row["path"] == "pluggy/_manager.py" for row in inner)  # type: ignore[index]
    assert open_python("hf:x") is None
    for uri in ("python:no_such_package", "python:pluggy.nothing", "python:", "python:sys"):
        with pytest.raises(InputError, match=uri):
            open_python(uri)
