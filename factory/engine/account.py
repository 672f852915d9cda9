"""The account of a stage: what came in, what was kept, what was dropped and why. It must close."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ..errors import StepError
from .records import KEPT, Drop, digest, json_bytes, to_json

DROPPED = pa.schema(
    [
        ("id", pa.string()),
        ("parents", pa.list_(pa.string())),
        ("step", pa.string()),
        ("reason", pa.string()),
        ("details", pa.string()),  # JSON
        ("record", pa.string()),  # JSON: the columns the record had
        ("meta", pa.string()),  # JSON
    ]
)


COUNTED = ("in", "out", "made", "parted")


@dataclass
class Tally:
    """One line of the funnel. It closes when in + made = out + parted + dropped.

    made    records that began here: children of a flat map, candidates of a generating step
    parted  records that ended here because others were made from them
    """

    name: str
    incoming: int = 0
    out: int = 0
    made: int = 0
    parted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def entry(self) -> dict[str, Any]:
        """As stored in the manifest."""
        counts = {"in": self.incoming, "out": self.out, "made": self.made, "parted": self.parted}
        return {"step": self.name, **counts, "reasons": dict(sorted(self.reasons.items()))}


class Account:
    """Every record of one shard, or of one stage that runs once, from arrival to its end."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.tallies: list[Tally] = []
        self.origins: dict[str, list[str]] = {}  # a record made here -> the stage's inputs it comes from
        self.places: dict[str, list[str]] = {}  # an input not stored under its id -> its place, or the id that is
        self.inputs: set[str] = set()
        self.kept: set[str] = set()
        self.gone: set[str] = set()  # dropped ids
        self.used: set[str] = set()  # inputs that something kept or dropped was made from
        self.dropped: list[dict[str, Any]] = []
        self.dropped_tables: list[pa.Table] = []  # the same, of records that came as tables
        self.numbered: dict[str, int] = {}  # an id that came more than once -> how often
        self.identified: set[str] = set()
        self.latest: Any = None  # the record that arrived last

    def line(self, name: str) -> Tally:
        """A new line of the funnel; a step that stands twice in a stage has two."""
        self.tallies.append(Tally(name))
        return self.tallies[-1]

    def arrive(self, record: Any, *, stored: bool = True) -> Any:
        """A record that enters the stage; one that is not `stored` under its id is known by its parents."""
        self.latest = record
        self.inputs.add(record["id"])
        if not stored:
            self.places[record["id"]] = record["parents"]
        return record

    def known(self, record_id: str) -> bool:
        """Whether a record is an input, or was made here and has its parents already."""
        return record_id in self.inputs or record_id in self.origins

    def identify(self, record: Any, salt: str) -> Any:
        """The record with an id no other has, and with parents that are stored: inputs of this stage.

        A record made without an id gets one from its step, its parents and its columns.
        """
        if "id" not in record:
            fields = {key: value for key, value in record.items() if key not in KEPT}
            record = {"parents": [], "meta": {}, **record}
            record["id"] = digest([salt, record["parents"], fields])
        if record["id"] in self.identified:
            seen = self.numbered[record["id"]] = self.numbered.get(record["id"], 0) + 1
            record = {**record, "id": digest([salt, record["id"], seen]), "parents": [record["id"]]}
        else:
            self.identified.add(record["id"])
        if not self.known(record["id"]):
            self.origins[record["id"]] = self.origins_of(record["parents"])
            record = {**record, "parents": self.stored(self.origins[record["id"]])}
        return record

    def origins_of(self, parents: Iterable[str]) -> list[str]:
        """The stage's inputs that records with these ids come from."""
        return list(dict.fromkeys(origin for parent in parents for origin in self.origins.get(parent, [parent])))

    def stored(self, origins: Iterable[str]) -> list[str]:
        """Inputs as parents: by their ids, or by their parents where they are not stored under these."""
        return list(dict.fromkeys(name for origin in origins for name in self.places.get(origin, [origin])))

    def drop(self, tally: Tally, record: Mapping[str, Any], why: Drop) -> None:
        """A record ends here with a reason; of two reasons for one record the first stands."""
        fields = {key: value for key, value in record.items() if key not in KEPT}
        if "id" not in record:
            record = {**record, "id": digest([tally.name, list(record.get("parents") or []), fields])}
        if record["id"] in self.gone:
            return
        known = self.known(record["id"])
        tally.reasons[why.reason] += 1
        tally.made += not known
        parents = list(record.get("parents") or [])
        if record["id"] not in self.inputs:
            origins = self.origins[record["id"]] if known else self.origins_of(parents)
            parents = self.stored(origins)
            self.used.update(origins)
        meta = record.get("meta") or {}  # rows of a table have it as JSON already
        texts = {"details": to_json(why.details), "record": to_json(fields)}
        texts["meta"] = meta if isinstance(meta, str) else to_json(meta)
        row = {"id": record["id"], "parents": parents, "step": tally.name, "reason": why.reason, **texts}
        self.dropped.append(row)
        self.gone.add(record["id"])

    def drop_table(self, tally: Tally, table: pa.Table, reason: str, details: list[dict[str, Any]]) -> None:
        """Rows of a stored table end here; as `drop` for each, five times as fast where all are inputs."""
        ids = table.column("id").to_pylist()
        if not self.inputs.issuperset(ids) or not self.gone.isdisjoint(ids) or len(set(ids)) < len(ids):
            for record, more in zip(table.to_pylist(), details, strict=True):
                self.drop(tally, record, Drop(reason, **more))
            return
        tally.reasons[reason] += len(ids)
        self.gone.update(ids)
        records = table.drop_columns([name for name in table.column_names if name in KEPT]).to_pylist()
        columns = {
            "id": table.column("id"),
            "parents": table.column("parents"),
            "step": [tally.name] * len(ids),
            "reason": [reason] * len(ids),
            "details": _in_json(details),
            "record": _in_json(records),
            "meta": table.column("meta"),
        }
        self.dropped_tables.append(pa.table(columns, schema=DROPPED))

    def keep(self, ids: Iterable[str]) -> None:
        """Records that leave the stage."""
        ids = set(ids)
        self.kept |= ids
        for record_id in ids - self.inputs:
            self.used.update(self.origins[record_id])

    def unmentioned(self) -> set[str]:
        """Inputs that neither were kept, dropped, nor became anything."""
        return self.inputs - self.kept - self.gone - self.used

    def close(self) -> dict[str, Any]:
        """The funnel and the totals. Raises StepError when a record vanished or was counted twice."""
        if lost := sorted(self.unmentioned()):
            said = f"{len(lost)} records were neither kept nor dropped ({', '.join(lost[:3])})"
            raise StepError(f"{self.label}: {said}; a step lost them")
        if both := sorted(self.kept & self.gone):
            raise StepError(f"{self.label}: record {both[0]} was kept and dropped; a step must do one of the two")
        for line in self.tallies:
            if line.incoming + line.made != line.out + line.parted + sum(line.reasons.values()):
                raise StepError(f"{self.label}: the account of {line.name} does not close: {line.entry()}")
        funnel = [line.entry() for line in self.tallies]
        dropped = len(self.dropped) + sum(map(len, self.dropped_tables))
        return {"in": len(self.inputs), "out": len(self.kept), "dropped": dropped, "funnel": funnel}

    def dropped_table(self, rows: list[dict[str, Any]] | None = None) -> pa.Table:
        """These dropped records, or all, as they are stored."""
        table = pa.Table.from_pylist(self.dropped if rows is None else rows, schema=DROPPED)
        return pa.concat_tables([table, *self.dropped_tables]) if rows is None else table


def _in_json(values: list[dict[str, Any]]) -> pa.Array:
    """Strings made of bytes: what is in UTF-8 already is not decoded to be encoded again."""
    return pa.array([json_bytes(value) for value in values], pa.binary()).view(pa.string())


def merge_funnels(funnels: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Funnels of the shards of one stage, line by line."""
    merged: list[dict[str, Any]] = []
    for funnel in funnels:
        for index, entry in enumerate(funnel):
            if index == len(merged):
                merged.append({"step": entry["step"], **dict.fromkeys(COUNTED, 0), "reasons": Counter()})
            line = merged[index]
            for key in COUNTED:
                line[key] += entry[key]
            line["reasons"].update(entry["reasons"])
    return [{**line, "reasons": dict(sorted(line["reasons"].items()))} for line in merged]
