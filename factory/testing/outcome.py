"""What a build of a step left behind: whether its account is sound, and where two builds differ."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factory import Result, Step

MANY = 8  # reasons that differ in their digits alone; Gopher's n-gram rules have six
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def faults(result: Result, step: Step) -> Iterator[tuple[str, str]]:
    """(check, sentence) for each law that the target `checked` breaks over the target `given`."""
    given: list[Any] = list(result["given"])  # type: ignore[arg-type]
    kept: list[Any] = list(result["checked"])  # type: ignore[arg-type]
    stage = result.plan.targets["checked"]
    dropped: list[Any] = list(stage.store.dropped(stage.fingerprint))
    inputs = {record["id"]: record for record in given}
    places = {place: record["id"] for record in given for place in record["parents"]}
    case = {record["id"]: record["parents"][0].partition("#")[2] for record in given}
    twice = [name for name, count in Counter(record["id"] for record in kept).items() if count > 1]
    if twice:
        yield "ids", f"{len(twice)} ids are given to more than one record, '{twice[0]}' is one of them"
    ended = set()
    for record in (*kept, *dropped):
        ended |= {record["id"], *(places.get(parent, parent) for parent in record["parents"])}
        if lost := [one for one in record["parents"] if one not in inputs and one not in places]:
            yield "parents", f"record {record['id']} names the parent '{lost[0]}', which is not among what came in"
            break
    if gone := [case[name] for name in inputs if name not in ended]:
        yield "nothing vanishes", f"{_some(gone)} came in and neither was kept, nor dropped, nor became anything"
    if step.kind.value in ("filter", "global filter"):
        for record in kept:
            known = inputs[record["id"]]
            if changed := [name for name in record if repr(record[name]) != repr(known[name])]:  # nan != nan
                yield "input unchanged", f"it kept '{case[record['id']]}' but changed its {changed[0]}"
                break
    yield from _reasons(dropped, case, step)


def _some(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:3])
    return shown if len(names) <= 3 else f"{len(names)} records ({shown}, …)"


def _reasons(dropped: list[Any], case: dict[str, str], step: Step) -> Iterator[tuple[str, str]]:
    for row in dropped:
        if row["reason"] == "cannot be encoded":
            about = case.get(row["id"], row["id"])
            yield "output", f"what it made of '{about}' cannot be encoded: {row['details'].get('error')}"
            break
    silent = [case.get(row["id"], row["id"]) for row in dropped if row["reason"] == "not used"]
    if silent and step.kind.value == "stream":
        yield "nothing vanishes", f"it passed over {_some(silent)} without ctx.drop(record, reason)"
    alike: dict[str, set[str]] = defaultdict(set)
    for row in dropped:
        alike[NUMBER.sub("0", row["reason"])].add(row["reason"])
    for reasons in alike.values():
        if len(reasons) > MANY:
            one, other, *_ = sorted(reasons)
            yield "reasons", f"'{one}' and '{other}' cannot be counted together; numbers belong in Drop's details"


def snapshot(folder: Path) -> dict[str, str]:
    """Name -> hash of every file of an artifact but its manifest, which names the recipe."""
    return {
        path.relative_to(folder).as_posix(): hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", "alarms.json")
    }


def difference(one: Path, other: Path) -> str:
    """The first thing in which two artifacts differ, as a clause; empty when all bytes are the same."""
    if one.name != other.name:
        said = "an option whose default has no fixed order (a set) does that, and so does code edited meanwhile"
        return f"its fingerprint was {one.name} and then {other.name}; {said}"
    before, after = snapshot(one), snapshot(other)
    if before == after:
        return ""
    if before.keys() != after.keys():
        return f"{', '.join(sorted(before.keys() ^ after.keys()))} was written once and not again"
    for name in sorted(before, key=lambda name: (not name.startswith("shard"), name)):
        if before[name] != after[name]:
            return _in_file(one / name, other / name) or f"{name} has other bytes"
    return ""


def _in_file(one: Path, other: Path) -> str:
    if one.suffix != ".parquet":
        return ""
    import pyarrow.parquet as pq

    before, after = pq.read_table(one).to_pylist(), pq.read_table(other).to_pylist()
    what = "dropped" if one.name.startswith("dropped") else "kept"
    for row, again in zip(before, after, strict=False):
        for name in row:
            if repr(row[name]) != repr(again[name]):
                return f"{name} of a record {what} was {_short(row[name])} and then {_short(again[name])}"
    if len(before) != len(after):
        return f"{len(before)} records of a shard were {what} and then {len(after)}"
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
