"""The kit's work on a source, in a process of its own: read the samples, build them, damage them, read them again.

The second turn does the first half of it in another process with another hash seed and another folder, and compares.
"""

from __future__ import annotations

import pickle
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from factory import Drop, FactoryError, Piece, Source, digest, place_of, project_path
from factory.plugins import open_uri

from .outcome import difference
from .report import Finding
from .stand import OWN
from .trial import Trial, build

WORTH = 8 << 20  # bytes of a piece from which it shows whether a source streams
BUFFERS = 4 << 20  # of a reader and its decompression, whatever it reads
KIT = (OWN, "plugins", ".factory", "build")
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "overwritten with noise": lambda data: random.Random(0).randbytes(min(len(data), 4096) or 1),
}
Rows = list[tuple[str, Any]]


class Sampling(Trial):
    """A source's turn."""

    @property
    def uri(self) -> str:
        return str(self.settings["uri"])

    def found(self, check: str, wrong: str = "") -> bool:
        self.find(Finding(self.uri, check, "failed" if wrong else "passed", wrong))
        return not wrong

    def open(self) -> Source:
        source: Source = open_uri("dataset", self.uri)
        return source

    def begin(self, check: str) -> None:
        self.tell(begin=self.uri, check=check)

    def first(self) -> None:
        self.begin("reading")
        try:
            pieces = self.open().pieces()
            rows = self.rows_of(pieces)
        except Exception as error:
            self.found("reading", _said(error))
            return
        self.found("pieces", self.fault_in_pieces(pieces))
        self.found("rows", next(_faults_in_rows(pieces, rows, self.folder), ""))
        again = list(reversed(self.rows_of(list(reversed(pieces)))))
        self.found("pieces stand alone", "" if again == rows else "read in reverse order, pieces have other rows")
        self.streams(pieces)
        self.begin("build")
        try:
            folder, kept = self.built("serial")
        except Exception as error:
            self.found("build", _said(error))
            return
        reasons = sorted({row.reason for piece in rows for _, row in piece if isinstance(row, Drop)})
        if not self.found("build", "" if kept else f"no record is kept of the samples (drops: {reasons})"):
            return
        path = self.folder / OWN / "rows"
        path.write_text("\n".join(_lines(pieces, rows)), encoding="utf-8")
        self.tell(done="rows", of=self.uri, at=str(path))
        self.tell(done="folder", of=self.uri, at=str(folder))
        self.damaged()

    def second(self) -> None:
        firsts = self.settings["firsts"]
        if "folder" not in firsts:
            return
        self.begin("a second process")
        pieces = self.open().pieces()
        lines = _lines(pieces, self.rows_of(pieces))
        known = Path(firsts["rows"]).read_text(encoding="utf-8").split("\n")
        differ = next(((one, other) for one, other in zip(known, lines, strict=False) if one != other), None)
        said = (
            f"with another PYTHONHASHSEED, process and folder, {_short(differ[0])} is {_short(differ[1])}"
            if differ
            else ""
        )
        said = said or ("" if len(known) == len(lines) else f"{len(known)} pieces and rows are then {len(lines)}")
        if self.found("same rows in another process", said):
            self.begin("local:2")
            folder, _ = self.built("local:2")
            self.found("same bytes with local:2", difference(Path(firsts["folder"]), folder))

    def rows_of(self, pieces: list[Piece]) -> list[Rows]:
        """The rows of each piece, each read by a source that was just opened, as a worker would."""
        return [list(self.open().rows(pickle.loads(pickle.dumps(piece)))) for piece in pieces]

    def fault_in_pieces(self, pieces: list[Piece]) -> str:
        again = self.open().pieces()
        if [(one.identity, one.detail) for one in pieces] != [(one.identity, one.detail) for one in again]:
            return "asked twice, it has other pieces"
        if pickle.loads(pickle.dumps(pieces)) != pieces:
            return "pieces are not the same after a journey to another process"
        if len({digest(piece.identity) for piece in pieces}) != len(pieces):
            return "two pieces have one key and the same files"
        absolute = [name for piece in pieces for name in piece.files if _outside(name, self.folder)]
        return f"'{absolute[0]}' is not relative to the project; use place_of(path)" if absolute else ""

    def built(self, executor: str) -> tuple[Path, int]:
        recipe = self.folder / OWN / "source.yaml"
        recipe.write_text(f"name: source\ntargets:\n  checked:\n    from: {_quoted(self.uri)}\n    steps: []\n")
        result = build(recipe, executor=executor)
        return result.plan.targets["checked"].folder, len(result["checked"])  # type: ignore[arg-type]

    def streams(self, pieces: list[Piece]) -> None:
        """Whether memory follows the longest row rather than the file; only large samples tell."""
        files = [[path for name in piece.files if (path := project_path(name)).is_file()] for piece in pieces]
        sizes = [sum(path.stat().st_size for path in paths) for paths in files]
        if not sizes or max(sizes) < WORTH:
            said = f"samples of less than {WORTH >> 20} MB a piece do not tell"
            self.find(Finding(self.uri, "memory", "unchecked", said))
            return
        at = sizes.index(max(sizes))
        tracemalloc.start()
        longest = max((len(repr(row)) for _, row in self.open().rows(pieces[at])), default=0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        wrong = peak > BUFFERS + max(sizes) // 4 + 8 * longest
        said = (
            f"reading {max(sizes) >> 20} MB took {peak >> 20} MB of memory; the longest row has {longest:,} characters"
        )
        self.found("memory", said if wrong else "")

    def damaged(self) -> None:
        """The same files emptied, cut and overwritten: drops or an InputError, and never nothing at all."""
        named = tuple(name for piece in self.open().pieces() for name in piece.files)
        paths = [path for path in sorted(self.folder.rglob("*")) if path.is_file() and not path.is_symlink()]
        paths = [path for path in paths if path.relative_to(self.folder).parts[0] not in KIT]
        # A place may be the head of a file's name, as in a Maildir, where flags stand behind it.
        whole = {path: path.read_bytes() for path in paths if place_of(path).startswith(named)}
        if not whole:
            self.find(Finding(self.uri, "damaged files", "unchecked", "its pieces name no files of the folder"))
            return
        for what, change in DAMAGE.items():
            self.begin(f"files {what}")
            for path, data in whole.items():
                path.write_bytes(change(data))
            try:
                pieces = self.open().pieces()
                rows = [row for rows in self.rows_of(pieces) for row in rows]
                wrong = "" if rows else "nothing is told about them; yield (place, Drop('empty file'))"
            except FactoryError:
                wrong = ""
            except Exception as error:
                wrong = _said(error)
            self.found(f"files {what}", wrong)


def _faults_in_rows(pieces: list[Piece], rows: list[Rows], folder: Path) -> Iterator[str]:
    for piece, mine in zip(pieces, rows, strict=True):
        for row in mine:
            if not (isinstance(row, tuple) and len(row) == 2 and isinstance(row[0], str)):
                yield f"a row must be (place, fields) or (place, Drop), not {str(row)[:60]}"
                continue
            place, fields = row
            if not isinstance(fields, dict | Drop):
                yield f"'{place}' has {type(fields).__name__} for fields; expected a mapping or a Drop"
            if _outside(place, folder):
                yield f"the place '{place}' is not relative to the project; use place_of(path)"
            if place.partition("#")[0] not in piece.files and place not in piece.files:
                yield f"the place '{place}' is of none of its piece's files, so `factory forget` cannot find it"


def _outside(place: str, folder: Path) -> bool:
    return not place or place.startswith("/") or ".." in Path(place).parts or str(folder) in place


def _lines(pieces: list[Piece], rows: list[Rows]) -> list[str]:
    """Pieces and rows, a line each, in a form that does not depend on the process."""
    found = [f"piece {piece.identity}" for piece in pieces]
    for place, row in (one for mine in rows for one in mine):
        fields = {"reason": row.reason, **row.details} if isinstance(row, Drop) else row
        found.append(f"{place} {digest(fields)} {list(fields)} {str(fields)[:200]!r}".replace("\n", " "))
    return found


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}…"


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, FactoryError) else f"{type(error).__name__}: {error}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main(folder: str, turn: str) -> None:
    sampling = Sampling(Path(folder), turn)
    getattr(sampling, turn)()
