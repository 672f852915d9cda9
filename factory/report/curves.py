"""Metrics over training steps as line charts: axes, ticks, train and eval together, minimum and last value labelled."""

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
    """One chart a metric; `eval_loss` and `loss` (or `train_loss`) share theirs. Empty when nothing was logged."""
    grouped: dict[str, dict[str, Points]] = {}
    for step, values in metrics.items():
        for name, value in values.items():
            found = SPLIT.match(name)
            split, base = (found[1], found[2]) if found else ("train", name)
            grouped.setdefault(base, {}).setdefault(split, []).append((float(step), value))
    return "".join(chart(name, series) for name, series in grouped.items())


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
    low, high = y_ticks[0], y_ticks[-1]
    left = 14 + max(width_of(tick_text(tick, y_ticks), 12) for tick in y_ticks)
    span, floor = max(xs) - min(xs), HEIGHT - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - min(xs)) / span if span else 0.5
        up = (y - low) / (high - low)
        return left + across * (WIDTH - left - RIGHT), floor - up * (floor - TOP)

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
    legend = 0.0
    for number, (split, points) in enumerate(sorted(series.items(), key=lambda pair: pair[0] != "train")):
        art += _line(split, [(*at(x, y), y) if drawable(y) else None for x, y in thin(points)], number % 4)
        text = _legend(split if len(series) > 1 or split != "train" else "last", points)
        art += [
            tag("path", d=f"M{coordinate(legend)} 31h12", cls=f"line s{number % 4}"),
            tag("text", text, x=legend + 17, y=35.0, cls="legend"),
        ]
        legend += 36 + width_of(re.sub("<[^>]*>", "", text), 12)
    return svg(WIDTH, HEIGHT, f"{name} by training step", *art, cls="curve")


def _legend(split: str, points: Points) -> str:
    finite = [(y, x) for x, y in points if drawable(y)]
    if not finite:
        return escape(f"{split} cannot be drawn")
    least, where = min(finite)
    lowest = f" min {figure(least)} at {figure(where)}" if len(finite) > 1 and least != finite[-1][0] else ""
    return f"{escape(split)} {tag('tspan', escape(figure(finite[-1][0])), cls='number')}{escape(lowest)}"


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
    art = [tag("path", d="".join(path), cls=f"line s{number}")]
    if least is not last:
        art.append(tag("circle", cx=least[0], cy=least[1], r=3.2, cls=f"ring s{number}"))
    title = tag("title", escape(f"{split}: last {figure(last[2])}, min {figure(least[2])}"))
    return [*art, tag("circle", title, cx=last[0], cy=last[1], r=3.0, cls=f"dot s{number}")]


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
