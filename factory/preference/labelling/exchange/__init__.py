"""Votes to and from other tools: Label Studio, Argilla and tables. What goes out comes in again as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from factory import InputError

from ..items import Item, best_pairs
from ..store import Labels

Asked = tuple[Item, tuple[int, ...], list[dict[str, Any]]]  # an item, the places compared, the votes on them
Given = tuple[str, Item, list[dict[str, Any]]]  # where in the file, an item, the votes on it


class Form(NamedTuple):
    write: Callable[[Iterable[Asked], Path], None]
    read: Callable[[Path], Iterator[Given]]


SUFFIXES = {".json": "label_studio", ".jsonl": "argilla", ".csv": "csv"}


def export_votes(labels: Labels, path: Path, form: str = "") -> int:
    """Write every item that is asked about and every vote to a file; the number of votes.

    form  label_studio (.json), argilla (.jsonl) or csv, which has a row for each vote and leaves out items without

    Raises InputError when neither the form nor the suffix says what is meant.
    """
    written = 0

    def counted() -> Iterator[Asked]:
        nonlocal written
        for asked in asked_in(labels):
            written += len(asked[2])
            yield asked

    _form(path, form).write(counted(), path)
    return written


def import_votes(labels: Labels, path: Path, form: str = "") -> int:
    """Take the votes of a file into a label set; the number of those that were not there yet.

    Items that are not there are put in. Raises InputError that names the place of what cannot be read; what came before
    it stays, and reading the file again adds nothing twice.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path.name} with votes")
    known = {item.key for item in labels.items()}
    given = list(_form(path, form).read(path))
    fresh = {item.key: item for _, item, _ in given if item.key not in known}
    added = 0
    try:
        labels.fill(fresh.values(), replace=False)
    except ValueError as error:
        raise InputError(f"{path.name}: {error}") from None
    for place, item, votes in given:
        for vote in votes:
            try:
                added += labels.put({**vote, "item": item.key})
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path.name}: {place}: {error.args[0] if error.args else error}") from None
    return added


def asked_in(labels: Labels) -> Iterator[Asked]:
    """Every pair, or ranking, that is asked about or has votes, in the order of the items."""
    settings, cast = labels.settings, _by_unit(labels.votes())
    for item in labels.items():
        answers = tuple(range(len(item.completions)))
        pairs = combinations(answers, 2) if settings.pairs == "all" else best_pairs(item)
        units = [answers] if settings.mode == "rank" else list(pairs)
        voted = cast.get(item.key, {})
        for unit in [*units, *(unit for unit in voted if unit not in units)]:
            yield item, unit, voted.get(unit, [])


def _by_unit(votes: Iterable[dict[str, Any]]) -> dict[str, dict[tuple[int, ...], list[dict[str, Any]]]]:
    found: dict[str, dict[tuple[int, ...], list[dict[str, Any]]]] = {}
    for vote in votes:
        found.setdefault(vote["item"], {}).setdefault(tuple(sorted(vote["shown"])), []).append(vote)
    return found


def _form(path: Path, name: str) -> Form:
    from . import argilla, label_studio, table

    forms = {
        "label_studio": Form(label_studio.write, label_studio.read),
        "argilla": Form(argilla.write, argilla.read),
        "csv": Form(table.write, table.read),
    }
    if (name or SUFFIXES.get(path.suffix.lower(), "")) not in forms:
        known = ", ".join(f"{form} ({suffix})" for suffix, form in SUFFIXES.items())
        raise InputError(f"{path.name}: votes are written and read as {known}")
    return forms[name or SUFFIXES[path.suffix.lower()]]
