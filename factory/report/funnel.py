"""The funnel of a target as a picture: a river of records that narrows as each step drops some, by reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .markup import coordinate, count, escape, label, share, shorten, svg, tag

BAR, LINE, MOST_REASONS, SHADES = 18.0, 17.0, 6, 6
RIVER_X, RIVER_WIDTH, REASONS_X, WIDE = 176.0, 440.0, 652.0, 960.0
NARROW = 340.0
NECK = 26.0  # pixels the river narrows to where its records become others


@dataclass(frozen=True)
class Row:
    """What one step did: records in and out, records it made, records dropped for each reason.

    What a training step used up counts as left: it went into the model.
    """

    step: str
    entered: int
    left: int
    made: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        return sum(self.reasons.values())

    @property
    def handled(self) -> int:
        """Records that this step decided about: what came in, or what it made from that."""
        return self.left + self.dropped

    @property
    def same(self) -> bool:
        """Whether what leaves are records that came in."""
        return self.made == 0 and self.handled == self.entered

    def ranked(self) -> list[tuple[str, int]]:
        """Reasons by number, largest first; those past the sixth together."""
        rest = sorted(self.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        rest = [(reason, number) for reason, number in rest if number]
        if len(rest) <= MOST_REASONS:
            return rest
        shown, others = rest[: MOST_REASONS - 1], rest[MOST_REASONS - 1 :]
        return [*shown, (f"{len(others)} other reasons", sum(number for _, number in others))]


def rows_of(manifests: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The funnel rows of a target's stages, in order."""
    rows = []
    for manifest in manifests:
        for entry in manifest.get("funnel") or ():
            made = entry.get("made", 0)
            left = entry["out"] if made else entry["out"] + entry.get("parted", 0)
            rows.append(Row(entry["step"], entry["in"], left, made, entry.get("reasons") or {}))
    return rows


def draw(rows: Sequence[Row], name: str, end: str = "out") -> str:
    """The picture twice: for a page, and for a phone or a narrow column. The stylesheet shows one.

    `end` says what became of the records that are left: they came `out`, or were `used` by a model.
    """
    return _wide(rows, name, end) + _narrow(rows, name)


def _scales(rows: Sequence[Row], room: float) -> list[float]:
    """Pixels a record for each row. Where a step makes other records of those that come in, a new scale begins."""
    most: list[int] = []
    for row in rows:
        if not most or not row.same:
            most.append(row.handled)
        most[-1] = max(most[-1], row.handled)
    runs = iter(most)
    found, scale = [], 0.0
    for number, row in enumerate(rows):
        if not number or not row.same:
            many = next(runs)
            scale = room / many if many else 0.0
        found.append(scale)
    return found


def _width(number: int, scale: float) -> float:
    """At least a hair for anything that is not nothing."""
    return max(1.5, number * scale) if number else 0.0


def _colours(rows: Sequence[Row]) -> list[str]:
    """The colour of each row's records: it changes where a step makes other records of those that come in."""
    turns, colours = 0, []
    for row in rows:
        turns += not row.same
        colours.append("made" if turns % 2 else "")
    return colours


def _segments(row: Row, scale: float, colour: str) -> list[tuple[str, float, float]]:
    """(class, x, width) of the kept part and of each reason, side by side within the width of all handled."""
    parts = [(f"kept {colour}".strip(), row.left)]
    parts += [(f"drop d{min(n, SHADES - 1)}", number) for n, (_, number) in enumerate(row.ranked())]
    x, drawn = 0.0, []
    for cls, number in parts:
        width = _width(number, scale)
        drawn.append((cls, x, width))
        x += width
    return drawn


