"""Calls of a recipe bound to the steps they name: options checked, defaults filled in, references collected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from ..errors import Problem, did_you_mean
from ..plugins import all_steps
from .project import project_path
from .recipe import Call, Recipe, Target, is_name
from .step import Step, mentioned


@dataclass
class Bound:
    """A target whose calls are checked: each with its step and the names it refers to."""

    target: Target
    calls: list[tuple[Call, Step, dict[str, type]]]  # (call with defaults, step, name or URI -> Model class or Dataset)
    broken: bool = False
    measured: dict[str, Call] = field(default_factory=dict)  # evaluation set that the recipe gives -> the first call


def bind(target: Target, recipe: Recipe, limit: int | None, problems: list[Problem]) -> Bound:
    """Check each call against its step's signature, fill in defaults and collect what it refers to."""
    known = all_steps()
    bound = Bound(target, [])
    for source, line in zip(target.sources, target.source_lines, strict=True):
        if is_name(source) and source not in recipe.targets:
            problems.append(Problem(line, no_target(source, recipe)))
            bound.broken = True
    for call in target.calls:
        step = known.get(call.step)
        if step is None:
            problems.append(Problem(call.line, f"no step '{call.step}'; {did_you_mean(call.step, known)}"))
            bound.broken = True
            continue
        try:
            given = {**_evaluation(call, step, target, recipe), **call.options}
            options = step.options.model_validate(given).model_dump(mode="json")
        except ValidationError as error:
            problems += [_option_problem(call, step, detail) for detail in error.errors()]
            bound.calls.append((call, step, {}))
            continue
        if limit is not None and isinstance(options.get("count"), int):
            options["count"] = min(options["count"], limit)
        if "evaluation" not in call.options:
            for name in _evaluation(call, step, target, recipe).get("evaluation", []):
                bound.measured.setdefault(name, call)
        references = {}
        for option, kind in step.references.items():
            for name in leaves(options[option]):
                references[name] = kind
                if is_name(name) and name not in recipe.targets:
                    problems.append(Problem(call.line_of(option), f"{step.name}: {no_target(name, recipe)}"))
                    bound.broken = True
        for option in step.paths:
            for name in leaves(options[option]):
                if not project_path(name).exists():
                    text = f"{step.name}: {option}: there is no file '{name}'"
                    problems.append(Problem(call.line_of(option), text))
        bound.calls.append((Call(call.step, options, call.line, call.lines), step, references))
    return bound


def _evaluation(call: Call, step: Step, target: Target, recipe: Recipe) -> dict[str, list[str]]:
    """The recipe's evaluation sets for a step that has an option `evaluation: list[Dataset]`; none is its own."""
    info = step.options.model_fields.get("evaluation")
    if info is None or "evaluation" not in step.references or list not in mentioned(info.annotation):
        return {}
    return {"evaluation": [name for name, _ in recipe.evaluation if name != target.name]}


def no_target(name: str, recipe: Recipe) -> str:
    return f"no target '{name}'; {did_you_mean(name, recipe.targets)} (a file or folder is written './{name}')"


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)


def _option_problem(call: Call, step: Step, detail: Any) -> Problem:
    """One pydantic complaint as a sentence about the recipe."""
    where = [str(part) for part in detail["loc"]]
    option = where[0] if where else ""
    shown = ".".join(where)
    if detail["type"] == "extra_forbidden":
        known = list(step.options.model_fields) if len(where) == 1 else _inner_fields(step, option)
        return Problem(call.line_of(option), f"{step.name} has no option '{shown}'; {did_you_mean(where[-1], known)}")
    if detail["type"] == "missing":
        return Problem(call.line, f"{step.name} needs the option '{shown}'")
    said = (
        detail["msg"].partition(", unable to parse")[0].removeprefix("Input should be ").removeprefix("Value error, ")
    )
    expected = f"must be {said}" if detail["msg"].startswith("Input should be") else said[:1].lower() + said[1:]
    return Problem(call.line_of(option), f"{step.name}: option '{shown}' {expected}, not {detail['input']!r}")


def _inner_fields(step: Step, option: str) -> list[str]:
    annotation = step.options.model_fields[option].annotation
    return list(getattr(annotation, "model_fields", {}))
