"""`factory show` and `factory trace`: what a target holds, what it lost, and where a record came from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from ..engine.build import complete
from ..engine.lineage import resolve_id
from ..engine.lineage import trace as trace_record
from ..engine.records import KEPT, text_of
from ..engine.stage import Plan, Stage
from ..errors import InputError
from .planning import json_option, limit_option, planned, recipe_argument, set_option

target_argument = click.argument("target")
WIDTH = 100
MOST_REASONS = 4


@click.command()
@recipe_argument
@target_argument
@click.option("-n", "count", type=click.IntRange(0), default=3, show_default=True, help="How many records to show.")
@click.option("--dropped", is_flag=True, help="Show dropped records instead of kept ones.")
@click.option("--reason", help="Show dropped records of this reason only.")
@limit_option
@set_option
@json_option
@click.pass_obj
def show(
    store: Path | None,
    recipe: Path,
    target: str,
    count: int,
    dropped: bool,
    reason: str | None,
    limit: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show TARGET of RECIPE: its funnel (in, kept, dropped by reason) and a sample of its records."""
    plan = planned(store, recipe, (), limit, overrides)
    stage = complete(plan, target)
    funnel = [
        {**entry, "stage": one.label} for one in plan.of_target(target) for entry in (one.manifest or {})["funnel"]
    ]
    lost = dropped or reason is not None
    records = islice(_dropped(plan, target, reason), count) if lost else islice(_kept(stage), count)
    sample = list(records)
    if as_json:
        click.echo(json.dumps({"target": target, "funnel": funnel, "sample": sample}, ensure_ascii=False))
        return
    manifest = stage.manifest or {}
    size = (
        f"a {manifest['type']} in {stage.folder / 'model'}"
        if stage.is_model
        else f"{manifest['counts']['out']:,} records"
    )
    click.echo(f"{target}: {size}" + ("" if stage.is_model else f" of type {manifest['type']}"))
    click.echo()
    print_funnel(funnel)
    for record in sample:
        click.echo()
        print_record(record)


def _kept(stage: Stage) -> Iterator[dict[str, Any]]:
    return iter(()) if stage.is_model else iter(stage.store.dataset(stage.fingerprint))


def _dropped(plan: Plan, target: str, reason: str | None) -> Iterator[dict[str, Any]]:
    for stage in plan.of_target(target):
        for row in stage.store.dropped(stage.fingerprint):
            if reason is None or row["reason"] == reason:
                yield row


def print_funnel(funnel: list[dict[str, Any]]) -> None:
    """in -> kept -> dropped by reason, a line a step."""
    width = max((len(entry["step"]) for entry in funnel), default=4)
    click.echo(f"{'step':{width}}  {'in':>9}  {'kept':>9}  {'dropped':>9}")
    for entry in funnel:
        lost = sum(entry["reasons"].values())
        line = f"{entry['step']:{width}}  {entry['in']:>9,}  {entry['out']:>9,}  {lost:>9,}   {reasons_of(entry)}"
        click.echo(line.rstrip())


def reasons_of(entry: dict[str, Any]) -> str:
    """The commonest reasons of one line of a funnel, with their counts."""
    ranked = Counter(entry["reasons"]).most_common()
    told = [f"{reason} {count:,}" for reason, count in ranked[:MOST_REASONS]]
    return ", ".join(told) + (f", {len(ranked) - MOST_REASONS} more reasons" if len(ranked) > MOST_REASONS else "")


def print_record(record: dict[str, Any]) -> None:
    """A record with its id, its text and what is known about it."""
    click.echo(f"{record['id']}  from {', '.join(record['parents'][:4]) or 'nothing'}")
    body = record
    if "reason" in record and isinstance(record.get("record"), dict):
        click.echo(f"  dropped by {record['step']}: {record['reason']} {_facts(record['details'])}".rstrip())
        body = record["record"]
    for name, value in body.items():
        if name == "completions":
            scores = [f", score {score:.3g}" for score in body.get("scores") or ()] or [""] * len(value)
            for number, (answer, score) in enumerate(zip(value, scores, strict=True), 1):
                click.echo(f"  answer {number}{score}: {_readable(answer)}")
        elif name not in KEPT and not (name == "scores" and "completions" in body):
            click.echo(f"  {name}: {_readable(value)}")
    if record.get("meta"):
        click.echo(f"  meta: {_facts(record['meta'])}")


def _readable(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict) and "content" in value[0]:
        value = text_of(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= 4 * WIDTH else text[: 4 * WIDTH] + " …"


def _facts(details: dict[str, Any]) -> str:
    text = ", ".join(f"{name} {_readable(value)}" for name, value in details.items())
    return text if len(text) <= 2 * WIDTH else text[: 2 * WIDTH] + " …"


@click.command()
@recipe_argument
@target_argument
@click.argument("record_id", metavar="ID")
@limit_option
@set_option
@json_option
@click.pass_obj
def trace(
    store: Path | None,
    recipe: Path,
    target: str,
    record_id: str,
    limit: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Trace the record ID of TARGET, kept or dropped, back to the file and line it came from.

    The beginning of an ID is enough where it is the only one.
    """
    plan = planned(store, recipe, (), limit, overrides)
    complete(plan, target)
    for stage in reversed(plan.of_target(target)):
        if stage.is_model or not (found := resolve_id(stage, record_id)):
            continue
        if len(found) > 1 and record_id not in found:
            raise InputError(f"'{record_id}' begins {len(found)} ids of '{target}': {', '.join(found)}")
        stops = list(trace_record(stage, record_id if record_id in found else found[0]))
        if as_json:
            click.echo(json.dumps([vars(stop) for stop in stops], ensure_ascii=False))
            return
        for stop in stops:
            indent = "  " * stop.depth
            if stop.record is None:
                click.echo(f"{indent}{stop.place}")
            else:
                dropped = stop.record.get("dropped")
                note = f"  dropped by {dropped['step']}: {dropped['reason']}" if dropped else ""
                click.echo(
                    f"{indent}{stop.record['id']}  {stop.target}: {stop.label}{note}  {_first_text(stop.record)}"
                )
        return
    raise InputError(f"'{target}' has no record '{record_id}', neither kept nor dropped")


def _first_text(record: dict[str, Any]) -> str:
    for name, value in record.items():
        if name not in (*KEPT, "dropped") and value and (text := _readable(value)):
            return repr(text[:60])
    return ""
