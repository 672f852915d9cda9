"""Long documents cut at headings and paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, NamedTuple

from pydantic import Field

import factory
from factory import InputError, Text, derive

from .boundaries import SENTENCE_END, whole_character

HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
UNDERLINE = re.compile(r"([=\-~^*+])\1{2,}\s*$")  # Setext and reStructuredText
FENCE = re.compile(r"\s{0,3}(```+|~~~+)")


class Paragraph(NamedTuple):
    """Lines up to a blank line, or a fenced block; a heading is one of its own."""

    text: str
    heading: str  # the one it stands under, or itself
    opens: bool = False  # it is a heading


@factory.step
def split_paragraphs(
    record: Text, max_chars: Annotated[int, Field(ge=1)] = 2000, min_chars: Annotated[int, Field(ge=0)] = 200
) -> Iterator[Text]:
    """Cut a document into parts of at most `max_chars`: at headings, then between paragraphs.

    Only a paragraph that is too long itself is cut, at sentence ends and line ends, and a sentence that is too long at
    a blank. No text is lost. Each part knows its heading (meta.heading) and its number from 1 (meta.part).

    max_chars  the most characters of a part
    min_chars  a section shorter than this shares a part with the next one
    """
    if min_chars > max_chars:
        raise InputError(f"split_paragraphs: min_chars {min_chars} must be at most max_chars {max_chars}")
    for number, (heading, text) in enumerate(parts(record["text"], max_chars, min_chars), 1):
        meta = {**record.get("meta", {}), "part": number, **({"heading": heading} if heading else {})}
        yield derive(record, text=text, meta=meta)


def parts(text: str, max_chars: int, min_chars: int) -> Iterator[tuple[str, str]]:
    """(heading at its begin, text) of each part; paragraphs are joined by a blank line."""
    held: list[str] = []
    size, heading = 0, ""
    for paragraph in paragraphs(text):
        for piece in _fitted(paragraph.text, max_chars):
            grown = size + 2 * bool(held) + len(piece)
            if held and (grown > max_chars or (paragraph.opens and size >= min_chars)):
                yield heading, "\n\n".join(held)
                held, grown = [], len(piece)
            if not held:
                heading = paragraph.heading
            held.append(piece)
            size = grown
    if held:
        yield heading, "\n\n".join(held)


def paragraphs(text: str) -> Iterator[Paragraph]:
    """The paragraphs of a Markdown, reStructuredText or plain text, with the headings they stand under."""
    heading, fence = "", ""
    lines: list[str] = []
    for line in [*text.split("\n"), ""]:
        if fence:
            lines.append(line)
            if line.strip().startswith(fence):
                fence = ""
        elif found := FENCE.match(line):
            fence = found[1]
            lines.append(line)
        elif (marked := HEADING.match(line)) or (len(lines) == 1 and lines[0].strip() and UNDERLINE.match(line)):
            if marked and lines:
                yield Paragraph("\n".join(lines), heading)
            heading = marked[2] if marked else lines[0].strip()
            yield Paragraph(line if marked else f"{lines[0]}\n{line}", heading, opens=True)
            lines = []
        elif line.strip():
            lines.append(line)
        elif lines:
            yield Paragraph("\n".join(lines), heading)
            lines = []
    if rest := "\n".join(lines).rstrip():  # a fence that nobody closed
        yield Paragraph(rest, heading)


def _fitted(text: str, most: int) -> Iterator[str]:
    """A paragraph whole, or in runs of sentences of at most `most` characters."""
    if len(text) <= most:
        yield text
        return
    start = end = 0
    for stop in [*(match.end() for match in SENTENCE_END.finditer(text)), len(text)]:
        if len(text[start:stop].strip()) > most and end > start:
            yield text[start:end].strip()
            start = end
        while len(text[start:stop].strip()) > most:
            cut = _cut_point(text, start, most)
            yield text[start:cut].strip()
            start = cut
        end = stop
    if rest := text[start:].strip():
        yield rest


def _cut_point(text: str, start: int, most: int) -> int:
    """Where to cut within a sentence: behind the last blank that fits, else before a character without its marks."""
    while text[start].isspace():
        start += 1
    if (blank := text.rfind(" ", start + most // 2, start + most)) > start:
        return blank + 1
    return whole_character(text, start, start + most)
