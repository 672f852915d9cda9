"""Metrics over training steps as line charts: axes, ticks, what belongs together in one, last value labelled."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .markup import coordinate, escape, figure, label, shorten, svg, tag, width_of

WIDTH, HEIGHT = 410.0, 232.0
RIGHT, TOP, BOTTOM = 14.0, 52.0, 28.0
MOST_POINTS = 300  # a chart is 400 pixels wide; more points than that only make the page larger
SPLIT = re.compile(r"^(train|eval|val|valid|validation|test|dev|held_out)[_/](.+)$")
MOST_LINES = 12  # four colours, each whole, broken and dotted; more lines than that nobody tells apart
PARTS = {"loss": "source", "reward": "part"}  # what the names after `loss/` and `reward/` are
LEGEND_ROW = 18.0

Points = list[tuple[float, float]]


def read_metrics(lines: Iterable[str]) -> dict[int, dict[str, float]]:
    """metrics.jsonl as step -> metrics in order of steps. A step may repeat: the last value of each metric wins.

    A last line that was cut off by a kill is passed over.
    """
    import json

    found: dict[int, dict[str, float]] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            step = int(entry.pop("step"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        values = {str(key): float(value) for key, value in entry.items() if isinstance(value, int | float)}
        found.setdefault(step, {}).update(values)
    return dict(sorted(found.items()))


def charts(metrics: Mapping[int, Mapping[str, float]]) -> str:
    """One chart a metric; `eval_loss` and `loss` (or `train_loss`) share theirs, and so do `loss/a` and `loss/b`.

    Empty when nothing was logged.
    """
    grouped: dict[str, dict[str, Points]] = {}
    for step, values in metrics.items():
        for name, value in values.items():
            title, line = placed(name)
            grouped.setdefault(title, {}).setdefault(line, []).append((float(step), value))
    return "".join(chart(name, series) for name, series in grouped.items())


def placed(name: str) -> tuple[str, str]:
    """The chart and the line of a metric: `eval_loss` is (loss, eval), `loss/wiki` is (loss by source, wiki)."""
    found = SPLIT.match(name)
    split, base = (found[1], found[2]) if found else ("", name)
    head, _, part = base.partition("/")
    if not head or not part:
        return base, split or "train"
    return f"{split} {head} by {PARTS.get(head, 'name')}".lstrip(), part


def drawable(value: float) -> bool:
    """Finite, and not so large that axes overflow: a loss of 1e30 is as lost as an infinite one."""
    return abs(value) < 1e30  # false for nan


def chart(name: str, series: Mapping[str, Points]) -> str:
    """One chart. Values that cannot be drawn break the line and count for no axis."""
    finite = [point for points in series.values() for point in points if drawable(point[1])]
    if not finite:
        said = [label(0, 14, name, "title"), label(0, 36, "no value that can be drawn", "note")]
        return svg(WIDTH, 50, name, *said, cls="curve")
    xs = [x for x, _ in finite]
    y_ticks = ticks(min(y for _, y in finite), max(y for _, y in finite), 4)
    x_ticks = [tick for tick in ticks(min(xs), max(xs), 5, whole=True) if min(xs) <= tick <= max(xs)] or [min(xs)]
    shown = _shown(series)
    legend, rows = _legends(shown, len(series) - len(shown))
    top, height = TOP + rows, HEIGHT + rows
    low, high = y_ticks[0], y_ticks[-1]
    left = 14 + max(width_of(tick_text(tick, y_ticks), 12) for tick in y_ticks)
    span, floor = max(xs) - min(xs), height - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - min(xs)) / span if span else 0.5
        up = (y - low) / (high - low)
        return left + across * (WIDTH - left - RIGHT), floor - up * (floor - top)

    art = [label(0, 14, shorten(name, 40), "title")]
    for tick in y_ticks:
        y = at(min(xs), tick)[1]
        art.append(tag("path", d=f"M{coordinate(left)} {coordinate(y)}H{coordinate(WIDTH - RIGHT)}", cls="grid"))
        art.append(label(left - 7, y + 4, tick_text(tick, y_ticks), "tick", "end"))
    for tick in x_ticks:
        x = at(tick, low)[0]
        art.append(tag("path", d=f"M{coordinate(x)} {coordinate(floor)}v4", cls="axis"))
        art.append(label(x, floor + 17, tick_text(tick, x_ticks), "tick", "middle"))
    art.append(tag("path", d=f"M{coordinate(left)} {coordinate(floor)}H{coordinate(WIDTH - RIGHT)}", cls="axis"))
    for number, (split, points) in enumerate(shown):
        art += _line(split, [(*at(x, y), y) if drawable(y) else None for x, y in thin(points)], number)
    return svg(WIDTH, height, f"{name} by training step", *art, *legend, cls="curve")


def _shown(series: Mapping[str, Points]) -> list[tuple[str, Points]]:
    """The lines of a chart in order: train first, then as they were logged; of too many, those that end highest."""
    ends = {name: next((y for _, y in reversed(points) if drawable(y)), -math.inf) for name, points in series.items()}
    highest = set(sorted(series, key=lambda name: -ends[name])[:MOST_LINES])
    chosen = [(name, points) for name, points in series.items() if name in highest]
    return sorted(chosen, key=lambda pair: pair[0] != "train")


def _legends(shown: Sequence[tuple[str, Points]], left_out: int) -> tuple[list[str], float]:
    """Names with their last values, in as many rows as they need; and how high the rows after the first are."""
    art: list[str] = []
    x, y = 0.0, 35.0
    for number, (split, points) in enumerate(shown):
        name = split if len(shown) > 1 or split != "train" else "last"
        text = _legend(shorten(name, 32), points, lowest=len(shown) <= 2)
        width = 17 + width_of(re.sub("<[^>]*>", "", text), 12)
        if x and x + width > WIDTH:
            x, y = 0.0, y + LEGEND_ROW
        art.append(tag("path", d=f"M{coordinate(x)} {coordinate(y - 4)}h12", cls=f"line {_style(number)}"))
        art.append(tag("text", text, x=x + 17, y=y, cls="legend"))
        x += width + 19
    if left_out:
        y += LEGEND_ROW
        art.append(label(0, y, f"the {len(shown)} that end highest; {left_out} more in metrics.jsonl", "note"))
    return art, y - 35.0


def _style(number: int) -> str:
    """Four colours, then the same broken, then dotted."""
    return f"s{number % 4}" + ("", " dash1", " dash2")[number // 4 % 3]


def _legend(split: str, points: Points, lowest: bool) -> str:
    finite = [(y, x) for x, y in points if drawable(y)]
    if not finite:
        return escape(f"{split} cannot be drawn")
    least, where = min(finite)
    wanted = lowest and len(finite) > 1 and least != finite[-1][0]
    said = f" min {figure(least)} at {figure(where)}" if wanted else ""
    return f"{escape(split)} {tag('tspan', escape(figure(finite[-1][0])), cls='number')}{escape(said)}"


def _line(split: str, points: Sequence[tuple[float, float, float] | None], number: int) -> list[str]:
    """The line, broken at None, a ring at its minimum and a dot at its end."""
    path, drawing = [], False
    for point in points:
        if point is not None:
            path.append(f"{'L' if drawing else 'M'}{coordinate(point[0])} {coordinate(point[1])}")
        drawing = point is not None
    real = [point for point in points if point is not None]
    if not real:
        return []
    least, last = min(real, key=lambda point: point[2]), real[-1]
    colour = f"s{number % 4}"
    art = [tag("path", d="".join(path), cls=f"line {_style(number)}")]
    if least is not last:
        art.append(tag("circle", cx=least[0], cy=least[1], r=3.2, cls=f"ring {colour}"))
    title = tag("title", escape(f"{split}: last {figure(last[2])}, min {figure(least[2])}"))
    return [*art, tag("circle", title, cx=last[0], cy=last[1], r=3.0, cls=f"dot {colour}")]


def thin(points: Points, most: int = MOST_POINTS) -> Points:
    """At most `most` points: the least and the greatest of each run of neighbours, so spikes stay."""
    if len(points) <= most:
        return points
    run = math.ceil(len(points) / (most // 2 - 1))
    kept = [points[0]]
    for start in range(0, len(points), run):
        part = [point for point in points[start : start + run] if drawable(point[1])]
        if part:
            kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return [*kept, points[-1]] if kept[-1] != points[-1] else kept


def ticks(low: float, high: float, about: int, whole: bool = False) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that enclose [low, high]."""
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-300) or high == low:
        pad = abs(low) * 0.5 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def tick_text(value: float, all_ticks: Sequence[Any]) -> str:
    """A tick with just the decimals that tell it from the next one."""
    if abs(value) >= 1e5:
        return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value / 1e3:g}k"
    step = abs(all_ticks[1] - all_ticks[0]) if len(all_ticks) > 1 else max(abs(value), 1.0)
    if step < 1e-3:
        return f"{value:.2g}" if value else "0"
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
