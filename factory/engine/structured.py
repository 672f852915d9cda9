"""An answer as the JSON that was asked for: read, mended where the slip is small, and checked against the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson

from .model import NOT_JSON, Answer, Request

DEEPEST = 64  # levels of nesting
TRIES = 16  # places in an answer where a value may begin
FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
BEGIN = re.compile(r"[{\[]")
SPACE = re.compile(r"[\s\ufeff]*")
STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"|\'([^\'\\]*(?:\\.[^\'\\]*)*)\'', re.DOTALL)
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
WORD = re.compile(rf"(?:{'|'.join(WORDS)})\b")
ESCAPE = re.compile(r"((?:\\u[0-9a-fA-F]{4})+)|\\(.)", re.DOTALL)
ESCAPES = {'"': '"', "'": "'", "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def delivered(answer: Answer, request: Request) -> Answer:
    """The answer with its request, and with `data` where a schema was asked for; one that cannot be read is failed.

    It depends on the stored text alone, so an answer from the response cache is read as a fresh one is.
    """
    finish, error, data = answer.finish, answer.error, None
    if request.schema is not None and answer.ok:
        try:
            data = read(answer.text, request.schema, cut=answer.finish == "length")
        except ValueError as fault:
            finish, error = "failed", f"{NOT_JSON}: {fault}"
    tokens = answer.prompt_tokens, answer.completion_tokens
    return Answer(answer.text, finish, error, *tokens, request, data, answer.logprobs)


def read(text: str, schema: dict[str, Any], cut: bool = False) -> Any:
    """The value in an answer that fits the schema. Raises ValueError with a clause that says what is wrong.

    Slips that are mended: code fences and words around the value, a comma too many, single quotes, Python's names for
    true, false and null, raw line breaks in strings, and closing brackets that are missing at the end. An answer that
    was `cut` at max_tokens is taken only when its value is whole.
    """
    try:
        found = orjson.loads(text)
    except ValueError:
        pass
    else:
        if fault := misfit(found, schema):
            raise ValueError(fault)
        return found
    first = ""
    for candidate in _candidates(text, cut):
        fault = misfit(candidate, schema)
        if not fault:
            return candidate
        first = first or fault
    raise ValueError(first or ("it is cut at max_tokens" if cut else "no JSON value in it"))


def misfit(value: Any, schema: dict[str, Any]) -> str:
    """Where and why a value does not fit a schema; empty when it does."""
    from jsonschema.exceptions import best_match

    fault = best_match(_validator(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)).iter_errors(value))
    if fault is None:
        return ""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault.absolute_path)
    said = fault.message if len(fault.message) <= 200 else f"{fault.message[:200]}…"
    return f"{place.lstrip('.')}: {said}" if place else said


@lru_cache(64)
def _validator(schema: bytes) -> Any:
    from jsonschema.validators import validator_for
    from referencing import Registry

    data = orjson.loads(schema)
    kind = validator_for(data)
    kind.check_schema(data)
    return kind(data, registry=Registry())  # an empty one: nothing is fetched from addresses in a schema


def _candidates(text: str, cut: bool) -> Iterator[Any]:
    """Values in a text, in the order in which they are likely meant: after the thinking, in fences, anywhere."""
    text = text.rpartition("</think>")[2]
    for part in (*FENCE.findall(text), text):
        at = 0
        for _ in range(TRIES):
            begin = BEGIN.search(part, at)
            if begin is None:
                break
            try:
                value, at = _value(part, begin.start(), 0, cut)
            except Slip as slip:
                # Not what lies inside the broken value: a part of it may fit the schema by chance.
                at = max(slip.at, begin.end())
            else:
                yield value


class Slip(ValueError):
    """Not JSON, and no small slip either: where it was seen."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


def _value(text: str, at: int, depth: int, cut: bool) -> tuple[Any, int]:
    """The value that begins at a character, and where it ends. Raises Slip when there is none."""
    at = _beyond_space(text, at)
    if depth > DEEPEST or at >= len(text):
        raise Slip(len(text))
    if text[at] == "{":
        return _object(text, at + 1, depth, cut)
    if text[at] == "[":
        return _array(text, at + 1, depth, cut)
    if string := STRING.match(text, at):
        return _unescaped(string[1] if string[1] is not None else string[2]), string.end()
    if text[at] in "\"'":
        raise Slip(len(text))  # a string without an end
    if number := NUMBER.match(text, at):
        return _number(number, at), number.end()
    if word := WORD.match(text, at):
        return WORDS[word[0]], word.end()
    raise Slip(at)


def _object(text: str, at: int, depth: int, cut: bool) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while True:
        at, ended = _next(text, at, "}", cut)
        if ended:
            return found, at
        name, at = _value(text, at, depth + 1, cut)
        at = _beyond_space(text, at)
        if not isinstance(name, str) or text[at : at + 1] != ":":
            raise Slip(at)
        found[name], at = _value(text, at + 1, depth + 1, cut)
        at = _comma(text, at, "}")


def _array(text: str, at: int, depth: int, cut: bool) -> tuple[list[Any], int]:
    found: list[Any] = []
    while True:
        at, ended = _next(text, at, "]", cut)
        if ended:
            return found, at
        value, at = _value(text, at, depth + 1, cut)
        found.append(value)
        at = _comma(text, at, "]")


def _next(text: str, at: int, end: str, cut: bool) -> tuple[int, bool]:
    """Where the next member begins, and whether there is none: the bracket closes, or is missing at the very end."""
    at = _beyond_space(text, at)
    if at >= len(text):
        if cut:
            raise Slip(at)
        return at, True
    return (at + 1, True) if text[at] == end else (at, False)


def _comma(text: str, at: int, end: str) -> int:
    at = _beyond_space(text, at)
    if at >= len(text) or text[at] == end:
        return at
    if text[at] != ",":
        raise Slip(at)
    return at + 1


def _beyond_space(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return found.end() if found else at


def _number(number: re.Match[str], at: int) -> int | float:
    try:
        return float(number[0]) if number[1] or number[2] else int(number[0])
    except ValueError:  # thousands of digits
        raise Slip(at) from None


def _unescaped(body: str) -> str:
    return ESCAPE.sub(_escaped, body) if "\\" in body else body


def _escaped(found: re.Match[str]) -> str:
    if not found[1]:
        return ESCAPES.get(found[2], found[0])  # \d of a regular expression stays what it is
    points = [int(code, 16) for code in found[1].split("\\u")[1:]]
    return b"".join(point.to_bytes(2, "big") for point in points).decode("utf-16-be", "replace")
