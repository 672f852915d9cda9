"""Where a record came from, and what was made from it: parents and artifacts walked up and down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from .plan import Plan, Stage
from .schema import decode
from .source import enter


@dataclass
class Step:
    """One stop on the way back: a record in a stage, or (with no stage) a place outside the factory."""

    depth: int
    target: str
    label: str
    record: dict[str, Any] | None
    place: str = ""


@dataclass
class Touched:
    """A stage that holds something made from a record: how many kept and dropped records, or a model."""

    stage: Stage
    kept: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    model: bool = False

    def lies_in(self, entry: dict[str, Any]) -> bool:
        """Whether a shard of the stage, or the dropped records beside it, hold one of them."""
        found = {entry["file"]: self.kept, entry["dropped_file"]: self.dropped}
        return any(name and ids & _ids(self.stage.folder / name) for name, ids in found.items())


def trace(stage: Stage, record_id: str) -> Iterator[Step]:
    """The record in the last stage of a target, then everything it was made from, back to the places it entered."""
    yield from _walk(stage, record_id, 0, set())


def _walk(stage: Stage, record_id: str, depth: int, seen: set[tuple[str, str]]) -> Iterator[Step]:
    if (stage.fingerprint, record_id) in seen:
        return
    seen.add((stage.fingerprint, record_id))
    record = find(stage, record_id)
    if record is None:
        return
    yield Step(depth, stage.target, stage.label, record)
    if stage.source is not None:
        for place in record["parents"]:
            yield Step(depth + 1, "", "", None, place)
        return
    for upstream in stage.inputs:
        carried = find(upstream, record_id) is not None
        for ancestor in [record_id] if carried else record["parents"]:
            yield from _walk(upstream, ancestor, depth + (not carried), seen)


def find(stage: Stage, record_id: str) -> dict[str, Any] | None:
    """A record of a complete stage, kept or dropped, by its id; None when it is not there."""
    manifest = stage.manifest
    if manifest is None or stage.is_model:
        return None
    for entry in manifest["shards"]:
        path = stage.folder / entry["file"]
        if record_id in _ids(path):
            table = pq.read_table(path, filters=pc.field("id") == record_id)
            return next(decode(table))
    for row in stage.store.dropped(stage.fingerprint):
        if row["id"] == record_id:
            note = {"step": row["step"], "reason": row["reason"], **row["details"]}
            return {"id": row["id"], "parents": row["parents"], **row["record"], "meta": row["meta"], "dropped": note}
    return None


def _ids(path: Any) -> set[str]:
    return set(pq.read_table(path, columns=["id"]).column("id").to_pylist())


def resolve_id(stage: Stage, prefix: str) -> list[str]:
    """Ids of a stage, kept or dropped, that begin with `prefix`, at most ten."""
    found: list[str] = []
    manifest = stage.manifest or {"shards": []}
    for entry in manifest["shards"]:
        for name in (entry["file"], entry["dropped_file"]):
            if name:
                ids = pq.read_table(stage.folder / name, columns=["id"]).column("id")
                found += ids.filter(pc.starts_with(ids, prefix)).to_pylist()
    return list(dict.fromkeys(found))[:10]


def descendants(plan: Plan, record_id: str, place: str) -> list[Touched]:
    """Every complete stage that holds the record read at `place` or something made from it, models included."""
    touched: dict[str, Touched] = {}
    for stage in plan.stages:
        if stage.manifest is None:
            continue
        above = {record_id, place} if stage.source is not None else set()
        for one in stage.inputs:
            if one.fingerprint in touched:
                above |= touched[one.fingerprint].kept
        taught = any(
            isinstance(value, Stage)
            and value.fingerprint in touched
            and (value.is_model or touched[value.fingerprint].kept)
            for value in stage.references.values()
        )
        mine = Touched(stage, model=stage.is_model and (bool(above & _all_inputs(stage)) or taught))
        if not stage.is_model:
            _made_from(stage, above, mine)
            if taught and not (mine.kept or mine.dropped):
                mine.kept |= {row for entry in stage.manifest["shards"] for row in _ids(stage.folder / entry["file"])}
        if mine.kept or mine.dropped or mine.model:
            touched[stage.fingerprint] = mine
    return list(touched.values())


def _all_inputs(stage: Stage) -> set[str]:
    ids: set[str] = set()
    for one in stage.inputs:
        for entry in (one.manifest or {"shards": []})["shards"]:
            if entry["file"]:
                ids |= _ids(one.folder / entry["file"])
    return ids


def _made_from(stage: Stage, above: set[str], mine: Touched) -> None:
    """Records of a stage whose id or parent is in `above`."""
    for entry in (stage.manifest or {"shards": []})["shards"]:
        for name, found in ((entry["file"], mine.kept), (entry["dropped_file"], mine.dropped)):
            table = pq.read_table(stage.folder / name, columns=["id", "parents"])
            for row_id, parents in zip(
                table.column("id").to_pylist(), table.column("parents").to_pylist(), strict=True
            ):
                if row_id in above or above.intersection(parents):
                    found.add(row_id)


def read_again(plan: Plan, place: str) -> str | None:
    """The id of the record at a place such as data/x.jsonl#17, found by reading its source again."""
    file = place.partition("#")[0]
    for stage in plan.stages:
        if stage.source is None:
            continue
        for piece in stage.pieces:
            if file in piece.files:
                for record, _ in enter(stage.source, stage.source.rows(piece)):
                    if record["parents"] == [place]:
                        return str(record["id"])
    return None
