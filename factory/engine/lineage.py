"""Where a record came from, and what was made from it: parents and artifacts walked up and down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from .schema import decode
from .source import enter
from .stage import Plan, Stage
from .store import Store


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
    """An artifact that holds something made from a record: kept and dropped records, or a model."""

    fingerprint: str
    manifest: dict[str, Any]
    kept: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    model: bool = False

    @property
    def label(self) -> str:
        steps = [call["step"] for call in self.manifest["steps"]]
        return " → ".join(["read", *steps] if self.manifest["source"] else steps or ["gather"])


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
        for name in filter(None, (entry["file"], entry["dropped_file"])):
            if name:
                ids = pq.read_table(stage.folder / name, columns=["id"]).column("id")
                found += ids.filter(pc.starts_with(ids, prefix)).to_pylist()
    return list(dict.fromkeys(found))[:10]


def descendants(store: Store, record_id: str, place: str) -> list[Touched]:
    """Every complete artifact that holds the record read at `place` or something made from it, models included.

    It does not matter which recipe, options or limit made it: ids say what comes from what.
    """
    manifests = {path.name: store.manifest(path.name) for path in sorted((store.root / "artifacts").glob("*"))}
    known = {name: manifest for name, manifest in manifests.items() if manifest is not None}
    needs = {name: [*manifest["inputs"], *manifest["references"].values()] for name, manifest in known.items()}
    touched: dict[str, Touched] = {}
    made = {record_id, place}
    for name in TopologicalSorter(needs).static_order():
        if name not in known:
            continue  # a model from outside, or what is collected already
        mine = Touched(name, known[name])
        shards, folder = mine.manifest["shards"], store.artifact(name)
        taught = any(one in touched for one in mine.manifest["references"].values())
        if (folder / "model").is_dir():
            inputs = [store.artifact(one) / entry["file"] for one in mine.manifest["inputs"] if one in known
                      for entry in known[one]["shards"] if entry["file"]]  # fmt: skip
            upstream = any(one in touched and touched[one].model for one in mine.manifest["inputs"])
            mine.model = taught or upstream or any(mentioned(path, made) for path in inputs)
        else:
            mine.kept = {row for entry in shards for row in mentioned(folder / entry["file"], made, everything=taught)}
        mine.dropped = {
            row for entry in shards if entry["dropped"] for row in mentioned(folder / entry["dropped_file"], made)
        }
        if mine.kept or mine.dropped or mine.model:
            touched[name] = mine
            made |= mine.kept
    return list(touched.values())


def mentioned(path: Path, names: set[str], everything: bool = False) -> set[str]:
    """Ids of the records in a file whose id or whose parent is among `names`; of all of them with `everything`."""
    table = pq.read_table(path, columns=["id", "parents"])
    rows = zip(table.column("id").to_pylist(), table.column("parents").to_pylist(), strict=True)
    return {row for row, parents in rows if everything or row in names or not names.isdisjoint(parents)}


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
