"""The tables of the page: what was asked of models, and the artifacts of the build."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .artifacts import Found
from .markup import count, duration, element, escape, size, tag


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
    return table(head, body)


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
    return table(head, body)


def table(head: Sequence[str], body: Sequence[str]) -> str:
    drawn = tag("table", tag("thead", tag("tr", *head)), element("tbody", *body))
    return tag("div", drawn, cls="scroll")
