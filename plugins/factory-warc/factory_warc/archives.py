"""WARC files as a source: the main text of web pages, and the text of WET files as it stands."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from typing import Any

from fastwarc.warc import ArchiveIterator, WarcRecord, conversion, resource, response, revisit, unknown
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding
from resiliparse.parse.html import HTMLTree

from factory import Drop, InputError, Piece, Row, Source, Text, hash_file, place_of, project_path, project_root

NAMED = re.compile(r"\.(warc|wet)(\.gz|\.zst|\.lz4)?$", re.IGNORECASE)
DOCUMENTS = response | resource | conversion | revisit | unknown  # requests and metadata have no text
PAGES = ("text/html", "application/xhtml+xml")


class Archives(Source):
    """One Text a document, one piece a file. A place is the document's number in its file: `crawl/a.warc.gz#12`."""

    kind = Text

    def __init__(self, uri: str, places: list[str]) -> None:
        super().__init__(uri)
        self.places = places

    def pieces(self) -> list[Piece]:
        return [Piece(hash_file(project_path(place)), (place,)) for place in self.places]

    def rows(self, piece: Piece) -> Iterator[Row]:
        (place,), number = piece.files, 0
        try:
            with project_path(place).open("rb") as file:
                for number, record in enumerate(ArchiveIterator(file, record_types=DOCUMENTS, parse_http=False), 1):
                    yield f"{place}#{number}", _fields(record)
        except OSError as error:  # also what a broken header or damaged compression raises
            yield f"{place}#{number + 1}" if number else place, Drop("malformed archive", error=str(error))
        else:
            if not number:
                yield place, Drop("empty file" if not project_path(place).stat().st_size else "no documents")


def open_archives(uri: str) -> Archives | None:
    """The archives a URI means; None when it is not ours. Raises InputError when nothing matches."""
    scheme, colon, rest = uri.partition(":")
    path = rest if colon and scheme == "warc" else uri
    if path is uri and (colon or not NAMED.search(uri)):
        return None
    found = glob.glob(path, root_dir=project_root(), recursive=True)
    places = sorted(place_of(name) for name in found if project_path(name).is_file())
    if not places:
        raise InputError(f"{uri}: no file matches '{path}'")
    return Archives(uri, places)


def _fields(record: WarcRecord) -> dict[str, Any] | Drop:
    """A document's row, or why it has no text."""
    record.freeze()  # a truncated record shows only when all of it is read
    headers = record.headers
    known = {"url": headers.get("WARC-Target-URI", ""), "date": headers.get("WARC-Date", "")}
    if headers.get("Content-Length", "").strip() != str(record.content_length):
        return Drop("truncated record", **known)
    block = "WARC-Block-Digest" in headers
    sound = not block or record.verify_block_digest()
    record.parse_http(auto_decode="all")
    if not sound or (not block and "WARC-Payload-Digest" in headers and not record.verify_payload_digest()):
        return Drop("bad digest", **known)
    if record.http_headers is not None and (status := record.http_headers.status_code) != 200:
        return Drop("http status", **known, status=status)
    kind = record.http_content_type or headers.get("Content-Type", "").partition(";")[0]
    data, charset, title = record.reader.read(), record.http_charset, ""
    if kind in PAGES:
        tree = HTMLTree.parse_from_bytes(data, charset or detect_encoding(data))
        text, title = extract_plain_text(tree, main_content=True), " ".join((tree.title or "").split())
    elif kind == "text/plain":
        try:
            text = data.decode(charset or "utf-8")
        except (LookupError, UnicodeDecodeError):
            return Drop("broken charset", **known, charset=charset or "utf-8")
    else:
        return Drop("not a web page", **known, content_type=kind)
    if not text.strip() or "\0" in text:
        return Drop("nul byte" if text.strip() else "no text", **known)
    return {"text": text, "meta": {**known, "content_type": kind, **({"title": title} if title else {})}}
