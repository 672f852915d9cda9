"""Dots with intervals as SVG, for the report and for a page with a strict content policy alike.

No style elements or attributes: all is drawn in currentColor by presentation attributes, and dots and intervals have
the classes of the report's curves, so that a page may give them a colour.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .bootstrap import Estimate

UNPRINTABLE = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 does not allow
WIDTH, ROW, SIZE = 560.0, 24.0, 12.5
NAMES = 190.0  # pixels that names may take
VALUES = 52.0  # on the right, for the value in figures
HEAD, FOOT = 30.0, 26.0


@dataclass(frozen=True)
class Panel:
    """Rows of (name, estimate) on one axis from `low` to `high`, or as far as the intervals reach.

    mark     where a line stands: a half for shares, zero for chance
    percent  whether values are shares
    """

    title: str
    rows: Sequence[tuple[str, Estimate]]
    low: float | None = None
    high: float | None = None
    mark: float | None = None
    percent: bool = False


def draw(title: str, panels: Sequence[Panel]) -> str:
    """Panels one below the other; "" when none has a value. `title` is read aloud in the picture's place."""
    shown = [panel for panel in panels if any(one.value is not None for _, one in panel.rows)]
    if not shown:
        return ""
    names = max(width_of(name) for panel in shown for name, _ in panel.rows)
    left = min(NAMES, names) + 14
    art, top = [tag("title", escape(title))], 0.0
    for panel in shown:
        art += _panel(panel, left, top)
        top += HEAD + ROW * len(panel.rows) + FOOT + 8
    size = {"viewBox": f"0 0 {WIDTH:.0f} {top:.0f}", "width": f"{WIDTH:.0f}", "height": f"{top:.0f}"}
    return tag("svg", *art, **size, role="img", cls="curve dots", font_size=SIZE, xmlns="http://www.w3.org/2000/svg")


def _panel(panel: Panel, left: float, top: float) -> list[str]:
    ticks = ticks_between(*_range(panel))
    low, high = ticks[0], ticks[-1]
    right, first, floor = WIDTH - VALUES, top + HEAD, top + HEAD + ROW * len(panel.rows)

    def at(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * (right - left)

    art = [text(0, top + 14, panel.title, "title", font_weight="600")]
    for tick in ticks:
        x = at(tick)
        art.append(line(x, first - 4, x, floor, "guide", 0.15))
        art.append(text(x, floor + 15, _tick(tick, ticks, panel.percent), "scale", text_anchor="middle", opacity=0.65))
    if panel.mark is not None and low <= panel.mark <= high:
        x = at(panel.mark)
        art.append(line(x, first - 4, x, floor, "mark", 0.6, stroke_dasharray="3 3"))
    for number, (name, one) in enumerate(panel.rows):
        y = first + ROW * (number + 0.5)
        art.append(text(0, y + 4, shorten(name, NAMES), "name"))
        art += _dot(name, one, at, y, panel.percent)
        art.append(text(WIDTH, y + 4, figure(one.value, panel.percent), "number", text_anchor="end"))
    return art


def _dot(name: str, one: Estimate, at: Any, y: float, percent: bool) -> list[str]:
    if one.value is None:
        return [text(at(-math.inf), y + 4, one.why, "why", opacity=0.65)]
    said = tag("title", escape(f"{name}: {spelled(one, percent)}"))
    art = []
    if one.low is not None and one.high is not None:
        art.append(line(at(one.low), y, at(one.high), y, "line s0 interval", 1.0, stroke_width=1.8))
    return [*art, tag("circle", said, cx=at(one.value), cy=y, r=4.0, cls="dot s0", fill="currentColor")]


def _range(panel: Panel) -> tuple[float, float]:
    ends = [end for _, one in panel.rows for end in (one.low, one.value, one.high) if end is not None]
    low = min([*ends, *([panel.low] if panel.low is not None else [])])
    high = max([*ends, *([panel.high] if panel.high is not None else [])])
    return (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)


def ticks_between(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers, 1, 2, 2.5 or 5 times a power of ten apart, that enclose [low, high]."""
    power = 10.0 ** math.floor(math.log10((high - low) / about))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= (high - low) / about * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _tick(value: float, ticks: Sequence[float], percent: bool) -> str:
    if percent:
        return f"{100 * value:.0f} %"
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    decimals += abs(round((ticks[1] - ticks[0]) * 10**decimals) - (ticks[1] - ticks[0]) * 10**decimals) > 1e-6
    return f"{value + 0.0:.{decimals}f}".replace("-", "−")


def figure(value: float | None, percent: bool = False) -> str:
    """A value for a table: 0.61, −0.05, 72 %; a dash for none."""
    if value is None:
        return "–"
    return (f"{100 * value:.0f} %" if percent else f"{round(value, 2) + 0.0:.2f}").replace("-", "−")


def spelled(one: Estimate, percent: bool = False) -> str:
    """A value with its interval: 0.61 (0.52 to 0.70)."""
    if one.value is None or one.low is None or one.high is None:
        return figure(one.value, percent)
    low, high = figure(one.low, percent).removesuffix(" %"), figure(one.high, percent)
    return f"{figure(one.value, percent)} ({low} to {high})"


def line(x1: float, y1: float, x2: float, y2: float, cls: str, opacity: float, **attributes: Any) -> str:
    d = f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"
    return tag("path", d=d, cls=cls, stroke="currentColor", stroke_opacity=opacity, fill="none", **attributes)


def text(x: float, y: float, words: str, cls: str, **attributes: Any) -> str:
    return tag("text", escape(words), x=x, y=y, cls=cls, fill="currentColor", **attributes)


def tag(name: str, /, *content: str, **attributes: Any) -> str:
    """An element; `content` is markup already, `cls` the class, `_` in a name stands for `-`."""
    parts = [name]
    for key, value in attributes.items():
        said = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else escape(str(value))
        parts.append(f'{"class" if key == "cls" else key.replace("_", "-")}="{said}"')
    return f"<{' '.join(parts)}>{''.join(content)}</{name}>" if content else f"<{' '.join(parts)}/>"


def escape(words: str) -> str:
    return html.escape(UNPRINTABLE.sub("\ufffd", words), quote=True)


def width_of(words: str) -> float:
    """About how wide a line is in pixels: 0.55 em a letter, 1 of a wide script."""
    return SIZE * sum(1.0 if ord(letter) > 0x2E7F else 0.55 for letter in words)


def shorten(words: str, most: float) -> str:
    """As much as `most` pixels hold, the last one an ellipsis where something was left off."""
    if width_of(words) <= most:
        return words
    kept = ""
    for letter in words:
        if width_of(kept + letter + "…") > most:
            break
        kept += letter
    return kept.rstrip() + "…"