def _wide(rows: Sequence[Row], name: str, end: str) -> str:
    scales = _scales(rows, RIVER_WIDTH)
    y, art = 34.0, []
    if rows:
        first = rows[0]
        art += [label(RIVER_X - 16, 22, "in", "note", "end"), label(RIVER_X, 22, count(first.entered), "number")]
        whole = _width(first.entered, scales[0]) if first.same else RIVER_WIDTH if first.entered else 0.0
        art.append(_flow(whole, whole if first.same else min(whole, NECK), y - 4, y + 8 if first.same else y + 20, ""))
        y += 8 if first.same else 20
    for number, (row, colour, scale) in enumerate(zip(rows, _colours(rows), scales, strict=True)):
        reasons = row.ranked()
        after = rows[number + 1] if number + 1 < len(rows) else None
        tall = max(BAR + 22, LINE * len(reasons) + 10)
        art.append(label(RIVER_X - 16, y + 13, shorten(row.step, 22), "step", "end"))
        segments = _segments(row, scale, colour)
        for cls, x, width in segments:
            if width:
                art.append(_bar(cls, RIVER_X + x, y, width))
                if cls.startswith("drop"):  # what is dropped falls and fades
                    art.append(_fall(cls, RIVER_X + x, y + BAR, width, min(tall - BAR - 2, 16.0)))
        if segments[0][2] > 12 + 8.5 * len(count(row.left)):
            art.append(label(RIVER_X + 7, y + 13.5, count(row.left), "inside"))
        if not row.same:
            art.append(label(RIVER_X - 16, y + 29, f"{count(row.handled)} made of {count(row.entered)}", "note", "end"))
            tall = max(tall, 48.0)
        before = segments[0][2]
        ahead = before if after is None or after.same else min(before, NECK)  # others are made of these
        art.append(_flow(before, ahead, y + BAR, y + tall, colour))
        art += _reasons(reasons, row.handled, REASONS_X, y + 13)
        y += tall
    if rows:
        last = rows[-1].left
        art.append(label(RIVER_X - 16, y + 18, end, "note", "end"))
        said = f"  {share(last, rows[0].entered)} of what came in" if all(row.same for row in rows) else ""
        art.append(label(RIVER_X, y + 18, count(last), "number total"))
        art.append(label(RIVER_X + 11.0 * len(count(last)) + 8, y + 18, said.strip(), "note"))
    return svg(WIDE, y + 30, f"Records through {name}", *art, cls="funnel wide")


def _narrow(rows: Sequence[Row], name: str) -> str:
    scales = _scales(rows, NARROW)
    y, art = 16.0, []
    for row, colour, scale in zip(rows, _colours(rows), scales, strict=True):
        art.append(label(0, y, shorten(row.step, 26), "step"))
        art.append(label(NARROW, y, f"{count(row.entered)} → {count(row.left)}", "note", "end"))
        art += [_bar(cls, x, y + 8, width) for cls, x, width in _segments(row, scale, colour) if width]
        reasons = row.ranked()
        art += _reasons(reasons, row.handled, 0, y + BAR + 24)
        y += BAR + 40 + LINE * len(reasons)
    return svg(NARROW, max(y - 14, 4.0), f"Records through {name}", *art, cls="funnel narrow")


def _bar(cls: str, x: float, y: float, width: float) -> str:
    return tag("rect", x=x, y=y, width=max(width - 0.5, 0.5), height=BAR, cls=cls)


def _fall(cls: str, x: float, y: float, width: float, depth: float) -> str:
    """Three paler steps under a dropped part; no gradient, whose id would have to be unique on the page."""
    steps = [(0.34, 0.0), (0.18, depth / 3), (0.08, 2 * depth / 3)]
    return "".join(
        tag("rect", x=x, y=y + down, width=max(width - 0.5, 0.5), height=depth / 3, cls=cls, opacity=f"{pale}")
        for pale, down in steps
    )


def _flow(above: float, below: float, top: float, bottom: float, colour: str) -> str:
    """The river between two bars; where records become others its width changes in an S."""
    bank, a, b = coordinate(RIVER_X), coordinate(RIVER_X + above), coordinate(RIVER_X + below)
    start, middle, end = coordinate(top), coordinate((top + bottom) / 2), coordinate(bottom)
    path = f"M{bank} {start}H{a}C{a} {middle} {b} {middle} {b} {end}H{bank}z"
    return tag("path", d=path, cls=f"river {colour}".strip())


def _reasons(reasons: Sequence[tuple[str, int]], whole: int, x: float, y: float) -> list[str]:
    art = []
    for number, (reason, many) in enumerate(reasons):
        at = y + LINE * number
        art.append(tag("rect", x=x, y=at - 9, width=9.0, height=9.0, cls=f"drop d{min(number, SHADES - 1)}"))
        art.append(
            tag(
                "text",
                tag("title", escape(reason)),
                escape(shorten(reason, 32)),
                tag("tspan", f"  {count(many)}", cls="number", dx="6"),
                tag("tspan", escape(share(many, whole)), cls="note", dx="6"),
                x=x + 16,
                y=at,
                cls="reason",
            )
        )
    return art
