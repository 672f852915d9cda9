"""`factory steps` and `factory plugins`: what a recipe can say, and who brought it."""

from __future__ import annotations

import json
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

from ..engine.build import load_project
from ..engine.step import Step
from ..errors import PluginError, did_you_mean
from ..plugins import all_steps, pm, registered
from .planning import json_option


def option_rows(step: Step) -> list[tuple[str, str, str]]:
    """(name, type, default) of every option of a step, from its signature."""
    rows = []
    for name, info in step.options.model_fields.items():
        kind = step.references[name].__name__ if name in step.references else readable_type(info.annotation)
        kind += readable_bounds(info.metadata)
        default = "required" if info.is_required() else json.dumps(plain(info.default), ensure_ascii=False)
        rows.append((name, kind, default))
    return rows


BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def readable_type(annotation: Any) -> str:
    """An annotation as people write it; what checks values is left out."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return readable_type(arguments[0])
    if origin in (Union, UnionType):
        return " | ".join(map(readable_type, arguments))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(readable_type, arguments))}]"
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def readable_bounds(metadata: list[Any]) -> str:
    """`, > 0, ≤ 1`: the bounds in a field's metadata."""
    found = [(sign, getattr(one, name, None)) for one in metadata for name, sign in BOUNDS.items()]
    return "".join(f", {sign} {limit:g}" for sign, limit in found if isinstance(limit, int | float))


def plain(value: Any) -> Any:
    """A default as JSON can say it."""
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value if _is_json(value) else str(value)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


@click.command()
@click.argument("name", required=False)
@json_option
def steps(name: str | None, as_json: bool) -> None:
    """List every step a recipe can use, or explain the one called NAME."""
    load_project(Path("recipe.yaml"))
    known = all_steps()
    if name is None:
        if as_json:
            click.echo(json.dumps({step.name: _described(step) for step in known.values()}, ensure_ascii=False))
            return
        width = max(map(len, known))
        for step in sorted(known.values(), key=lambda step: (step.module.split(".")[:2], step.name)):
            click.echo(f"{step.name:{width}}  {step.kind.value:13}  {step.summary}")
        return
    if name not in known:
        raise PluginError(f"no step named '{name}'; {did_you_mean(name, known)}")
    step = known[name]
    if as_json:
        click.echo(json.dumps(_described(step), ensure_ascii=False))
        return
    click.echo(f"{step.name}: {step.kind.value}, {step.signature}\n\n{step.doc}\n")
    rows = option_rows(step)
    width = max((len(row[0]) for row in rows), default=0)
    kinds = max((len(row[1]) for row in rows), default=0)
    for option, kind, default in rows:
        click.echo(f"  {option:{width}}  {kind:{kinds}}  {default}")


def _described(step: Step) -> dict[str, Any]:
    options = [{"name": name, "type": kind, "default": default} for name, kind, default in option_rows(step)]
    facts = {"name": step.name, "kind": step.kind.value, "signature": step.signature, "module": step.module}
    return {**facts, "doc": step.doc, "options": options}


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """List the plugins that are loaded here, and the steps and hooks of each."""
    load_project(Path("recipe.yaml"))
    rows = []
    for name, brought in registered():
        plugin = pm.get_plugin(name)
        hooks = sorted(caller.name for caller in pm.get_hookcallers(plugin) or [] if caller.name != "register_steps")
        rows.append({"plugin": name, "steps": [step.name for step in brought], "hooks": hooks})
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(f"{row['plugin']}")
        if row["steps"]:
            click.echo(f"  steps  {', '.join(row['steps'])}")
        if row["hooks"]:
            click.echo(f"  hooks  {', '.join(row['hooks'])}")
