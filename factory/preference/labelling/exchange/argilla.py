"""Votes as Argilla's records, one in a line: fields, metadata, and responses by question.

A pair has the fields `prompt`, `answer_1` and `answer_2` and the question `preference` (the five points, both_good,
both_bad, with the answer whose place comes first as the left one); a ranking has `answer_1` to `answer_K` and the
question `ranking`, a list of them, best first. An import needs no more than these; `user_id` names the annotator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from factory import InputError

from ..items import Item
from ..votes import tiers_of
from . import Asked, Given
from .cast import content_of, item_from, item_of_content, shown_text, turned, vote_from

OURS = ("shown", "check", "mode", "strength", "ranking", "choice", "reason", "edit", "seconds", "at")


def write(asked: Iterable[Asked], path: Path) -> None:
    with path.open("wb") as file:
        for one in asked:
            file.write(orjson.dumps(_record(one)) + b"\n")


def read(path: Path) -> Iterator[Given]:
    """One record in a line, or a list of them, which is how Argilla itself writes."""
    data = path.read_bytes()
    listed = data.lstrip().startswith(b"[")
    try:
        lines = orjson.loads(data) if listed else data.splitlines()
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path.name} is no JSON: {error}") from None
    for number, line in enumerate(lines, start=1):
        if not listed and not line.strip():
            continue
        try:
            yield f"record {number}", *_read_record(line if listed else orjson.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path.name}: record {number}: {error}") from None


def _record(asked: Asked) -> dict[str, Any]:
    item, unit, votes = asked
    fields = {f"answer_{number}": shown_text(item.completions[place]) for number, place in enumerate(unit, start=1)}
    responses: dict[str, list[dict[str, Any]]] = {}
    for vote in votes:
        left_first = vote["shown"] == sorted(vote["shown"])
        if vote["choice"] == "rank":
            best_first = [f"answer_{vote['shown'][at] + 1}" for tier in tiers_of(vote["ranking"]) for at in tier]
            responses.setdefault("ranking", []).append({"value": best_first, "user_id": vote["by"]})
        elif vote["choice"] != "skip":
            value = vote["choice"] if left_first or len(unit) > 2 else turned(vote["choice"])
            responses.setdefault("preference", []).append({"value": value, "user_id": vote["by"]})
        if vote["note"]:
            responses.setdefault("note", []).append({"value": vote["note"], "user_id": vote["by"]})
    cast = [{"by": vote["by"], "note": vote["note"], **{name: vote[name] for name in OURS}} for vote in votes]
    return {
        "id": "-".join([item.key, *map(str, unit)]),
        "fields": {"prompt": shown_text(item.prompt), **fields},
        "metadata": {"item": item.key, "places": list(unit), "content": content_of(item), "votes": cast},
        "suggestions": {},
        "responses": responses,
        "status": "completed" if votes else "pending",
    }


def _read_record(record: Mapping[str, Any]) -> tuple[Item, list[dict[str, Any]]]:
    metadata, fields = record.get("metadata") or {}, record["fields"]
    if "content" in metadata:
        item = item_of_content(metadata["content"])
    else:
        names = [f"answer_{number}" for number in range(1, len(fields)) if f"answer_{number}" in fields]
        item = item_from(fields["prompt"], [fields[name] for name in names])
    unit = metadata.get("places") or list(range(len(item.completions)))
    cast = [vote_from(vote, unit) for vote in metadata.get("votes") or ()]
    # Who answered in Argilla after it was exported from here has a response and no vote.
    known = {vote["by"] for vote in cast}
    return item, [*cast, *(vote for vote in _responses(record, unit) if vote["by"] not in known)]


def _responses(record: Mapping[str, Any], unit: list[int]) -> Iterator[dict[str, Any]]:
    responses = record.get("responses") or {}
    notes = {str(one["user_id"]): one["value"] for one in responses.get("note") or ()}
    for one in responses.get("preference") or ():
        by = str(one["user_id"])
        yield vote_from({"by": by, "choice": one["value"], "note": notes.get(by)}, unit)
    for one in responses.get("ranking") or ():
        by = str(one["user_id"])
        names = [value["value"] if isinstance(value, dict) else value for value in one["value"]]
        ranking = [int(str(name).rpartition("_")[2]) - 1 for name in names]
        yield vote_from({"by": by, "choice": "rank", "ranking": ranking, "note": notes.get(by)}, unit)
