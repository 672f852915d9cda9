"""Files on an object store or a web server, read through fsspec: `s3://bucket/crawl/*.jsonl.zst`, `https://…`."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

from factory import Drop, InputError, Piece, Row, digest

from .files import Files, convert_rows, readable
from .formats import read_rows
from .packing import buckets

# What file systems tell of a file that changes with its content; each of them tells some of these.
VERSIONS = (
    "size", "ETag", "etag", "md5", "md5Hash", "Content-MD5", "content_md5", "crc32c", "generation", "VersionId",
    "LastModified", "Last-Modified", "last_modified", "updated", "mtime", "modified",
)  # fmt: skip


class RemoteFiles(Files):
    """Files known by their addresses. They are not cut: a piece is a file, or several small ones.

    Content is not hashed, which would read all of it while planning: a file is known by its size and by the hash,
    version or time that its server tells.
    """

    def pieces(self) -> list[Piece]:
        packed = buckets({place: path.stat().st_size for place, path in self.paths.items()})
        return [self._remote_piece(places) for places in packed]

    def _remote_piece(self, places: list[str]) -> Piece:
        known = [[place, _version(self.paths[place])] for place in places]
        return Piece(digest([self.kind.__name__, known]), tuple(places), tuple(places))

    def rows(self, piece: Piece) -> Iterator[Row]:
        """Raises InputError when a file cannot be fetched: that is no fault of its rows, and may pass."""
        for place in piece.detail:
            for where, row in convert_rows(read_rows(address(place), place), self.kind):
                if isinstance(row, Drop) and row.reason == "cannot be read":
                    raise InputError(f"{where} cannot be fetched: {row.details.get('error')}; build again to go on")
                yield where, row


def open_remote(uri: str) -> RemoteFiles | None:
    """The files behind an address, a folder or a glob; None when no file system of fsspec knows the scheme.

    Raises InputError when the file system's package is missing, nothing matches, or nothing can be read.
    """
    import fsspec

    scheme, found, _ = uri.partition("://")
    if not found or scheme not in fsspec.available_protocols():
        return None
    try:
        system, path = fsspec.core.url_to_fs(uri)
        names = system.glob(path) if glob.has_magic(path) else [path] if system.isfile(path) else system.find(path)
    except ImportError as error:
        raise InputError(f"{uri} needs a package that is not installed: {error}") from None
    except Exception as error:  # each file system has its own errors, credentials' among them
        raise InputError(f"cannot open {uri}: {type(error).__name__}: {str(error).splitlines()[0][:200]}") from None
    if not names:
        raise InputError(f"no file matches {uri}")
    addresses = sorted(str(system.unstrip_protocol(name)) for name in names)
    return RemoteFiles(uri, {name: address(name) for name in readable(addresses)})


@cache
def address(place: str) -> Path:
    """An address as a path that opens, by its file system."""
    from upath import UPath

    return cast("Path", UPath(place))


def _version(path: Any) -> list[Any]:
    told = path.fs.info(path.path)
    return [[name, str(told[name])] for name in VERSIONS if told.get(name) is not None]
