"""Text of a record changed column by column, and records of one type made of fields of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import factory
from factory import Drop, PromptCompletion, Record, Text, assistant, text_of, texts, user

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
