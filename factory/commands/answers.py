"""`factory answers`: what models were asked for a target, and what they said, as a file that a test can replay."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..engine.build import complete
from ..engine.model import Answer, Model, Request
from ..engine.runner import Runner
from ..engine.stage import OWN_PROCESS
from ..errors import InputError
from ..plugins import open_uri
from .looking import target_argument
from .planning import limit_option, planned, recipe_argument, set_option


@click.command()
@recipe_argument
@target_argument
@limit_option
@set_option
@click.pass_obj
def answers(store: Path | None, recipe: Path, target: str, limit: int | None, overrides: tuple[str, ...]) -> None:
    """Print every request that TARGET of RECIPE made to models, with its stored answer: one JSON object a line.

    A recipe that names the file as its model, `replay:FILE.jsonl`, gets the same answers and asks nobody.
    """
    plan = planned(store, recipe, (), limit, overrides)
    complete(plan, target)
    heads = [(one, one.head) for one in plan.of_target(target) if one.head is not None]
    asking = [one for one, head in heads if one.asks and head.kind not in OWN_PROCESS]
    if not asking and any(head.requests and head.kind in OWN_PROCESS for _, head in heads):
        raise InputError(f"'{target}' is trained: what is asked meanwhile depends on its weights and cannot be listed")
    if not asking:
        raise InputError(f"'{target}' asks no model")
    counts = {"stored": 0, "missing": 0}
    seen: set[str] = set()

    def take(model: Model, request: Request, answer: Answer) -> None:
        if not answer.ok:
            counts["missing"] += 1
            return
        key = request.key(model)
        if key not in seen:
            seen.add(key)
            counts["stored"] += 1
            said = {name: value for name, value in answer.stored().items() if value != "" or name == "text"}
            # Not as UTF-8: an answer that was cut inside an emoji is no Unicode.
            click.echo(json.dumps({"model": model.uri, **request.said(), **said}))

    with open_uri("executor", "serial") as workers:
        runner = Runner(plan, workers, "serial")
        for stage in asking:
            runner.stored_answers(stage, take)
    missing = f"; {counts['missing']:,} failed requests have no answer" if counts["missing"] else ""
    click.echo(f"{counts['stored']:,} answers{missing}", err=True)
