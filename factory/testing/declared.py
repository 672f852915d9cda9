"""Checks of what a step declares: its docstring, its options and their defaults, and that they can travel."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from factory import Step, hookspecs

from .report import Finding

SUMMARY = 160  # characters; it is one line of `factory steps`
# Words that mean one thing wherever a model is asked or trained.
OBVIOUS = (
    "model", "base", "seed", "n", "temperature", "top_p", "top_k", "max_tokens", "batch_size", "epochs",
    "learning_rate", "weight_decay", "max_grad_norm", "schedule", "dropout",
)  # fmt: skip


def check_declaration(step: Step) -> Iterator[Finding]:
    """Docstring, options, pickling: what can be said without running the step."""
    yield _docstring(step)
    yield _options(step)
    yield _travels(step)


def _found(step: Step, check: str, said: str) -> Finding:
    return Finding(step.name, check, "failed" if said else "passed", said)


def _docstring(step: Step) -> Finding:
    if not step.doc.strip():
        return _found(step, "docstring", "it has none; write a line that says what it does, then one for each option")
    first, _, rest = step.doc.partition("\n")
    if len(first) > SUMMARY or (rest and rest.split("\n")[0].strip()):
        return _found(step, "docstring", f"the first line must be a summary of at most {SUMMARY} characters: '{first}'")
    silent = [name for name in step.options.model_fields if not _told(name, step.doc)]
    said = f"nothing is said about the options {', '.join(silent)}" if silent else ""
    return _found(step, "docstring", said)


def _told(name: str, doc: str) -> bool:
    """Whether a docstring names an option, or has all the words of its name."""
    if name in OBVIOUS or re.search(rf"\b{re.escape(name)}\b", doc):
        return True
    return all(part.lower().rstrip("s") in doc.lower() for part in name.split("_"))


def _options(step: Step) -> Finding:
    """The schema can be made, and every default is one that the schema accepts."""
    try:
        json.dumps(step.options.model_json_schema())
    except Exception as error:  # pydantic raises several types
        return _found(step, "options", f"no JSON schema can be made of them: {_line(error)}")
    for name, info in step.options.model_fields.items():
        if info.is_required() or (name in step.references and info.default is None):
            continue
        given = {one: _stand_in(other) for one, other in step.options.model_fields.items() if other.is_required()}
        try:
            whole = step.options.model_construct(**{name: info.get_default(call_default_factory=True)})
            plain = json.loads(whole.model_dump_json(include={name}, warnings=False))
        except Exception as error:
            return _found(step, "options", f"the default of '{name}' cannot be written in a recipe: {_line(error)}")
        try:
            step.options.model_validate({**given, **plain})
        except ValidationError as error:
            wrong = [one for one in error.errors() if one["loc"] and one["loc"][0] == name]
            if wrong:
                said = f"its own check refuses the default {info.default!r} of '{name}': {wrong[0]['msg']}"
                return _found(step, "options", said)
    return _found(step, "options", "")


def _stand_in(info: Any) -> Any:
    """Something for a required option while another one's default is looked at."""
    return {str: "", int: 1, float: 0.5, bool: False}.get(info.annotation, "")


def _travels(step: Step) -> Finding:
    """What a worker gets: the step's name, its types' names, and the options as a recipe would say them."""
    options = step.options.model_construct().model_dump(mode="json", warnings=False)
    try:
        if pickle.loads(pickle.dumps((step.name, options))) != (step.name, options):
            return _found(step, "pickling", "name and options are not the same after a journey")
    except Exception as error:
        return _found(step, "pickling", f"name and options cannot be pickled: {_line(error)}")
    return _found(step, "pickling", "")


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).split(chr(10))[0]}"


def check_hooks(module: Any, name: str) -> Iterator[Finding]:
    """Functions that are called as a hook is, but would never be called: the mark is missing."""
    hooks = {name for name, value in vars(hookspecs).items() if hasattr(value, "factory_spec")}
    for hook in sorted(hooks & set(vars(module))):
        if not hasattr(getattr(module, hook), "factory_impl"):
            yield Finding(name, "hooks", "failed", f"{hook} is not marked with @factory.hookimpl, so nobody calls it")


def options_of(step: Step, given: dict[str, Any], folder: Path) -> tuple[dict[str, Any], str]:
    """The options for a build, files among them absolute below `folder`; and which required ones are missing."""
    options = dict(given)
    for name in step.paths:
        if isinstance(options.get(name), str):
            options[name] = str(folder / options[name])
    fields = step.options.model_fields
    missing = [name for name, info in fields.items() if info.is_required() and name not in options]
    missing = [name for name in missing if name not in step.references]
    if not missing:
        return options, ""
    example = ", ".join(f"'{name}': …" for name in missing)
    return options, f"{', '.join(missing)} has no default; pass options={{'{step.name}': {{{example}}}}}"
