"""`factory build` and `factory plan`: bring a recipe up to date, or say what that would take."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path

import click

from ..engine.build import run
from ..engine.forecast import Forecast, forecast
from ..errors import Pending, StepError
from ..plugins import pm
from .planning import json_option, limit_option, planned, recipe_argument, set_option, targets_argument
from .summary import print_result, summary


@click.command()
@recipe_argument
@targets_argument
@click.option(
    "--executor",
    default="serial",
    show_default=True,
    help="Where tasks run: serial, local:N, ray:ADDRESS, or a plugin's.",
)
@click.option(
    "--processes",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Processes of a stage that trains, but for bake_off: one a GPU.",
)
@click.option(
    "--sharded", is_flag=True, help="Split the weights of what is trained over the processes (FSDP): full and lora."
)
@limit_option
@set_option
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@json_option
@click.pass_obj
def build(
    store: Path | None,
    recipe: Path,
    targets: tuple[str, ...],
    executor: str,
    processes: int,
    sharded: bool,
    limit: int | None,
    overrides: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> int:
    """Bring RECIPE, or only the TARGETS named and what they need, up to date, and nothing else.

    What is stored already is not made again; a build that was killed goes on where it stopped.
    """
    from ..backends.progress import make_progress

    started = time.monotonic()
    plan = planned(store, recipe, targets, limit, overrides)
    progress = make_progress(sys.stderr, quiet or as_json)
    pm.register(progress, "progress")
    try:
        result = run(plan, executor, processes, sharded)
    except StepError as error:
        again = shlex.join(["factory", *sys.argv[1:]])
        raise StepError(f"{error}\nWhat was finished is stored. To go on from there: {again}") from error
    finally:
        pm.unregister(progress)
    if as_json:
        click.echo(json.dumps(summary(result, time.monotonic() - started), ensure_ascii=False))
    elif not quiet:
        print_result(result, time.monotonic() - started)
    return Pending.exit_code if result.pending else 0


@click.command()
@recipe_argument
@targets_argument
@limit_option
@set_option
@json_option
@click.pass_obj
def plan(
    store: Path | None,
    recipe: Path,
    targets: tuple[str, ...],
    limit: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what a build of RECIPE would do; nothing is run and nothing is written."""
    rows = forecast(planned(store, recipe, targets, limit, overrides))
    if as_json:
        click.echo(json.dumps([vars(row) for row in rows], ensure_ascii=False))
        return
    width = max(len(row.target) for row in rows)
    for row in rows:
        click.echo(f"{row.state:8} {row.target:{width}}  {row.label}{_tail(row)}")
    running = [row for row in rows if row.state != "stored"]
    if not running:
        click.echo(f"\nAll {len(rows)} stages are stored: nothing would run.")
        return
    calls = sum(row.calls or 0 for row in running)
    unknown = [row.target for row in running if row.calls is None]
    later = f"; how many {', '.join(unknown)} will need shows when the input is built" if unknown else ""
    known = f", with at most {calls:,} model calls" if calls or not unknown else ""
    click.echo(f"\n{len(running)} of {len(rows)} stages would run{known}{later}.")


def _tail(row: Forecast) -> str:
    if row.state == "stored":
        return f"   {row.records:,} records" if row.records is not None else ""
    parts = []
    if row.tasks:
        parts.append(f"{row.tasks_stored} of {row.tasks} tasks stored" if row.tasks_stored else f"{row.tasks} tasks")
    if row.calls is None:
        parts.append("model calls unknown until its input is built")
    elif row.calls:
        parts.append(f"at most {row.calls:,} model calls")
    return f"   ({', '.join(parts)})" if parts else ""
