"""What several commands take: a recipe, options that change its plan, and the plan itself."""

from __future__ import annotations

from pathlib import Path

import click

from ..engine.build import load_project
from ..engine.plan import make_plan
from ..engine.recipe import read_recipe
from ..engine.stage import Plan

recipe_argument = click.argument("recipe", type=click.Path(path_type=Path))
targets_argument = click.argument("targets", nargs=-1)
limit_option = click.option("--limit", type=click.IntRange(1), metavar="N", help="A tiny version: N records a source.")
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="TARGET.STEP.OPTION=VALUE", help="Change an option for this build."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")


def planned(
    store: Path | None, recipe: Path, targets: tuple[str, ...], limit: int | None, overrides: tuple[str, ...]
) -> Plan:
    """The plan of a recipe, its project entered and its plugins loaded."""
    found = load_project(recipe, store)
    return make_plan(read_recipe(recipe, overrides), found, targets, limit)
