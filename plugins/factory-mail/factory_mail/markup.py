"""HTML mail as plain text: blocks become lines, quoted blocks get the `> ` that plain mail has."""

from __future__ import annotations

import re
from html.parser import HTMLParser

SILENT = frozenset({"script", "style", "head", "title", "template"})
# Elements that stand on lines of their own; those in APART with a blank line around them.
APART = frozenset({"blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"})
LINES = frozenset(
    {"address", "article", "body", "dd", "div", "dl", "dt", "footer", "form", "header", "hr", "html", "li"}
)
BLOCKS = APART | LINES | {"section", "td", "th", "tr"}
BLANKS = re.compile(r"[ \t\r\n\f]+")
# Word's conditional sections; the standard parser of Python 3.11 raises on those it does not know.
SECTION = re.compile(r"<!\[[^>]*>?")


def plain_text(page: str) -> str:
    """The text of an HTML message."""
    reader = _Reader()
    reader.feed(SECTION.sub("", page))
    reader.close()
    reader.end_line()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(reader.lines)).strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.words: list[str] = []  # of the line at work
        self.quoted = self.silent = 0

    def end_line(self, apart: bool = False) -> None:
        if text := BLANKS.sub(" ", "".join(self.words)).strip():
            self.lines.append("> " * self.quoted + text)
        if apart and self.lines and self.lines[-1]:
            self.lines.append("")
        self.words = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self.end_line(apart=not "".join(self.words).strip())
        elif tag in BLOCKS:
            self.end_line(tag in APART)
        if tag == "blockquote":
            self.quoted += 1
        if tag == "li":
            self.words.append("- ")
        self.silent += tag in SILENT

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self.end_line(tag in APART)
        if tag == "blockquote":
            self.quoted = max(0, self.quoted - 1)
        if tag in SILENT:
            self.silent = max(0, self.silent - 1)
        if tag == "body":  # an unclosed <head> or <title> must not swallow everything
            self.silent = 0

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.words.append(data)
