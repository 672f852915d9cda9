"""Bytes of a file as text: decompressed, decoded, line by line; what is broken becomes a Drop, never a crash."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from factory import Drop

COMPRESSIONS = (".gz", ".zst")
# Small blocks bound what one block can inflate to (gzip 1,000-fold), and what a corrupt block takes with it.
PACKED_BLOCK = 16 << 10
PLAIN_BLOCK = 1 << 20
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Line(NamedTuple):
    """One line without its line feed. With a `fault`, `text` holds replacement characters or nothing."""

    number: int  # counted from 1
    text: str
    fault: Drop | None = None
    last: bool = False  # reading ended here because of the fault


def blocks(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The decompressed bytes of a file, or bytes [start, end) of an uncompressed one.

    Raises Drop `cannot be read`, `truncated gzip`, `corrupt gzip` and the same for zstd.
    """
    try:
        with path.open("rb") as file:
            if path.suffix == ".gz":
                fresh: Callable[[], Any] = lambda: zlib.decompressobj(wbits=31)  # noqa: E731
                yield from _inflated(_raw(file, PACKED_BLOCK), fresh, "gzip", zlib.error)
            elif path.suffix == ".zst":
                import zstandard

                new = zstandard.ZstdDecompressor().decompressobj
                yield from _inflated(_raw(file, PACKED_BLOCK), new, "zstd", zstandard.ZstdError)
            else:
                file.seek(start)
                yield from _raw(file, PLAIN_BLOCK, None if end is None else end - start)
    except OSError as error:
        raise Drop("cannot be read", error=error.strerror or type(error).__name__) from None


def _raw(file: BinaryIO, size: int, left: int | None = None) -> Iterator[bytes]:
    while block := file.read(size if left is None else min(size, left)):
        if left is not None:
            left -= len(block)
        yield block


def _inflated(raw: Iterable[bytes], fresh: Callable[[], Any], name: str, fault: type[Exception]) -> Iterator[bytes]:
    """Both formats may hold several members one after another; gzip may be padded with zeros."""
    member = None
    for packed in raw:
        block = packed
        while block:
            if member is None or member.eof:
                if member is not None and not block.strip(b"\0"):
                    break
                member = fresh()
            try:
                data = member.decompress(block)
            except fault as error:
                raise Drop(f"corrupt {name}", error=str(error)) from None
            if data:
                yield data
            block = member.unused_data if member.eof else b""
    if member is not None and not member.eof:
        raise Drop(f"truncated {name}")


def in_utf8(pieces: Iterator[bytes]) -> tuple[int, Iterator[bytes]]:
    """(bytes of the mark taken off, the same bytes in UTF-8): a byte order mark decides, nothing is guessed."""
    head = b""
    for block in pieces:
        head += block
        if len(head) >= 4:
            break
    if head.startswith(codecs.BOM_UTF8):
        return 3, _chained(head[3:], pieces)
    if head.startswith(UTF16) and not head.startswith(codecs.BOM_UTF32_LE):
        return 2, _transcoded(_chained(head, pieces))
    return 0, _chained(head, pieces)


def _chained(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _transcoded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        for block in pieces:
            yield decoder.decode(block).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError:
        raise Drop("broken utf-16") from None


def read_lines(path: Path, start: int = 0, end: int | None = None, first: int = 1) -> Iterator[Line]:
    """Lines of a file, or of bytes [start, end) of it where line `first` begins; memory is that of one line.

    A line with broken UTF-8 or a NUL byte comes with a fault; a file that ends broken (truncated gzip) gives
    its whole lines and then one faulty line.
    """
    for number, offset, raw in read_raw(path, start, end, first):
        yield Line(number, "", raw, last=True) if isinstance(raw, Drop) else decoded(raw, number, offset)


def read_raw(
    path: Path, start: int = 0, end: int | None = None, first: int = 1
) -> Iterator[tuple[int, int, bytes | Drop]]:
    """(number, offset, bytes) of each line, not yet decoded; at the end the Drop that says why there are no more."""
    number, offset = first, start
    try:
        pieces = blocks(path, start, end)
        if start == 0:
            skipped, pieces = in_utf8(pieces)
            offset += skipped if skipped == 3 else 0
        for raw in _cut(pieces):
            yield number, offset, raw
            number += 1
            offset += len(raw) + 1
    except Drop as fault:
        yield number, offset, Drop(fault.reason, **fault.details, line=number)


def _cut(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks as lines. A line over many blocks is joined once, so a line of 50 MB costs what 50 MB of lines cost."""
    pending: list[bytes] = []
    for block in pieces:
        head, *lines = block.split(b"\n")
        pending.append(head)
        if lines:
            yield b"".join(pending)
            yield from lines[:-1]
            pending = [lines[-1]]
    if tail := b"".join(pending):
        yield tail


def decoded(raw: bytes, number: int, offset: int) -> Line:
    """A line's text, or what is broken in it."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        fault = Drop("broken utf-8", line=number, byte=offset + error.start)
        return Line(number, raw.decode(errors="replace"), fault)
    if (at := text.find("\0")) >= 0:
        return Line(number, text, Drop("nul byte", line=number, byte=offset + len(text[:at].encode())))
    return Line(number, text)


def read_bytes(path: Path) -> bytes:
    """A whole file, decompressed, in UTF-8 where a byte order mark says what it is. Raises Drop as `blocks` does."""
    data = b"".join(in_utf8(blocks(path))[1])
    if not data.strip():
        raise Drop("empty file")
    return data


def decode(data: bytes) -> str:
    """A whole file's bytes as text with `\\n` line ends. Raises Drop `broken utf-8` and `nul byte`."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Drop("broken utf-8", line=line, byte=error.start) from None
    if (at := data.find(b"\0")) >= 0:
        raise Drop("nul byte", line=data.count(b"\n", 0, at) + 1, byte=at)
    return text.replace("\r\n", "\n") if "\r" in text else text
