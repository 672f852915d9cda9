"""The tables of the page: measured values before and after, and the artifacts of the build."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .artifacts import Found
from .markup import count, duration, element, escape, figure, size, tag

MOST_METRICS = 400  # rows read of one Metric dataset


def results(founds: Sequence[Found]) -> str:
    """All Metric datasets as one table: a row for each name, a column for each thing measured, then the change."""
    values: dict[str, dict[str, float]] = {}
    columns: dict[str, None] = {}
    for found in founds:
        for name, of, value in _metrics(found):
            values.setdefault(name, {})[of] = value
            columns[of] = None
    if not values:
        return ""
    change = any(len(row) > 1 for row in values.values())
    head = [element("th", "metric"), *(element("th", escape(of), cls="number") for of in columns)]
    if change:
        head.append(element("th", "change", cls="number"))
    body = []
    for name, row in values.items():
        cells = [element("td", escape(name))]
        cells += [element("td", escape(figure(row[of])) if of in row else "–", cls="number") for of in columns]
        if change:
            cells.append(element("td", _change([row[of] for of in columns if of in row]), cls="number"))
        body.append(tag("tr", *cells))
    return _table(head, body)


def _metrics(found: Found) -> list[tuple[str, str, float]]:
    import pyarrow.parquet as pq

    if found.gives != "Metric":
        return []
    rows: list[tuple[str, str, float]] = []
    for path in found.kept_files():
        with pq.ParquetFile(path) as file:
            batch = next(file.iter_batches(MOST_METRICS, columns=["name", "value", "of"]), None)
        rows += [(row["name"], row["of"], row["value"]) for row in (batch.to_pylist() if batch else [])]
        if len(rows) >= MOST_METRICS:
            break
    return rows


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


def requests(founds: Sequence[Found]) -> str:
    """What was asked of models: answers, tokens, cost, and failures by reason."""
    body = []
    for found in founds:
        entry = (found.manifest or {}).get("requests")
        if not entry:
            continue
        failed = ", ".join(f"{reason} {count(times)}" for reason, times in entry["failed"].items())
        again = (found.manifest or {}).get("retry")
        cells = [
            ("", escape(found.stage.target)),
            *(("number", count(entry[name])) for name in ("answers", "prompt_tokens", "completion_tokens")),
            ("number", "–" if entry["usd"] is None else f"{entry['usd']:,.2f}"),
            ("", escape(failed + (f" ({count(again)} asked again by the next build)" if again else "")) or "–"),
        ]
        body.append(tag("tr", *(element("td", cell, cls=cls or None) for cls, cell in cells)))
    if not body:
        return ""
    names = (
        ("target", ""),
        ("answers", "number"),
        ("tokens in", "number"),
        ("tokens out", "number"),
        ("USD", "number"),
    )
    head = [element("th", name, cls=cls or None) for name, cls in (*names, ("failed", ""))]
    return _table(head, body)


def artifacts(founds: Sequence[Found]) -> str:
    """Every stage: what ran, the fingerprint of its artifact, how much it holds and how long it took."""
    names = ("target", "steps", "gives", "records", "size", "time", "fingerprint")
    numbers = ("records", "size", "time")
    head = [element("th", name, cls="number" if name in numbers else None) for name in names]
    body = []
    for found in founds:
        done = found.manifest is not None
        cells: list[tuple[str, Any]] = [
            ("", escape(found.stage.target)),
            ("steps", escape(found.stage.label)),
            ("", escape(found.gives)),
            ("number", "–" if not done or found.is_model else count(found.records)),
            ("number", size(found.octets) if done else "–"),
            ("number", duration(found.seconds) if found.seconds is not None else "–"),
            ("", element("code", escape(found.stage.fingerprint)) if done else tag("span", "not built", cls="note")),
        ]
        body.append(tag("tr", *(element("td", cell, cls=cls or None) for cls, cell in cells)))
    return _table(head, body)


def _table(head: Sequence[str], body: Sequence[str]) -> str:
    table = tag("table", tag("thead", tag("tr", *head)), element("tbody", *body))
    return tag("div", table, cls="scroll")
