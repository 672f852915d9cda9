"""A call's options as the step's function gets them: validated, names replaced by what they mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .project import project_path
from .recipe import Call
from .step import Step


def options_of(step: Step, call: Call, objects: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `step.function`.

    objects  name or URI -> the Model or Dataset it means
    """
    checked = step.options.model_validate(call.options)
    values = {name: getattr(checked, name) for name in step.options.model_fields}
    for option in step.references:
        values[option] = replace_names(values[option], objects.__getitem__)
    for option in step.paths:
        values[option] = _absolute(values[option])
    return values


def replace_names(value: Any, meaning: Callable[[str], Any]) -> Any:
    """The value of a reference, alone or in lists and mappings, with every name replaced by what it means."""
    if isinstance(value, str):
        return meaning(value)
    if isinstance(value, list):
        return [replace_names(item, meaning) for item in value]
    if isinstance(value, dict):
        return {key: replace_names(item, meaning) for key, item in value.items()}
    return value


def _absolute(value: Any) -> Any:
    if isinstance(value, Path):
        return project_path(value)
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    if isinstance(value, dict):
        return {key: _absolute(item) for key, item in value.items()}
    return value
