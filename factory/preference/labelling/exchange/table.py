"""Votes as CSV, a row each.

An import needs the columns prompt, left, right, choice and by: texts, and a choice of 1 to 5, left, right or tie. What
one cell cannot hold as it is stands there as JSON. A text that a spreadsheet would run as a formula has a ' before it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from factory import InputError, text_of

from ..items import Item
from . import Asked, Given
from .cast import content_of, item_from, item_of_content, vote_from

TEXTS = ("by", "choice", "reason", "note", "check", "mode", "at")
NUMBERS = ("strength", "seconds")
VALUES = ("shown", "ranking", "edit")
COLUMNS = ("item", "prompt", "left", "right", *TEXTS, *NUMBERS, *VALUES, "content")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def write(asked: Iterable[Asked], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for item, _, votes in asked:
            table.writerows({name: _cell(value) for name, value in _row(item, vote).items()} for vote in votes)


def read(path: Path) -> Iterator[Given]:
    csv.field_size_limit(1 << 30)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if lacking := [name for name in ("by", "choice") if name not in (table.fieldnames or ())]:
                raise InputError(f"{path.name} has no column '{lacking[0]}'")
            for number, row in enumerate(table, start=2):
                try:
                    yield f"row {number}", *_read_row({name: _text(row.get(name) or "") for name in COLUMNS})
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(f"{path.name}: row {number}: {error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path.name} is no CSV in UTF-8: {error}") from None


def _row(item: Item, vote: Mapping[str, Any]) -> dict[str, str]:
    """left and right are texts to be read where there are two; what counts is `content`."""
    sides = [text_of(item.completions[place]) for place in vote["shown"]] if len(vote["shown"]) == 2 else ["", ""]
    row = {"item": item.key, "prompt": text_of(item.prompt), "left": sides[0], "right": sides[1]}
    row |= {name: vote[name] for name in TEXTS}
    row |= {name: "" if vote[name] is None else repr(vote[name]) for name in NUMBERS}
    row |= {name: "" if vote[name] is None else orjson.dumps(vote[name]).decode() for name in VALUES}
    return {**row, "content": orjson.dumps(content_of(item)).decode()}


def _read_row(row: Mapping[str, str]) -> tuple[Item, list[dict[str, Any]]]:
    whole = row["content"]
    item = item_of_content(orjson.loads(whole)) if whole else item_from(row["prompt"], [row["left"], row["right"]])
    said: dict[str, Any] = {name: row[name] for name in TEXTS}
    said |= {name: float(row[name]) if row[name] else None for name in NUMBERS}
    said |= {name: orjson.loads(row[name]) if row[name] else None for name in VALUES}
    return item, [vote_from(said, range(len(item.completions)))]


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _text(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell
