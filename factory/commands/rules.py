"""`factory rules`: how many records two settings of a rule decide differently, and which."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click

from ..engine.batch import Batch
from ..engine.binding import bind
from ..engine.build import complete
from ..engine.dataset import BATCH_ROWS
from ..engine.options import options_of
from ..engine.recipe import Call, Recipe, Target, read_call
from ..engine.records import RECORD_TYPES, Drop
from ..engine.schema import encode, schema_of, shape_record
from ..engine.stage import Plan, Stage
from ..engine.step import Kind, Step
from ..errors import InputError, Problem
from .looking import WIDTH, target_argument
from .planning import json_option, limit_option, planned, recipe_argument, set_option

Decision = tuple[str | None, str | None]  # why a record is dropped, or None; the text that is left of a kept one
Setting = tuple[Call, Step]


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@recipe_argument
@target_argument
@click.option("-n", "count", type=click.IntRange(0), default=3, show_default=True, help="Examples of each difference.")
@limit_option
@set_option
@json_option
@click.pass_obj
def rules(
    store: Path | None,
    first: str,
    second: str,
    recipe: Path,
    target: str,
    count: int,
    limit: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show how many records of TARGET two settings of a rule, A and B, decide differently, with examples.

    A and B are steps as a recipe has them, "gopher_quality" and "gopher_quality: {reading: datatrove}", say; two
    different rules will do, too. They are asked about the records that TARGET of RECIPE holds, and about those that
    steps of these names dropped from it.
    """
    plan = planned(store, recipe, (), limit, overrides)
    stage = complete(plan, target)
    settings = (_setting(first, plan), _setting(second, plan))
    found = compared(plan, stage, target, settings, count)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    _print(found, first, second, target)


def compared(plan: Plan, stage: Stage, target: str, settings: tuple[Setting, Setting], count: int) -> dict[str, Any]:
    """The four counts, reasons and examples; what is in memory is a batch of records and the examples."""
    kind = RECORD_TYPES[(stage.manifest or {})["type"]]
    counts: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {"A": Counter(), "B": Counter()}
    examples: dict[str, list[dict[str, Any]]] = {"A": [], "B": []}
    records = _records(plan, stage, target, {step.name for _, step in settings}, kind)
    while batch := list(islice(records, BATCH_ROWS)):
        both = zip(*(_decided(call, step, batch, kind) for call, step in settings), strict=True)
        for record, ((a, left_a), (b, left_b)) in zip(batch, both, strict=True):
            counts["both keep" if a is b is None else "both drop" if a and b else "only A" if a else "only B"] += 1
            counts["changed"] += a is b is None and left_a != left_b
            if (a is None) != (b is None):
                side = "A" if a else "B"
                reasons[side][str(a or b)] += 1
                if len(examples[side]) < count:
                    examples[side].append({"id": record["id"], "reason": a or b, "text": record.get("text", "")})
    order = ("both keep", "only A", "only B", "both drop", "changed")
    return {
        "records": counts.total() - counts["changed"],
        **{name: counts[name] for name in order},
        "reasons": {side: dict(found.most_common()) for side, found in reasons.items()},
        "examples": examples,
    }


def _setting(text: str, plan: Plan) -> Setting:
    """A step as a recipe writes it, with its options checked. Raises InputError when it decides over no record."""
    problems: list[Problem] = []
    call = read_call(text, problems)
    empty = Recipe(plan.recipe.name, plan.recipe.path, plan.recipe.targets)
    bound = bind(Target("rules", [], [call], 1, ()), empty, None, problems)
    if problems:
        raise InputError("; ".join(problem.text for problem in problems))
    filled, step, _ = bound.calls[0]
    if step.kind not in (Kind.FILTER, Kind.VECTORISED) or step.references or step.context:
        raise InputError(f"'{step.name}' is a {step.kind.value}; only rules that look at one record can be compared")
    return filled, step


def _records(plan: Plan, stage: Stage, target: str, names: set[str], kind: Any) -> Iterator[dict[str, Any]]:
    """What the target holds, and what steps of these names dropped from it, as that type of record."""
    wanted = [name for name in schema_of(kind).names if name not in ("id", "parents", "meta")]
    dropped = (
        {"id": row["id"], "parents": row["parents"], **row["record"]}
        for one in plan.of_target(target)
        for row in one.store.dropped(one.fingerprint)
        if row["step"] in names and isinstance(row["record"], dict) and set(wanted) <= set(row["record"])
    )
    return chain(stage.store.dataset(stage.fingerprint), dropped)


def _decided(call: Call, step: Step, records: list[dict[str, Any]], kind: Any) -> list[Decision]:
    """What one setting says of each record."""
    options = options_of(step, call, {})
    if step.kind is Kind.FILTER:
        return [(_why(step, record, options), record.get("text")) for record in records]
    schema = schema_of(kind)
    names = [name for name in schema.names if name not in ("id", "parents", "meta")]
    numbered = [{**shape_record(record, names), "id": str(at)} for at, record in enumerate(records)]
    batch: Batch[Any] = step.function(Batch(encode(numbered, schema)), **options)
    gone = {key: reason for table, reason, _ in batch.dropped for key in table.column("id").to_pylist()}
    left = dict(zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True)) if "text" in names else {}
    return [(gone.get(str(at)), left.get(str(at))) for at in range(len(records))]


def _why(step: Step, record: dict[str, Any], options: dict[str, Any]) -> str | None:
    try:
        return None if step.function(record, **options) else step.name
    except Drop as drop:
        return drop.reason


def _print(found: dict[str, Any], first: str, second: str, target: str) -> None:
    total = found["records"]
    apart = found["only A"] + found["only B"]
    click.echo(f"A  {first}\nB  {second}\n")
    click.echo(f"{target}, and what steps of these names dropped from it: {total:,} records")
    click.echo(f"{'':10}  {'B keeps':>9}  {'B drops':>9}")
    click.echo(f"{'A keeps':10}  {found['both keep']:>9,}  {found['only B']:>9,}")
    click.echo(f"{'A drops':10}  {found['only A']:>9,}  {found['both drop']:>9,}")
    click.echo(f"\ndecided differently: {apart:,} ({apart / max(1, total):.1%})")
    if found["changed"]:
        click.echo(f"kept by both with different texts: {found['changed']:,}")
    for side, other in (("A", "B"), ("B", "A")):
        told = ", ".join(f"{reason} {count:,}" for reason, count in found["reasons"][side].items())
        if told:
            click.echo(f"\nonly {side} drops, {other} keeps: {told}")
        for example in found["examples"][side]:
            text = " ".join(str(example["text"]).split())
            click.echo(f"  {example['id']}  {example['reason']}: {text[: 2 * WIDTH]}{' …' * (len(text) > 2 * WIDTH)}")
