"""`factory seeds check`: what a set of seed tasks covers, which are too alike, and what is wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from .planning import json_option

MOST_REMARKS = 20
MOST_OPENINGS = 12
HEAD = ("type", "tasks", "instances", "without input", "classification", "openings", "instruction", "output", "longest")


@click.group()
def seeds() -> None:
    """Look after seed tasks, the examples that self_instruct starts from."""


@seeds.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help=f"Print every remark, not only the first {MOST_REMARKS}.")
@json_option
def check(files: tuple[Path, ...], everything: bool, as_json: bool) -> int:
    """Check the seed tasks in FILES and show what they cover.

    A seed task is a JSON object a line: {id, name, instruction, instances: [{input, output}], is_classification}.
    Its type is what its id begins with (code-07), or a field `type`. Lengths are words, in scripts without spaces
    characters, the median and the longest; openings counts the verbs that instructions begin with.

    Mistakes go to stderr, a line each, and end with exit code 2; remarks alone with 0.
    """
    from ..instruct.seed_coverage import coverage, languages, openings
    from ..instruct.seeds import check_seeds

    checked = check_seeds(files)
    rows, verbs, spoken = coverage(checked.seeds), openings(checked.seeds), languages(checked.seeds)
    if as_json:
        told = [
            {"file": one.file, "line": one.line, "text": one.text, "mistake": one.mistake} for one in checked.findings
        ]
        table = [row._asdict() for row in rows]
        found = {"coverage": table, "openings": verbs, "languages": spoken, "findings": told}
        click.echo(json.dumps(found, ensure_ascii=False))
        return 2 if checked.mistakes else 0
    print_table(rows)
    if rows:
        click.echo(f"\nlanguages  {_counted(spoken)}\nopenings   {_counted(verbs)}")
    remarks = checked.remarks if everything else checked.remarks[:MOST_REMARKS]
    for remark in remarks:
        click.echo(f"{'' if remark is not remarks[0] else chr(10)}{remark}")
    if len(remarks) < len(checked.remarks):
        click.echo(f"and {len(checked.remarks) - len(remarks)} more; --all prints them")
    for mistake in checked.mistakes:
        click.echo(str(mistake), err=True)
    click.echo(f"\n{_plural(len(checked.mistakes), 'mistake')}, {_plural(len(checked.remarks), 'remark')}")
    return 2 if checked.mistakes else 0


def print_table(rows: Sequence[tuple[object, ...]]) -> None:
    """The rows of a coverage table under their heads, numbers to the right."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in [HEAD, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *rest in cells:
        right = "  ".join(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        click.echo(f"{first:{widths[0]}}  {right}")


def _counted(counts: Counter[str]) -> str:
    told = [f"{name} {count}" for name, count in counts.most_common(MOST_OPENINGS)]
    return ", ".join(told) + (f", {len(counts) - MOST_OPENINGS} more" if len(counts) > MOST_OPENINGS else "")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
