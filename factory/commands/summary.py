"""What `factory build` prints when it is done: the funnel of the recipe, what its ends report, where things lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from ..engine.build import Result
from ..engine.stage import Plan, Stage
from ..engine.step import Kind
from .looking import reasons_of

HEAD = ("target", "step", "in", "kept", "dropped")


def summary(result: Result, seconds: float) -> dict[str, Any]:
    """For `--json`: state, type, number of records and path of every target."""
    targets = {}
    for name, stage in result.plan.targets.items():
        manifest = stage.manifest
        targets[name] = {
            "state": "complete" if manifest else "pending",
            "type": manifest and manifest["type"],
            "records": manifest and not stage.is_model and manifest["counts"]["out"],
            "path": str(stage.folder / "model" if stage.is_model else stage.folder),
            "fingerprint": stage.fingerprint,
            "requests": manifest and manifest.get("requests"),
        }
    return {
        "recipe": result.plan.recipe.name,
        "targets": targets,
        "pending": result.pending,
        "report": str(result.folder / "report.html"),
        "seconds": round(seconds, 1),
    }


def print_result(result: Result, seconds: float) -> None:
    """The same for people."""
    plan = result.plan
    print_funnels(plan)
    for stage in ends(plan):
        for section in sections(stage):
            click.echo(f"\n{stage.target}: {section['title']}\n\n{section['body'].strip()}")
    for name, stage in plan.targets.items():
        if stage.manifest is not None and not stage.is_model and not stage.manifest["counts"]["out"]:
            lost = ", ".join(filter(None, (reasons_of(line) for line in stage.manifest["funnel"])))
            click.echo(f"\nwarning: {name} kept nothing{f': {lost}' if lost else ''}")
    print_alarms(plan)
    print_requests(plan)
    for target, waits_for in result.pending.items():
        click.echo(f"\npending: {target}: {waits_for}")
    folder = short(result.folder)
    made = [name for name, stage in plan.targets.items() if stage.manifest is not None]
    click.echo(f"\nresults   {folder}/{{{','.join(made)}}}")
    click.echo(f"report    {folder}/report.html")
    click.echo(f"took      {seconds:.1f} s")


def print_funnels(plan: Plan) -> None:
    """Every step of the plan that read, dropped or made something: in, kept, dropped by reason."""
    rows = []
    for stage in plan.stages:
        for entry in (stage.manifest or {"funnel": []})["funnel"]:
            lost = sum(entry["reasons"].values())
            if lost or entry["made"] or entry["step"] == "read":
                counts = (f"{entry['in']:,}", f"{entry['out']:,}", f"{lost:,}")
                rows.append((stage.target, entry["step"], *counts, reasons_of(entry)))
    if not rows:
        return
    widths = [max(len(row[at]) for row in [HEAD, *rows]) for at in range(len(HEAD))]
    click.echo()
    last = ""
    for row in [(*HEAD, ""), *rows]:
        name = row[0] if row[0] != last else ""
        last = row[0]
        numbers = "  ".join(f"{row[at]:>{widths[at]}}" for at in (2, 3, 4))
        click.echo(f"{name:{widths[0]}}  {row[1]:{widths[1]}}  {numbers}  {row[5]}".rstrip())


def print_alarms(plan: Plan) -> None:
    """Rules that never fired, that emptied a source, and clusters, with examples; those of reused stages too."""
    for stage in plan.stages:
        path = stage.folder / "alarms.json"
        for alarm in orjson.loads(path.read_bytes()) if stage.manifest is not None and path.exists() else ():
            click.echo(f"\nlook at {stage.target}: {alarm['step']} {alarm['says']}")
            for example in alarm["examples"]:
                click.echo(f"  {example['id']}  {example['text']}")


REQUESTS = ("target", "answers", "tokens in", "tokens out", "USD")


def print_requests(plan: Plan) -> None:
    """What was asked of models, stage by stage: answers, tokens, cost; which failed, and what becomes of them."""
    found = [(stage, entry) for stage in plan.stages if (entry := (stage.manifest or {}).get("requests"))]
    if not found:
        return
    rows = []
    for stage, entry in found:
        usd = "" if entry["usd"] is None else f"{entry['usd']:,.2f}"
        counts = [f"{entry[name]:,}" for name in ("answers", "prompt_tokens", "completion_tokens")]
        rows.append((stage.target, *counts, usd))
    widths = [max(len(row[at]) for row in [REQUESTS, *rows]) for at in range(len(REQUESTS))]
    click.echo()
    for row in [REQUESTS, *rows]:
        numbers = "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        click.echo(f"{row[0]:{widths[0]}}  {numbers}".rstrip())
    for stage, entry in found:
        if entry["failed"]:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in entry["failed"].items())
            again = (stage.manifest or {}).get("retry")
            next_time = f"; building again asks {again:,} of them again, and nothing else" if again else ""
            click.echo(f"\nfailed: {stage.target}: {sum(entry['failed'].values()):,} requests: {reasons}{next_time}")


def ends(plan: Plan) -> list[Stage]:
    """The targets nothing else is made from: what the recipe is for."""
    used = {one.target for stage in plan.stages for one in stage.inputs if one.target != stage.target}
    used |= {value.target for stage in plan.stages for value in stage.references.values() if isinstance(value, Stage)}
    return [stage for name, stage in plan.targets.items() if name not in used and stage.manifest is not None]


def sections(stage: Stage) -> list[dict[str, str]]:
    """What a stage reported in words (pictures are for the page)."""
    if stage.head is not None and stage.head.kind is Kind.GLOBAL_FILTER:
        return []  # how it filtered is for the page; what it dropped stands in the funnel
    path = stage.folder / "sections.json"
    found: list[dict[str, str]] = orjson.loads(path.read_bytes()) if path.exists() else []
    return [section for section in found if not section["body"].lstrip().startswith("<svg")]


def short(path: Path) -> str:
    """A path relative to where the reader stands, if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
