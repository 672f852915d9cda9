"""Datasets of the Hugging Face hub, or folders in its form, through `datasets`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote

from factory import Drop, InputError, Piece, Row, Source, Text, digest, hash_path, place_of, project_path
from factory.errors import did_you_mean

from .formats import plain_row
from .kinds import convert, kind_of
from .packing import PIECE

FORM = "hf:owner/name[@revision][/config][?split=train&column=text]"
NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+|[\w.-]+)(?:@(?P<revision>[^/]+))?(?:/(?P<config>.+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")


class Hub(Source):
    """One split of a dataset. Rows are numbered from 1; a piece is as many as make about 64 MB."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        address, _, query = uri.removeprefix("hf:").partition("?")
        options = dict(parse_qsl(query))
        for name in options:
            if name not in ("split", "column"):
                raise InputError(f"{uri}: unknown option '{name}'; {did_you_mean(name, ['split', 'column'])}")
        self.split, self.column = options.get("split", "train"), options.get("column")
        self.local = project_path(address) if address.startswith((".", "/", "~")) else None
        match = NAME.fullmatch(address)
        if self.local is None and match is None:
            raise InputError(f"{uri}: expected {FORM}")
        if self.local is not None and not self.local.is_dir():
            raise InputError(f"{uri}: there is no folder {address}")
        self.name = str(self.local) if self.local or not match else match["name"]
        self.revision = unquote(match["revision"]) if match and not self.local and match["revision"] else None
        self.config = match["config"] if match and not self.local else None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "rows_of"}  # opened again where it is used

    @cached_property
    def rows_of(self) -> Any:
        """The `datasets.Dataset`, downloaded once to its own cache."""
        import datasets

        try:
            return datasets.load_dataset(self.name, self.config, split=self.split, revision=self.revision)
        except Exception as error:  # it raises many types, none of its own
            said = str(error).split("\n")[0] or type(error).__name__
            raise InputError(f"{self.uri}: cannot be loaded: {said}") from None

    @cached_property
    def kind(self) -> Any:
        if self.column:
            if self.column not in self.rows_of.column_names:
                known = did_you_mean(self.column, self.rows_of.column_names)
                raise InputError(f"{self.uri}: there is no column '{self.column}'; {known}")
            return Text
        first = next((row for row in map(self._row, range(min(len(self.rows_of), 100))) if isinstance(row, dict)), {})
        return kind_of(first)

    @property
    def place(self) -> str:
        """Without the revision: a row that did not change keeps its id in the next one."""
        name = place_of(self.local) if self.local else self.name
        return "hf:" + "/".join(part for part in (name, self.config, self.split) if part)

    def _version(self) -> str:
        """The commit the revision means now, or a hash of the folder."""
        if self.local:
            return hash_path(self.local)
        if self.revision and COMMIT.fullmatch(self.revision):
            return self.revision
        import huggingface_hub

        try:
            return str(huggingface_hub.HfApi().dataset_info(self.name, revision=self.revision).sha)
        except Exception as error:
            said = str(error).split("\n")[0] or type(error).__name__
            raise InputError(
                f"{self.uri}: cannot ask the hub which commit this is: {said}; name a commit as {FORM} to work offline"
            ) from None

    def pieces(self) -> list[Piece]:
        version = self._version()
        count = len(self.rows_of)
        size = max(1, int(PIECE / max(1, self.rows_of.data.nbytes / max(1, count))))
        known = [version, self.place, self.column, self.kind.__name__]
        return [
            Piece(digest([*known, start, min(count, start + size)]), (self.place,), (start, min(count, start + size)))
            for start in range(0, count, size)
        ]

    def rows(self, piece: Piece) -> Iterator[Row]:
        start, end = piece.detail
        for number in range(start, end):
            where, row = f"{self.place}#{number + 1}", self._row(number)
            if isinstance(row, dict) and self.column:
                row = {**{name: value for name, value in row.items() if name != "text"}, "text": row.get(self.column)}
                if self.column != "text":
                    del row[self.column]
            made = row if isinstance(row, Drop) else convert(row, self.kind)
            if isinstance(made, Drop):
                yield where, made
            else:
                yield from ((where, fields) for fields in made)

    def _row(self, number: int) -> dict[str, Any] | Drop:
        """The stored row, not decoded: pictures and sounds stay what they are in the table."""
        return plain_row(self.rows_of.data.slice(number, 1), number + 1)


def open_hub(uri: str) -> Hub | None:
    """`hf:owner/name[@revision][/config][?split=…&column=…]`, or `hf:./folder`. Raises InputError."""
    return Hub(uri) if uri.startswith("hf:") else None
