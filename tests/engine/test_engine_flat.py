"""Options that steps share are written in a recipe like any other, and come to the function as one object."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError

import factory
from factory import Flat, PluginError, Text


class Inner(BaseModel):
    r: int = 4


class Shared(BaseModel):
    """What is shared.

    size   how large
    inner  what is inside
    """

    size: Annotated[int, Field(ge=1)] = 3
    inner: Inner = Inner()
    name: str | None = None


LARGER = Shared(size=7)


@factory.step
def act(record: Text, before: int, shared: Flat[Shared] = LARGER, after: str = "x") -> bool:
    """Act.

    before  a number
    {shared}
    after   a word
    """
    act_saw.append((before, shared, after))
    return True


act_saw: list[tuple[int, Shared, str]] = []
RECORD: Text = {"id": "1", "parents": [], "text": "a", "meta": {}}


def test_fields_are_options_with_bounds_and_the_steps_own_defaults() -> None:
    assert list(act.options.model_fields) == ["before", "size", "inner", "name", "after"]
    options = act.options.model_validate({"before": 1, "inner": {"r": 2}})
    assert options.model_dump() == {"before": 1, "size": 7, "inner": {"r": 2}, "name": None, "after": "x"}
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        act.options.model_validate({"before": 1, "size": 0})
    with pytest.raises(ValidationError, match="Extra inputs"):
        act.options.model_validate({"before": 1, "shared": {"size": 1}})
    assert Shared().size == 3


def test_the_function_gets_the_group_as_one_object() -> None:
    act.function(RECORD, before=1, size=5, inner=Inner(r=9), after="y")
    act.function(RECORD, 2)
    assert act_saw == [(1, Shared(size=5, inner=Inner(r=9)), "y"), (2, Shared(size=7), "x")]


def test_the_lines_of_the_group_stand_in_the_docstring() -> None:
    assert act.doc.split("\n")[2:] == [
        "before  a number", "size   how large", "inner  what is inside", "after   a word",
    ]  # fmt: skip


def test_an_option_that_stands_there_twice_is_refused() -> None:
    def twice(record: Text, size: int, shared: Flat[Shared]) -> bool: ...

    with pytest.raises(PluginError, match="option 'size' stands there twice; shared has it too"):
        factory.step(twice)


class Pathed(BaseModel):
    file: Path | None = None


def test_an_option_after_the_group_is_seen_to_stand_there_twice_and_files_are_no_fields() -> None:
    def twice(record: Text, shared: Flat[Shared], size: int = 3) -> bool: ...
    def pathed(record: Text, files: Flat[Pathed]) -> bool: ...

    with pytest.raises(PluginError, match="option 'size' stands there twice; a group has it too"):
        factory.step(twice)
    with pytest.raises(PluginError, match="option 'file' of files must be a parameter of its own"):
        factory.step(pathed)
