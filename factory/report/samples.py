"""A few records of each target, kept and dropped, for people to look at. Reads only the first row groups."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .artifacts import Found
from .markup import count, element, escape, figure, shorten, tag

KEPT, DROPPED, TOP_REASONS = 3, 2, 4
LONGEST, LONGEST_DROPPED = 560, 280  # characters shown of one text
LOOK_AT = 240  # rows among which the kept samples are chosen
MOST_FILES = 4  # of dropped records that are opened for each stage
ROLES = {"system": "system", "user": "user", "assistant": "assistant"}


def kept(found: Found) -> str:
    """Cards of kept records, spread over the beginning of the first shard."""
    return "".join(card(record) for record in kept_records(found))


def kept_records(found: Found) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for path in found.kept_files():
        with pq.ParquetFile(path) as file:
            batch = next(file.iter_batches(LOOK_AT), None)
            table = batch.to_pylist() if batch is not None else []
        missing = KEPT - len(rows)
        rows += [table[len(table) * n // missing] for n in range(missing)] if len(table) > missing else table
        if len(rows) >= KEPT:
            break
    return [{**row, "meta": _parsed(row.get("meta"))} for row in rows]


def dropped(founds: Sequence[Found]) -> str:
    """Two dropped records for each of the most frequent reasons of a target, with the details."""
    wanted: dict[tuple[str, str], int] = {}
    for found in founds:
        for entry in (found.manifest or {}).get("funnel") or ():
            for reason, number in (entry.get("reasons") or {}).items():
                wanted[entry["step"], reason] = wanted.get((entry["step"], reason), 0) + number
    top = sorted(wanted, key=lambda pair: (-wanted[pair], pair))[:TOP_REASONS]
    rows = dropped_records(founds, top)
    groups = []
    for step, reason in top:
        if cards := "".join(dropped_card(row) for row in rows.get((step, reason), ())):
            number = tag("span", escape(f"{step} · {count(wanted[step, reason])}"), cls="note")
            head = tag("h4", element("b", escape(reason)), " ", number)
            groups.append(tag("div", head, tag("div", cards, cls="cards two"), cls="reason"))
    return "".join(groups)


def dropped_records(
    founds: Sequence[Found], wanted: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The first dropped records of each (step, reason), as stored; only rows that are shown are read whole."""
    import pyarrow.parquet as pq

    chosen: dict[tuple[str, str], list[dict[str, Any]]] = {pair: [] for pair in wanted}
    for found in founds:
        for path in found.dropped_files()[:MOST_FILES]:
            if all(len(rows) >= DROPPED for rows in chosen.values()):
                return chosen
            with pq.ParquetFile(path) as file:
                if not file.num_row_groups:
                    continue
                names = file.read_row_group(0, columns=["step", "reason"]).to_pylist()
                places = []
                for place, row in enumerate(names):
                    rows = chosen.get((row["step"], row["reason"]))
                    if rows is not None and len(rows) < DROPPED:
                        rows.append({})
                        places.append((place, rows, len(rows) - 1))
                if places:
                    whole = file.read_row_group(0).take([place for place, _, _ in places]).to_pylist()
                    for (_, rows, at), row in zip(places, whole, strict=True):
                        rows[at] = row
    return chosen


def card(record: Mapping[str, Any]) -> str:
    """One kept record: its columns as a person would read them, its id and what is in meta."""
    return element("article", body(record, LONGEST), _foot(record), cls="card")


def dropped_card(row: Mapping[str, Any]) -> str:
    record = _parsed(row.get("record"))
    details = "".join(_chip(key, value) for key, value in _parsed(row.get("details")).items())
    what = body(record, LONGEST_DROPPED) if any(record.values()) else element("p", "no content", cls="note")
    why = tag("p", details, cls="chips why") if details else ""
    return element("article", what, why, _foot({**row, "meta": {}}), cls="card gone")


def body(record: Mapping[str, Any], longest: int) -> str:
    """The columns of a record, by what they are rather than by its type, so plugins' own types show too."""
    parts = []
    for name, value in record.items():
        if name in ("id", "parents", "meta") or value is None:
            continue
        if is_messages(value):
            parts.append(_messages(value, longest, "" if name in ("prompt", "completion", "messages") else name))
        elif name == "completions" and isinstance(value, list):
            parts += _candidates(value, record.get("scores") or [], longest)
        elif name == "choices" and isinstance(value, list):
            items = [element("li", _text(str(v), longest), cls="right" if n == record.get("answer") else None)
                     for n, v in enumerate(value)]  # fmt: skip
            parts.append(element("ol", *items, cls="choices", start="0"))
        elif name == "text" and isinstance(value, str):
            parts.append(tag("div", _text(value, longest), cls="text"))
        elif name in ("scores", "answer") and ("completions" in record or "choices" in record):
            continue
        else:
            said = value if isinstance(value, str) else _json(value)
            parts.append(tag("div", tag("span", escape(name), cls="role"), _text(said, longest), cls="text"))
    return "".join(parts)


def is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(m, dict) and "content" in m for m in value)


def _messages(messages: Sequence[Mapping[str, Any]], longest: int, name: str = "") -> str:
    drawn = []
    for message in messages[:8]:
        role = str(message.get("role") or "")
        said = f"{name} · {role}" if name else role
        cls = f"message {ROLES.get(role, 'user')} {name if name in ('chosen', 'rejected') else ''}".strip()
        drawn.append(tag("div", tag("span", escape(said), cls="role"), _text(message["content"], longest), cls=cls))
    if len(messages) > 8:
        drawn.append(tag("p", escape(f"{len(messages) - 8} more messages"), cls="note"))
    return "".join(drawn)


def _candidates(completions: Sequence[Any], scores: Sequence[Any], longest: int) -> list[str]:
    drawn = []
    for number, completion in enumerate(completions[:6]):
        score = scores[number] if number < len(scores) else None
        name = f"answer {number + 1}" + (f" · score {figure(score)}" if isinstance(score, int | float) else "")
        said = is_messages(completion)
        drawn.append(_messages(completion, longest // 2, name) if said else _text(_json(completion), longest))
    return drawn


def _text(words: Any, longest: int) -> str:
    """Text with its line breaks; what is left off is said."""
    words = "" if words is None else str(words)
    if not words.strip():
        return element("p", "empty", cls="note")
    shown = words.strip("\n")[:longest]
    left = len(words.strip("\n")) - len(shown)
    more = tag("span", escape(f" … {count(left)} more characters"), cls="note") if left else ""
    return tag("p", escape(shown), more)


def _foot(record: Mapping[str, Any]) -> str:
    meta = record.get("meta") or {}
    chips = "".join(_chip(key, value) for key, value in list(meta.items())[:6])
    origin = ", ".join(shorten(str(parent), 60) for parent in (record.get("parents") or [])[:2])
    made = f"{element('code', escape(record.get('id', '')))}{' from ' if origin else ''}{escape(origin)}"
    return tag("footer", tag("span", chips, cls="chips") if chips else "", tag("span", made, cls="origin"))


def _chip(key: str, value: Any) -> str:
    said = figure(value) if isinstance(value, float) else value if isinstance(value, str) else _json(value)
    return tag("span", tag("i", escape(shorten(key, 24))), " ", escape(shorten(said, 60)), cls="chip")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _parsed(value: Any) -> dict[str, Any]:
    """A JSON column; a dict already parsed stays, anything else is no fields."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
