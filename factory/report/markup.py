"""Writing HTML and SVG safely: escaping, tags, numbers, and room for words."""

from __future__ import annotations

import html
import re
from typing import Any

UNPRINTABLE = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 does not allow


def escape(words: Any) -> str:
    """Text for an element or a quoted attribute; characters that no XML document may hold become U+FFFD."""
    return html.escape(UNPRINTABLE.sub("\ufffd", str(words)), quote=True)


def tag(name: str, /, *content: str, **attributes: Any) -> str:
    """An element. `content` is markup already; attribute values are escaped, None leaves one out.

    `cls` is the class, and `_` in a name stands for `-`: `stroke_width=2`.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is not None:
            key = "class" if key == "cls" else key.replace("_", "-")
            parts.append(f'{key}="{coordinate(value) if isinstance(value, float) else escape(value)}"')
    opening = " ".join(parts)
    return f"<{opening}>{''.join(content)}</{name}>" if content else f"<{opening}/>"


def element(name: str, /, *content: str, **attributes: Any) -> str:
    """Like `tag`, for HTML elements that must be closed even when they are empty."""
    return tag(name, *(content or ("",)), **attributes)


def svg(width: float, height: float, label: str, *content: str, cls: str = "") -> str:
    """A picture that scales with its container; `label` is read aloud in its place."""
    return tag(
        "svg",
        tag("title", escape(label)),
        *content,
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        width=float(width),
        height=float(height),
        role="img",
        cls=cls or None,
    )


def label(x: float, y: float, words: Any, cls: str = "", anchor: str | None = None) -> str:
    """A line of text in a picture; (x, y) is where its baseline starts, or ends with anchor `end`."""
    return tag("text", escape(words), x=float(x), y=float(y), cls=cls or None, text_anchor=anchor)


def coordinate(value: float) -> str:
    """A length in a picture: two decimals, no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def count(value: int) -> str:
    return f"{value:,}"


def share(part: float, whole: float) -> str:
    """A percentage that never says 0 % for something or 100 % for less than all."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.0f} %" if percent >= 10 or percent == int(percent) else f"{percent:.1f} %"


def figure(value: float) -> str:
    """A measured number with four significant digits: 12.35, 0.0002, 1.3e+06."""
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}" if abs(value) < 1e6 else f"{value:.3g}"


def size(octets: int) -> str:
    """Bytes as people read them, decimal units."""
    amount = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def shorten(words: str, most: int) -> str:
    """At most `most` characters, the last one an ellipsis when something was left off."""
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def width_of(words: str, size: float = 13, mono: bool = False) -> float:
    """About how wide a line is in pixels: 0.6 em a character in a fixed font, 0.55 in another, 1 for wide scripts."""
    each = 0.61 if mono else 0.55
    return size * sum(1.0 if ord(letter) > 0x2E7F else each for letter in words)
