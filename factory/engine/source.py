"""Sources: datasets from outside the store. Here, and only here, a row becomes a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from .records import Drop, Record, columns, digest, json_bytes

Row = tuple[str, dict[str, Any] | Drop]  # a place such as data/x.jsonl#17, and its fields or why it cannot be read


@dataclass(frozen=True)
class Piece:
    """A part of a source that one task reads. Picklable and small.

    `key` is fixed by the content; `files` are the project-relative places it covers (what stands before `#`);
    `detail` is whatever the source needs to read it.
    """

    key: str
    files: tuple[str, ...] = ()
    detail: Any = field(default=None, compare=False)

    @property
    def identity(self) -> list[Any]:
        """Content and place: two equal files are two pieces, since their records have other ids."""
        return [self.key, *self.files]


class Source:
    """What `open_dataset` returns. Subclass it, set `kind` (and `license`), say what the pieces are, and read one.

    Both methods must be deterministic: the same content gives the same pieces and rows. `pieces` is called while
    planning, so it may read files to fingerprint them and nothing more.
    """

    kind: Any = Record
    license: str = ""  # where all of its records are under one: an SPDX identifier, for dataset cards

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @property
    def awaited(self) -> str:
        """What has to come before there is a record, as a sentence: a target made `from` this waits for it.

        As an option of a step such a source is empty.
        """
        return ""

    def pieces(self) -> list[Piece]:
        """The parts of this source in order."""
        raise NotImplementedError(f"{type(self).__name__}.pieces")

    def rows(self, piece: Piece) -> Iterator[Row]:
        """(place, fields) for each row; (place, Drop(reason, …)) for one that cannot be read.

        Fields that are no column of `kind` end in meta. Places are relative to the project.
        """
        raise NotImplementedError(f"{type(self).__name__}.rows")


def enter(source: Source, rows: Iterator[Row]) -> Iterator[tuple[dict[str, Any], Drop | None]]:
    """Rows as records with an id from place and content; a row that lacks a column is dropped with that reason."""
    needed = columns(source.kind)
    beside = {*needed, "meta"}
    met: Counter[str] = Counter()
    for place, row in rows:
        fields = row.details if isinstance(row, Drop) else row
        found = {name: fields.get(name) for name in needed}
        meta = {key: value for key, value in fields.items() if key not in beside}
        name = _identity(place, found, meta)
        if isinstance(more := fields.get("meta"), dict):
            meta = {**more, **meta}
        met[name] += 1
        name = name if met[name] == 1 else digest([name, met[name]])  # a place may hold equal records
        record = {"id": name, "parents": [place], **found, "meta": meta}
        if isinstance(row, Drop):
            yield record, row
        elif None in found.values():
            yield record, Drop("missing column", columns=[name for name in needed if found[name] is None])
        else:
            yield record, None


def _identity(place: str, found: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    """The id of what stands at a place: a hash of the place, the columns and all other fields but parents and meta.

    Strings in columns are hashed as they are rather than as JSON, which says how long each of them is.
    """
    texts = {name: value.encode("utf-8", "surrogatepass") for name, value in found.items() if type(value) is str}
    known = {name: len(texts[name]) if name in texts else [value] for name, value in found.items()}
    rest = {name: value for name, value in others.items() if name != "parents"} if "parents" in others else others
    return digest(b"".join([json_bytes([place, known, rest], orjson.OPT_SORT_KEYS), *texts.values()]))
