"""Sections that steps add: a small Markdown renderer that escapes everything, and pictures let in only when harmless.

Known: headings, paragraphs, lists, tables, quotes, fenced code, rules, and inline code, strong and emphasis.
A link is shown as its words and its address, not as a link: the page refers to nothing outside itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

from .markup import element, escape, tag

BULLET = re.compile(r"^(\s*)(?:[-*+]|(\d+)[.)])\s+(.*)$")
RULE = re.compile(r"^ {0,3}([-*_])(?:\s*\1){2,}\s*$")
DIVIDER = re.compile(r"^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")
INLINE = re.compile(
    r"(?P<code>`+)(?P<coded>.+?)(?P=code)|\*\*(?P<strong>\S(?:.*?\S)?)\*\*|(?<![\w*])\*(?P<em>[^\s*](?:[^*]*[^\s*])?)\*(?!\*)"
    r"|(?<!\w)_(?P<under>[^\s_](?:[^_]*[^\s_])?)_(?!\w)|!?\[(?P<words>[^\]]*)\]\((?P<address>[^)\s]*)\)"
)
DEEPEST = 20  # nested quotes and lists; deeper ones are plain text

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}href"
DRAWING = frozenset(
    {"svg", "g", "defs", "symbol", "use", "title", "desc", "path", "rect", "circle", "ellipse", "line", "polyline"}
    | {"polygon", "text", "tspan", "textPath", "marker", "clipPath", "mask", "pattern", "stop", "filter"}
    | {"linearGradient", "radialGradient", "feGaussianBlur", "feOffset", "feBlend", "feMerge", "feMergeNode"}
)
LEFT_OUT = frozenset({"style", "metadata"})  # harmless but for the rest of the page, so they go silently


def section(body: str, prefix: str = "") -> str:
    """A section's body as HTML: a picture when it is SVG, else Markdown. `prefix` goes in front of a picture's ids."""
    if re.match(r"\s*(<\?xml[^>]*\?>)?\s*(<!DOCTYPE svg[^>\[]*>)?\s*<svg\b", body):
        try:
            return tag("div", clean_svg(body, prefix), cls="scroll picture")
        except ValueError as error:
            return tag("p", escape(f"A picture was left out: {error}."), cls="note")
    return render(body)


def render(source: str, depth: int = 0) -> str:
    """Markdown as HTML."""
    lines = source.replace("\r\n", "\n").expandtabs(4).split("\n")
    return "\n".join(_blocks(lines, depth))


def _blocks(lines: list[str], depth: int) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif fence := re.match(r"^\s{0,3}(```+|~~~+)", line):
            end = next((n for n in range(at + 1, len(lines)) if lines[n].strip().startswith(fence[1])), len(lines))
            yield tag("pre", element("code", escape("\n".join(lines[at + 1 : end]))))
            at = end + 1
        elif heading := re.match(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*$", line):
            yield element(f"h{min(6, len(heading[1]) + 3)}", inline(heading[2]))  # the page's own go down to h3
            at += 1
        elif RULE.match(line):
            yield "<hr>"
            at += 1
        elif "|" in line and at + 1 < len(lines) and "-" in lines[at + 1] and DIVIDER.match(lines[at + 1]):
            end = _while(lines, at + 2, lambda text: "|" in text and text.strip() != "")
            yield _table(lines[at:end])
            at = end
        elif line.lstrip().startswith(">") and depth < DEEPEST:
            end = _while(lines, at, lambda text: text.lstrip().startswith(">"))
            inner = [re.sub(r"^\s*>\s?", "", text) for text in lines[at:end]]
            yield element("blockquote", *_blocks(inner, depth + 1))
            at = end
        elif BULLET.match(line) and depth < DEEPEST:
            end = _while(lines, at, _in_list)
            yield _list(lines[at:end], depth)
            at = end
        else:
            end = max(at + 1, _while(lines, at, _plain))
            yield element("p", "<br>".join(inline(text.strip()) for text in lines[at:end]))
            at = end


def _in_list(text: str) -> bool:
    return text.strip() != "" and (text.startswith(" ") or BULLET.match(text) is not None)


def _plain(text: str) -> bool:
    return text.strip() != "" and not re.match(r"^\s{0,3}(#{1,6}\s|```|~~~|>)", text) and not BULLET.match(text)


def _while(lines: list[str], at: int, wanted: Callable[[str], bool]) -> int:
    while at < len(lines) and wanted(lines[at]):
        at += 1
    return at


def _list(lines: list[str], depth: int) -> str:
    """Items of one list; lines that are further in than the first bullet belong to the item above."""
    first = BULLET.match(lines[0])
    assert first is not None
    indent, ordered = len(first[1]), first[2] is not None
    items: list[tuple[str, list[str]]] = []
    for line in lines:
        found = BULLET.match(line)
        if found and (len(found[1]) <= indent or not items):
            items.append((found[3], []))
        else:
            items[-1][1].append(line)
    drawn = []
    for head, inner in items:
        margin = min((len(line) - len(line.lstrip()) for line in inner), default=0)
        nested = "".join(_blocks([line[margin:] for line in inner], depth + 1))
        drawn.append(element("li", inline(head), nested))
    return element("ol" if ordered else "ul", *drawn)


def _table(lines: list[str]) -> str:
    """A pipe table; a column whose divider ends in a colon is set to the right, as numbers are."""
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines]
    right = [divider.endswith(":") for divider in rows[1]]

    def cells(kind: str, row: list[str]) -> str:
        row = (row + [""] * len(rows[0]))[: len(rows[0])]
        side = [("number" if n < len(right) and right[n] else None) for n in range(len(row))]
        return "".join(
            element(kind, inline(cell.replace("\\|", "|")), cls=cls) for cell, cls in zip(row, side, strict=True)
        )

    head = tag("thead", tag("tr", cells("th", rows[0])))
    body = element("tbody", *(tag("tr", cells("td", row)) for row in rows[2:]))
    return tag("div", tag("table", head, body), cls="scroll")


def inline(text: str) -> str:
    """Emphasis, code and links within a line; everything else is escaped."""
    parts, at = [], 0
    for found in INLINE.finditer(text):
        parts.append(escape(text[at : found.start()]))
        at = found.end()
        if found["coded"] is not None:
            parts.append(element("code", escape(found["coded"].strip())))
        elif found["strong"] is not None:
            parts.append(element("strong", inline(found["strong"])))
        elif found["address"] is not None:
            parts.append(f"{escape(found['words'])} ({element('code', escape(found['address']))})")
        else:
            parts.append(element("em", inline(found["em"] if found["em"] is not None else found["under"])))
    return "".join([*parts, escape(text[at:])])


def clean_svg(source: str, prefix: str = "") -> str:
    """A step's picture, written anew without namespaces, styles and metadata.

    `prefix` goes in front of every id, so that pictures on one page do not meet.
    Raises ValueError, with the reason, when it is not well-formed or could do more than be looked at.
    """
    if "<!ENTITY" in source:
        raise ValueError("it declares entities")
    try:
        root = ElementTree.fromstring(source)
    except ElementTree.ParseError as error:
        raise ValueError(f"it is not well-formed XML ({error})") from None
    return _copy(root, prefix)


def _copy(node: ElementTree.Element, prefix: str) -> str:
    name = node.tag.removeprefix(SVG) if isinstance(node.tag, str) else ""
    if name not in DRAWING:
        raise ValueError(f"it holds the element '{name}'")
    attributes = {}
    for key, value in node.attrib.items():
        key = "href" if key == XLINK else key
        if key.startswith("{"):
            continue  # an editor's own notes, or xml:space
        _check(key, value)
        if key == "id":
            value = prefix + value
        elif key == "href":
            value = f"#{prefix}{value[1:]}"
        attributes[key] = re.sub(r"url\(\s*#", f"url(#{prefix}", value)
    inner = [escape(node.text or "")]
    for child in node:
        if not (isinstance(child.tag, str) and child.tag.removeprefix(SVG) in LEFT_OUT):
            inner.append(_copy(child, prefix))
        inner.append(escape(child.tail or ""))
    opening = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{opening}>{''.join(inner)}</{name}>"


def _check(key: str, value: str) -> None:
    """Raise ValueError when an attribute could run or load something."""
    plain = re.sub(r"\s", "", value).lower()
    if key.lower().startswith("on"):
        raise ValueError(f"it holds the attribute '{key}'")
    if not re.fullmatch(r"[\w.:-]+", key):
        raise ValueError("it holds an attribute with a strange name")
    if "\\" in value:
        raise ValueError(f"its attribute '{key}' holds a backslash")  # CSS spells url( in many ways with them
    if key == "href" and not value.startswith("#"):
        raise ValueError("it refers to something outside itself")
    if re.search(r"url\((?![\"']?#)|javascript:|expression\(|@import|image-set\(|src\(", plain):
        raise ValueError(f"its attribute '{key}' refers to something outside itself")
