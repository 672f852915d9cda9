"""Files, folders and globs as a source."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from factory import Drop, InputError, Piece, Row, Source, Text, digest, hash_file, place_of, project_path
from factory.errors import did_you_mean

from .formats import READERS, format_of, read_rows
from .kinds import convert, kind_of
from .packing import PIECE, buckets, cut_lines, cut_row_groups
from .reading import COMPRESSIONS, UTF16

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Files(Source):
    """Readable files. Their kind is that of the first row that can be read, in order of places."""

    def __init__(self, uri: str, paths: dict[str, Path]) -> None:
        super().__init__(uri)
        self.paths = paths  # by their places

    @cached_property
    def kind(self) -> Any:
        for place in sorted(self.paths):
            path = self.paths[place]
            if format_of(place) in (".html", ".htm", ".pdf") and _size(path):
                return Text  # without loading a parser to see that it is
            for _, row in read_rows(path, place):
                if not isinstance(row, Drop):
                    return kind_of(row)
        return Text  # nothing can be read, so all of it will be dropped

    def pieces(self) -> list[Piece]:
        """Big Parquet and uncompressed jsonl files cut, all others in buckets.

        A piece's detail is [(place, start, end, number of the first row or line)]: bytes, or row groups of Parquet.

        The kind counts in every key, since it decides how a row is read, and so do line numbers, since they are places.
        """
        cuts: dict[str, Any] = {}
        for place, path in sorted(self.paths.items()):
            if place.lower().endswith(".jsonl") and _can_cut(path):
                cuts[place] = cut_lines(path)
            elif place.lower().endswith(".parquet") and len(parts := cut_row_groups(path)) > 1:
                cuts[place] = parts
        packed = buckets({place: _size(self.paths[place]) for place in self.paths if place not in cuts})
        pieces = [self._piece([(place, 0, None, 1) for place in places]) for places in packed]
        return pieces + [self._piece([(place, *part)]) for place in cuts for part in cuts[place]]

    def _piece(self, parts: list[tuple[str, int, int | None, int]]) -> Piece:
        content: list[Any] = []
        for place, start, end, first in parts:
            rows = place.lower().endswith(".parquet")  # then start and end are row groups, not bytes
            known = [_hash(self.paths[place], 0, None), start, end] if rows else _hash(self.paths[place], start, end)
            content.append([place, known, first])
        places = tuple(place for place, *_ in parts)
        return Piece(digest([self.kind.__name__, content]), places, tuple(parts))

    def rows(self, piece: Piece) -> Iterator[Row]:
        for place, start, end, first in piece.detail:
            yield from convert_rows(read_rows(project_path(place), place, start, end, first), self.kind)


def convert_rows(rows: Iterator[Row], kind: Any) -> Iterator[Row]:
    """Rows as fields of records of `kind`; what cannot be one is a Drop at its place."""
    for where, row in rows:
        made = row if isinstance(row, Drop) else convert(row, kind)
        if isinstance(made, Drop):
            yield where, made
        else:
            for fields in made:
                yield where, fields


def open_files(uri: str) -> Files | None:
    """The files a path, a folder or a glob means, hidden ones left out; None when `uri` is no path.

    Raises InputError when nothing matches, or nothing that matches can be read.
    """
    path = project_path(uri)
    if SCHEME.match(uri) and not path.exists():
        return None
    if path.is_dir():
        found = sorted(_below(path))
    elif path.exists() or path.is_symlink():
        found = [path]
    else:
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if os.path.isfile(name)]
    if not found:
        raise InputError(f"no {'readable ' if path.is_dir() else ''}file matches {uri}{_nearest(uri)}")
    paths = {place_of(path): path for path in found}
    return Files(uri, {place: paths[place] for place in readable(paths)})


def readable(places: Iterable[str]) -> list[str]:
    """The places whose extension says how they are read. Raises InputError when there are none."""
    places = list(places)
    known = [place for place in places if format_of(place.rpartition("/")[2]) in READERS]
    if not known:
        raise InputError(f"cannot read {places[0]}; {_readable()}")
    return known


def _below(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(where, name)
            if not name.startswith(".") and format_of(name) in READERS and (path.is_file() or path.is_symlink()):
                yield path  # a pipe would never end; a link that leads nowhere is told about when it is read


def _readable() -> str:
    return f"readable are {' '.join(READERS)}, each also with {' or '.join(COMPRESSIONS)}"


def _nearest(uri: str) -> str:
    """A clause that names the nearest thing that does exist, at the first part of the path that does not."""
    folder = project_path("/" if uri.startswith("/") else ".")
    parts = [part for part in uri.strip("/").split("/") if part]
    for at, part in enumerate(parts):
        if (folder / part).is_dir():
            folder = folder / part
            continue
        try:
            names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
        except OSError:
            return ""
        stems = {f"*{''.join(Path(name).suffixes)}" for name in names if format_of(name) in READERS}
        known = stems if glob.has_magic(part) else set(names)
        if part == "**":
            return f"; {_readable()}"
        clause = did_you_mean(part, known)
        if clause.startswith("did you mean"):
            return "; " + clause.replace(clause.split("'")[1], "/".join([*parts[:at], clause.split("'")[1]]))
        where = place_of(folder)
        return f"; {'the project' if where == '.' else where} holds {', '.join(names[:8]) or 'nothing'}" + (
            ", …" if len(names) > 8 else ""
        )
    return f"; {_readable()}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _can_cut(path: Path) -> bool:
    """Whether a file is big enough to cut, and its line ends are single bytes."""
    if _size(path) <= PIECE:
        return False
    try:
        with path.open("rb") as file:
            return not file.read(2).startswith(UTF16)
    except OSError:
        return False


def _hash(path: Path, start: int, end: int | None) -> str:
    try:
        return hash_file(path, start, end)
    except OSError:
        return "cannot be read"
