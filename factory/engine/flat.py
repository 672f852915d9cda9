"""Options that several steps share: one pydantic class whose fields are options of each step that takes it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from copy import copy
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Options = TypeVar("Options", bound=BaseModel)
MARK = "fields are options"
Flat = Annotated[Options, MARK]


def flat_class(hint: Any) -> type[BaseModel] | None:
    """The class of a parameter annotated `Flat[Class]`, whose fields a recipe writes as options of the step."""
    if get_origin(hint) is not Annotated or MARK not in get_args(hint):
        return None
    inner = get_args(hint)[0]
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def fields_of(default: BaseModel) -> dict[str, tuple[Any, FieldInfo]]:
    """name -> (type, default and bounds) of each field, the default being the value that `default` has."""
    spread = {}
    for name, info in type(default).model_fields.items():
        own = copy(info)
        own.default, own.default_factory = getattr(default, name), None
        spread[name] = (info.annotation, own)
    return spread


def gathering(function: Callable[..., Any], defaults: Mapping[str, BaseModel]) -> Callable[..., Any]:
    """The function, called with the fields of its groups as keyword arguments of their own.

    defaults  parameter -> the group whose values are taken where no argument is given
    """
    if not defaults:
        return function

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        for parameter, default in defaults.items():
            values = {name: given.pop(name, getattr(default, name)) for name in type(default).model_fields}
            given.setdefault(parameter, type(default).model_validate(values))
        return function(*args, **given)

    return call


def written_out(doc: str, defaults: Mapping[str, BaseModel]) -> str:
    """A step's docstring with the lines of every group in the place of `{parameter}`, or at its end."""
    for parameter, default in defaults.items():
        _, _, lines = (inspect.getdoc(type(default)) or "").partition("\n\n")
        place = f"{{{parameter}}}"
        doc = doc.replace(place, lines) if place in doc else f"{doc}\n\n{lines}"
    return doc
