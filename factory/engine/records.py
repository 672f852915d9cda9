"""The records that flow through a factory: JSON objects with the columns a trainer expects.

Column names are TRL's dataset types, unchanged; `Candidates`, `Choice` and `Metric` are ours.
Every record also has `id`, `parents` and `meta`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, cast

import orjson

from ..errors import PluginError


class Message(TypedDict):
    """One turn: `role` is system, user or assistant."""

    role: str
    content: str


class Record(TypedDict, total=False):
    """A record of any type: only what the factory itself keeps."""

    id: str  # fixed by place and content where it entered; unchanged by maps and filters
    parents: list[str]  # ids it was made from, or the place it was read from
    meta: dict[str, Any]  # scores, tags and every field that is no column; never trained on


class Text(Record):
    text: str


class Prompt(Record):
    prompt: list[Message]


class PromptCompletion(Prompt):
    completion: list[Message]


class Conversation(Record):
    messages: list[Message]


class Preference(Prompt):
    chosen: list[Message]
    rejected: list[Message]


class Unpaired(PromptCompletion):
    label: bool


class Candidates(Prompt):
    completions: list[list[Message]]
    scores: list[float]


class Choice(Prompt):
    choices: list[str]
    answer: int


class Metric(Record):
    name: str
    value: float
    of: str  # what was measured: a target or a model


RECORD_TYPES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (Record, Text, Prompt, PromptCompletion, Conversation, Preference, Unpaired, Candidates, Choice, Metric)
}
KEPT = ("id", "parents", "meta")


def declare_type(kind: Any) -> None:
    """Make a plugin's own record type known by its name, which is how tasks and manifests speak of it.

    Raises PluginError when another plugin has given that name to another type.
    """
    known = RECORD_TYPES.setdefault(kind.__name__, kind)
    if known.__module__ != kind.__module__:
        raise PluginError(
            f"two record types named '{kind.__name__}': one of {known.__module__}, one of {kind.__module__}"
        )
    RECORD_TYPES[kind.__name__] = kind  # a file that was edited is loaded again


def columns(kind: Any) -> list[str]:
    """The columns of a record type in declared order, without id, parents and meta."""
    declared: dict[str, None] = {}
    for base in reversed([kind, *_bases(kind)]):
        declared.update(dict.fromkeys(base.__annotations__))
    return [name for name in declared if name not in KEPT]


def _bases(kind: Any) -> list[Any]:
    found: list[Any] = []
    for base in getattr(kind, "__orig_bases__", ()):
        if base is not TypedDict and hasattr(base, "__annotations__"):
            found += [base, *_bases(base)]
    return found


def satisfies(given: Any, wanted: Any) -> bool:
    """Whether every column that `wanted` needs is one that `given` has."""
    return set(columns(wanted)) <= set(columns(given))


class Drop(Exception):
    """Raise in a step to drop the record: a countable reason, and details of this one.

    Keep values out of the reason (`Drop("too few words", words=7)`), or reasons cannot be counted.
    """

    def __init__(self, reason: str, **details: Any) -> None:
        super().__init__(reason)
        self.reason, self.details = reason, details

    def __reduce__(self) -> Any:
        return _rebuild_drop, (self.reason, self.details)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Drop) and (self.reason, self.details) == (other.reason, other.details)

    def __hash__(self) -> int:
        return hash(self.reason)


def _rebuild_drop(reason: str, details: dict[str, Any]) -> Drop:
    return Drop(reason, **details)


class Drops(dict[str, Drop]):
    """What a global filter returns: record id -> why it is dropped."""


def digest(value: Any, size: int = 8) -> str:
    """Hex BLAKE2b of `value` as canonical JSON (sorted keys): 2 * size characters. Everything has one."""
    data = value if isinstance(value, bytes) else json_bytes(value, orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(data, digest_size=size).hexdigest()


def to_json(value: Any, option: int = 0) -> str:
    """JSON of anything a record can hold: also integers beyond 64 bits, objects, lone surrogates (as `&#55296;`)."""
    return json_bytes(value, option).decode()


def json_bytes(value: Any, option: int = 0) -> bytes:
    """`to_json`, in UTF-8."""
    option |= orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    try:
        return orjson.dumps(value, default=_said, option=option)
    except TypeError:
        text = json.dumps(value, default=_said, sort_keys=bool(option & orjson.OPT_SORT_KEYS), ensure_ascii=False)
        return text.encode("utf-8", "xmlcharrefreplace")


def _said(value: Any) -> str:
    """What stands for a value that JSON does not know; no memory address, which differs from process to process."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    return type(value).__name__ if " at 0x" in text else text


def derive(*parents: Mapping[str, Any], meta: Mapping[str, Any] | None = None, **fields: Any) -> Any:
    """A new record made from others; its id is fixed by its parents and its content.

    `fields` are the columns of the new record's type; `meta` starts empty unless given.
    """
    ids = list(dict.fromkeys(parent["id"] for parent in parents))
    return {"id": digest([ids, fields]), "parents": ids, **fields, "meta": dict(meta or {})}


def text_of(value: str | Mapping[str, Any] | Iterable[Message]) -> str:
    """Messages, one message or a string as plain text; several turns are joined by a blank line."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return str(value["content"])
    return "\n\n".join(message["content"] for message in value)


def user(content: str) -> list[Message]:
    """One user turn, the form that `prompt` has."""
    return [Message(role="user", content=content)]


def assistant(content: str) -> list[Message]:
    """One assistant turn, the form that `completion` has."""
    return [Message(role="assistant", content=content)]


def texts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(column, plain text) of every column of a record that holds text, in the record's order."""
    found = []
    for name, value in record.items():
        if name in KEPT or not value:
            continue
        if isinstance(value, str):
            found.append((name, value))
        elif isinstance(value, list) and isinstance(value[0], dict):
            found.append((name, text_of(cast("list[Message]", value))))
    return found
