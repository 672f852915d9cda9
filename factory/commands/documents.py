"""Which documents outside the factory the records of a dataset come from: parents walked up, all records at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pyarrow.parquet as pq

from ..engine.stage import Stage

MOST = 300_000  # records of one stage: a name and a set of files each, about 200 bytes


def documents_of(stage: Stage) -> Counter[str] | None:
    """File -> records of `stage` made from it, the most first; a record made from two files counts for both.

    Files are project-relative places, or what the source calls its pieces. None where a stage on the way has more than
    MOST records.
    """
    found = _files(stage, {})
    if found is None:
        return None
    return Counter(file for files in found.values() for file in files)


def _files(stage: Stage, known: dict[str, Mapping[str, frozenset[str]] | None]) -> Mapping[str, frozenset[str]] | None:
    """Id of a record -> the files it comes from. `known` keeps what was found, by fingerprint."""
    if stage.fingerprint in known:
        return known[stage.fingerprint]
    above: dict[str, frozenset[str]] = {}
    for upstream in stage.inputs:
        one = _files(upstream, known)
        if one is None:
            known[stage.fingerprint] = None
            return None
        above.update(one)
    rows = _rows(stage)
    if rows is None or stage.is_model:
        known[stage.fingerprint] = None if rows is None else {}
        return known[stage.fingerprint]
    found: dict[str, frozenset[str]] = {}
    for record, parents in rows:
        if record in above:
            found[record] = above[record]
        elif stage.source is not None:
            found[record] = frozenset(parent.partition("#")[0] for parent in parents)
        else:
            found[record] = frozenset[str]().union(*(above.get(parent, frozenset()) for parent in parents))
    known[stage.fingerprint] = found
    return found


def _rows(stage: Stage) -> list[tuple[str, list[str]]] | None:
    """(id, parents) of every kept record; None where they are not there or too many."""
    manifest = stage.manifest
    if manifest is None or manifest["counts"]["out"] > MOST:
        return None
    rows: list[tuple[str, list[str]]] = []
    for entry in manifest["shards"]:
        if entry["file"]:
            table = pq.read_table(stage.folder / entry["file"], columns=["id", "parents"])
            rows += zip(table.column("id").to_pylist(), table.column("parents").to_pylist(), strict=True)
    return rows
