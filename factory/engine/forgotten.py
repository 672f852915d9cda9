"""Records that must never be read again: `forgotten.jsonl` in the project, ids and places, no content."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from .project import project_root
from .records import digest
from .source import Piece

FILE = "forgotten.jsonl"


@dataclass
class Forgotten:
    """Source record ids by the file they were read from."""

    ids: dict[str, list[str]] = field(default_factory=dict)  # file -> sorted ids

    @classmethod
    def load(cls) -> Forgotten:
        path = project_root() / FILE
        ids: dict[str, set[str]] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                row = orjson.loads(line)
                ids.setdefault(row["place"].partition("#")[0], set()).add(row["id"])
        return cls({file: sorted(found) for file, found in ids.items()})

    def mark(self, piece: Piece) -> Piece:
        """The piece with another key when a forgotten record lies in it, so that only it is read again."""
        found = [record for file in piece.files for record in self.ids.get(file, [])]
        return replace(piece, key=digest([piece.key, found])) if found else piece

    def of(self, piece: Piece) -> frozenset[str]:
        return frozenset(record for file in piece.files for record in self.ids.get(file, []))


def remember(record_id: str, place: str) -> Path:
    """Append a record to the list. Returns the list's path."""
    path = project_root() / FILE
    with path.open("ab") as file:
        file.write(orjson.dumps({"id": record_id, "place": place}) + b"\n")
    return path
