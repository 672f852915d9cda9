"""Archives as sources: where messages lie, what each is called, and which of them one task reads."""

from __future__ import annotations

import glob
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import parse_qsl

from factory import Drop, InputError, Piece, Row, Source, Text, digest, hash_file, place_of, project_path, project_root

from .messages import read_message

BUCKETS = 16  # pieces of a Maildir; a message's bucket is fixed by its name, so a new one touches one piece
OPTIONS = {"quotes": ("remove", "keep"), "addresses": ("remove", "keep")}
QUERY = re.compile(r"\?([a-z]+=[^?]*)$")
# The line that begins a message in an mbox: an address, then a date as asctime writes it (RFC 4155, appendix A).
# A sentence that begins with "From" behind a blank line is none.
FROM_LINE = re.compile(rb"From .*(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b.*\d{1,2}:\d\d.*\b\d{4}\b")
ESCAPED = re.compile(rb"^>(>*From )", re.MULTILINE)


class Options(NamedTuple):
    """What stands behind the `?` of a URI."""

    quotes: str = "remove"
    addresses: str = "remove"


class Mail(Source):
    """One Text a message. A Piece's `detail` is what it reads: (place, file) pairs."""

    kind = Text

    def __init__(self, uri: str, paths: list[Path], options: Options) -> None:
        super().__init__(uri)
        self.paths, self.options = paths, options

    def key(self, content: Any) -> str:
        return digest([*self.options, content])

    def fields(self, data: bytes) -> dict[str, Any] | Drop:
        """A message's row, or why there is none."""
        try:
            return read_message(data, self.options.quotes == "keep", self.options.addresses == "keep")
        except Drop as fault:
            return fault


class Mbox(Mail):
    """Files in mbox form, one piece each. The place of a message is its number, counted from 1: `mail/a.mbox#12`."""

    def pieces(self) -> list[Piece]:
        found = {place_of(path): path for path in self.paths}
        return [Piece(self.key(hash_file(found[place])), (place,)) for place in sorted(found)]

    def rows(self, piece: Piece) -> Iterator[Row]:
        (place,) = piece.files
        number = 0
        try:
            with _opened(project_path(place)) as file:
                for number, data in enumerate(split_mbox(file), 1):
                    yield f"{place}#{number}", self.fields(data)
        except Drop as fault:
            yield f"{place}#{number + 1}" if number else place, fault
        else:
            if not number:
                yield place, Drop("empty file")


class Maildir(Mail):
    """Folders in Maildir form. The place of a message is its file in `cur` without the flags a mail program sets."""

    def pieces(self) -> list[Piece]:
        found = sorted(pair for path in self.paths for pair in _delivered(path))
        buckets: dict[int, list[tuple[str, str]]] = {}
        for place, file in found:
            buckets.setdefault(int(digest(place), 16) % BUCKETS, []).append((place, file))
        pieces = []
        for _, pairs in sorted(buckets.items()):
            content = [[place, hash_file(project_path(file))] for place, file in pairs]
            pieces.append(Piece(self.key(content), tuple(place for place, _ in pairs), tuple(pairs)))
        return pieces

    def rows(self, piece: Piece) -> Iterator[Row]:
        for place, file in piece.detail:
            try:
                data = project_path(file).read_bytes()
            except OSError as error:  # moved or deleted by a mail program since the plan was made
                yield place, Drop("cannot be read", error=error.strerror or type(error).__name__)
                continue
            yield place, self.fields(data)


def open_mail(uri: str) -> Mail | None:
    """The archives a URI means; None when it is not ours. Raises InputError when it is wrong or matches nothing."""
    scheme, _, rest = uri.partition(":")
    if scheme not in ("mbox", "maildir"):
        return None
    query = QUERY.search(rest)
    path = rest[: query.start()] if query else rest
    options = _options(uri, query[1] if query else "")
    pattern = os.path.expanduser(path)
    found = [project_path(name) for name in sorted(glob.glob(pattern, root_dir=project_root(), recursive=True))]
    if scheme == "mbox":
        files = [one for one in found if one.is_file()]
        if not files:
            raise InputError(f"{uri}: no mbox file matches '{path}'")
        return Mbox(uri, files, options)
    folders = [one for one in found if (one / "cur").is_dir()]
    if not folders:
        raise InputError(f"{uri}: no folder that matches '{path}' is a Maildir; expected one that holds cur/ and new/")
    return Maildir(uri, folders, options)


def _options(uri: str, query: str) -> Options:
    given = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in given.items():
        if name not in OPTIONS:
            raise InputError(f"{uri}: no option '{name}'; known: {', '.join(OPTIONS)}")
        if value not in OPTIONS[name]:
            raise InputError(f"{uri}: {name} is '{value}'; expected {' or '.join(OPTIONS[name])}")
    return Options(**given)


def _delivered(folder: Path) -> Iterator[tuple[str, str]]:
    """(place, file) of every message in `cur` and `new`, subfolders left out."""
    for part in ("cur", "new"):
        for path in (folder / part).glob("*"):
            if path.is_file() and not path.name.startswith("."):
                yield place_of(folder / "cur" / path.name.partition(":")[0]), place_of(path)


def _opened(path: Path) -> BinaryIO:
    try:
        return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise Drop("cannot be read", error=error.strerror or type(error).__name__) from None


def split_mbox(file: BinaryIO) -> Iterator[bytes]:
    """The messages of an mbox, without their From lines; `>From ` at a line's begin loses one `>`.

    Memory is that of one message. Raises Drop `not an mbox file`, `cannot be read`, `truncated gzip` and
    `corrupt gzip`; a message that is cut off by one of the last two is not given.
    """
    held: list[bytes] = []
    begun, blank = False, True
    try:
        for line in file:
            if not begun:
                if not line.strip():
                    continue
                if not line.startswith(b"From "):
                    raise Drop("not an mbox file")
                begun = True
            elif blank and FROM_LINE.match(line):
                yield _message(held)
                held = []
            else:
                held.append(line)
            blank = not line.strip()
    except EOFError:
        raise Drop("truncated gzip") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise Drop("corrupt gzip", error=str(error)) from None
    except OSError as error:
        raise Drop("cannot be read", error=error.strerror or type(error).__name__) from None
    if begun:
        yield _message(held)


def _message(lines: list[bytes]) -> bytes:
    return ESCAPED.sub(rb"\1", b"".join(lines))
