"""What a person should look at when a stage is done: rules that never fire, that empty a source, and big clusters.

A misspelt threshold drops nothing, and a rule made for English drops all of the Chinese: neither is an error, and both
go unseen in a funnel of totals.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .step import Kind, Step

RULES = frozenset({Kind.FILTER, Kind.VECTORISED, Kind.GLOBAL_FILTER})
FEW = 1000  # a rule that drops none of fewer records may be right
SOURCE_FEW = 20
HALF = 0.5
CLUSTER = 0.01  # of the records that came in
CLUSTER_FEW = 10
FILES = 50  # more files than this are told apart by their folders
EXAMPLES = 3

Alarm = dict[str, Any]  # step, says, examples: [{id, place, text}]


def find_alarms(
    steps: list[Step], funnel: list[dict[str, Any]], kept: Iterable[Path], dropped: Iterable[Path]
) -> list[Alarm]:
    """The alarms of one stage, from its funnel and its files of kept and dropped records."""
    lines = funnel[len(funnel) - len(steps) :]  # a stage that reads has a line for that first
    judging = [(step, line) for step, line in zip(steps, lines, strict=True) if step.judges]
    found = [
        {"step": step.name, "says": f"dropped none of {line['in']:,} records", "examples": []}
        for step, line in judging
        if step.kind in RULES and not line["reasons"] and line["in"] >= FEW
    ]
    files = [path for path in dropped if path.exists()]
    if any(line["reasons"] for _, line in judging):
        found += _emptied_sources([step.name for step, line in judging if line["reasons"]], steps, kept, files)
        found += _clusters({step.name: line["in"] for step, line in judging if step.kind is Kind.GLOBAL_FILTER}, files)
    return found


def _emptied_sources(names: list[str], steps: list[Step], kept: Iterable[Path], dropped: list[Path]) -> Iterator[Alarm]:
    """Steps that dropped over half of what a source had left when it came to them."""
    left: Counter[str] = Counter()
    lost: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path in kept:
        left.update(_sources(pq.read_table(path, columns=["parents"])))
    for path in dropped:
        table = pq.read_table(path, columns=["parents", "step"])
        for name in pc.unique(table["step"]).to_pylist():
            lost[name].update(_sources(table.filter(pc.equal(table["step"], name))))
    whole = left + sum(lost.values(), Counter())
    folders = len(whole) > FILES

    def grouped(counts: Counter[str]) -> Counter[str]:
        total: Counter[str] = Counter()
        for place, count in counts.items():
            total[place.rpartition("/")[0] + "/" if folders else place] += count
        return total

    left, lost = grouped(left), defaultdict(Counter, {name: grouped(counts) for name, counts in lost.items()})
    for step in reversed(steps):  # what came to the last step is what it kept and what it dropped
        came = left + lost[step.name]
        for source, count in lost[step.name].most_common() if step.name in names else ():
            if came[source] >= SOURCE_FEW and count > HALF * came[source]:
                says = f"dropped {count:,} of the {came[source]:,} records of {source}"
                yield {"step": step.name, "says": says, "examples": _examples(dropped, step.name, source)}
        left = came


def _sources(table: pa.Table) -> Counter[str]:
    """How many rows come from each file: what stands before `#` in their first parent, where that is a place."""
    parents = table["parents"].combine_chunks()
    if not len(parents):
        return Counter()
    some = pc.fill_null(pc.greater(parents.value_lengths(), 0), False)
    places = parents.values.take(parents.offsets[: len(parents)].filter(some))
    places = places.filter(pc.or_(pc.match_substring(places, "#"), pc.match_substring(places, "/")))
    files = pc.replace_substring_regex(places, "#[^#]*$", "")
    return Counter({row["values"]: row["counts"] for row in pc.value_counts(files).to_pylist()})


def _clusters(entered: dict[str, int], dropped: list[Path]) -> Iterator[Alarm]:
    """Records that stand for over a hundredth of what came in: `of` in the details of a global filter's drops."""
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path in dropped:
        table = pq.read_table(path, columns=["step", "details"])
        for name in entered:
            details = table.filter(pc.equal(table["step"], name))["details"]
            of = pc.struct_field(pc.extract_regex(details, r'"of":"(?P<of>[^"]+)"'), "of")
            groups[name].update(of.drop_null().to_pylist())
    for name, counts in groups.items():
        for kept, count in counts.most_common(EXAMPLES):
            if count >= CLUSTER_FEW and count > CLUSTER * entered[name]:
                says = f"dropped {count:,} of {entered[name]:,} records for one that stays, {kept}"
                yield {"step": name, "says": says, "examples": _examples(dropped, name, of=kept)}


def _examples(dropped: list[Path], step: str, source: str = "", of: str = "") -> list[dict[str, Any]]:
    """Some records that a step dropped, of one source or for one kept record."""
    found = []
    for path in dropped:
        for batch in pq.ParquetFile(path).iter_batches(4096, columns=["id", "parents", "step", "details", "record"]):
            for row in batch.to_pylist():
                place = next(iter(row["parents"]), "")
                if row["step"] != step or not place.startswith(source) or (f'"of":"{of}' not in row["details"] and of):
                    continue
                texts = [value for value in orjson.loads(row["record"]).values() if isinstance(value, str)]
                text = " ".join(next(iter(texts), "").split())[:100]
                found.append({"id": row["id"], "place": place, "text": text})
                if len(found) == EXAMPLES:
                    return found
    return found
