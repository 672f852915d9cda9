"""Votes as Label Studio's JSON: a list of tasks with annotations.

A pair is a task with `text1` and `text2` under a Pairwise control, and Choices for the five points; a ranking is one
with `answers` under a Ranker. Sides are drawn for each annotator here and fixed in Label Studio, so `text1` is the
answer whose place comes first, and what was on the left stands in the annotation's `meta`. An import needs no more
than `prompt`, `text1`, `text2` and a Pairwise result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from factory import InputError

from ..votes import tiers_of
from . import Asked, Given
from .cast import content_of, item_from, item_of_content, shown_text, turned, vote_from

OURS = (
    "shown",
    "check",
    "mode",
    "strength",
    "ranking",
    "choice",
    "reason",
    "edit",
)  # what Label Studio has no place for


def write(asked: Iterable[Asked], path: Path) -> None:
    tasks = [_task(number, one) for number, one in enumerate(asked, start=1)]
    path.write_bytes(orjson.dumps(tasks, option=orjson.OPT_INDENT_2))


def read(path: Path) -> Iterator[Given]:
    try:
        tasks = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path.name} is no JSON: {error}") from None
    if not isinstance(tasks, list):
        raise InputError(f"{path.name}: Label Studio's JSON is a list of tasks")
    for number, task in enumerate(tasks, start=1):
        try:
            yield f"task {number}", *_read_task(task)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path.name}: task {number}: {error}") from None


def _task(number: int, asked: Asked) -> dict[str, Any]:
    item, unit, votes = asked
    texts = [shown_text(item.completions[place]) for place in unit]
    data: dict[str, Any] = {"prompt": shown_text(item.prompt)}
    if len(unit) == 2:
        data |= {"text1": texts[0], "text2": texts[1]}
    else:
        data["answers"] = [{"id": str(place), "title": str(place + 1), "body": texts[place]} for place in unit]
    data |= {"item": item.key, "places": list(unit), "content": content_of(item)}
    return {"id": number, "data": data, "annotations": [_annotation(vote) for vote in votes]}


def _annotation(vote: Mapping[str, Any]) -> dict[str, Any]:
    result: list[dict[str, Any]] = []
    pair = len(vote["shown"]) == 2 and vote["choice"] != "rank"
    left_first = vote["shown"] == sorted(vote["shown"])
    choice = vote["choice"] if left_first else turned(vote["choice"])
    if pair and choice in ("1", "2", "4", "5"):
        selected = "left" if choice in "12" else "right"
        result.append(_result("better", "text1,text2", "pairwise", {"selected": selected}))
    if pair and choice != "skip":
        result.append(_result("points", "text1", "choices", {"choices": [choice]}))
    if vote["choice"] == "rank":
        best_first = [str(vote["shown"][place]) for tier in tiers_of(vote["ranking"]) for place in tier]
        result.append(_result("ranking", "answers", "ranker", {"ranker": {"rank": best_first}}))
    if vote["note"]:
        result.append(_result("note", "prompt", "textarea", {"text": [vote["note"]]}))
    return {
        "completed_by": {"email": vote["by"]},
        "created_at": vote["at"],
        "lead_time": vote["seconds"],
        "was_cancelled": vote["choice"] == "skip",
        "ground_truth": False,
        "result": result,
        "meta": {name: vote[name] for name in OURS},
    }


def _result(name: str, to: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"from_name": name, "to_name": to, "type": kind, "value": value}


def _read_task(task: Mapping[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    data = task["data"]
    if "content" in data:
        item = item_of_content(data["content"])
    elif "text1" in data:
        item = item_from(data["prompt"], [data["text1"], data["text2"]])
    else:
        item = item_from(data["prompt"], [one["body"] for one in data["answers"]])
    unit = data.get("places") or range(len(item.completions))
    return item, [vote for one in task.get("annotations") or () if (vote := _vote(one, unit))]


def _vote(annotation: Mapping[str, Any], unit: Any) -> dict[str, Any] | None:
    """A vote; None where an annotation says nothing about which is better."""
    by = annotation.get("completed_by")
    by = by.get("email") or by.get("id") if isinstance(by, dict) else by
    found = {one["type"]: one["value"] for one in annotation.get("result") or ()}
    said: dict[str, Any] = {
        "by": by,
        "at": annotation.get("created_at"),
        "seconds": annotation.get("lead_time"),
        "note": "\n".join(found.get("textarea", {}).get("text", ())),
    }
    if "shown" in (ours := annotation.get("meta") or {}):
        return vote_from({**said, **ours}, unit)
    if annotation.get("was_cancelled"):
        said["choice"] = "skip"
    elif "ranker" in found:
        ranked = next(iter(found["ranker"]["ranker"].values()))
        said |= {"choice": "rank", "ranking": [list(map(str, unit)).index(str(one)) for one in ranked]}
    elif "choices" in found:
        said["choice"] = found["choices"]["choices"][0]
    elif "pairwise" in found:
        said["choice"] = found["pairwise"]["selected"]
    else:
        return None
    return vote_from(said, unit)
