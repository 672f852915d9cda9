"""Text of a record changed column by column, and records of one type made of fields of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import factory
from factory import Batch, Drop, PromptCompletion, Record, Text, assistant, text_of, texts, user

R = TypeVar("R")
KEPT = frozenset(Record.__annotations__)


def rewrite(record: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The record with `change` applied to every text in its columns, message contents included; roles stay."""
    return {name: value if name in KEPT else _rewritten(value, change) for name, value in record.items()}


def _rewritten(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_rewritten(item, change) for item in value]
    if isinstance(value, dict) and "content" in value:
        return {**value, "content": change(value["content"])}
    return value


def full_text(record: Mapping[str, Any]) -> str:
    """All text of a record, its columns joined by a blank line."""
    return "\n\n".join(text for _, text in texts(record))


def text_column(batch: Batch[Any]) -> Any:
    """All text of each record of a batch, as an Arrow column."""
    import pyarrow as pa

    if set(batch.table.column_names) - KEPT == {"text"}:
        return batch["text"]
    return pa.array([full_text(row) for row in batch.table.to_pylist()], pa.string())


def add_meta(batch: Batch[R], entries: Sequence[Mapping[str, Any]], under: str = "", add: Any = None) -> Batch[R]:
    """The batch with these entries in its records' meta; an empty one changes nothing.

    under, add  put each under this key instead, as add(what is there, entry) where there is something
    """
    import orjson

    if not any(entries):
        return batch
    metas = batch["meta"].to_pylist()
    for at, entry in enumerate(entries):
        if entry:
            meta = orjson.loads(metas[at])
            meta |= {under: add(meta[under], entry) if meta.get(under) else entry} if under else entry
            metas[at] = orjson.dumps(meta).decode()
    return batch.set("meta", metas)


def rewrite_batch(batch: Batch[R], change: Callable[[str, int], str], suspects: Callable[[Any], Any]) -> Batch[R]:
    """The batch with `change(text, row)` applied to the texts in its columns that `suspects(column)` marks.

    suspects  from a string column to a mask; what it does not mark, `change` would leave as it is. Messages are all
              looked at.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in batch.table.column_names:
        column = batch[name] if name not in KEPT else None
        if column is None:
            continue
        if pa.types.is_string(column.type):
            mask = np.asarray(suspects(column))
            if mask.any():
                made = [change(column[at].as_py(), at) for at in np.flatnonzero(mask).tolist()]
                batch = batch.set(name, pc.replace_with_mask(column, pa.array(mask), pa.array(made, pa.string())))
        elif pa.types.is_nested(column.type):
            rows = column.to_pylist()
            made = [_rewritten(row, partial(_at, change, at)) for at, row in enumerate(rows)]
            if made != rows:
                batch = batch.set(name, made)
    return batch


def _at(change: Callable[[str, int], str], row: int, text: str) -> str:
    return change(text, row)


@factory.step
def as_text(record: Record, column: str) -> Text:
    """Make a Text of one field: a column, or a field that the source had and that lies in meta.

    column  the field's name; it is moved out of meta. Numbers are written out; a field that is no text is dropped.
    """
    fields, meta = _split_off(record, column)
    return cast(Text, {**_bare(record), "text": _as_text(fields[column], column), "meta": meta})


@factory.step
def as_pairs(record: Record, prompt: str = "prompt", completion: str = "completion") -> PromptCompletion:
    """Make a PromptCompletion of two fields: `{prompt: question, completion: answer}`, say.

    prompt, completion  names of fields; they are moved out of meta.
    """
    fields, meta = _split_off(record, prompt, completion)
    asked, answered = _as_text(fields[prompt], prompt), _as_text(fields[completion], completion)
    if empty := [name for name, text in ((prompt, asked), (completion, answered)) if not text.strip()]:
        raise Drop("empty column", columns=empty)
    made = {**_bare(record), "prompt": user(asked), "completion": assistant(answered), "meta": meta}
    return cast(PromptCompletion, made)


def _bare(record: Record) -> dict[str, Any]:
    return {"id": record["id"], "parents": record["parents"]}


def _split_off(record: Record, *names: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The named fields, and meta with all the others."""
    columns = {name: value for name, value in record.items() if name not in KEPT}
    known: dict[str, Any] = {**record.get("meta", {}), **columns}
    if missing := [name for name in names if known.get(name) is None]:
        raise Drop("missing column", columns=missing)
    return known, {name: value for name, value in known.items() if name not in names}


def _as_text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(turn, dict) and "content" in turn for turn in value):
        return text_of(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise Drop("not text", column=name, found=type(value).__name__)
