"""Answers read as JSON: what is mended, what is not, and that nothing a model says can raise anything else."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import Answer, Request, user
from factory.engine.structured import delivered, read

EXAMPLES = settings.default.max_examples  # fewer in `make check`

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "string"}}},
    "required": ["a"],
}
ANYTHING: dict[str, Any] = {}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '```json\n{"a": 1}\n```',
        'Here it is:\n\n{"a": 1}\n\nAnything else?',
        '```\n{"a": 1,}\n```',
        "{'a': 1, 'b': ['x', 'it\\'s', ]}",
        '{"a": 1, "b": ["x"',
        '{"a": 1, "b": ["two\nlines"]}',
        '<think>perhaps {"a": 7}?</think>\n{"a": 1}',
        'The set {x} and [1, 2] are no answers: {"a": 1}',
        '{"b": []}\n{"a": 1}',
        '\ufeff {"a": 1}',
    ],
)
def test_small_slips_are_mended(text: str) -> None:
    assert read(text, SCHEMA)["a"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON value in it"),
        ("I cannot.", "no JSON value in it"),
        ('{"a": "one"}', "a: 'one' is not of type 'integer'"),
        ('{"b": []}', "'a' is a required property"),
        ('{"a": 1, "b": ["x", 2]}', "b[1]: 2 is not of type 'string'"),
        ('{"a": 1, "b": ["no end', "no JSON value in it"),
        ('{"a" 1}', "no JSON value in it"),
        ('{"a": NaN}', "no JSON value in it"),
    ],
)
def test_what_is_no_answer_is_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as found:
        read(text, SCHEMA)
    assert str(found.value) == said


@pytest.mark.parametrize("text", ['{"a": 1, "b": ["x"', '{"a": 1', '[{"a": 1}, {"a": 2}, {"a": '])
def test_an_answer_that_was_cut_is_not_closed_and_no_part_of_it_is_taken(text: str) -> None:
    for schema in (SCHEMA, ANYTHING):
        with pytest.raises(ValueError, match="cut at max_tokens"):
            read(text, schema, cut=True)


def test_a_whole_value_before_the_cut_is_taken() -> None:
    assert read('```json\n{"a": 1}\n```\nThis answer says that', SCHEMA, cut=True) == {"a": 1}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=st.dictionaries(st.text(), VALUES, max_size=4) | st.lists(VALUES, max_size=4), ascii_only=st.booleans())
def test_a_value_comes_back_through_fences_and_words(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    for said in (text, f"Sure:\n{text}\nDone", f"```json\n{text}\n```"):
        if said == text or "```" not in text:
            assert read(said, ANYTHING) == value


@settings(max_examples=3 * EXAMPLES)
@given(text=st.text(alphabet="{}[]\",:\\ \n'0a1u-.e`tTN", max_size=60), cut=st.booleans())
def test_whatever_is_said_is_read_or_refused(text: str, cut: bool) -> None:
    for said in (text, '{"a": 1, "b": [' + text, text + "\ud83d"):
        try:
            read(said, SCHEMA, cut)
        except ValueError:
            pass


def test_long_and_deep_nonsense_is_refused_quickly() -> None:
    started = time.process_time()
    for text in ("[" * 100_000, '{"a":' * 50_000, '"' * 100_000, "{" + "\\" * 100_000, '{"a": 1}' * 50_000 + "{"):
        with pytest.raises(ValueError, match=r"."):
            read(text, {"type": "string"})
    assert time.process_time() - started < 2


def test_a_schema_is_not_fetched() -> None:
    with pytest.raises(Exception, match=r"[Uu]nresolvable"):
        read("{}", {"$ref": "http://127.0.0.1:9/schema.json"})


def test_delivered_answers() -> None:
    request = Request(user("x"), schema=SCHEMA)
    good = delivered(Answer('{"a": 1}', "stop", "", 5, 6), request)
    assert (good.ok, good.data, good.text, good.prompt_tokens, good.request) == (True, {"a": 1}, '{"a": 1}', 5, request)
    bad = delivered(Answer("no", "stop", "", 5, 6), request)
    assert (bad.ok, bad.data, bad.error, bad.completion_tokens) == (
        False, None, "not the JSON asked for: no JSON value in it", 6,
    )  # fmt: skip
    assert (bad.reason, bad.again) == ("not the JSON asked for", False)
    plain = delivered(Answer("no"), Request(user("x")))
    assert (plain.ok, plain.data) == (True, None)
