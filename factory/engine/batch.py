"""Batches: Arrow columns of some records of one shard, for vectorised steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import pyarrow as pa

from ..text.column import TextColumn
from .signals import Signals

if TYPE_CHECKING:
    from numpy.typing import NDArray

R = TypeVar("R")

Dropped = tuple[pa.Table, str, list[dict[str, Any]]]  # rows, the reason, the details of each


class Batch(Generic[R]):
    """Some records of one shard as Arrow columns: id, parents, the type's columns and meta (JSON).

    A step returns `batch.drop(…)`, `batch.set(…)` or a chain of them; rows may be dropped, never reordered or invented.
    """

    def __init__(self, table: pa.Table, signals: Signals | None = None) -> None:
        self.table = table
        self.dropped: list[Dropped] = []
        self._signals = signals if signals is not None else Signals()
        # Texts are measured as they came, rows dropped since included: another threshold then finds every number.
        self._origin = table
        self._rows: NDArray[np.int64] = np.arange(table.num_rows)  # where the rows of `table` are in `_origin`
        self._measured: dict[str, TextColumn] = {}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, name: str) -> pa.Array:
        """A column as one contiguous Arrow array."""
        return _whole(self.table.column(name))

    def measure(
        self, function: Callable[..., dict[str, NDArray[Any]]], column: str = "text", **options: Any
    ) -> dict[str, NDArray[Any]]:
        """Numbers by name, arrays as long as this batch: what `function(texts, **options)` finds in a text column.

        function  a module's top-level function of a `factory.text.column.TextColumn` and JSON options; of each of its
                  arrays, entry i is a number that depends on text i alone

        Numbers are kept for each shard, under the function's code, its options and the text. The next rule that asks
        for them gets them, and so does the next build with other thresholds.
        """
        texts = self._measured.get(column)
        if texts is None:
            texts = self._measured[column] = TextColumn(self._origin.column(column))
        found = self._signals.measure(function, options, texts)
        return {name: values[self._rows] for name, values in found.items()}

    def set(self, name: str, values: Any) -> Batch[R]:
        """This batch with column `name` replaced."""
        at = self.table.column_names.index(name)
        field = self.table.schema.field(name)
        values = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, field.type)
        changed: Batch[R] = Batch(self.table.set_column(at, field, values.cast(field.type)), self._signals)
        changed.dropped = self.dropped
        return changed

    def drop(self, mask: Any, reason: str | Sequence[str], **details: Any) -> Batch[R]:
        """Drop the rows where `mask` is true.

        reason   one for all, or as many as the batch has rows; in `dropped` rows of one reason are together, reasons in
                 the order in which they are met
        details  arrays as long as the batch, or one value for all; where an entry is None the row has no such detail
        """
        gone = np.asarray(mask, dtype=bool)
        if gone.shape != (len(self),):
            raise ValueError(f"the mask of '{reason}' has shape {gone.shape}, the batch has {len(self)} rows")
        if not isinstance(reason, str) and len(reason) != len(self):
            raise ValueError(f"there are {len(reason)} reasons, the batch has {len(self)} rows")
        if not gone.any():
            return self
        groups: dict[str, list[int]] = {}
        for at in np.flatnonzero(gone).tolist():
            groups.setdefault(reason if isinstance(reason, str) else reason[at], []).append(at)
        left: Batch[R] = Batch(self.table.filter(pa.array(~gone)), self._signals)
        left.dropped = [
            *self.dropped,
            *((self.table.take(pa.array(rows)), why, _details(details, rows)) for why, rows in groups.items()),
        ]
        left._origin, left._rows, left._measured = self._origin, self._rows[~gone], self._measured
        return left


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _details(details: dict[str, Any], rows: list[int]) -> list[dict[str, Any]]:
    """The details of each of the rows, without those that are None."""
    entries = ({name: _entry(values, at) for name, values in details.items()} for at in rows)
    return [{name: value for name, value in entry.items() if value is not None} for entry in entries]


def _entry(values: Any, at: int) -> Any:
    """Detail `at` of an array, or the one value that all rows have, as JSON knows it."""
    if isinstance(values, np.ndarray):
        value = values[at]
        value = value.item() if isinstance(value, np.generic) else value
        return round(value, 4) if isinstance(value, float) else value
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values[at].as_py()
    if isinstance(values, Sequence) and not isinstance(values, str):
        return values[at]
    return values
