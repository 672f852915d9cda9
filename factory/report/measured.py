"""What was measured: a table for each group of values that belong together, never wider than a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .artifacts import Found
from .markup import element, escape, figure
from .tables import table

MOST_METRICS = 400  # rows read of one Metric dataset
MOST_COLUMNS = 4  # things measured that stand side by side; more of them stand one below the other


@dataclass(frozen=True)
class Value:
    """One measured value; `low` and `high` are the ends of its interval, where it has one."""

    name: str
    of: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def told(self) -> str:
        if self.low is None or self.high is None:
            return figure(self.value)
        return " to ".join((f"{_short(self.value)} ({_short(self.low)}", f"{_short(self.high)})"))


def results(founds: Sequence[Found]) -> str:
    """All Metric datasets. Metrics of the same things share a table: the names of the metrics on the left and what was
    measured above; the other way round where much was measured."""
    values: dict[tuple[str, str], Value] = {}
    for found in founds:
        values |= {(one.name, one.of): one for one in _metrics(found)}
    return "".join(_one_table(group) for group in together(values.values()))


def together(values: Iterable[Value]) -> list[list[Value]]:
    """Values in groups: two are in one when their metrics have most of what they measure in common.

    So people, pairs of people and models, of each of which other things are measured, do not share a table.
    """
    measured: dict[str, dict[str, Value]] = {}
    for one in values:
        measured.setdefault(one.of, {})[one.name] = one
    groups: list[tuple[set[str], list[Value]]] = []
    for by_name in measured.values():
        names = set(by_name)
        for known, group in groups:
            if 2 * len(names & known) >= len(names | known):
                known |= names
                group += by_name.values()
                break
        else:
            groups.append((names, [*by_name.values()]))
    return [group for _, group in groups]


def _one_table(values: Sequence[Value]) -> str:
    names, ofs = list(dict.fromkeys(one.name for one in values)), list(dict.fromkeys(one.of for one in values))
    cells = {(one.name, one.of): one for one in values}
    if len(ofs) > MOST_COLUMNS:
        head = [element("th", "of"), *(element("th", escape(name), cls="number") for name in names)]
        rows = [[element("td", escape(of)), *(_cell(cells.get((name, of))) for name in names)] for of in ofs]
        return table(head, [element("tr", "".join(row)) for row in rows])
    # Whether values with intervals differ is for the intervals to say, not for a difference.
    change = any(sum((name, of) in cells for of in ofs) > 1 for name in names)
    change &= all(one.low is None for one in values)
    head = [element("th", "metric"), *(element("th", escape(of), cls="number") for of in ofs)]
    head += [element("th", "change", cls="number")] * change
    body = []
    for name in names:
        row = [element("td", escape(name)), *(_cell(cells.get((name, of))) for of in ofs)]
        if change:
            row.append(
                element("td", _change([cells[name, of].value for of in ofs if (name, of) in cells]), cls="number")
            )
        body.append(element("tr", "".join(row)))
    return table(head, body)


def _cell(one: Value | None) -> str:
    return element("td", "–" if one is None else escape(one.told), cls="number")


def _short(value: float) -> str:
    """With its interval beside it a value needs no more than two decimals."""
    return f"{round(value, 2) + 0.0:,.2f}".replace("-", "−")


def _metrics(found: Found) -> list[Value]:
    import pyarrow.parquet as pq

    if found.gives != "Metric":
        return []
    rows: list[Value] = []
    for path in found.kept_files():
        with pq.ParquetFile(path) as file:
            batch = next(file.iter_batches(MOST_METRICS, columns=["name", "value", "of", "meta"]), None)
        rows += [_value(row) for row in (batch.to_pylist() if batch else [])]
        if len(rows) >= MOST_METRICS:
            break
    return rows


def _value(row: dict[str, str]) -> Value:
    meta = json.loads(row["meta"] or "{}")
    ends = [meta.get(end) if isinstance(meta.get(end), int | float) else None for end in ("low", "high")]
    return Value(row["name"], row["of"], float(row["value"]), *ends)


def _change(row: Sequence[float]) -> str:
    """From the first to the last value, in its unit and as a share of the first."""
    if len(row) < 2:
        return "–"
    difference = row[-1] - row[0]
    if not difference:
        return "none"
    sign = "+" if difference > 0 else "−"
    said = f"{sign}{figure(abs(difference))}"
    if row[0]:
        said += f" ({sign}{abs(difference / row[0]) * 100:.1f} %)"
    return escape(said)
